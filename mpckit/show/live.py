"""A figure that moves while engines work: bytes and rounds by layer, and over time, from the parties' events."""

import threading
import time

import plotly.graph_objects as go

from ..runtime.report import Line, Report, size
from .display import CONFIG
from .figures import bars, panels

REFRESH = 0.1  # seconds between two redraws: more is work for the browser and nothing for the eye
POINTS = 300  # per curve


class Live:
    """What `live` returns: a widget that shows itself as the last line of a cell, or by `display`.

    It adds up all runs since it was made. Its bars are those of party 0, as they come in; `rounds` and `by_party` are
    exact once `team.run` has returned.
    """

    def __init__(self, team):
        self._lock, self._drawn, self._parties = threading.Lock(), 0.0, team.parties
        self._start, self._status = None, "waiting for the parties"
        self._lines: dict[str, Line] = {}
        self._curves = [([0.0], [0]) for _ in range(team.parties)]  # seconds, bytes
        self._rounds, self._sent = [0] * team.parties, [0] * team.parties
        self.figure = go.FigureWidget(
            panels(team.parties, "seconds since the first run began; level: offline and set-up")
        )
        self.figure._config = self.figure._config | CONFIG
        title = dict(text=self._status, font=dict(size=14), x=0.01, y=0.99, yanchor="top")
        self.figure.update_layout(title=title, autosize=True)
        self.stop = team.events.subscribe(self.hear)

    @property
    def rounds(self) -> int:
        """Online rounds heard of."""
        return self._rounds[0]

    @property
    def by_party(self) -> dict[int, int]:
        """Bytes that each party has sent online."""
        return dict(enumerate(self._sent))

    def hear(self, event: dict):
        """Take in one event of one party (`engines/seat.py`); called in the listener's thread."""
        with self._lock:
            self._book(event)
            if time.monotonic() - self._drawn < REFRESH and event["phase"] != "end":
                return
            self._draw()
            self._drawn = time.monotonic()

    def _book(self, event):
        phase, party, now = event["phase"], event["party"], time.monotonic()
        self._start = self._start or now
        if phase == "offline":
            if party == self._parties - 1:  # the one who asks the dealer
                self._status = f"offline: the dealer has dealt {event['done']} of {event['total']} correlations"
        elif phase == "end":
            self._status = f"done: {self.rounds} rounds online, {size(max(self._sent))} sent by a party"
        elif phase == "setup":
            self._status = "set-up: the weights are shared and masked"
        else:
            self._rounds[party] += event["rounds"]
            self._sent[party] += event["bytes"]
            self._status = f"online: round {self.rounds}, {event['path']}"
            seconds, sent = self._curves[party]
            seconds += [now - self._start, now - self._start]  # a step: level until now, then up
            sent += [sent[-1], self._sent[party]]
            if party == 0 and event["rounds"]:
                layer = event["path"].rpartition("/")[0] or event["path"]
                line = Line("online", layer, 1, event["rounds"], {0: event["bytes"]}, event["compute"])
                self._lines[layer] = self._lines[layer] + line if layer in self._lines else line

    def _draw(self):
        figure, now = self.figure, time.monotonic() - self._start
        with figure.batch_update():
            bars(figure, list(self._lines.values()))
            for trace, (seconds, sent) in zip(figure.data[2:], self._curves):
                step = max(1, len(seconds) // POINTS)
                trace.x, trace.y = [*seconds[::step], now], [*sent[::step], sent[-1]]
            figure.layout.title.text = self._status

    def agrees(self, *reports: Report) -> bool:
        """Whether the figure shows what is on these bills: rounds, and bytes by party."""
        total = sum((report.total() for report in reports[1:]), reports[0].total())
        return (self.rounds, self.by_party) == (total.rounds, total.by_party)

    def _repr_mimebundle_(self, **kwargs):
        bundle = self.figure._repr_mimebundle_(**kwargs)
        bundle = dict(bundle[0] if isinstance(bundle, tuple) else bundle)
        return bundle | {"text/plain": "A live figure: run the cell to see it move. A still one follows."}


def live(team) -> Live:
    """A live figure of `team`'s runs; `display` it, then call `team.run` in the same or in a later cell."""
    return Live(team)
