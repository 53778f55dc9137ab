"""Figures of a bill and of a secret, each a plain plotly figure."""

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from ..ring import Ring
from ..runtime.meter import LAN, WAN, Link
from ..runtime.report import Report
from ..share import split
from ..stream import Stream, fresh_seed
from .theme import COLOURS, GREY, style

PHASE_COLOURS = dict(zip(("setup", "offline", "online"), (COLOURS[5], COLOURS[1], COLOURS[0])))


def by_layer(report: Report) -> go.Figure:
    """Online bytes and rounds of each layer, as two rows of bars over the same layers."""
    layers = [line for line in report.by_layer().values() if line.rounds]
    names = [line.path for line in layers]
    figure = make_subplots(1, 2, shared_yaxes=True, subplot_titles=("kB sent by a party", "rounds"), horizontal_spacing=0.04)
    bars = dict(y=names, orientation="h", showlegend=False)
    figure.add_bar(x=[line.sent / 1e3 for line in layers], marker_color=COLOURS[0], hovertemplate="%{y}: %{x:.3g} kB<extra></extra>", **bars)
    figure.add_bar(x=[line.rounds for line in layers], marker_color=COLOURS[1], row=1, col=2, hovertemplate="%{y}: %{x} rounds<extra></extra>", **bars)
    style(figure, height=120 + 28 * len(names))
    figure.update_yaxes(autorange="reversed", automargin=True, gridcolor="rgba(0,0,0,0)")
    return figure


def timeline(report: Report, link: Link | None = None) -> go.Figure:
    """Cumulative seconds over the run, layer by layer: compute, waiting for the link, and bytes on the link."""
    link = link or report.link
    layers = [line for line in report.by_layer().values() if line.rounds]
    names = [line.path for line in layers]
    parts = {
        "compute": [line.compute for line in layers],
        "latency": [line.rounds * link.rtt / 2 for line in layers],
        "bytes": [line.sent / link.bandwidth for line in layers],
    }
    figure = go.Figure()
    for colour, pattern, (name, seconds) in zip(COLOURS, ("", "/", "."), parts.items()):
        figure.add_bar(
            x=[s * 1e3 for s in seconds], y=names, orientation="h", name=name, marker=dict(color=colour, pattern_shape=pattern),
            hovertemplate="%{y}: %{x:.3g} ms " + name + "<extra></extra>",
        )  # fmt: skip
    style(figure, height=140 + 28 * len(names), barmode="stack", xaxis_title=f"ms on {link.name}")
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


def what_if(report: Report) -> go.Figure:
    """Seconds of one inference over the link's round-trip time, for three bandwidths; LAN and WAN are marked."""
    rtts = [10 ** (k / 8) * 1e-4 for k in range(25)]  # 0.1 ms to 100 ms
    figure = go.Figure()
    for rate, dash in ((1e7, "dot"), (1e8, "dash"), (1e9, "solid")):
        seconds = [report.seconds(Link("", rtt, rate / 8)) for rtt in rtts]
        figure.add_scatter(
            x=[r * 1e3 for r in rtts], y=seconds, mode="lines", name=f"{rate / 1e6:.0f} Mbit/s", line=dict(dash=dash),
            hovertemplate="%{x:.3g} ms: %{y:.3g} s<extra></extra>",
        )  # fmt: skip
    marks = [link for link in (LAN, WAN)]
    figure.add_scatter(
        x=[link.rtt * 1e3 for link in marks], y=[report.seconds(link) for link in marks], text=[link.name for link in marks],
        mode="markers+text", textposition="top center", marker=dict(size=11, symbol="diamond"), name="as reported",
    )  # fmt: skip
    style(figure, xaxis_title="round-trip time, ms", yaxis_title="seconds")
    figure.update_xaxes(type="log")
    figure.update_yaxes(type="log")
    return figure


def view_as(image: torch.Tensor, parties: int = 2, insecure_seed: int | None = None) -> go.Figure:
    """Choose who you are: the owner sees the picture, each party its share, an eavesdropper what is opened in a product.

    `image` [H, W] is shared afresh for the figure, with masks from `insecure_seed` where a saved notebook should not change.
    """
    ring = Ring()
    seed = fresh_seed() if insecure_seed is None else insecure_seed.to_bytes(32, "little")
    encoded = ring.encode(image)
    pieces = split(encoded, [Stream(seed, f"view/{p}") for p in range(parties - 1)])
    masked = encoded - Stream(seed, "view/mask").words(encoded.shape)
    views = [("the owner", image.double())]
    views += [(f"party {p}", piece.double() / 2.0**63) for p, piece in enumerate(pieces)]
    views += [("the wire", masked.double() / 2.0**63), ("all shares added", ring.decode(_total(pieces)).double())]
    figure = go.Figure()
    for k, (name, picture) in enumerate(views):
        figure.add_heatmap(
            z=picture.numpy().round(4), colorscale="Greys", showscale=False, visible=k == 0, name=name,
            hovertemplate="row %{y}, column %{x}: %{z}<extra>" + name + "</extra>",
        )  # fmt: skip
    buttons = [
        dict(label=name, method="update", args=[{"visible": [j == k for j in range(len(views))]}, {"title.text": f"what {name} see{'s' if k <= parties else ''}"}])
        for k, (name, _) in enumerate(views)
    ]  # fmt: skip
    menu = dict(type="buttons", direction="down", x=-0.05, xanchor="right", y=1, buttons=buttons, font=dict(color=GREY), bgcolor="rgba(136,136,136,0.1)")
    style(figure, height=380, width=560, updatemenus=[menu], title=dict(text="what the owner sees"))
    figure.update_xaxes(visible=False, constrain="domain")
    figure.update_yaxes(visible=False, autorange="reversed", scaleanchor="x")
    figure.update_layout(margin=dict(l=170))
    return figure


def _total(pieces):
    total = pieces[0]
    for piece in pieces[1:]:
        total = total + piece
    return total


