"""What stands beside a mask r, so that x + r, opened, tells shares of something about x: comparisons, other widths.

Whether a public y lies below r, the heart of them all, is dealt in one of two forms:
    "digits"   xor shares of the one-hot code of each 4-bit digit of r; any number of parties, and a tree of `Node`s
               joins the digits in further rounds
    "dpf"      keys of the point function at r: for two parties, 128 bits for each bit of r, and no further round
"""

from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

import torch

from .. import kernels
from ..kernels.reference import DIGIT
from ..ring import lsr, ones
from .base import Correlation, Shape

CHUNK = 1 << 13  # elements that are dealt at once where keys are: 4.5 MB of them at 40 bits


class Masking(Correlation):
    """Abstract. Every element is dealt by itself, so a large tensor may be dealt in parts.

    Raises ValueError for a form that does not exist.
    """

    def __post_init__(self):
        if self.form not in ("digits", "dpf"):
            raise ValueError(f"a comparison is dealt as 'digits' or 'dpf', not as {self.form!r}")

    def parts(self):
        n = prod(self.shape)
        if self.form == "digits" or n <= CHUNK:
            yield self
        else:
            yield from (replace(self, shape=(min(CHUNK, n - start),)) for start in range(0, n, CHUNK))

    def together(self, count):
        if count > 1 and (self.form == "digits" or len(self.shape) != 1 or self.shape[0] % 8):
            return super().together(count)
        return self if count == 1 else replace(self, shape=(count * self.shape[0],))


class SignedMasking(Masking):
    """Abstract. x is a signed number of `bits` bits, of which r's sign bit masks the first.

    Raises ValueError for a single bit, too.
    """

    bits: int

    def __post_init__(self):
        super().__post_init__()
        if self.bits < 2:
            raise ValueError("a comparison needs a ring of 2 bits or more: one for the sign")


# ---- comparisons ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compare(SignedMasking):
    """r, what tells y < r for its low bits, and its sign bit: compares x with public numbers, from one x + r.

    With `choose`, also a bit s as xor and additive share and r·s: the result may then pick x itself (`kernels.select`).
    """

    shape: Shape
    bits: int
    choose: bool = False
    form: str = "digits"

    def deal(self, d):
        r = d.mask(self.shape)
        dealt = r, *comparison(d, r.value, self.bits, self.form)
        return (*dealt, *chooser(d, r, self.shape)) if self.choose else dealt


@dataclass(frozen=True)
class Ramp(SignedMasking):
    """A ReLU in one round: r, keys of the comparison function at r's low bits with payload (σ, σ·r), c and c·r.

    c is 1 where r's sign bit is 0, and σ = 1 - 2c. The payload is modulo 2^width.   [BCG+21]
    """

    shape: Shape
    bits: int
    width: int
    form: ClassVar[str] = "dpf"

    def deal(self, d):
        r = d.mask(self.shape)
        c = 1 - (lsr(r.value, self.bits - 1) & 1)
        payload = torch.stack((1 - 2 * c, (1 - 2 * c) * r.value))
        return r, d.comparison(r.value, payload, self.bits - 1, self.width), d.share(c), d.share(c * r.value)


@dataclass(frozen=True)
class Equal(Masking):
    """r, and what tells whether a public y is r."""

    shape: Shape
    bits: int
    form: str = "digits"

    def deal(self, d):
        r = d.mask(self.shape)
        return r, _below(d, r.value, self.bits, self.form)


@dataclass(frozen=True)
class Select(Correlation):
    """r, a bit s as xor share and as additive share, and r·s: b·x for a secret bit b in one round.

    With `bits`, for an x that is opened modulo 2^bits only: r·s of r modulo 2^bits, and s times r's turn (`turn`).
    """

    bit: Shape
    shape: Shape
    bits: int | None = None

    def deal(self, d):
        r = d.mask(self.shape)
        if self.bits is None:
            return (r, *chooser(d, r, self.bit))
        s = d.bits(self.bit)
        value = s.value.to(torch.int64)
        low = r.value & ones(self.bits)
        return r, s, d.share(value), d.share(low * value), d.share(turn(low, self.bits) * value)


