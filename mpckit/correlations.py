"""What a dealer deals: joint randomness that makes the online phase cheap. It sees no input.

Each correlation says in `deal` how its pieces come about, once for all who ask: the dealer (values and all pieces),
a party that expands its own pieces from its seed (the values are meta tensors then), and the planner (all meta).
`d` offers
    d.mask · d.words · d.bits (shape)   a uniform secret (additive, xor words, xor bits): all expand, none is sent
    d.share · d.xor_share (value)       shares of a dependent secret: the last party's piece travels
    d.fixed(number, shape)              the persistent mask of that number, the same at every call
and each returns a handle with `.value`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from . import kernels
from .kernels import tree
from .kernels.reference import DIGIT
from .ring import lsr

Shape = tuple[int, ...]


class Correlation(ABC):
    """Abstract. Subclasses are frozen dataclasses of numbers, tuples and strings, since they cross the wire as JSON."""

    @abstractmethod
    def deal(self, d) -> tuple:
        """The handles whose pieces a party receives, in order."""


# ---- products ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class View:
    """A persistent mask as a product uses it: number, shape, and the rearrangements since (aten name, arguments)."""

    number: int
    shape: Shape
    steps: tuple = ()

    def value(self, d):
        v = d.fixed(self.number, self.shape).value
        for name, args in self.steps:
            v = rearrange(v, name, args)
        return v


def rearrange(v, name: str, args: tuple):
    """Apply the aten operator `name`, "view.default" say."""
    packet, overload = name.split(".")
    return getattr(getattr(torch.ops.aten, packet), overload)(v, *args)


@dataclass(frozen=True)
class Bilinear:
    """A product of two tensors modulo 2^64: "mul", "matmul", or "conv" with its geometry.

    The geometry of a convolution is (stride, padding, dilation, groups).
    """

    kind: str
    args: tuple = ()

    def __post_init__(self):
        if self.kind not in ("mul", "matmul", "conv"):  # a party's text must not name other functions to its dealer
            raise ValueError(f"a product is mul, matmul or conv, not {self.kind!r}")

    def __call__(self, a, b):
        return a * b if self.kind == "mul" else getattr(kernels, self.kind)(a, b, *self.args)

    def combine(self, c, d, b, a, e, first):
        """Share of the product of masked operands: d = x - a and e = y - b are public."""
        if self.kind == "mul":
            return kernels.beaver(c, d, b, a, e, first)
        return c + self(d, b) + self(a + d if first else a, e)


@dataclass(frozen=True)
class Triple(Correlation):
    """c = a · b.   [Bea91]

    An operand that stands under a persistent mask is given by its View, and only its partner is drawn.
    """

    op: Bilinear
    x: Shape | View
    y: Shape | View

    def deal(self, d):
        own = [None if isinstance(v, View) else d.mask(v) for v in (self.x, self.y)]
        a, b = (v.value(d) if h is None else h.value for h, v in zip(own, (self.x, self.y)))
        return (*(h for h in own if h is not None), d.share(self.op(a, b)))


@dataclass(frozen=True)
class Square(Correlation):
    """c = a²: one opening instead of two."""

    shape: Shape

    def deal(self, d):
        a = d.mask(self.shape)
        return a, d.share(a.value * a.value)


@dataclass(frozen=True)
class Mask(Correlation):
    """A persistent mask, bound to one immutable value for the life of the session.

    Its number is never given out twice.
    """

    number: int
    shape: Shape

    def deal(self, d):
        return (d.fixed(self.number, self.shape),)


# ---- truncation ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class TruncPair(Correlation):
    """r, (r mod 2^bits) >> by, and the part that a wrap of x + r costs.

    With `exact` also the one-hot digits of r's low `by` bits, for the borrow.
    """

    shape: Shape
    bits: int
    by: int
    exact: bool = False

    def deal(self, d):
        r = d.mask(self.shape)
        low = r.value & _ones(self.bits)
        top = lsr(low, self.bits - 1) & 1
        pair = r, d.share(lsr(low, self.by)), d.share(top << (self.bits - self.by))
        return (*pair, _tables(d, r.value, self.by)) if self.exact else pair


# ---- bits ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BitTriple(Correlation):
    """c = a & b on words of 64 bits, with broadcasting."""

    x: Shape
    y: Shape

    def deal(self, d):
        a, b = d.words(self.x), d.words(self.y)
        return a, b, d.xor_share(a.value & b.value)


@dataclass(frozen=True)
class Node(Correlation):
    """Masks of the inputs of a comparison-tree node, and their products (`kernels/tree.py`).

    Stacked: words [inputs, *shape] and [products, *shape].
    """

    radix: int
    want: str
    shape: Shape

    def deal(self, d):
        inputs, _, _ = tree.monomials(self.radix, self.want)
        a = d.words((inputs, *self.shape))
        rows = {(i,): a.value[i] for i in range(inputs)}
        for subset in tree.mask_products(self.radix, self.want):  # by size, so that the shorter product is there
            rows[subset] = rows[subset[:-1]] & rows[subset[-1:]]
        products = list(rows.values())[inputs:]
        return a, d.xor_share(torch.stack(products))


@dataclass(frozen=True)
class DaBit(Correlation):
    """A random bit, xor-shared and additively shared.   [RW19]"""

    shape: Shape

    def deal(self, d):
        s = d.bits(self.shape)
        return s, d.share(s.value.to(torch.int64))


@dataclass(frozen=True)
class WordBits(Correlation):
    """A random word of `bits` bits, xor-shared as a word, and each of its bits additively shared: [*shape, bits]."""

    shape: Shape
    bits: int

    def deal(self, d):
        m = d.words(self.shape)
        return m, d.share((m.value[..., None] >> torch.arange(self.bits, device=m.value.device)) & 1)


@dataclass(frozen=True)
class Masked(Correlation):
    """r, and the xor-shared bits of r mod 2^bits as words (an edaBit).   [EGKRS20]

    It turns x + r, opened, into xor shares of x.
    """

    shape: Shape
    bits: int

    def deal(self, d):
        r = d.mask(self.shape)
        return r, d.xor_share(r.value & _ones(self.bits))


@dataclass(frozen=True)
class Compare(Correlation):
    """r with the one-hot digits of its low bits and its sign bit: compares x with public numbers, from one x + r.

    With `choose`, also a bit s as xor and additive share and r·s: the result may then pick x itself (`kernels.select`).
    """

    shape: Shape
    bits: int
    choose: bool = False

    def deal(self, d):
        r = d.mask(self.shape)
        sign = d.xor_share((lsr(r.value, self.bits - 1) & 1).bool())
        dealt = r, _tables(d, r.value, self.bits - 1), sign
        return (*dealt, *_chooser(d, r, self.shape)) if self.choose else dealt


@dataclass(frozen=True)
class Equal(Correlation):
    """r with the one-hot digits of all its bits."""

    shape: Shape
    bits: int

    def deal(self, d):
        r = d.mask(self.shape)
        return r, _tables(d, r.value, self.bits)


@dataclass(frozen=True)
class Select(Correlation):
    """r, a bit s as xor share and as additive share, and r·s: b·x for a secret bit b in one round."""

    bit: Shape
    shape: Shape

    def deal(self, d):
        r = d.mask(self.shape)
        return (r, *_chooser(d, r, self.bit))


@dataclass(frozen=True)
class Table(Correlation):
    """r with the one-hot code of (r >> by) mod 2^entries: a look-up at the high part of x, from x + r opened.

    With `by` > 0 also r >> by and the price of a wrap, as in TruncPair, so that the low part of x is at hand too.
    """

    shape: Shape
    bits: int
    by: int
    entries: int

    def deal(self, d):
        r = d.mask(self.shape)
        low = r.value & _ones(self.bits)
        high = lsr(low, self.by)
        index = (high & _ones(self.entries)).reshape(-1)
        hot = torch.zeros((index.numel(), max(1, 1 << self.entries >> 6)), dtype=torch.int64, device=index.device)
        hot.scatter_(1, (index >> 6)[:, None], (torch.ones_like(index) << (index & 63))[:, None])
        if self.by == 0:
            return r, d.xor_share(hot)
        top = lsr(low, self.bits - 1) & 1
        return r, d.xor_share(hot), d.share(high), d.share(top << (self.bits - self.by))


def _ones(bits):
    return -1 if bits == 64 else (1 << bits) - 1


def _chooser(d, r, bit_shape):
    s = d.bits(bit_shape)
    value = s.value.to(torch.int64)
    return s, d.share(value), d.share(r.value * value)


def digits(bits: int) -> int:
    """How many 4-bit digits hold `bits` bits."""
    return -(-bits // DIGIT)


def _tables(d, r, bits):
    """Xor shares of the one-hot digits of r's low `bits` bits, bit-sliced: [digits, 16, W]."""
    count = digits(bits)
    planes = kernels.to_planes((r & _ones(bits)).reshape(-1), DIGIT * count)
    return d.xor_share(kernels.digit_tables(planes))
