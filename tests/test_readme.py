"""The README's code runs, its tree is the tree, and its figures come from commands that exist."""

import re
import subprocess
import sys
from pathlib import Path

from mpckit import bench

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_first_ten_lines_of_code_run_and_read_the_digit():
    code = re.search(r"```python\n(.*?)```", README, re.S)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert out.returncode == 0, out.stderr
    predicted, label = out.stdout.split()[:2]
    assert predicted == label and "online" in out.stdout and "conv1/convolution" in out.stdout


def test_the_choice_of_a_suite_prints_what_is_shown():
    code, shown = re.search(r"```python\n(def program.*?)```\n\nends in\n\n```\n(.*?)```", README, re.S).groups()
    prelude = "import torch, mpckit as mk\n"
    out = subprocess.run([sys.executable, "-c", prelude + code], capture_output=True, text=True, cwd=ROOT)
    assert out.returncode == 0, out.stderr
    assert out.stdout.endswith(shown), out.stdout


def test_the_tree_has_one_line_for_every_file():
    tree = README[README.index("## The tree") :]
    tree, listed, folders = tree[: tree.index("\n## ", 5)], [], []
    for indent, name in re.findall(r"^    ( *)(\w+\.(?:py|md)|\w+/)(?:\s|$)", tree, re.M):
        folders = [*folders[: len(indent) // 2], name]
        listed.append("".join(folders))
    assert len(set(listed)) == len(listed), "a path stands twice"
    code = {p.relative_to(ROOT).as_posix() for p in (ROOT / "mpckit").rglob("*.py")}
    in_init_only = {path for path in code if path.endswith("__init__.py") and path.count("/") > 1}
    assert {path for path in listed if path.endswith(".py")} == code - in_init_only
    assert all((ROOT / path).exists() for path in listed)


def test_figures_are_from_cases_that_exist():
    pages = README + "".join(p.read_text(encoding="utf-8") for p in sorted((ROOT / "docs").glob("*.md")))
    rows = re.findall(r"^(\w+_\w+) +\d+ ", pages, re.M)
    assert len(rows) >= 50 and set(rows) <= set(bench.CASES)
    for command in re.findall(r"^\$ python -m mpckit bench(.*)", pages, re.M):
        first, *names = [word for word in command.split() if not word.startswith("--")] or ["costs"]
        assert first in bench.BENCHES or {first, *names} <= {*bench.CASES, "fss"}, command


def test_the_protocol_that_is_shown_is_the_librarys():
    shown = re.search(r"def square.*?```", README, re.S)[0]
    source = (ROOT / "mpckit/protocols/arithmetic.py").read_text(encoding="utf-8")
    for line in shown.splitlines()[:-1]:
        statement = line.split("  #")[0].rstrip()
        assert statement in source, statement
