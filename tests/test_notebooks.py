"""The notebooks as they are saved, and as a reader who solves every puzzle would have them.

That their outputs come out again is nbval's business (`make test`); here is what nbval does not look at.
"""

import base64
import importlib.util
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
PLOTLY = "application/vnd.plotly.v1+json"
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def solutions(path: Path):
    """The module beside the notebook in `solutions/`."""
    file = path.parent / "solutions" / f"{path.stem}.py"
    spec = importlib.util.spec_from_file_location("solutions", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def filled(notebook, module) -> list:
    """Put the solutions where the stubs are; returns the cells that were changed."""
    changed = []
    for cell in code_cells(notebook):
        if "puzzle" in cell.metadata.get("tags", []):
            stub = re.search(r"^def (\w+)\(.*\): \.\.\.$", cell.source, re.M)
            assert stub, f"no stub `def name(…): ...` in a puzzle's cell:\n{cell.source}"
            cell.source = cell.source.replace(stub[0], inspect.getsource(getattr(module, stub[1])).strip())
            changed.append(cell)
    return changed


@each_notebook
def test_it_begins_with_a_promise_and_ends_with_the_bill(path):
    texts = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    assert texts[0].startswith("# ") and "**You will be able to**" in texts[0] and "**You need**" in texts[0]
    assert re.search(r"\d+ minutes", texts[0])
    assert "## The bill" in texts[-2] and texts[-1].startswith("**You can now**")


@each_notebook
def test_every_figure_has_words_and_a_picture(path):
    figures = [output for output in outputs(nbformat.read(path, as_version=4)) if PLOTLY in output.get("data", {})]
    assert figures
    for figure in figures:
        data, alt = figure.data, figure.metadata["image/png"]["alt"]
        assert len(data["text/plain"]) > 40 and not data["text/plain"].startswith("Figure(")
        assert " ".join(alt.split()) == " ".join(data["text/plain"].split()), "the picture's words, as pages read them"
        assert base64.b64decode(data["image/png"])[:4] == b"\x89PNG"


@each_notebook
def test_nothing_is_saved_that_a_reader_does_not_need(path):
    notebook = nbformat.read(path, as_version=4)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}  # no state of widgets, which is megabytes
    assert path.stat().st_size < 1_000_000
    kinds = {kind for output in outputs(notebook) for kind in output.get("data", {})}
    assert not any("widget" in kind for kind in kinds)
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs(notebook))


@each_notebook
def test_no_cell_passes_by_printing_nothing(path):
    cells = code_cells(nbformat.read(path, as_version=4))
    assert [cell.source for cell in cells if not cell.outputs] == []
    ignored = [cell for cell in cells if "nbval-ignore-output" in cell.metadata.get("tags", [])]
    assert len(ignored) < len(cells) / 3


@pytest.mark.slow
@each_notebook
def test_solutions_solve(path, monkeypatch):
    """Fill in every puzzle, run the whole notebook, and read the verdicts."""
    monkeypatch.delenv("BROWSER_PATH", raising=False)  # no pictures this time
    notebook = nbformat.read(path, as_version=4)
    puzzles = filled(notebook, solutions(path))
    assert 2 <= len(puzzles) <= 4
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}}).execute()
    for cell in puzzles:
        said = "".join(output.text for output in cell.outputs)
        assert said.rstrip().endswith("is solved") and "✗" not in said, said


# That nbval sees what it should: numbers, figures, words


SOURCE = """
import torch
import mpckit as mk
with mk.simulate(insecure_seed=1) as session:
    print(mk.secret(torch.ones(3), owner=0).reveal().sum().item(), session.report().sent())
mk.show.pictures({"a": torch.eye(3)}, alt="a diagonal")
""".strip()


@pytest.fixture(scope="module")
def small():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SOURCE, id="cell")])
    return NotebookClient(notebook, timeout=60).execute()


FALSE = {
    "nothing": lambda text: text,
    "a number": lambda text: text.replace("3.0 96", "3.0 97"),
    "words": lambda text: text.replace('"text/plain": "a diagonal"', '"text/plain": "a triangle"'),
    "a figure": lambda text: text.replace('"name": "a"', '"name": "b"'),
}


@pytest.mark.parametrize("what", FALSE)
def test_a_false_output_is_noticed(small, tmp_path, what):
    true = json.dumps(small)
    text = FALSE[what](true)
    assert (text == true) == (what == "nothing"), true
    (tmp_path / "x.ipynb").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    done = subprocess.run([*command, str(tmp_path / "x.ipynb")], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == (0 if what == "nothing" else 1), done.stdout
