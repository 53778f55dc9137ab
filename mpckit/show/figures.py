"""Figures of a bill, each with its message in words. They read a report and nothing else."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ..runtime.meter import LAN, WAN, Link
from ..runtime.report import Line, Report, duration, size
from .display import Picture
from .theme import COLOURS, DASHES, style

BYTES = dict(exponentformat="SI", ticksuffix="B ")  # 5 MB at a tick, not 5,000,000


def layers(report: Report, phase: str = "online", depth: int | None = None) -> list[Line]:
    """The layers that speak, in the order in which they first do."""
    return [line for line in report.by_layer(phase, depth).values() if line.rounds]


def by_layer(report: Report, phase: str = "online", depth: int | None = None) -> Picture:
    """Bytes and rounds of each layer, as two rows of bars over the same names; `depth` as for `report.by_layer`."""
    figure = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.05)
    lines = layers(report, phase, depth)
    bars(figure, lines)
    style(figure, height=110 + 26 * len(lines), showlegend=False)
    _bar_axes(figure)
    return Picture(figure, _alt_layers(report, lines, phase))


def summary(report: Report) -> Picture:
    """The still twin of the live figure: bars by layer, and each party's bytes over the rounds."""
    lines = layers(report)
    figure = panels(report.parties, "rounds so far")
    bars(figure, lines)
    for party, trace in enumerate(figure.data[2:]):
        sent, rounds = [0], [0]
        for line in lines:
            rounds.append(rounds[-1] + line.rounds)
            sent.append(sent[-1] + line.by_party.get(party, 0))
        trace.x, trace.y = rounds, sent
    return Picture(figure, _alt_layers(report, lines, "online"))


def panels(parties: int, time_title: str) -> go.Figure:
    """Empty axes for the live figure and its twin: two rows of bars above, one curve for each party below."""
    figure = make_subplots(
        2, 2, shared_yaxes=True, specs=[[{}, {}], [{"colspan": 2}, None]],
        row_heights=[0.58, 0.42], horizontal_spacing=0.05, vertical_spacing=0.2,
    )  # fmt: skip
    bars(figure, [])
    for party in range(parties):
        figure.add_scatter(
            x=[0], y=[0], mode="lines", row=2, col=1, name=f"party {party}",
            line=dict(dash=DASHES[party % len(DASHES)], color=COLOURS[party % len(COLOURS)], width=2.5),
            hovertemplate=f"party {party}: " + "%{y:.4s}B<extra></extra>",
        )  # fmt: skip
    style(figure, height=600)
    _bar_axes(figure)
    figure.update_layout(legend=dict(y=0.36, yanchor="top", x=0.02, bgcolor="rgba(0,0,0,0)"))
    figure.update_xaxes(title_text=time_title, rangemode="tozero", row=2, col=1)
    figure.update_yaxes(title_text="sent so far", rangemode="tozero", row=2, col=1, **BYTES)
    return figure


def bars(figure: go.Figure, lines: list[Line]) -> None:
    """Draw bytes and rounds of `lines` as the first two traces, or redraw them there."""
    names = [line.path for line in lines]
    sent, rounds = [line.sent for line in lines], [line.rounds for line in lines]
    if not figure.data:
        for column in (0, 1):
            figure.add_bar(
                orientation="h", marker_color=COLOURS[column], row=1, col=column + 1, showlegend=False,
                cliponaxis=False, textposition="outside", hovertemplate="%{y}: %{text}<extra></extra>",
            )  # fmt: skip
    values = (sent, map(size, sent)), (rounds, map(str, rounds))
    for trace, axis, (x, text) in zip(figure.data, figure.select_xaxes(row=1), values):
        trace.x, trace.y, trace.text = x, names, list(text)
        axis.range = [0, 1.25 * max(x, default=1)]  # room for the text beside the longest bar


def _bar_axes(figure):
    for column, title in enumerate(("sent by a party", "rounds")):
        figure.update_xaxes(title_text=title, row=1, col=column + 1)
        figure.update_yaxes(autorange="reversed", gridcolor="rgba(0,0,0,0)", type="category", row=1, col=column + 1)
    figure.update_xaxes(row=1, col=1, **BYTES)
    figure.update_layout(margin=dict(t=30))


