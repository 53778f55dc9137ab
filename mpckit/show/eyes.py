"""Pictures of secrets: what each party holds of one, and what others see."""

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from ..ring import Ring
from ..share import AShare, join, split
from ..stream import Stream, fresh_seed
from .display import Picture
from .theme import COLOURS, FAINT, GREY, style

BINS = 16
HEIGHT = 430


def pictures(named: dict[str, torch.Tensor], alt: str) -> Picture:
    """Pictures side by side: [H, W] each in its own range of greys, [H, W, 3] in colours from 0 to 1."""
    figure = make_subplots(1, len(named), subplot_titles=list(named), horizontal_spacing=0.03)
    for column, (name, picture) in enumerate(named.items(), 1):
        figure.add_trace(_colours(picture, name) if picture.dim() == 3 else _heatmap(picture, name), 1, column)
    style(figure, height=300, margin=dict(l=10, r=10, t=40, b=10))
    _square(figure)
    return Picture(figure, alt)


def eyes(image: torch.Tensor, parties: int = 2, insecure_seed: int | None = None) -> Picture:
    """Choose who you are: the owner sees the picture, a party its share, an eavesdropper what is opened in a product.

    `image` [H, W] is shared afresh, with masks from `insecure_seed` where a saved notebook should not change.
    Raises ValueError for no picture, and for less than two parties.
    """
    if parties < 2:
        raise ValueError(f"a secret has two pieces or more, not {parties}: eyes(image, parties=2)")
    if not image.numel():
        raise ValueError(f"there is nothing to see in a picture of shape {list(image.shape)}")
    views = seen_by(image, parties, insecure_seed)
    figure = make_subplots(1, 2, column_widths=[0.5, 0.5], horizontal_spacing=0.14)
    for k, (name, (_, picture)) in enumerate(views.items()):
        figure.add_trace(_heatmap(picture, name, visible=k == 0), 1, 1)
        figure.add_trace(_histogram(picture, name, visible=k == 0), 1, 2)
    buttons = [
        dict(
            label=name,
            method="update",
            args=[{"visible": [j // 2 == k for j in range(2 * len(views))]}, {"title.text": text}],
        )
        for k, (name, (text, _)) in enumerate(views.items())
    ]
    menu = dict(
        type="buttons", direction="right", x=0, xanchor="left", y=1.36, yanchor="top", buttons=buttons, showactive=True,
        font=dict(color=GREY), bgcolor="rgba(136,136,136,0.08)", bordercolor=FAINT, pad=dict(t=0, b=0),
    )  # fmt: skip
    note = "" if insecure_seed is None else " Drawn with insecure_seed: repeatable, so for the page only."
    title = dict(
        text=next(iter(views.values()))[0],
        font=dict(size=14, color=GREY),
        x=0.01,
        xanchor="left",
        y=0.86,
        yanchor="top",
    )
    style(
        figure,
        height=HEIGHT,
        updatemenus=[menu],
        title=title,
        margin=dict(l=10, r=20, t=110, b=60 if note else 50),
        bargap=0.08,
    )
    _square(figure, col=1)
    figure.update_xaxes(
        title_text="value, from smallest to largest possible",
        showticklabels=False,
        showgrid=False,
        zeroline=False,
        col=2,
    )
    figure.update_yaxes(title_text="pixels with this value", type="log", range=[0, 3], dtick=1, col=2)
    _annotate(figure, note, -0.13)
    words = " ".join(f"{text}." for text, _ in views.values())
    return Picture(figure, f"One picture, seen by {len(views)} pairs of eyes. {words}{note}", _still(views, note))


def seen_by(
    image: torch.Tensor, parties: int = 2, insecure_seed: int | None = None
) -> dict[str, tuple[str, torch.Tensor]]:
    """Viewer → (what it sees in words, the picture as numbers from -1 to 1, or from 0 to 1 where it is plain)."""
    ring = Ring()
    seed = fresh_seed() if insecure_seed is None else insecure_seed.to_bytes(32, "little")
    encoded = ring.encode(image)
    pieces = split(encoded, [Stream(seed, f"view/{p}") for p in range(parties - 1)])
    masked = encoded - Stream(seed, "view/mask").words(encoded.shape)
    total = ring.decode(join([AShare(piece, p, ring) for p, piece in enumerate(pieces)]))
    views = {"the owner": ("The owner has the picture", image)}
    for p, piece in enumerate(pieces):
        views[f"party {p}"] = (f"Party {p} has a share: {piece.numel()} uniform numbers", _unit(piece))
    views["the wire"] = ("On the wire goes the picture minus a mask no party knows", _unit(masked))
    views["all shares, added"] = (f"All {parties} shares, added: the picture again", total)
    return views


def _unit(words: torch.Tensor) -> torch.Tensor:
    return words.double() / 2.0**63


def _heatmap(picture, name, **more):
    return go.Heatmap(
        z=picture.numpy().astype("float32"), colorscale="gray", showscale=False, name=name,
        hovertemplate="row %{y}, column %{x}: %{z:.3f}<extra>" + name + "</extra>", **more,
    )  # fmt: skip


def _colours(picture, name):
    levels = (picture.clamp(0, 1) * 255).round().byte().numpy()
    return go.Image(z=levels, name=name, hovertemplate="row %{y}, column %{x}: %{z}<extra>" + name + "</extra>")


def _histogram(picture, name, **more):
    low, high = (0.0, 1.0) if picture.min() >= 0 else (-1.0, 1.0)
    counts = torch.histc(picture.double(), BINS, low, high).int()
    return go.Bar(
        x=list(range(BINS)), y=counts.tolist(), marker_color=COLOURS[0], showlegend=False, name=name,
        hovertemplate="%{y} pixels<extra>" + name + "</extra>", **more,
    )  # fmt: skip


def _square(figure, **where):
    figure.update_xaxes(visible=False, constrain="domain", **where)
    for axis in figure.select_yaxes(**where):
        axis.update(visible=False, autorange="reversed", scaleanchor=axis.anchor)


def _still(views, note):
    """All views at once, as tall as the figure with buttons: a picture on a page has none."""
    figure = make_subplots(
        2, len(views), subplot_titles=list(views), row_heights=[0.68, 0.32],
        horizontal_spacing=0.02, vertical_spacing=0.04, shared_yaxes="rows",
    )  # fmt: skip
    for column, (name, (_, picture)) in enumerate(views.items(), 1):
        figure.add_trace(_heatmap(picture, name), 1, column)
        figure.add_trace(_histogram(picture, name), 2, column)
    style(figure, height=HEIGHT, margin=dict(l=60, r=10, t=60, b=60), bargap=0.08)
    _square(figure, row=1)
    figure.update_xaxes(showticklabels=False, showgrid=False, zeroline=False, row=2)
    figure.update_yaxes(type="log", range=[0, 3], dtick=1, row=2)
    figure.update_yaxes(title_text="pixels", row=2, col=1)
    figure.update_xaxes(title_text="value", row=2)
    _annotate(figure, note, -0.2)
    return figure


def _annotate(figure, note, y):
    if note:
        figure.add_annotation(
            text=note, xref="paper", yref="paper", x=0, y=y, showarrow=False, font=dict(size=11, color=GREY)
        )
