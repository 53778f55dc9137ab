"""Show a figure so that it is there wherever the notebook is read.

One output in three forms: plotly's JSON (interactive in JupyterLab), the alt text (terminal, screen reader, nbval), and a PNG where
the writer had kaleido and a browser (GitHub, HTML export). Without them only the PNG is missing.
"""

import base64
import importlib.util
import os

from IPython.display import display


def show(figure, alt: str) -> None:
    """Display `figure`; `alt` says in words what it shows, with the numbers that matter."""
    bundle = {"application/vnd.plotly.v1+json": figure.to_plotly_json(), "text/plain": alt}
    if picture := _png(figure):
        bundle["image/png"] = picture
    display(bundle, raw=True)


def _png(figure) -> str | None:
    # Drawing needs kaleido and a browser; whoever writes a notebook names one in BROWSER_PATH, kaleido's own setting.
    if not os.environ.get("BROWSER_PATH") or importlib.util.find_spec("kaleido") is None:
        return None
    return base64.b64encode(figure.to_image("png", width=900, height=figure.layout.height or 400, scale=1)).decode()
