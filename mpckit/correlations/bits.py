"""Bits: products of bits, the same bits under both kinds of sharing, and a bit that chooses."""

from dataclasses import dataclass

import torch

from ..kernels import tree
from ..ring import ones
from .base import Correlation, Shape


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

    def __post_init__(self):
        if self.radix not in (2, 3, 4) or self.want not in tree.WANT:  # products double with every input more
            raise ValueError(f"a node joins 2 to 4 and wants one of {', '.join(tree.WANT)}: not {self}")

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
class EdaBits(Correlation):
    """r, and the xor-shared bits of r mod 2^bits as words (an edaBit).   [EGKRS20]

    It turns x + r, opened, into xor shares of x.
    """

    shape: Shape
    bits: int

    def deal(self, d):
        r = d.mask(self.shape)
        return r, d.xor_share(r.value & ones(self.bits))
