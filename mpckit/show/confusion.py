"""Answers against answers: which classes are taken for which."""

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from .display import Picture
from .theme import style

# Disagreement is orange, agreement blue, nothing the page itself; ends that colour-blind readers tell apart.
SCALE = [[0, "rgb(213,94,0)"], [0.25, "rgb(230,159,0)"], [0.5, "rgba(0,0,0,0)"], [1, "rgb(0,114,178)"]]
SHOWN = 6  # disagreements that the words name one by one


def matrix(rows: torch.Tensor, columns: torch.Tensor, classes: int) -> torch.Tensor:
    """How often each pair of answers occurs: int64 [classes, classes]."""
    if rows.shape != columns.shape:
        raise ValueError(f"{len(rows)} answers against {len(columns)}: one of each for every sample")
    return torch.bincount(rows * classes + columns, minlength=classes**2).view(classes, classes)


def confusion(against: dict[str, torch.Tensor], answers: torch.Tensor, names=None, title: str = "encrypted") -> Picture:
    """A matrix for each entry of `against`, with its answers in the rows and `answers` in the columns.

    Answers are classes, int64 [n]; `names` are those of the classes (default: their numbers), `title` is that of
    `answers`. Raises ValueError for lists of different lengths.
    """
    classes = len(names) if names else 1 + int(max(v.max() for v in (answers, *against.values())))
    names = list(names or map(str, range(classes)))
    figure = make_subplots(1, len(against), subplot_titles=[" "] * len(against), horizontal_spacing=0.12)
    words = []
    for column, (name, rows) in enumerate(against.items(), 1):
        counts = matrix(rows, answers, classes)
        same, told = int(counts.diagonal().sum()), f"{name} against {title}: "
        figure.add_trace(_cells(counts, names, name, title), 1, column)
        figure.layout.annotations[column - 1].text = f"{name}: {same} of {len(answers)} the same"
        figure.update_xaxes(title_text=title, row=1, col=column)
        figure.update_yaxes(title_text=name, row=1, col=column)
        words.append(f"{told}{same} of {len(answers)} the same{_others(counts, names)}.")
    style(figure, height=470, margin=dict(l=60, r=20, t=40, b=50))
    figure.update_xaxes(showgrid=False, zeroline=False, type="category", constrain="domain")
    figure.update_yaxes(showgrid=False, zeroline=False, type="category", autorange="reversed", constrain="domain")
    for axis in figure.select_yaxes():
        axis.update(scaleanchor=axis.anchor)
    return Picture(figure, "Confusion matrices. " + " ".join(words))


def _cells(counts, names, row, column):
    level = (1 + counts.double()).log()
    level = (counts > 0) * (1 + level / level.max()) / 2  # one mistake is to be seen beside a hundred right answers
    signs = 2 * torch.eye(len(names), dtype=torch.float64) - 1
    return go.Heatmap(
        z=(signs * level).tolist(), x=names, y=names, colorscale=SCALE, zmin=-1, zmax=1, showscale=False, name=row,
        text=[[str(n) if n else "" for n in line] for line in counts.tolist()], texttemplate="%{text}",
        textfont=dict(size=11), xgap=1, ygap=1, hoverongaps=False,
        hovertemplate=f"{row} " + "%{y}, " + column + " %{x}: %{text}<extra></extra>",
    )  # fmt: skip


def _others(counts, names) -> str:
    off = counts - torch.diag(counts.diagonal())
    pairs = sorted(((int(off[i, j]), i, j) for i, j in off.nonzero().tolist()), key=lambda p: (-p[0], p[1:]))
    named = [f"{names[i]} → {names[j]}{f' ({n} times)' if n > 1 else ''}" for n, i, j in pairs[:SHOWN]]
    more = sum(n for n, _, _ in pairs[SHOWN:])
    return "; ".join(["", *named]) + (f"; and {more} more" if more else "")
