"""Products of secrets: triples, squares, and masks that stay for the life of a session."""

from dataclasses import dataclass

import torch

from .. import kernels
from ..kernels.place import placed
from .base import Correlation, Shape


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


# What may be done to a mask that a party names to its dealer: where elements lie, zeros beside them, and nothing that
# computes. No as_strided: it counts in memory, and a mask's is not laid out as its value's.
REARRANGEMENTS = frozenset(
    """
    clone.default constant_pad_nd.default diagonal.default expand.default flip.default permute.default reshape.default
    select.int slice.Tensor squeeze.default squeeze.dim squeeze.dims t.default transpose.int unfold.default
    unsqueeze.default view.default
    """.split()
)


def rearrange(v, name: str, args: tuple):
    """Apply the aten operator `name`, "view.default" say. ValueError for one that is no rearrangement."""
    padded = name == "constant_pad_nd.default" and len(args) > 1  # with something else than zeros
    if padded or name not in REARRANGEMENTS or not all(type(a) in (int, bool, type(None)) for a in _flat(args)):
        raise ValueError(f"{name}{args!r:.100} is no rearrangement of a mask")
    packet, overload = name.split(".")
    return getattr(getattr(torch.ops.aten, packet), overload)(v, *args)


def _flat(args):
    for a in args:
        yield from _flat(a) if isinstance(a, tuple) else (a,)


@dataclass(frozen=True)
class Bilinear:
    """A product of two tensors modulo 2^64: "mul", "matmul", "conv" with its geometry, "rows" or "ragged".

    The geometry of a convolution is (stride, padding, dilation, groups). The last two have a matrix without the ends of
    its rows to the left, [..., sum of args], of which row i begins with args[i] entries: times a number for each row,
    b [..., rows], or times a matrix.
    """

    kind: str
    args: tuple = ()

    def __post_init__(self):
        kinds = ("mul", "matmul", "conv", "rows", "ragged")
        if self.kind not in kinds:  # a party's text must not name other functions to its dealer
            raise ValueError(f"a product is {', '.join(kinds[:-1])} or {kinds[-1]}, not {self.kind!r}")
        if self.kind in kinds[3:] and not all(type(n) is int and n >= 0 for n in self.args):
            raise ValueError(f"the rows of a {self.kind} product have lengths from 0 on, not {self.args!r:.100}")

    def __call__(self, a, b):
        if self.kind == "mul":
            return a * b
        if self.kind == "rows":
            return a * by_row(b, self.args)
        if self.kind == "ragged":
            return kernels.matmul(padded(a, self.args, b.shape[-2]), b)
        return getattr(kernels, self.kind)(a, b, *self.args)

    def combine(self, c, d, b, a, e, first):
        """Share of the product of masked operands: d = x - a and e = y - b are public."""
        if self.kind == "mul":
            return kernels.beaver(c, d, b, a, e, first)
        if self.kind == "matmul":
            return c + kernels.matmul_two(d, b, a + d if first else a, e)
        return c + self(d, b) + self(a + d if first else a, e)


def by_row(v, lengths):
    """v [..., rows] → [..., sum of lengths]: for each entry of a matrix without its rows' ends its row's number."""
    repeats = placed(torch.tensor(lengths), v.device)
    return v.repeat_interleave(repeats, -1, output_size=sum(lengths))


def padded(v, lengths, columns: int):
    """v [..., sum of lengths] → [..., rows, columns], with zeros for the ends that rows lack."""
    kept = torch.arange(columns) < torch.tensor(lengths, dtype=torch.int64)[:, None]
    places = placed(kept.flatten().nonzero().squeeze(-1), v.device)
    flat = v.new_zeros((*v.shape[:-1], kept.numel())).index_copy(-1, places, v)
    return flat.unflatten(-1, kept.shape)


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
class SquareTriple(Correlation):
    """a, a², b unless it stands under a persistent mask (View), and a·b: one opening of x gives x² and x·y."""

    x: Shape
    y: Shape | View

    def deal(self, d):
        a = d.mask(self.x)
        own = () if isinstance(self.y, View) else (d.mask(self.y),)
        b = self.y.value(d) if not own else own[0].value
        return a, d.share(a.value * a.value), *own, d.share(a.value * b)


@dataclass(frozen=True)
class Mask(Correlation):
    """A persistent mask, bound to one immutable value for the life of the session.

    Its number is never given out twice.
    """

    number: int
    shape: Shape

    def deal(self, d):
        return (d.fixed(self.number, self.shape),)
