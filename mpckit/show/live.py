"""A figure that moves while engines work: bytes and rounds by layer, and over time, from the parties' events."""

import threading
import time

import plotly.graph_objects as go

from ..runtime.report import Line, Report
from .figures import bars, panels

REFRESH = 0.1  # seconds between two redraws: more is work for the browser and nothing for the eye
POINTS = 300  # per curve


class Live:
    """What `live` returns: a widget that shows itself as the last line of a cell, or by `display`.

    Its bars are one party's, party 0's, as they come in; `by_party` and `rounds` are exact once `team.run` has returned.
    """

    def __init__(self, team):
        self.figure = go.FigureWidget(panels(team.parties, "seconds since the parties began"))
        self._lock, self._drawn, self._parties = threading.Lock(), 0.0, team.parties
        self._forget()
        self.stop = team.events.subscribe(self.hear)

    def _forget(self):
        self._lines: dict[str, Line] = {}
        self._start, self._status = None, "waiting for the parties"
        self._curves = [([0.0], [0.0]) for _ in range(self._parties)]
        self._ended: set[int] = set()
        self._heard = [{"rounds": 0, "bytes": 0} for _ in range(self._parties)]

    @property
    def rounds(self) -> int:
        """Online rounds heard of in the last run."""
        return self._heard[0]["rounds"]

    @property
    def by_party(self) -> dict[int, int]:
        """Bytes that each party has sent online in the last run."""
        return {party: heard["bytes"] for party, heard in enumerate(self._heard)}

    def hear(self, event: dict):
        """Take in one event of one party (`engines/seat.py`); called in the listener's thread."""
        with self._lock:
            if len(self._ended) == self._parties:  # the first event of another run
                self._forget()
            self._book(event)
            if time.monotonic() - self._drawn < REFRESH and event["phase"] != "end":
                return
            self._drawn = time.monotonic()
            self._draw()

    def _book(self, event):
        phase, party = event["phase"], event["party"]
        now = time.monotonic()
        self._start = self._start or now
        if phase == "offline":
            if party == self._parties - 1:  # the one who asks the dealer
                self._status = f"offline: the dealer has dealt {event['done']} of {event['total']} correlations"
        elif phase == "end":
            self._ended.add(party)
            if len(self._ended) == self._parties:
                self._status = (
                    f"done: {self.rounds} rounds online, {max(self.by_party.values()) / 1e3:.1f} kB sent by a party"
                )
        elif phase == "setup":
            self._status = "set-up: the weights are shared and masked"
        else:
            heard, (seconds, sent) = self._heard[party], self._curves[party]
            heard["rounds"] += event["rounds"]
            heard["bytes"] += event["bytes"]
            self._status = f"online: round {self.rounds}, {event['path']}"
            seconds += [now - self._start, now - self._start]  # a step: up at once, then level
            sent += [sent[-1], heard["bytes"] / 1e3]
            if party == 0 and event["rounds"]:
                layer = event["path"].rpartition("/")[0] or event["path"]
                line = Line("online", layer, 1, event["rounds"], {0: event["bytes"]}, event["compute"])
                self._lines[layer] = self._lines[layer] + line if layer in self._lines else line

    def _draw(self):
        figure = self.figure
        with figure.batch_update():
            bars(figure, list(self._lines.values()))
            for trace, (seconds, sent) in zip(figure.data[2:], self._curves):
                step = max(1, len(seconds) // POINTS)
                trace.x, trace.y = seconds[::step] + seconds[-1:], sent[::step] + sent[-1:]
            figure.layout.title = dict(text=self._status, font=dict(size=14), x=0.01, y=0.99, yanchor="top")

    def agrees(self, report: Report) -> bool:
        """Whether the figure shows what is on the bill: rounds, and bytes by party."""
        return (self.rounds, self.by_party) == (report.rounds(), report.total().by_party)

    def _repr_mimebundle_(self, **kwargs):
        bundle = self.figure._repr_mimebundle_(**kwargs)
        bundle = dict(bundle[0] if isinstance(bundle, tuple) else bundle)
        return bundle | {"text/plain": "A live figure: run the cell to see it move. A still one follows."}


def live(team) -> Live:
    """A live figure of `team`'s runs; `display` it, then call `team.run` in the same or in a later cell."""
    return Live(team)
