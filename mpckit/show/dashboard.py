"""The figures of the dashboard: seconds and bytes by layer, bytes and rounds over time; filled at each redrawing."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ..runtime.units import size
from .theme import COLOURS, DASHES, restyle, style
from .watch import Watch

KINDS = {"compute": "", "wire": "/", "waiting": "."}  # with bar patterns: colour alone tells nothing apart
POINTS = 300  # per curve
SECONDS = dict(exponentformat="SI", ticksuffix="s ")
BYTES = dict(exponentformat="SI", ticksuffix="B ")


def panels(parties: int) -> go.Figure:
    """Empty axes: bars by layer above, one curve for each party below."""
    figure = make_subplots(
        2, 2, row_heights=[0.56, 0.44], horizontal_spacing=0.1, vertical_spacing=0.22,
        subplot_titles=("seconds of a party, by layer", "sent by a party, and rounds", "sent so far", "rounds so far"),
    )  # fmt: skip
    for colour, (kind, pattern) in zip(COLOURS, KINDS.items()):
        figure.add_bar(
            orientation="h", name=kind, row=1, col=1, marker=dict(color=colour, pattern_shape=pattern), legend="legend",
            hovertemplate="%{y}: " + kind + " %{x:.3s}s<extra></extra>",
        )  # fmt: skip
    figure.add_bar(
        orientation="h", marker_color=COLOURS[3], row=1, col=2, showlegend=False, cliponaxis=False,
        textposition="outside", hovertemplate="%{y}: %{text}<extra></extra>",
    )  # fmt: skip
    for column, unit in ((1, "B"), (2, " rounds")):
        for party in range(parties):
            figure.add_scatter(
                x=[0], y=[0], mode="lines", row=2, col=column, name=f"party {party}", legendgroup=f"party {party}",
                line=dict(dash=DASHES[party % 4], color=COLOURS[party % 7], width=2.5, shape="hv"), legend="legend2",
                showlegend=column == 1, hovertemplate=f"party {party}: " + "%{y:.4s}" + unit + "<extra></extra>",
            )  # fmt: skip
    style(figure, height=620, barmode="stack")
    figure.update_yaxes(autorange="reversed", gridcolor="rgba(0,0,0,0)", type="category", row=1)
    figure.update_yaxes(showticklabels=False, row=1, col=2)
    figure.update_xaxes(title_text="seconds since the parties began", rangemode="tozero", row=2)
    figure.update_yaxes(rangemode="tozero", row=2)
    figure.update_xaxes(row=1, col=1, **SECONDS)
    figure.update_xaxes(row=1, col=2, **BYTES)
    figure.update_yaxes(row=2, col=1, **BYTES)
    key = dict(orientation="h", bgcolor="rgba(0,0,0,0)", x=0, xanchor="left", yanchor="top")
    figure.update_layout(legend=key | dict(y=0.475), legend2=key | dict(y=-0.1), margin=dict(t=30, b=60))
    return figure


def fill(figure: go.Figure, watch: Watch) -> None:
    """Have `figure` show what `watch` knows."""
    names, spent = list(watch.layers), list(watch.layers.values())
    new = [
        (trace, {"x": [getattr(layer, kind) for layer in spent], "y": names}) for trace, kind in zip(figure.data, KINDS)
    ]
    bars, curves = figure.data[len(KINDS)], figure.data[len(KINDS) + 1 :]
    sent = [max(layer.sent.values(), default=0) for layer in spent]
    text = [f"{size(s)}, {layer.rounds}" for s, layer in zip(sent, spent)]
    new.append((bars, {"x": sent, "y": names, "text": text}))
    for party, curve in enumerate(watch.curves):
        step = max(1, len(curve.seconds) // POINTS)
        seconds = [*curve.seconds[::step], curve.seconds[-1]]
        for trace, values in ((curves[party], curve.sent), (curves[party + watch.parties], curve.rounds)):
            new.append((trace, {"x": seconds, "y": [*values[::step], values[-1]]}))
    restyle(figure, new)
    with figure.batch_update():
        figure.layout.xaxis2.range = [0, 1.35 * max(sent, default=1)]  # room for the text beside the longest bar
        figure.layout.height = 420 + 22 * max(len(names), 9)
