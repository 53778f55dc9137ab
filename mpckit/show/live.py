"""A dashboard that moves while engines work: one line in a cell, before `team.run`."""

import contextvars
import threading
import time
from dataclasses import replace
from html import escape

import ipywidgets as widgets
import plotly.graph_objects as go
from IPython import get_ipython

from ..runtime.report import Report
from .dashboard import fill, panels
from .display import CONFIG, Picture
from .link import LinkSliders
from .twin import Twin
from .watch import Watch

REFRESH = 0.1  # seconds between two redraws: more is work for the browser and nothing for the eye
SHARE = 5  # of which the redraw itself may take one part: the engines want the cores


class Live:
    """What `live` returns. It adds up all runs since it was made; after each it leaves its still twin in the page.

    `watch` has the numbers, `figure` and `sliders` are the widgets. `rounds`, `by_party` and `agrees` are exact once
    `team.run` has returned.
    """

    def __init__(self, team, *others: Report, depth: int | None = None):
        self.watch = Watch(team.parties, depth)
        self._lock, self._due, self._cell = threading.Lock(), 0.0, None
        self._online = (0.0, 0.0)  # compute of the slowest, and elapsed, before this run
        # Which cell a message belongs to is a context variable. The listener's thread has that of the cell in which the
        # team was started, and nbclient drops what comes from there while another cell runs.
        self._here = contextvars.copy_context()
        self.status, self.bar = widgets.HTML(), widgets.FloatProgress(min=0, max=1, layout=widgets.Layout(width="98%"))
        self.figure = go.FigureWidget(panels(team.parties))
        self.figure._config = self.figure._config | CONFIG | {"responsive": True}
        self.figure.update_layout(autosize=True)
        self.sliders = LinkSliders(*others)
        question = widgets.HTML("<b>What if the network were another?</b>")
        self.box = widgets.VBox([self.status, self.bar, self.figure, question, self.sliders.box])
        self._twin = Twin(self.box, self.still)
        self._draw()
        self.stop = team.events.subscribe(self.hear)

    @property
    def rounds(self) -> int:
        """Online rounds heard of."""
        return self.watch.rounds

    @property
    def by_party(self) -> dict[int, int]:
        """Bytes that each party has sent online."""
        return self.watch.by_party

    def agrees(self, *reports: Report) -> bool:
        """Whether the figure shows what is on these bills: rounds, and bytes by party."""
        return self.watch.agrees(*reports)

    def hear(self, event: dict):
        """Take in one event; called in the listener's thread, and for a plan in that of the cell which runs it."""
        with self._lock:
            if event["phase"] == "plan":
                self._here = contextvars.copy_context()
            self._here.run(self._hear, event)

    def _hear(self, event):
        self.watch.hear(event)
        begin = time.monotonic()
        if event["phase"] == "plan":
            self._online = self.watch.slowest, self.watch.elapsed
            self.sliders.put(event["report"])
            self.sliders.draw()
        over = event["phase"] == "end" and not self.watch.running
        if begin < self._due and not over:
            return
        self._draw()
        if over:
            self._finish()
        now = time.monotonic()
        self._due = now + max(REFRESH, (SHARE - 1) * (now - begin))

    def _draw(self):
        fill(self.figure, self.watch)
        self.bar.value = self.watch.fraction
        lost = f" · {self.watch.lost} events dropped" if self.watch.lost else ""
        self.status.value = f"<span role='status' aria-live='polite'>{escape(self.watch.status)}{lost}</span>"

    def _finish(self):
        compute, elapsed = self._online
        if self.watch.planned is not None:
            measured = replace(self.watch.planned, exchange=self.watch.exchange)
            self.sliders.put(measured, self.watch.slowest - compute, self.watch.elapsed - elapsed)
            self.sliders.draw()
        self._twin.update()

    def still(self) -> Picture:
        """The figure as it is now, to keep."""
        figure = panels(self.watch.parties)
        fill(figure, self.watch)
        return Picture(figure, f"Dashboard; {self.watch.status}. {self.watch.words()}")

    # how it is shown

    def show(self):
        """Display it here, and below it the still twin, which each run draws anew."""
        shell = get_ipython()
        if shell is not None:
            self._cell = shell.execution_count
            self._twin.show()

    def _ipython_display_(self):
        # `live(team)` has shown it; as the last line of the same cell it would be there twice.
        shell = get_ipython()
        if shell is None or shell.execution_count != self._cell:
            self.show()

    def __repr__(self):
        return f"Live({self.watch.status})"


def live(team, *others: Report, depth: int | None = None) -> Live:
    """Show a dashboard of `team`'s runs from here on; call `team.run` in the same or in a later cell.

    `others`: reports of plans with other suites, to compare on other links. `depth=1`: a bar for each of the model's
    outermost modules, where it has too many layers for all of them.
    """
    panel = Live(team, *others, depth=depth)
    panel.show()
    return panel
