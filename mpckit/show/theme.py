"""One look: Okabe and Ito's colours, which colour-blind readers tell apart, and a grey for any ground."""

import plotly.graph_objects as go

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
DASHES = ("solid", "dash", "dot", "dashdot")  # colour alone must not tell two curves apart
GREY = "#7c7c7c"
FAINT = "rgba(136,136,136,0.25)"


def style(figure: go.Figure, height: int = 320, **layout) -> go.Figure:
    """plotly does not follow the page's theme: the ground is transparent, the ink a grey that light and dark carry."""
    looks = dict(
        template="none", height=height, colorway=COLOURS, font=dict(color=GREY, size=13),
        margin=dict(l=60, r=20, t=50, b=50), legend=dict(orientation="h", y=1.15, traceorder="normal"),
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
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
