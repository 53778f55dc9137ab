"""One look: Okabe and Ito's colours, which colour-blind readers tell apart, and a grey for any ground."""

import plotly.graph_objects as go

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
DASHES = ("solid", "dash", "dot", "dashdot")  # colour alone must not tell two curves apart
GREY = "#7c7c7c"
FAINT = "rgba(136,136,136,0.25)"


def restyle(figure: go.Figure, new: list[tuple]) -> None:
    """Give traces new values: (trace, {property: value}) each, in as few updates as is safe.

    In one update a property is told for all of its traces, and those where it did not change lose it in the browser:
    only traces of which the same properties change may share one.
    """
    groups: dict[tuple, list] = {}
    for trace, values in new:
        changed = {name: value for name, value in values.items() if list(getattr(trace, name) or ()) != list(value)}
        if changed:
            groups.setdefault(tuple(sorted(changed)), []).append((trace, changed))
    for group in groups.values():
        with figure.batch_update():
            for trace, changed in group:
                trace.update(changed, overwrite=True)


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
