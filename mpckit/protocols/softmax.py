"""Softmax: the largest by a tournament, one table for the exponentials, one reciprocal a row."""

import math
from functools import cache

import torch

from ..ask import Protocol, together
from ..correlations import Bilinear
from ..kernels.place import placed
from ..share import AShare
from .normalise import maximum_over
from .splines import tabulated
from .suite import Suite
from .tables import fit

GUARD = 8  # more fraction bits for the exponentials of a softmax: their sum may be long
INVERSE = 24  # fraction bits of the reciprocal of the sum, which is at most 1


def softmax(mpc: Suite, x: AShare, dim: int = -1, rate: float = 1.0) -> Protocol[AShare]:
    """exp(rate·(x - max)) / sum, within 3e-4 for any logits: terms below e^-15 of the largest count as 0.

    Price: 4·⌈log2 k⌉ + 10 rounds
    """
    if x.data.dim() == 0 or not x.data.numel():
        return x.like(torch.zeros_like(x.data)) + (1 << x.frac)
    terms = yield from _terms(mpc, (yield from _below_maximum(mpc, x, dim)), rate)
    inverse = yield from _inverse(mpc, terms.map(torch.sum, dim, True), x.shape[dim])
    return (yield from _home(mpc, (yield from mpc.mul(terms, inverse)), x.frac))


def log_softmax(mpc: Suite, x: AShare, dim: int = -1) -> Protocol[AShare]:
    """x - max - log(sum of exp(x - max)), within 4e-4.

    Price: 4·⌈log2 k⌉ + 8 rounds
    """
    if x.data.dim() == 0 or not x.data.numel():
        return x.like(torch.zeros_like(x.data))
    below = yield from _below_maximum(mpc, x, dim)
    total = (yield from _terms(mpc, below)).map(torch.sum, dim, True)
    return below - (yield from tabulated(mpc, total, _of_sum("log", x.shape[dim], total.frac, x.frac), x.bits))


def softmax_where(mpc: Suite, x: AShare, keep: torch.Tensor) -> Protocol[AShare]:
    """softmax over the last dimension of the entries that a public mask [s, k] keeps, at least one a row; 0 elsewhere.

    x [..., s, k]. Only what is kept is compared, looked up and multiplied: of a causal square the lower triangle, half
    of the bytes, and no -inf has to fit the ring. Raises ValueError for a row of which nothing is kept.
    Price: 4·⌈log2 k⌉ + 10 rounds
    """
    if not bool(keep.any(-1).all()):
        raise ValueError("softmax over a row of which the mask keeps nothing: there is no such distribution")
    if not x.data.numel():
        return x
    places = keep.flatten().nonzero().squeeze(-1)
    lengths = tuple(keep.sum(-1).tolist())
    terms, total = yield from ragged_terms(mpc, _pick(x.map(torch.flatten, -2), places), lengths)
    inverse = yield from _inverse(mpc, total, keep.shape[-1])
    out = yield from _home(mpc, (yield from mpc.product(Bilinear("rows", lengths), terms, inverse)), x.frac)
    flat = out.map(lambda v: v.new_zeros((*v.shape[:-1], keep.numel())).index_copy(-1, placed(places, v.device), v))
    return flat.map(torch.reshape, x.shape)


def ragged_terms(mpc, x, lengths, rate=1.0, bits=None) -> Protocol[tuple[AShare, AShare]]:
    """exp(rate·(x - max)) and its sums by row, [..., rows], of a matrix without its rows' ends, [..., sum of lengths].

    Price: 4·⌈log2 k⌉ + 4 rounds
    """
    rows = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    largest = yield from _segment_max(mpc, x, rows, mpc.gap_width(x, bits))
    terms = yield from _terms(mpc, x - _pick(largest, rows), rate, bits)
    rows = placed(rows, x.data.device)
    return terms, terms.map(lambda v: v.new_zeros((*v.shape[:-1], len(lengths))).index_add(-1, rows, v))


