"""Papers are cited by key, as in "[Bea91]"; `mpckit/README.md` says which paper a key means, and lists no other.

A key is letters and a year, [RW19], or the name of a system, [SIGMA]. Shapes such as [N, C] or [D, 16, W] are none.
"""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

PACKAGE = Path(importlib.util.find_spec("mpckit").origin).parent
BRACKET = re.compile(r"(?<![\w\])])\[([^\[\]()]+)\]")  # not an index, as in Protocol[AShare] or v[64k + j]
KEY = re.compile(r"[A-Z][A-Za-z]*\+?\d\d|[A-Z][A-Z]{3,}|[A-Z][a-z]{3,}|[A-Z][a-z]+[A-Z][A-Za-z]+")


def keys(text: str) -> set[str]:
    """The keys in a text: brackets in which every entry is one, with a section or a figure behind it perhaps."""
    found = set()
    for inside in BRACKET.findall(text):
        entries = [re.sub(r" (§|Fig\. |Section )?[\d.]+$", "", e) for e in inside.split(", ")]
        if all(KEY.fullmatch(e) for e in entries):
            found.update(entries)
    return found


def docstrings(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            yield ast.get_docstring(node) or ""


def cited() -> dict[str, set[str]]:
    out = {}
    for path in PACKAGE.rglob("*.py"):
        for text in docstrings(path):
            for key in keys(text):
                out.setdefault(key, set()).add(str(path.relative_to(PACKAGE)))
    return out


def listed() -> dict[str, str]:
    rows = re.findall(r"^- \*\*\[(.+?)\]\*\* (.+(?:\n  .+)*)$", (PACKAGE / "README.md").read_text(), re.M)
    assert len(rows) == len(dict(rows)), "a key is listed twice"
    return dict(rows)


def test_every_key_in_a_docstring_is_listed():
    assert {key: sorted(where) for key, where in cited().items() if key not in listed()} == {}


def test_every_listed_paper_is_cited():
    assert sorted(set(listed()) - set(cited())) == []


def test_references_say_who_what_where_and_when():
    for key, reference in listed().items():
        assert re.search(r"\b(19|20)\d\d\b", reference), f"[{key}] names no year"
        year = re.fullmatch(r".*?(\d\d)", key)
        assert not year or re.search(rf"\b(19|20){year[1]}\b", reference), f"[{key}] and its year disagree"
        assert reference.count(".") >= 2 and "*" in reference, f"[{key}]: authors. *Title.* Where, year."


def test_every_module_is_in_the_readme():
    text = (PACKAGE / "README.md").read_text()
    names = {p.name.removesuffix(".py") for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert sorted(n for n in names - {"__init__"} if f"`{n}" not in text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x·y.   [Bea91]", {"Bea91"}),
        ("[Grotto, SIGMA] and [BCG+21 §4]", {"Grotto", "SIGMA", "BCG+21"}),
        ("edaBits [EGKRS20], [HalfTree]", {"EGKRS20", "HalfTree"}),
        ("x [N, C, L], w [O, C/groups, …], [D, 16, W], [T], [*shape], [W]", set()),
        ("Protocol[AShare], v[64k + j], tuple[AShare, BShare]", set()),
        ("in [-2^63, 2^63), [bits, ..., W], [[1, 2], [3, 4]], [low bits of x]", set()),
    ],
)
def test_what_counts_as_a_key(text, expected):
    assert keys(text) == expected
