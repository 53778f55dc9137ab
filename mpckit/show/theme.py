"""One look for all figures: the Okabe–Ito colours, which colour-blind readers can tell apart, and greys that fit light and dark pages."""

import plotly.graph_objects as go

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
GREY = "#888888"


def style(figure: go.Figure, height: int = 320, **layout) -> go.Figure:
    grid = dict(gridcolor="rgba(136,136,136,0.25)", zerolinecolor="rgba(136,136,136,0.5)")
    figure.update_layout(
        template="none", height=height, colorway=COLOURS, font=dict(color=GREY, size=13), margin=dict(l=60, r=20, t=50, b=50),
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", legend=dict(orientation="h", y=1.15), **layout,
    )  # fmt: skip
    figure.update_xaxes(**grid)
    figure.update_yaxes(**grid)
    return figure
