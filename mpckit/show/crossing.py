"""Which suite is faster on which network: seconds against the round-trip time, and where the curves cross."""

import ipywidgets as widgets
import plotly.graph_objects as go

from ..runtime.meter import WAN, Link
from ..runtime.report import Offer, Report
from ..runtime.units import duration, size
from .display import CONFIG, Picture
from .link import Dials
from .theme import COLOURS, DASHES, FAINT, GREY, restyle, style
from .twin import view

RTTS = [10 ** (k / 10 - 4) for k in range(41)]  # 0.1 ms to 1 s
RATES = {"10 Mbit/s": 1e7, "100 Mbit/s": 1e8, "305 Mbit/s": 3.05e8, "1 Gbit/s": 1e9, "10 Gbit/s": 1e10}
SYMBOLS = ("diamond", "x", "square", "triangle-up")
KINDS = (False, True)  # whether what is dealt comes over the same line


def fastest(costs: dict[str, tuple[int, float]]) -> list[tuple[str, float]]:
    """Who is fastest from which round trip on: [(name, seconds), …], of {name: (rounds, seconds without latency)}."""
    now = min(costs, key=lambda name: costs[name][::-1])
    out = [(now, 0.0)]
    while True:
        # The next to win has fewer rounds; it does where the rounds saved are worth what it loses on bytes.
        rounds, fixed = costs[now]
        starts = {name: 2 * (f - fixed) / (rounds - r) for name, (r, f) in costs.items() if r < rounds}
        if not starts:
            return out
        now = min(starts, key=lambda name: (starts[name], costs[name][0]))
        out.append((now, starts[now]))


def winners(costs: dict[str, tuple[int, float]]) -> str:
    """`fastest` in words: "bits up to 94 ms, then fss"."""
    order = fastest(costs)
    ends = [f"{name} up to {duration(end)}" for (name, _), (_, end) in zip(order, order[1:])]
    return ", then ".join([*ends, order[-1][0]])


