"""One look for all figures: the Okabe–Ito colours, which colour-blind readers can tell apart, and greys for light and dark."""

import plotly.graph_objects as go

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
DASHES = ("solid", "dash", "dot", "dashdot")  # colour alone must not tell two curves apart
GREY = "#888888"
FAINT = "rgba(136,136,136,0.25)"


def style(figure: go.Figure, height: int = 320, **layout) -> go.Figure:
    """plotly does not follow the page's theme, so the ground is transparent and the ink is a grey that both grounds carry."""
    looks = dict(
        template="none", height=height, colorway=COLOURS, font=dict(color=GREY, size=13), margin=dict(l=60, r=20, t=50, b=50),
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", legend=dict(orientation="h", y=1.15, traceorder="normal"),
    )  # fmt: skip
    figure.update_layout(looks | layout)
    figure.update_annotations(font=dict(color=GREY, size=13))
    axis = dict(
        gridcolor=FAINT,
        zerolinecolor="rgba(136,136,136,0.5)",
        automargin=True,
        title=dict(standoff=8, font=dict(size=13)),
    )
    figure.update_xaxes(**axis)
    figure.update_yaxes(ticksuffix=" ", **axis)
    return figure
