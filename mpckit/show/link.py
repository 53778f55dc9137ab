"""What if the network were another: sliders for round-trip time and bandwidth, and what follows, suite by suite."""

import ipywidgets as widgets
import plotly.graph_objects as go

from ..runtime.meter import LAN, MOBILE, WAN, Link
from ..runtime.report import Offer, Report
from ..runtime.units import duration, size
from .display import CONFIG, Picture
from .theme import COLOURS, GREY, restyle, style
from .twin import Twin

PRESETS = {link.name: link for link in (LAN, WAN, MOBILE)}
PARTS = {  # with bar patterns: colour alone tells nothing apart
    "compute": (COLOURS[0], ""),
    "software": (COLOURS[4], "\\"),
    "latency": (COLOURS[1], "/"),
    "bytes": (COLOURS[2], "."),
}


def parts(offer: Offer, link: Link, compute: float, exchange: float) -> dict[str, float]:
    """Seconds of one online phase on `link`, by cause; `exchange`: software of a round."""
    latency, drain = link.seconds(offer.rounds, 0), link.seconds(0, offer.sent)
    return {"compute": compute, "software": offer.rounds * exchange, "latency": latency, "bytes": drain}


class Dials:
    """Sliders and presets that describe a link; when it changes, `draw` is called."""

    def __init__(self, start: Link = LAN):
        style_ = {"description_width": "9em"}
        options = dict(style=style_, layout=widgets.Layout(width="24em"), continuous_update=True, step=0.001)
        self.rtt = widgets.FloatLogSlider(
            start.rtt * 1e3, min=-1.5, max=3, description="round trip, ms", readout_format=".3g", **options
        )
        self.rate = widgets.FloatLogSlider(
            start.bandwidth * 8e-6, min=0, max=5, description="Mbit/s", readout_format=".0f", **options
        )
        self.preset = widgets.ToggleButtons(
            options=list(PRESETS), value=start.name, style={"button_width": "4.4em"},
            layout=widgets.Layout(flex="0 0 auto"),
        )  # fmt: skip
        wrap = widgets.Layout(flex_flow="row wrap")
        self.dials = widgets.HBox([self.preset, self.rtt, self.rate], layout=wrap)
        self.preset.observe(self._take_preset, "value")
        for slider in (self.rtt, self.rate):
            slider.observe(lambda change: self.draw(), "value")

    @property
    def link(self) -> Link:
        """The link that the sliders describe."""
        return Link("as set", self.rtt.value * 1e-3, self.rate.value * 1e6 / 8)

    def _take_preset(self, change):
        link = PRESETS[change["new"]]
        self.rtt.value, self.rate.value = link.rtt * 1e3, link.bandwidth * 8e-6

    def draw(self):
        """Redraw for the link that is set."""
        raise NotImplementedError

    def text(self) -> str:
        """What is drawn, in words."""
        raise NotImplementedError

    def __repr__(self):
        return self.text()