class Crossing(Dials):
    """What `crossing` returns: sliders and curves; it shows itself as the last line of a cell.

    `put` adds what was measured. The figure is a widget; `still` is what stays on a page.
    """

    def __init__(self, report: Report):
        super().__init__(WAN)
        self.offers: dict[str, Offer] = {offer.suite: offer for offer in report.offers}
        self.compute = dict.fromkeys(self.offers, 0.0)
        self.points: list[tuple[str, Link, float]] = []  # suite, link, measured seconds
        self.words = widgets.HTML()
        self.figure = go.FigureWidget(self._panel())
        self.figure._config = self.figure._config | CONFIG | {"responsive": True}
        self.figure.update_layout(autosize=True)
        self.box = widgets.VBox([self.dials, self.figure, self.words])
        self.draw()

    def put(self, suite: str, seconds: float, link: Link | None = None):
        """One run of `suite` was measured on `link`, or with no link but this machine: that much is computing."""
        if link is None:
            self.compute[suite] = seconds
        else:
            self.points.append((suite, link, seconds))
        self.draw()

    def seconds(self, suite: str, link: Link, dealt: bool = False) -> float:
        """Predicted for one run online; `dealt`: what the dealer sends comes over the same line, now."""
        offer = self.offers[suite]
        return link.seconds(offer.rounds, offer.sent + dealt * offer.offline_bytes, self.compute[suite])

    def winners(self, bandwidth: float, dealt: bool = False) -> str:
        """Who is fastest from the shortest round trip to the longest, in words."""
        link = Link("", 0.0, bandwidth)
        return winners({name: (offer.rounds, self.seconds(name, link, dealt)) for name, offer in self.offers.items()})

    # drawing

    def draw(self):
        """Redraw for the link that is set."""
        link = self.link
        at = [self.seconds(suite, link, dealt) for suite in self.offers for dealt in KINDS]
        values = [*self._curves(link.bandwidth), ([link.rtt * 1e3] * len(at), at)]
        restyle(self.figure, [(trace, {"x": x, "y": y}) for trace, (x, y) in zip(self.figure.data, values)])
        with self.figure.batch_update():
            self.figure.layout.title.text = self._title(link.bandwidth)
            self.figure.layout.shapes = self._lines(link.bandwidth)
        self.words.value = f"<span role='status'>{self.text()}</span>"

    def text(self) -> str:
        """The setting and its seconds in words."""
        link = self.link
        said = [
            f"{suite} {duration(self.seconds(suite, link))}, with what is dealt "
            f"{duration(self.seconds(suite, link, True))}"
            for suite in self.offers
        ]
        return f"{link.rtt * 1e3:.3g} ms and {link.bandwidth * 8e-6:.4g} Mbit/s: {'; '.join(said)}."

    def still(self) -> Picture:
        """The same with a slider for the bandwidth that works on a page without a kernel."""
        steps = []
        for name, rate in RATES.items():
            x, y = zip(*self._curves(rate / 8))
            update = {"title.text": self._title(rate / 8), "shapes": self._lines(rate / 8)}
            steps.append(dict(label=name, method="update", args=[{"x": x, "y": y}, update, list(range(len(x)))]))
        start = 1
        figure = self._panel()
        for trace, x, y in zip(figure.data, *(steps[start]["args"][0][axis] for axis in "xy")):
            trace.x, trace.y = x, y
        figure.data = figure.data[:-1]
        slider = dict(
            active=start, steps=steps, x=0, len=1, y=-0.22, yanchor="top", pad=dict(t=0), font=dict(color=GREY),
            currentvalue=dict(prefix="bandwidth ", font=dict(color=GREY)), bgcolor=FAINT, bordercolor=GREY,
        )  # fmt: skip
        figure.update_layout(
            sliders=[slider], height=560, margin=dict(b=150), shapes=steps[start]["args"][1]["shapes"],
            title_text=steps[start]["args"][1]["title.text"],
        )  # fmt: skip
        return Picture(figure, self._alt(RATES))

    def _alt(self, rates: dict[str, float]) -> str:
        prices = "; ".join(
            f"{o.suite} {o.rounds} rounds, {size(o.sent)} sent, {size(o.offline_bytes)} dealt"
            for o in self.offers.values()
        )
        ways = "; ".join(
            f"{way} {', '.join(f'at {name} {self.winners(rate / 8, dealt)}' for name, rate in rates.items())}"
            for way, dealt in (("if all was dealt before", False), ("if that travels too", True))
        )
        measured = "; ".join(
            f"{suite} at {link.rtt * 1e3:g} ms {duration(seconds)}, predicted {duration(self.seconds(suite, link))}"
            for suite, link, seconds in self.points
        )
        said = f"Curves: seconds of one run against the round-trip time. {prices}. Fastest by round trip, {ways}."
        return said + (f" Measured: {measured}." if measured else "")

    def _curves(self, bandwidth: float) -> list[tuple[list, list]]:
        """(x, y) of every trace but the last."""
        out = []
        for suite in self.offers:
            for dealt in KINDS:
                out.append((_ms(RTTS), [self.seconds(suite, Link("", rtt, bandwidth), dealt) for rtt in RTTS]))
            mine = [(link.rtt, seconds) for name, link, seconds in self.points if name == suite]
            out.append((_ms([rtt for rtt, _ in mine]), [seconds for _, seconds in mine]))
        return out

    def _title(self, bandwidth: float) -> str:
        return (
            f"Fastest, all dealt before: {self.winners(bandwidth)}<br>"
            f"Fastest, if that travels too: {self.winners(bandwidth, True)}"
        )

    def _lines(self, bandwidth: float) -> list[dict]:
        """A dotted line at each round trip where the curves cross, if what is dealt travels too, and if not."""
        lines = []
        for dealt in KINDS:
            fixed = {name: self.seconds(name, Link("", 0.0, bandwidth), dealt) for name in self.offers}
            order = fastest({name: (self.offers[name].rounds, fixed[name]) for name in self.offers})
            lines += [
                dict(
                    type="line", x0=rtt * 1e3, x1=rtt * 1e3, yref="paper", y0=0, y1=1,
                    line=dict(color=GREY, width=1.5, dash="dot" if dealt else "solid"),
                )
                for _, rtt in order[1:] if RTTS[0] <= rtt <= RTTS[-1]
            ]  # fmt: skip
        return lines

    def _panel(self) -> go.Figure:
        figure = go.Figure()
        for k, suite in enumerate(self.offers):
            colour = COLOURS[(0, 3, 2, 4)[k % 4]]
            for dealt in KINDS:
                name = f"{suite}{', with what is dealt' if dealt else ''}"
                figure.add_scatter(
                    mode="lines", name=name, hovertemplate="%{x:.3g} ms: %{y:.3s}s<extra>" + name + "</extra>",
                    line=dict(color=colour, width=1.5 if dealt else 3, dash="dot" if dealt else DASHES[k % 2]),
                )  # fmt: skip
            figure.add_scatter(
                mode="markers", name=f"{suite}, measured", marker=dict(color=colour, size=11, symbol=SYMBOLS[k % 4]),
                hovertemplate=f"{suite}" + " at %{x:.3g} ms: measured %{y:.3s}s<extra></extra>",
            )  # fmt: skip
        figure.add_scatter(
            mode="markers", name="as set", hovertemplate="%{x:.3g} ms: %{y:.3s}s<extra>as set</extra>",
            marker=dict(color=GREY, size=11, symbol="circle-open", line_width=2),
        )  # fmt: skip
        style(figure, height=460, margin=dict(t=105))
        figure.update_layout(title=dict(font=dict(size=14, color=GREY), x=0.01, xanchor="left", y=0.97, yanchor="top"))
        figure.update_layout(legend=dict(y=1.02, yanchor="bottom", x=0))
        figure.update_xaxes(title_text="round-trip time, ms", type="log", dtick=1, range=[-1, 3])
        figure.update_yaxes(title_text="seconds of one run", type="log", dtick=1)
        return figure

    def _repr_mimebundle_(self, **kwargs):
        return view(self.box, "Sliders for a link: run the cell to move them. A still figure follows.")


def crossing(report: Report) -> Crossing:
    """Seconds against the round-trip time for all that `report` compares (a plan with suite="auto": every suite).

    Solid and dashed: online, when all was dealt before. Dotted: what is dealt comes over the same line, now. No
    arithmetic is counted until `put` says how long it takes.
    """
    return Crossing(report)


def _ms(seconds):
    return [s * 1e3 for s in seconds]
