"""A figure that moves while engines work: bytes and rounds per layer, and over time, from the parties' events."""

import threading
import time

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .theme import COLOURS, style

REFRESH = 0.1  # seconds between two redraws: more is work for the browser and nothing for the eye
POINTS = 300  # per curve


class Live:
    """What `live` returns: `figure` (a FigureWidget) and `stop()`. `snapshot()` is a plain figure for the saved notebook."""

    def __init__(self, team):
        figure = make_subplots(1, 2, subplot_titles=("kB sent, by layer", "kB sent, by round"), column_widths=[0.5, 0.5])
        figure.add_bar(x=[], y=[], orientation="h", marker_color=COLOURS[0], showlegend=False)
        for party, dash in zip(range(team.parties), ("solid", "dash", "dot", "dashdot") * team.parties):
            figure.add_scatter(
                x=[], y=[], mode="lines", line=dict(dash=dash, shape="hv", color=COLOURS[party % 7]), name=f"party {party}", row=1, col=2
            )  # fmt: skip
        style(figure, height=380)
        figure.update_yaxes(autorange="reversed", automargin=True, col=1)
        self.figure = go.FigureWidget(figure)
        self._lock, self._drawn, self._parties = threading.Lock(), 0.0, team.parties
        self._forget()
        self.stop = team.events.subscribe(self._hear)

    def _forget(self):
        self._layers: dict[str, float] = {}
        self._curves = [([0], [0.0]) for _ in range(self._parties)]

    def _hear(self, event: dict):
        """One event of one party (`seat.py`); called in the listener's thread."""
        with self._lock:
            if event["phase"] == "offline" and event["done"] == 1:
                self._forget()
            if event["phase"] == "online":
                kilobytes, party = event["bytes"] / 1e3, event["party"]
                rounds, total = self._curves[party]
                rounds.append(rounds[-1] + event["rounds"])
                total.append(total[-1] + kilobytes)
                if party == 0:
                    layer = event["path"].rpartition("/")[0] or event["path"]
                    self._layers[layer] = self._layers.get(layer, 0.0) + kilobytes
            if time.monotonic() - self._drawn < REFRESH and event["phase"] != "end":
                return
            self._drawn = time.monotonic()
            layers, curves = dict(self._layers), [(list(x), list(y)) for x, y in self._curves]
        _fill(self.figure, layers, curves)

    def snapshot(self) -> go.Figure:
        """The figure as it stands, without its widget."""
        return go.Figure(self.figure.to_dict())


def _fill(figure, layers, curves):
    with figure.batch_update():
        figure.data[0].x, figure.data[0].y = list(layers.values()), list(layers)
        for trace, (rounds, total) in zip(figure.data[1:], curves):
            step = max(1, len(rounds) // POINTS)
            trace.x, trace.y = rounds[::step], total[::step]


def live(team) -> Live:
    """A live figure of `team`'s runs; display `.figure` in a cell, then call `team.run` in the same or in a later one."""
    return Live(team)