class LinkSliders(Dials):
    """Sliders, presets and bars; `put` adds a suite, or measured seconds of one. It shows itself as a cell's last line.

    A plan knows no seconds of arithmetic or software: until a run is measured its bars are those of the network alone.
    `exchange` is the software of a round in seconds, as measured by the latest run: the machine's, so for every suite.
    """

    exchange = 0.0

    def __init__(self, *reports: Report):
        super().__init__()
        self._known: dict[str, tuple[Offer, float, float | None]] = {}
        self.words = widgets.HTML()
        self.figure = go.FigureWidget(_panel())
        self.figure._config = self.figure._config | CONFIG | {"responsive": True}
        self.box = widgets.VBox([self.dials, self.figure, self.words])
        for report in reports:
            self.put(report)
        self.draw()

    def put(self, report: Report, compute: float | None = None, measured: float | None = None):
        """Show `report`, and what it was chosen from, by suite; `compute` and `measured` are its seconds here."""
        self.exchange = report.exchange or self.exchange
        for offer in report.offers:
            if offer.suite != report.suite:
                self._known.setdefault(offer.suite, (offer, 0.0, None))
        self._known[report.suite] = Offer.of(report), compute or 0.0, measured

    def predicted(self) -> dict[str, float]:
        """Suite → seconds of one online phase on the link that is set."""
        return {
            suite: sum(parts(offer, self.link, compute, self.exchange).values())
            for suite, (offer, compute, _) in self._known.items()
        }

    def draw(self):
        """Redraw for the link that is set."""
        self._fill(self.figure, [(suite, self.link, *known) for suite, known in self._known.items()])
        with self.figure.batch_update():
            self.figure.layout.height = 150 + 46 * max(1, len(self._known))
        self.words.value = f"<span role='status'>{self.text()}</span>"

    def text(self) -> str:
        """The same in words."""
        link, said = self.link, []
        for suite, (offer, _, measured) in self._known.items():
            text = f"suite {suite}: {duration(self.predicted()[suite])} predicted"
            text += f", {duration(measured)} measured here" if measured else ""
            said.append(f"{text}; {offer.rounds} rounds, {size(offer.sent)} sent by a party")
        if self.exchange:
            said.append(f"software of an exchange: {duration(self.exchange)} a round, measured here")
        return f"{link.rtt * 1e3:.3g} ms and {link.bandwidth * 8e-6:.4g} Mbit/s. " + " · ".join(said)

    def still(self) -> Picture:
        """Every suite on every preset: what stays on a page without sliders."""
        figure, rows = _panel(), []
        for suite, known in self._known.items():
            rows += [(f"{suite} on {name}", link, *known) for name, link in PRESETS.items()]
        self._fill(figure, rows)
        figure.update_layout(height=150 + 30 * len(rows))
        said = ", ".join(
            f"{name} {duration(sum(parts(offer, link, compute, self.exchange).values()))}"
            for name, link, offer, compute, _ in rows
        )
        software = f"; software of an exchange {duration(self.exchange)} a round" if self.exchange else ""
        return Picture(figure, f"Stacked bars: seconds of one run, by suite and link: {said}{software}.")

    def _fill(self, figure, rows):
        names = [row[0] for row in rows]
        seconds = [parts(offer, link, compute, self.exchange) for _, link, offer, compute, _ in rows]
        new = [(trace, {"x": [s[kind] for s in seconds], "y": names}) for trace, kind in zip(figure.data, PARTS)]
        known = [(measured, name) for name, *_, measured in rows if measured]
        restyle(figure, [*new, (figure.data[-1], {"x": [m for m, _ in known], "y": [n for _, n in known]})])

    def _ipython_display_(self):
        Twin(self.box, self.still).show()


def link_sliders(*reports: Report) -> LinkSliders:
    """Sliders for the network, and what one run of each report (one for each suite) takes on it."""
    sliders = LinkSliders()
    for report in reports:
        sliders.put(report, report.compute())
    sliders.draw()
    return sliders


def _panel() -> go.Figure:
    figure = go.Figure()
    for kind, (colour, pattern) in PARTS.items():
        figure.add_bar(
            orientation="h", name=kind, marker=dict(color=colour, pattern_shape=pattern),
            hovertemplate="%{y}: " + kind + " %{x:.3s}s<extra></extra>",
        )  # fmt: skip
    figure.add_scatter(
        mode="markers", name="measured here", marker=dict(symbol="diamond", size=12, color=GREY),
        hovertemplate="%{y}: measured %{x:.3s}s<extra></extra>",
    )  # fmt: skip
    style(figure, barmode="stack", height=200, margin=dict(t=40, b=45, l=60, r=20))
    figure.update_xaxes(
        title_text="seconds of one run, online", exponentformat="SI", ticksuffix="s ", rangemode="tozero"
    )
    figure.update_yaxes(autorange="reversed", gridcolor="rgba(0,0,0,0)", type="category")
    return figure
