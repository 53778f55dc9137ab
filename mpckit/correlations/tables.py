"""Tables looked up at a secret x, from x + r opened: the one-hot code of r, dealt as bits or spanned by keys.

The two forms are those of a comparison (`masked.py`); `protocols/lookup.py` says what they are for.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from ..ring import lsr, ones
from .base import Correlation, Shape
from .masked import Masking, chooser, comparison, turn


@dataclass(frozen=True)
class Table(Correlation):
    """r with the one-hot code of r mod 2^entries: a look-up at x, from x + r opened."""

    shape: Shape
    entries: int

    def deal(self, d):
        r = d.mask(self.shape)
        return r, _one_hot(d, r.value, self.entries)


@dataclass(frozen=True)
class SignedTable(Masking):
    """r, keys of the point function at r, their sign u, and for each of `words` results a mask m and u·m.   [Pika]"""

    shape: Shape
    entries: int
    words: int = 1
    form: ClassVar[str] = "dpf"

    def deal(self, d):
        r = d.mask(self.shape)
        keys, u, m = _signed(d, r.value, self.entries, self.words)
        return r, keys, d.share(u), m, d.share(u[..., None] * m.value)


@dataclass(frozen=True)
class Cut:
    """How x = i·2^by + rest is looked up: table entries 2^entries, and the bits of a line's value and slope there.

    rest is what x + r leaves of r's low bits, so that nothing but a share of those is needed to have it.
    """

    by: int
    entries: int
    value_bits: int
    slope_bits: int

    def pieces(self, form) -> int:
        """How many `deal` gives, beside r's low bits."""
        if not self.value_bits + self.slope_bits:
            return 0
        return 3 + (self.slope_bits > 0) if form == "digits" else 5 + 3 * (self.slope_bits > 0)

    @property
    def widths(self) -> tuple[int, ...]:
        """In how many bits value and slope are opened under their keys' sign: two more than they have."""
        return tuple(bits + 2 for bits in (self.value_bits, self.slope_bits) if bits)

    def deal(self, d, r, form) -> list:
        low, index = r & ones(self.by), lsr(r, self.by)
        rest = [d.share(low)] if self.by else []
        if not self.widths:
            return rest
        if form == "digits":
            m = d.words(r.shape)
            m_bits = (m.value[..., None] >> torch.arange(self.value_bits + self.slope_bits, device=r.device)) & 1
            found = [_one_hot(d, index, self.entries), m, d.share(m_bits)]
            return (
                rest + found + ([d.share(m_bits[..., self.value_bits :] * low[..., None])] if self.slope_bits else [])
            )
        keys, u, m = _signed(d, index, self.entries, len(self.widths))
        masks = torch.stack([m.value[..., i] & ones(k) for i, k in enumerate(self.widths)], -1)
        turns = torch.stack([turn(masks[..., i], k) for i, k in enumerate(self.widths)], -1)
        found = [keys, d.share(u), m, d.share(u[..., None] * masks), d.share(u[..., None] * turns)]
        if not self.slope_bits:
            return rest + found
        by_low = [d.share(u * low * v) for v in (torch.ones_like(low), masks[..., -1], turns[..., -1])]
        return rest + found + by_low


@dataclass(frozen=True)
class Lines(Masking):
    """r with all that several look-ups at x need, and comparisons of `compare` bits (0: none), from one x + r.

    With `choose`, as for `Compare`: a result may be x itself.
    """

    shape: Shape
    cuts: tuple[Cut, ...]
    compare: int = 0
    form: str = "digits"
    choose: bool = False

    def deal(self, d):
        r = d.mask(self.shape)
        compared = comparison(d, r.value, self.compare, self.form) if self.compare else ()
        found = (handle for cut in self.cuts for handle in cut.deal(d, r.value, self.form))
        return (r, *compared, *found, *(chooser(d, r, self.shape) if self.choose else ()))


# ---- what they have in common --------------------------------------------------------------------


def _one_hot(d, r, entries):
    """Xor shares of the one-hot code of r mod 2^entries: [N, words], as `kernels.lookup` reads it."""
    index = (r & ones(entries)).reshape(-1)
    hot = torch.zeros((index.numel(), max(1, 1 << entries >> 6)), dtype=torch.int64, device=index.device)
    hot.scatter_(1, (index >> 6)[:, None], (torch.ones_like(index) << (index & 63))[:, None])
    return d.xor_share(hot)


def _signed(d, r, entries, words):
    """(keys of the point function at r mod 2^entries, the values of their sign u, masks [*shape, words])."""
    keys = d.point(r, entries)
    return keys, d.sign(keys, r), d.mask((*r.shape, words))