# ---- other widths --------------------------------------------------------------------------------


@dataclass(frozen=True)
class TruncPair(SignedMasking):
    """r, (r mod 2^bits) >> by, and the part that a wrap of x + r costs.

    With `exact` also what tells y < r for the low `by` bits: the borrow.
    """

    shape: Shape
    bits: int
    by: int
    exact: bool = False
    form: str = "digits"

    def deal(self, d):
        r = d.mask(self.shape)
        low = r.value & ones(self.bits)
        top = lsr(low, self.bits - 1) & 1
        pair = r, d.share(lsr(low, self.by)), d.share(top << (self.bits - self.by))
        return (*pair, _below(d, r.value, self.by, self.form)) if self.exact else pair


@dataclass(frozen=True)
class TruncRelu(SignedMasking):
    """r for a truncation by `by` and for the ReLU of what it leaves, compared on `compare` bits: both from one x + r.

    As `TruncPair`, with what tells y < r >> by, a bit s, and the products of s with all that the truncation adds up.
    """

    shape: Shape
    bits: int
    by: int
    compare: int
    exact: bool = False
    form: str = "digits"

    def deal(self, d):
        r = d.mask(self.shape)
        low = r.value & ones(self.bits)
        parts = lsr(low, self.by), (lsr(low, self.bits - 1) & 1) << (self.bits - self.by)
        compared = comparison(d, parts[0], self.compare, self.form)
        s = d.bits(self.shape)
        value = s.value.to(torch.int64)
        shares = *(d.share(v) for v in parts), d.share(value), *(d.share(value * v) for v in parts)
        dealt = r, *compared, s, *shares
        if not self.exact:
            return dealt
        u = d.bits(self.shape)
        borrow = u.value.to(torch.int64)
        return (*dealt, _below(d, r.value, self.by, self.form), u, d.share(borrow), d.share(value * borrow))


@dataclass(frozen=True)
class Reduce(SignedMasking):
    """r, (r mod 2^bits) >> by, and what tells y < r for the low `by` bits."""

    shape: Shape
    bits: int
    by: int
    form: str = "digits"

    def deal(self, d):
        r = d.mask(self.shape)
        return r, d.share(lsr(r.value & ones(self.bits), self.by)), _below(d, r.value, self.by, self.form)


@dataclass(frozen=True)
class Wrap(Masking):
    """r, r mod 2^bits as an integer, and what tells y < r for all `bits` bits: whether x + r has wrapped."""

    shape: Shape
    bits: int
    form: str = "digits"

    def deal(self, d):
        r = d.mask(self.shape)
        return r, d.share(r.value & ones(self.bits)), _below(d, r.value, self.bits, self.form)


# ---- what they have in common --------------------------------------------------------------------


def _below(d, r, bits, form):
    """What tells y < r for the low `bits` bits of both."""
    return d.point(r, bits) if form == "dpf" else _tables(d, r, bits)


def comparison(d, r, bits, form):
    """What tells y < r for their low bits - 1 bits, and r's sign bit."""
    sign = d.xor_share((lsr(r, bits - 1) & 1).bool())
    return _below(d, r, bits - 1, form), sign


def chooser(d, r, bit_shape):
    """A bit s as xor share and as additive share, and r·s: what picks b·x for a secret bit b (`kernels.select`)."""
    s = d.bits(bit_shape)
    value = s.value.to(torch.int64)
    return s, d.share(value), d.share(r.value * value)


def turn(r, bits: int):
    """2^bits where r, of `bits` bits, is in the upper half, else 0: what x + r loses when it wraps, if x is not."""
    return lsr(r, bits - 1) << bits if bits < 64 else torch.zeros_like(r)


def digits(bits: int) -> int:
    """How many 4-bit digits hold `bits` bits."""
    return -(-bits // DIGIT)


def _tables(d, r, bits):
    """Xor shares of the one-hot digits of r's low `bits` bits, bit-sliced: [digits, 16, W]."""
    count = digits(bits)
    planes = kernels.to_planes((r & ones(bits)).reshape(-1), DIGIT * count)
    return d.xor_share(kernels.digit_tables(planes))