def _alt_layers(report, lines, phase):
    parts = ", ".join(f"{line.path} {line.sent} bytes in {line.rounds}" for line in lines)
    total = report.total(phase)
    head = f"Bars, {phase}, by layer (bytes sent by a party, and rounds)"
    return f"{head}: {parts}. In all {total.sent} bytes in {total.rounds} rounds."


def timeline(report: Report, link: Link | None = None) -> Picture:
    """Seconds by layer on a link: compute, waiting for the link, bytes on it, and software of exchanges if known."""
    link = link or report.link
    lines = layers(report)
    names = [line.path for line in lines]
    parts = {
        "compute": [line.compute for line in lines],
        "latency": [line.rounds * link.rtt / 2 for line in lines],
        "bytes": [line.sent / link.bandwidth for line in lines],
    }
    looks = [*zip(COLOURS, ("", "/", "."))]
    if report.exchange:
        parts["software"] = [line.rounds * report.exchange for line in lines]
        looks.append((COLOURS[4], "\\"))
    figure = go.Figure()
    for (colour, pattern), (name, seconds) in zip(looks, parts.items()):
        figure.add_bar(
            x=[s * 1e3 for s in seconds], y=names, orientation="h", name=name,
            marker=dict(color=colour, pattern_shape=pattern),
            hovertemplate="%{y}: %{x:.3g} ms " + name + "<extra></extra>",
        )  # fmt: skip
    style(figure, height=140 + 28 * len(names), barmode="stack", xaxis_title=f"ms on {link.name}")
    figure.update_yaxes(autorange="reversed", gridcolor="rgba(0,0,0,0)")
    sums = ", ".join(f"{name} {duration(sum(seconds))}" for name, seconds in parts.items())
    return Picture(figure, f"Stacked bars: milliseconds by layer on {link.name}. In all: {sums}.")


RATES = {"10 Mbit/s": 1e7, "100 Mbit/s": 1e8, "1 Gbit/s": 1e9}


def what_if(report: Report, compute: float | None = None) -> Picture:
    """Seconds of one run over the link's round-trip time, for three bandwidths; LAN and WAN are marked.

    `compute`: seconds to add to those of the network (default: arithmetic, and software of exchanges, as measured;
    0 shows the network alone, the same everywhere).
    """
    exchange = report.exchange if compute is None else 0.0
    compute = report.compute() if compute is None else compute

    def seconds(link):
        return link.seconds(report.rounds(), report.sent(), compute, exchange)

    rtts = [10 ** (k / 8 - 4) for k in range(25)]  # 0.1 ms to 100 ms
    figure = go.Figure()
    for (name, rate), dash, colour in zip(RATES.items(), ("dot", "dash", "solid"), COLOURS[2:]):
        figure.add_scatter(
            x=[r * 1e3 for r in rtts], y=[seconds(Link("", rtt, rate / 8)) for rtt in rtts], mode="lines", name=name,
            line=dict(dash=dash, color=colour, width=2.5),
            hovertemplate="%{x:.3g} ms, " + name + ": %{y:.3g} s<extra></extra>",
        )  # fmt: skip
    marks = (LAN, WAN)
    figure.add_scatter(
        x=[link.rtt * 1e3 for link in marks], y=[seconds(link) for link in marks], mode="markers+text",
        text=[f"{link.name}, {duration(seconds(link))}" for link in marks], textposition=["bottom right", "top left"],
        marker=dict(size=11, symbol="diamond", color=COLOURS[0]), name="LAN and WAN as on the bill", hoverinfo="text",
    )  # fmt: skip
    style(figure, height=380, xaxis_title="round-trip time, ms", yaxis_title="seconds for one run")
    figure.update_xaxes(type="log", dtick=1)
    figure.update_yaxes(type="log", dtick=1)
    known = ", ".join(f"{duration(seconds(link))} on {link.name} ({link.rtt * 1e3:g} ms)" for link in marks)
    return Picture(
        figure,
        f"Curves: seconds against the round-trip time, for 10, 100 and 1000 Mbit/s: {report.rounds()} rounds and "
        f"{size(report.sent())} take {known}.",
    )
