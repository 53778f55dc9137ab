"""Show a figure so that it is there wherever the notebook is read.

One output in three forms: plotly's JSON (interactive in JupyterLab; beside a PNG, once the pointer is on it), the alt
text (terminal, screen reader, nbval), and a PNG where the writer has kaleido and a browser (GitHub, HTML export).
Without them only the PNG is missing. A page has the words with its PNGs by `nbconvert --to html --template classic`:
nbconvert's usual template leaves them out.
"""

import base64
import importlib.util
import json
import os

import plotly.graph_objects as go
from IPython.display import display

CONFIG = {"displayModeBar": False}
WIDTH = 900  # of the PNG, in pixels


class Picture(go.Figure):
    """A plotly figure that knows in words what it shows, and displays itself with `show`.

    `still`: the figure to draw as the PNG, where a page should show more than what is seen before a click.
    """

    def __init__(self, figure: go.Figure, alt: str, still: go.Figure | None = None):
        super().__init__(figure)
        self._alt, self._still = alt, still

    @property
    def alt(self) -> str:
        return self._alt

    def bundle(self) -> dict:
        """Figure and words, as a display's data."""
        return _bundle(self, self._alt)

    def _ipython_display_(self):
        show(self)


def show(figure: go.Figure, alt: str | None = None) -> None:
    """Display `figure`; `alt` says in words what it shows, with the numbers that matter (a Picture has its own)."""
    alt = alt or getattr(figure, "alt", None)
    if not alt:
        raise ValueError("a figure needs alt=, a sentence with its message and numbers: some readers have only that")
    bundle = _bundle(figure, alt)
    if picture := _png(getattr(figure, "_still", None) or figure):
        bundle["image/png"] = picture
    display(bundle, metadata={"image/png": {"alt": alt}} if picture else {}, raw=True)


def _bundle(figure, alt) -> dict:
    return {"application/vnd.plotly.v1+json": json.loads(figure.to_json()) | {"config": CONFIG}, "text/plain": alt}


def picture(figure: dict | go.Figure) -> str:
    """The PNG of a figure, or of its JSON, in base64. Needs kaleido, and a browser that BROWSER_PATH names."""
    if isinstance(figure, dict):
        figure = go.Figure({key: value for key, value in figure.items() if key in ("data", "layout")})
    return base64.b64encode(figure.to_image("png", width=WIDTH, height=figure.layout.height or 400)).decode()


def _png(figure) -> str | None:
    # Whoever writes a notebook names a browser in BROWSER_PATH, kaleido's own setting.
    if not os.environ.get("BROWSER_PATH") or importlib.util.find_spec("kaleido") is None:
        return None
    return picture(figure)
