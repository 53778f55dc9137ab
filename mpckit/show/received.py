"""What one party received in a recorded conversation, and nothing else."""

from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go
import torch

from ..runtime.transcript import Used, received
from ..share import BShare
from .display import Picture
from .sequence import short, transcript_of
from .theme import COLOURS, style
from .values import numbers

BINS = 32


@dataclass(frozen=True)
class Received:
    """One thing that a party got: a piece from the dealer, or a tensor of another party's message.

    Of keys, which are for one use, only their number is left: `value` is a meta tensor then.
    """

    step: int
    path: str
    said: str
    sender: str
    kind: str
    bits: int  # of its ring, or of each lane
    value: torch.Tensor


class View:
    """What `view_as` returns: `print` it, show it as a cell's last line, or draw its bytes with `histogram()`.

    `items` are in order of arrival. It was made from a transcript of all parties, and keeps nothing of theirs.
    """

    def __init__(self, party: int, items: list[Received]):
        self.party, self.items = party, items

    @property
    def messages(self) -> list[Received]:
        """What came from other parties."""
        return [item for item in self.items if item.sender != "dealer"]

    def words(self) -> torch.Tensor:
        """Every ring element that other parties sent, in order, as a fraction of the ring: from -1 to 1."""
        full = [
            (item.value << (64 - item.bits)).double().reshape(-1) / 2.0**63
            for item in self.messages if item.kind == "ring" and item.value.numel()
        ]  # fmt: skip
        return torch.cat(full) if full else torch.empty(0, dtype=torch.float64)

    def histogram(self) -> Picture:
        """How often each range of values came: flat, where all that came is masked."""
        values = self.words()
        counts = torch.histc(values, BINS, -1, 1).int().tolist()
        figure = go.Figure(go.Bar(y=counts, marker_color=COLOURS[0], hovertemplate="%{y} words<extra></extra>"))
        style(figure, height=280, bargap=0.08, xaxis_title="value, from smallest to largest possible")
        figure.update_xaxes(showticklabels=False, showgrid=False)
        figure.update_yaxes(title_text="words", rangemode="tozero")
        low, high = min(counts, default=0), max(counts, default=0)
        what = f"the {values.numel()} ring elements that party {self.party} received from others"
        return Picture(figure, f"Bars: {what}, in {BINS} ranges of values: {low} to {high} in each.")

    def rows(self) -> list[tuple[str, ...]]:
        """(step, layer, word, from, what, shape, first values) of each item."""
        return [
            (str(i.step), i.path, i.said, i.sender, i.kind, str(list(i.value.shape)), _values(i)) for i in self.items
        ]

    def __str__(self):
        from ..runtime.render import aligned

        head = f"party {self.party} received {len(self.messages)} tensors from other parties"
        head += f", and {len(self.items) - len(self.messages)} from the dealer"
        return "\n".join([head, *aligned([HEAD, *self.rows()])])

    __repr__ = __str__

    def _repr_html_(self):
        cells = "".join(
            "<tr>" + "".join(f"<td style='text-align:left'>{escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self.rows()
        )
        head = "".join(f"<th scope='col' style='text-align:left'>{name}</th>" for name in HEAD)
        caption = escape(str(self).splitlines()[0])
        return (
            f"<div style='max-height:30em;overflow:auto'><table><caption>{caption}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table></div>"
        )


HEAD = ("step", "layer", "word", "from", "what", "shape", "values")


def view_as(party: int, of) -> View:
    """Exactly what `party` received: the dealer's pieces, and the other parties' messages as it unpacked them.

    `of`: a session with `record=True`, the report of one, or a transcript. Its own inputs, randomness and results are
    no part of it. Raises ValueError for a party that was not there, or where nothing was recorded.
    """
    items, there = [], set()
    for said in transcript_of(of).words:
        there |= said.answers.keys()
        if said.word == "Draw":
            for kind, bits, value in _tensors(said.answers.get(party)):
                items.append(Received(said.step, said.path, short(said), "dealer", kind, bits, value))
        for sender, tensors in received(said, party).items():
            for kind, bits, value in tensors:
                kind = "bits" if kind == "BShare" else "ring"
                items.append(Received(said.step, said.path, short(said), f"party {sender}", kind, bits, value))
    if not there:
        raise ValueError("nothing was said yet: run a program in this session, and look again")
    if party not in there:
        raise ValueError(f"party {party} is not in this transcript; there are {', '.join(map(str, sorted(there)))}")
    return View(party, items)


def _values(item):
    return str(Used(item.value.numel())) if item.kind == "keys" else numbers(item.value, 4)


def _tensors(piece):
    if isinstance(piece, Used):
        yield "keys", 64, torch.empty(piece.count, device="meta")
    elif isinstance(piece, torch.Tensor):
        yield "ring", 64, piece
    elif isinstance(piece, (list, tuple)):
        for each in piece:
            yield from _tensors(each)
    elif isinstance(getattr(piece, "data", None), torch.Tensor):
        yield "bits" if isinstance(piece, BShare) else "ring", 64, piece.data
