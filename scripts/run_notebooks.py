"""Run notebooks and save them as published: `python scripts/run_notebooks.py [FILE …]` (default: all).

For whoever changes a notebook, or a figure in one. Each is run from the top in a fresh kernel and written back with
* a PNG beside every plotly figure, which GitHub and HTML exports show: needs kaleido and a Chromium (BROWSER_PATH, or
  one on the PATH). Where there is none, the PNG of a figure that did not change is kept, and what is missing is named;
* no widget state (5 MB for a live figure) and no widget views, which would be empty: the still figure beside it stays;
* stable cell ids and no times, versions or traces of this machine, so that a diff shows what changed.
A cell that fails stops the script; a cell tagged "puzzle" is left as the reader will find it.
"""

import importlib.util
import os
import re
import shutil
import sys
import time
from datetime import datetime
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from mpckit.show.twin import WORDS

ROOT = Path(__file__).parents[1]
PLOTLY, WIDGET = "application/vnd.plotly.v1+json", "application/vnd.jupyter.widget-view+json"
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
MACHINE = re.compile(r"/tmp\S*?ipykernel_\d+\S*?\.py|" + re.escape(str(ROOT)))


def main(paths: list[Path]):
    browser = os.environ.get("BROWSER_PATH") or shutil.which("chromium") or shutil.which("google-chrome")
    if importlib.util.find_spec("kaleido") is None:  # a browser alone draws nothing
        browser = None
    if browser:
        os.environ["BROWSER_PATH"] = browser
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for path in paths:
        old = nbformat.read(path, as_version=4)
        pictures = [output["data"] for output in displays(old) if "image/png" in output["data"]]
        start = time.perf_counter()
        new = run(nbformat.read(path, as_version=4), path.parent)
        seconds, (slowest, cell) = time.perf_counter() - start, max(durations(new))
        tidy(new)
        for output in displays(new):
            data = output["data"]
            if PLOTLY in data and "image/png" not in data:
                kept = [d["image/png"] for d in pictures if d[PLOTLY] == data[PLOTLY]]
                if kept:
                    data["image/png"] = kept[0]
                elif browser:  # a live figure, which draws no picture while it moves
                    data["image/png"] = drawn(data[PLOTLY])
                else:
                    print(
                        f"{path.name}: no PNG of '{data['text/plain'][:60]}…'; it needs kaleido and a browser",
                        file=sys.stderr,
                    )
            if "image/png" in data:  # the words, for who does not see it
                output["metadata"] = {"image/png": {"alt": data["text/plain"]}} | output["metadata"]
        nbformat.write(new, path)
        kilobytes = path.stat().st_size / 1e3
        print(f"{path.name}: {seconds:.0f} s, the slowest cell [{cell}] {slowest:.1f} s; {kilobytes:.0f} kB")
        if seconds > 90 or slowest > 20:
            print("too slow: a notebook has 90 s, a cell 20 s, pictures included", file=sys.stderr)


def run(notebook, folder: Path):
    """Execute every cell, in the folder where a reader would."""
    where = {"metadata": {"path": str(folder)}}
    options = dict(store_widget_state=False, coalesce_streams=True)  # what is printed bit by bit is read in one piece
    return NotebookClient(notebook, timeout=120, resources=where, **options).execute()


def drawn(figure: dict) -> str:
    """The picture of a figure, as the kit draws it."""
    from mpckit.show.display import picture

    return picture(figure)


def durations(notebook):
    """(seconds, execution count) of every cell that was run, by nbclient's clock."""
    for cell in notebook.cells:
        if "execution" in cell.metadata:
            begin, end = (cell.metadata.execution[f"iopub.{what}"] for what in ("execute_input", "status.idle"))
            yield (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds(), cell.execution_count


def displays(notebook):
    """Every output that shows something."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET, None)
            if "data" in output:
                yield output


def tidy(notebook):
    """Leave what a reader needs, and nothing that differs from one machine or run to the next."""
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
        cell.metadata = {k: v for k, v in cell.metadata.items() if k == "tags"}
        if "outputs" in cell:  # a widget's still twin is an output of its own
            cell.outputs = [o for o in cell.outputs if o.get("data", {}).get("text/plain") != WORDS]
            # kaleido's browser may grumble while it draws a PNG; a reader draws none
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr" or "choreographer" not in o.text]
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET, None)
            if "text" in output:
                output["text"] = MACHINE.sub("…", output["text"])


if __name__ == "__main__":
    main([Path(p) for p in sys.argv[1:]] or sorted((ROOT / "notebooks").glob("*.ipynb")))
