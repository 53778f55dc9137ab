"""What is heard: features and letters over time, and whether a transcript keeps up with its speaker."""

import contextvars
import threading
from html import escape

import ipywidgets as widgets
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from ..runtime.units import duration
from .display import CONFIG, Picture
from .theme import COLOURS, GREY, restyle, style
from .twin import Twin

SCALE = "Cividis"  # the same for all eyes, and on light and dark pages


def spectrogram(features: torch.Tensor, seconds: float, scores: torch.Tensor | None = None, alphabet="") -> Picture:
    """Features [bands, frames] of a recording of `seconds`; below them how sure a network is of which letter.

    `scores` [letters, steps] are revealed logits, `alphabet` has a name for each; only letters that are the best
    of some step are drawn.
    """
    rows = 1 if scores is None else 2
    figure = make_subplots(rows, 1, shared_xaxes=True, vertical_spacing=0.06)
    bands, frames = features.shape
    figure.add_trace(
        _heat(features, [seconds * (t + 0.5) / frames for t in range(frames)], list(range(bands)), "band"), 1, 1
    )
    alt = f"Spectrogram of {duration(seconds)}: {bands} bands of pitch over {frames} frames."
    if scores is not None:
        chances, best = scores.double().softmax(0), scores.argmax(0)
        steps = scores.shape[1]
        kept = sorted(set(best.tolist()))
        names = [{"-": "none", " ": "space"}.get(alphabet[k], alphabet[k]) for k in kept]
        times = [seconds * (t + 0.5) / steps for t in range(steps)]
        figure.add_trace(_heat(chances[kept], times, names, "letter"), 2, 1)
        figure.update_yaxes(title_text="letter", type="category", row=2)
        said = "".join(alphabet[k] for k in best)
        alt += f" Below it the likeliest letter of each of {steps} steps: {said}."
    style(figure, height=260 + 260 * (rows - 1) + (0 if rows == 1 else 40), margin=dict(t=20, b=50))
    figure.update_yaxes(title_text="pitch, in mel bands", row=1)
    figure.update_xaxes(showgrid=False)
    figure.update_yaxes(showgrid=False)
    figure.update_xaxes(title_text="seconds", row=rows)
    return Picture(figure, alt)


def _heat(values, x, y, what):
    return go.Heatmap(
        z=values.double().numpy().round(3), x=x, y=y, colorscale=SCALE, showscale=False,
        hovertemplate="%{x:.2f} s, " + what + " %{y}: %{z:.2f}<extra></extra>",
    )  # fmt: skip


class Hearing:
    """What `hearing` returns: the text so far, and for each chunk how long it took. `text`, `ends` and `seconds` are
    exact once `team.run` has returned.
    """

    def __init__(self, team):
        self.text, self.ends, self.seconds = "", [], []
        self._lock, self._here = threading.Lock(), contextvars.copy_context()
        self.line = widgets.HTML()
        self.figure = go.FigureWidget(_gauge())
        self.figure._config = self.figure._config | CONFIG | {"responsive": True}
        self.box = widgets.VBox([self.line, self.figure])
        self._twin = Twin(self.box, self.still)
        self._draw()
        self.stop = team.events.subscribe(self.hear)

    def hear(self, event: dict):
        """Take in one event; called in the listener's thread, and for a plan in that of the cell which runs it."""
        with self._lock:
            if event["phase"] == "plan":
                self._here = contextvars.copy_context()
                self.text, self.ends, self.seconds = "", [], []
            if event["phase"] == "heard":
                self.text = event["text"]
                self.ends.append(event["end"])
                self.seconds.append(event["seconds"])
            if event["phase"] in ("plan", "heard"):
                self._here.run(self._draw)
            if event["phase"] == "end" and event["party"] == 0:
                self._here.run(self._finish)

    @property
    def lengths(self) -> list[float]:
        """Seconds of audio in each chunk."""
        return [end - before for before, end in zip([0.0, *self.ends], self.ends)]

    @property
    def factor(self) -> float:
        """Seconds of work for a second of audio, over all chunks: below 1 it keeps up."""
        return sum(self.seconds) / self.ends[-1] if self.ends else float("nan")

    def _draw(self):
        _fill(self.figure, self)
        self.line.value = (
            f"<span role='status' aria-live='polite'>heard so far: <b>{escape(self.text) or '…'}</b></span>"
        )

    def _finish(self):
        self._twin.update()

    def still(self) -> Picture:
        """The figure as it is now, to keep."""
        figure = _gauge()
        _fill(figure, self)
        late = sum(took > length for took, length in zip(self.seconds, self.lengths))
        words = f"Real-time gauge: {len(self.ends)} chunks; heard: {self.text or 'nothing yet'}."
        if self.ends:
            words += (
                f" {self.factor:.2f} seconds of work for a second of audio; {late} chunks took longer than they last."
            )
        return Picture(figure, words)

    def __repr__(self):
        return f"Hearing({self.text!r})"

    def show(self):
        """Display it here, and below it the still twin, which each run draws anew."""
        self._twin.show()


def hearing(team) -> Hearing:
    """Show what `zoo.transcribe` hears on `team` while it does: text, and the seconds of each chunk."""
    panel = Hearing(team)
    panel.show()
    return panel


def _gauge() -> go.Figure:
    figure = go.Figure()
    figure.add_bar(
        name="a chunk takes", marker_color=COLOURS[0], cliponaxis=False, textposition="outside",
        hovertemplate="up to %{x:.2f} s: %{y:.3s}s of work<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        name="it may take, to keep up", mode="lines+markers", line=dict(color=COLOURS[3], dash="dash", width=2),
        marker=dict(symbol="line-ew-open", size=14, color=COLOURS[3]),
        hovertemplate="%{y:.3s}s of audio<extra></extra>",
    )  # fmt: skip
    style(figure, height=340, xaxis_title="seconds of audio transcribed", yaxis_title="seconds")
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(title=dict(font=dict(size=14, color=GREY), x=0.01, xanchor="left"), margin=dict(t=80))
    return figure


def _fill(figure, heard):
    bars, line = figure.data
    text = [duration(s) for s in heard.seconds]
    restyle(figure, [(bars, {"x": heard.ends, "y": heard.seconds, "text": text})])
    restyle(figure, [(line, {"x": heard.ends, "y": heard.lengths})])
    figure.layout.title.text = f"“{heard.text}”" if heard.text else "silence so far"