def attend(
    mpc: Suite,
    scores: AShare,
    v: AShare,
    lengths: tuple[int, ...] | None = None,
    rate: float = 1.0,
    bits: int | None = None,
) -> Protocol[AShare]:
    """softmax(rate·scores) @ v for scores [..., s, k] and v [..., k, d]; rows are divided by their sums last.

    With `lengths`, scores [..., sum of lengths] are those of a matrix without the ends of its s rows: causal attention.
    `bits` are known to hold a score. Sums are inverted while exp(scores - max) @ v is brought home, which has fewer
    elements than the scores, mostly.
    Domain: |softmax(scores) @ v| < 2^(w-28-frac) and k times as much before the division < 2^(w-10-2·frac).
    Price: 4·⌈log2 k⌉ + 10 rounds
    """
    k = v.shape[-2]
    if lengths is None:
        terms = yield from _terms(mpc, (yield from _below_maximum(mpc, scores, -1, bits)), rate, bits)
        total, op = terms.map(torch.sum, -1), Bilinear("matmul")
    else:
        terms, total = yield from ragged_terms(mpc, scores, lengths, rate, bits)
        op = Bilinear("ragged", lengths)
    inverse, mixed = yield from together(_inverse(mpc, total, k), _product(mpc, op, terms, v))
    out = yield from mpc.mul(mixed, inverse.map(torch.unsqueeze, -1))
    return (yield from mpc.truncate(out, INVERSE))


def _product(mpc, op, terms, v):
    out = yield from mpc.product(op, terms, v)
    return (yield from mpc.truncate(out, terms.frac))


def _segment_max(mpc, x, rows, bits) -> Protocol[AShare]:
    """The maximum of each row of x [..., m], of which entry i belongs to row rows[i], ascending: a tournament.

    Price: 4·⌈log2 k⌉ rounds
    """
    while len(rows) > int(rows[-1]) + 1:
        same = torch.cat((rows[1:] == rows[:-1], rows.new_zeros(1, dtype=torch.bool)))
        place = torch.arange(len(rows)) - torch.searchsorted(rows, rows)
        left = (same & (place % 2 == 0)).nonzero().squeeze(-1)
        alone = (~same & (place % 2 == 0)).nonzero().squeeze(-1)
        best = yield from mpc.maximum(*(_pick(x, at) for at in (left, left + 1)), bits)
        rows, order = torch.sort(torch.cat((rows[left], rows[alone])), stable=True)
        x = _pick(x.like(torch.cat((best.data, _pick(x, alone).data), -1)), order)
    return x


def _pick(x, places):
    return x.map(torch.index_select, -1, placed(places, x.data.device))


def _below_maximum(mpc, x, dim, bits=None):
    if (needed := x.frac + GUARD + INVERSE + 3) > x.bits:
        raise ValueError(
            f"softmax with {x.frac} fraction bits needs a ring of {needed} bits, and this one has {x.bits}"
        )
    return x - (yield from maximum_over(mpc, x, dim, True, mpc.gap_width(x, bits)))


def _terms(mpc, below, rate=1.0, bits=None):
    table = exp_table(below.frac, below.frac + GUARD, None, rate)
    return tabulated(mpc, below, table, max(mpc.gap_width(below, bits), _width(table)))


def _width(table):
    """Bits to compare any number that is held by fewer with the table's ends."""
    return max(abs(c).bit_length() for c in table.thresholds) + 2


def _inverse(mpc, total, k):
    return tabulated(mpc, total, _of_sum("reciprocal", k, total.frac, INVERSE), total.bits)


def _home(mpc, product, frac):
    """terms · inverse, with `frac` fraction bits: both are 1 at most, and a little more."""
    return (yield from mpc.truncate(product, product.frac - frac, product.frac + 3))


@cache
def exp_table(unit, out, right, rate=1.0):
    """e^(rate·x) for x ≤ 0: one table, 0 where it is below e^-15.

    Steps are powers of two: between those the rate takes up to twice as many as 10 bits count.
    """
    entries = 10 if math.log2(rate).is_integer() else 11

    def f(x):
        return torch.exp(rate * x)

    return fit(f, unit, out, -15 / rate, 2.0**-unit, absolute=8e-5, right=right, entries=entries)


@cache
def _of_sum(name, k, unit, out):
    """On [1, k] and a little more, where the sum of k exponentials lies if the largest is 1."""
    return fit(getattr(torch, name), unit, out, 0.9, 1.02 * k + 0.1, relative=1e-4, absolute=4e-5, left=None)
