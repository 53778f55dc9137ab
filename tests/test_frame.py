"""The frame around the library: what is promised to `make`, to Binder and to whoever installs the package."""

import ast
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NOTEBOOKS = sorted(p for p in ROOT.glob("notebooks/**/*.ipynb") if ".ipynb_checkpoints" not in p.parts)


def required(*groups: str) -> dict[str, Requirement]:
    """The direct dependencies of the package and of these extras, by name."""
    lines = list(PROJECT["project"]["dependencies"])
    for group in groups:
        lines += PROJECT["project"]["optional-dependencies"][group]
    return {r.name: r for r in map(Requirement, lines) if r.name != "mpckit"}


def git_files(*options: str) -> list[str]:
    """What git lists (by default what is committed or staged), as paths from the root."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files belong to the project is unknown")
    listed = subprocess.run(["git", "ls-files", "-z", *options], cwd=ROOT, check=True, capture_output=True, text=True)
    return [f for f in listed.stdout.split("\0") if f and (ROOT / f).is_file()]


# Environments


def test_root_and_binder_environment_are_the_same_file():
    assert (ROOT / "environment.yml").read_bytes() == (ROOT / "binder/environment.yml").read_bytes()


def test_environment_has_every_dependency_with_the_same_range():
    lines = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    conda = {r.name: r.specifier for r in map(Requirement, lines[1:])}  # the first is python=
    conda["torch"] = conda.pop("pytorch-cpu")  # conda-forge's name of the CPU build
    wanted = required("lab") | {r.name: r for r in map(Requirement, PROJECT["build-system"]["requires"])}
    assert {name: str(spec) for name, spec in conda.items() if name != "pip"} == {
        name: str(r.specifier) for name, r in wanted.items()
    }


def test_environment_python_is_one_we_support():
    lines = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    name, version = lines[0].split("=")
    assert name == "python"
    assert Requirement("python" + PROJECT["project"]["requires-python"]).specifier.contains(version + ".0")


def test_every_pinned_version_is_allowed_and_every_dependency_is_pinned():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {name: version for name, version in (line.split("==") for line in lines)}
    wanted = required("lab", "test")
    assert pins.keys() == wanted.keys()
    assert [f"{n}=={v}" for n, v in pins.items() if not wanted[n].specifier.contains(v)] == []


def test_everything_the_package_imports_is_declared():
    declared = {name.lower() for name in required(*PROJECT["project"]["optional-dependencies"])}
    origin = {"cupy": ["cupy-cuda13x"]} | dict(importlib.metadata.packages_distributions())
    missing = set()
    for path in (ROOT / "mpckit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            for top in {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"mpckit"}:
                if not any(dist.lower() in declared for dist in origin.get(top, [top])):
                    missing.add(f"{path.relative_to(ROOT)} imports {top}")
    assert missing == set()


def test_the_library_imports_with_its_core_dependencies_alone():
    """`pip install mpckit` has no Jupyter: only what drives engines or draws may import it."""
    modules = "IPython ipykernel ipyparallel ipywidgets anywidget jupyterlab plotly cloudpickle zmq psutil tqdm".split()
    program = f"import sys; sys.modules |= dict.fromkeys({modules}); import mpckit, mpckit.zoo"  # None: import refused
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_is_missing_is_named_with_the_way_to_have_it():
    program = (
        "import sys; sys.modules |= dict.fromkeys(['plotly', 'ipyparallel']); import mpckit as mk\n"
        "for name in ('show', 'cluster'):\n"
        "    try: getattr(mk, name)\n"
        "    except ModuleNotFoundError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "mpckit.show needs plotly: pip install 'mpckit[lab]'",
        "mpckit.cluster needs ipyparallel: pip install 'mpckit[lab]'",
    ], done.stderr


# Binder


@pytest.mark.parametrize("script", ["binder/postBuild", "binder/start", ".ci/run"])
def test_scripts_are_executable(script):
    assert os.access(ROOT / script, os.X_OK)


def test_repo2docker_accepts_the_repository():
    if importlib.util.find_spec("repo2docker") is None:
        pytest.skip("repo2docker is not installed, so nothing checked the Binder set-up: pip install 'mpckit[test]'")
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", "."]  # prints a Dockerfile: no Docker
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "conda environment for python=3.12" in done.stdout + done.stderr
    assert "binder/environment.yml" in done.stdout and "RUN ./binder/postBuild" in done.stdout
    assert "binder/start" in done.stdout


@pytest.mark.slow
def test_post_build_installs_a_package_that_works(tmp_path):
    """postBuild in a clean virtual environment that borrows our dependencies and nothing else."""
    source, venv = tmp_path / "source", tmp_path / "venv"
    for name in git_files("--cached", "--others", "--exclude-standard"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)  # pip is among what it borrows
    # The .pth line adds our site-packages; the .pth files over there, such as an editable mpckit's, stay unread.
    site = next(venv.glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PATH": f"{venv}/bin:{os.environ['PATH']}"}

    subprocess.run(["binder/postBuild"], cwd=source, env=env, check=True, stdout=subprocess.DEVNULL)

    shutil.rmtree(source)  # the installed package must stand on its own
    check = (
        "import mpckit, mpckit.zoo as z; image, label = z.digits()[7];"
        "assert z.lenet(pretrained=True)(image).argmax() == label; print(mpckit.__path__[0])"
    )
    done = subprocess.run(
        [venv / "bin/python", "-c", check], cwd=tmp_path, env=env, check=True, stdout=subprocess.PIPE, text=True
    )
    assert Path(done.stdout.strip()).is_relative_to(venv)
    assert (venv / "bin/mpckit").exists()


# What is committed


def never_run(notebook: dict) -> list[str]:
    """First lines of the code cells without an execution count: nbval would not compare them."""
    cells = [c for c in notebook["cells"] if c["cell_type"] == "code" and "".join(c["source"]).strip()]
    return ["".join(c["source"]).splitlines()[0] for c in cells if c["execution_count"] is None]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_every_cell_of_every_notebook_was_run(path):
    assert never_run(json.loads(path.read_text())) == []


def test_the_guard_sees_a_cell_that_was_not_run():
    cells = [{"cell_type": "code", "source": ["x = 1\n", "x"], "execution_count": n} for n in (1, None)]
    assert never_run({"cells": cells}) == ["x = 1"]


MACHINE_PATH = re.compile(r"(?<![\w.~])/(?:(?:home|Users)/\w+/|(?:work|root|opt/wheels|opt/pypi)\b|tmp/ipykernel)")


def test_no_file_names_a_path_of_the_machine_it_was_made_on():
    found = []
    for name in git_files():
        content = (ROOT / name).read_bytes()
        if b"\0" in content:
            continue  # not text
        for number, line in enumerate(content.decode().splitlines(), 1):
            if match := MACHINE_PATH.search(line):
                found.append(f"{name}:{number}: {match.group()}")
    assert found == []


@pytest.mark.parametrize("line", ["File @home/ann/x.py", '"@tmp/ipykernel_12/1.py"', "see @root/.cache"])
def test_the_guard_sees_such_a_path(line):
    assert MACHINE_PATH.search(line.replace("@", "/"))  # spelt so that this file passes itself
    assert not MACHINE_PATH.search(line.replace("@", "a/"))


def test_no_merge_was_left_half_done():
    marker = re.compile(r"^(<{7}|>{7}) ", re.M)
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.strip("\0").split("\0"):
        path = ROOT / name
        if path.exists() and path.suffix in {".py", ".md", ".toml", ".yml", ".ipynb", ".txt", ""}:
            assert not marker.search(path.read_text(encoding="utf-8", errors="ignore")), name
