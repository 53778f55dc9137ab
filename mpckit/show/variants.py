"""Versions of one program, layer by layer: what does another choice cost?"""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ..runtime.report import Line, Report, size, total
from .display import Picture
from .figures import BYTES
from .theme import COLOURS, FAINT, GREY, style


def variants(reports: dict[str, Report], depth: int | None = None) -> Picture:
    """Bytes and rounds of each layer, on the same axes for every version; a button for each.

    `depth` as for `report.by_layer`. The still picture has all versions side by side.
    """
    tables = {name: report.by_layer(depth=depth) for name, report in reports.items()}
    lines = {name: [_line(table, path) for path in _paths(tables)] for name, table in tables.items()}
    figure = _axes(lines)
    for k, name in enumerate(lines):
        _bars(figure, name, lines[name], k, visible=k == 0, showlegend=False)
    buttons = [
        dict(
            label=name,
            method="update",
            args=[
                {"visible": [j // 2 == k for j in range(2 * len(lines))]},
                {"title.text": _sums(name, reports[name])},
            ],
        )
        for k, name in enumerate(lines)
    ]
    menu = dict(
        type="buttons", direction="right", x=0, xanchor="left", y=1, yanchor="bottom", buttons=buttons, showactive=True,
        font=dict(color=GREY), bgcolor="rgba(136,136,136,0.08)", bordercolor=FAINT, pad=dict(t=0, b=34),
    )  # fmt: skip
    first = next(iter(reports))
    title = dict(
        text=_sums(first, reports[first]), font=dict(size=14, color=GREY), x=0.01, xanchor="left",
        y=1, yref="paper", yanchor="bottom", pad=dict(b=10),
    )  # fmt: skip
    figure.update_layout(height=170 + 30 * len(lines[first]), updatemenus=[menu], title=title, margin=dict(t=90))
    words = "; ".join(_sums(name, report) for name, report in reports.items())
    changed = ", ".join(path for path, *row in zip(_paths(tables), *lines.values()) if len({_cost(v) for v in row}) > 1)
    alt = f"Bars, online, by layer, for {len(reports)} versions. {words}. Layers that differ: {changed or 'none'}."
    return Picture(figure, alt, _still(lines))


def _paths(tables) -> list[str]:
    """All layers that speak in some version, each where its version has it."""
    paths: list[str] = []
    for table in tables.values():
        place = 0
        for path, line in table.items():
            if path in paths:
                place = paths.index(path) + 1
            elif line.rounds:
                paths.insert(place, path)
                place += 1
    return paths


def _line(table, path) -> Line:
    return table.get(path, total((), "online", path))


def _cost(line) -> tuple[int, int]:
    return line.rounds, line.sent


def _sums(name, report) -> str:
    return f"{name}: {report.rounds()} rounds, {size(report.sent())} sent by a party"


def _axes(lines):
    figure = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.05)
    style(figure)
    every = [line for version in lines.values() for line in version]
    for column, (what, title) in enumerate((("sent", "sent by a party"), ("rounds", "rounds")), 1):
        end = 1.25 * max((getattr(line, what) for line in every), default=1)  # room for the text beside a bar
        figure.update_xaxes(title_text=title, range=[0, end], row=1, col=column)
    figure.update_yaxes(autorange="reversed", gridcolor="rgba(0,0,0,0)", type="category")
    figure.update_xaxes(row=1, col=1, **BYTES)
    return figure


def _bars(figure, name, lines, k, **more):
    values = [line.sent for line in lines], [line.rounds for line in lines]
    texts = [size(v) if v else "" for v in values[0]], [str(v) if v else "" for v in values[1]]
    for column, (x, text) in enumerate(zip(values, texts), 1):
        figure.add_trace(
            go.Bar(
                x=x, y=[line.path for line in lines], text=text, orientation="h", name=name, legendgroup=name,
                marker_color=COLOURS[k % 7], cliponaxis=False, textposition="outside", constraintext="none",
                hovertemplate="%{y}: %{text}<extra>" + name + "</extra>",
            ),
            1, column,
        )  # fmt: skip
        figure.data[-1].update(more)


def _still(lines):
    """All versions in one, for a page that has no buttons; in each layer they stand in the order of the legend."""
    figure = _axes(lines)
    for k, name in enumerate(lines):
        _bars(figure, name, lines[name], k, textfont_size=10)
        figure.data[-1].showlegend = False
    rows = len(next(iter(lines.values())))
    height = 120 + rows * (10 + 12 * len(lines))
    figure.update_layout(height=height, barmode="group", bargap=0.15, legend_y=1.01, legend_yanchor="bottom")
    return figure
