"""Softmax: the largest by a tournament, one table for the exponentials, one reciprocal a row."""

from functools import cache

import torch

from ..ask import Protocol
from ..share import AShare
from .normalise import maximum_over
from .splines import tabulated
from .suite import Suite
from .tables import fit

GUARD = 8  # more fraction bits for the exponentials of a softmax: their sum may be long
INVERSE = 24  # fraction bits of the reciprocal of the sum, which is at most 1


def softmax(mpc: Suite, x: AShare, dim: int = -1) -> Protocol[AShare]:
    """exp(x - max) / sum, within 3e-4 for any logits: terms below e^-15 of the largest count as 0.

    Price: 4·⌈log2 k⌉ + 10 rounds
    """
    if x.data.dim() == 0 or not x.data.numel():
        return x.like(torch.zeros_like(x.data)) + (1 << x.frac)
    terms = yield from _terms(mpc, (yield from _below_maximum(mpc, x, dim)))
    inverse = yield from _inverse(mpc, terms.map(torch.sum, dim, True), x.shape[dim])
    return (yield from _shares_of(mpc, terms, inverse, x.frac))


def log_softmax(mpc: Suite, x: AShare, dim: int = -1) -> Protocol[AShare]:
    """x - max - log(sum of exp(x - max)), within 4e-4.

    Price: 4·⌈log2 k⌉ + 8 rounds
    """
    if x.data.dim() == 0 or not x.data.numel():
        return x.like(torch.zeros_like(x.data))
    below = yield from _below_maximum(mpc, x, dim)
    total = (yield from _terms(mpc, below)).map(torch.sum, dim, True)
    return below - (yield from tabulated(mpc, total, _of_sum("log", x.shape[dim], total.frac, x.frac), True))


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
    rows = places // keep.shape[-1]
    kept = _pick(x.map(torch.flatten, -2), places)
    largest = yield from _segment_max(mpc, kept, rows)
    terms = yield from _terms(mpc, kept - _pick(largest, rows))
    total = terms.map(lambda v: v.new_zeros((*v.shape[:-1], len(keep))).index_add(-1, rows.to(v.device), v))
    inverse = yield from _inverse(mpc, total, keep.shape[-1])
    out = yield from _shares_of(mpc, terms, _pick(inverse, rows), x.frac)
    flat = out.map(lambda v: v.new_zeros((*v.shape[:-1], keep.numel())).index_copy(-1, places.to(v.device), v))
    return flat.map(torch.reshape, x.shape)


def _segment_max(mpc, x, rows) -> Protocol[AShare]:
    """The maximum of each row of x [..., m], of which entry i belongs to row rows[i], ascending: a tournament.

    Price: 4·⌈log2 k⌉ rounds
    """
    while len(rows) > int(rows[-1]) + 1:
        same = torch.cat((rows[1:] == rows[:-1], rows.new_zeros(1, dtype=torch.bool)))
        place = torch.arange(len(rows)) - torch.searchsorted(rows, rows)
        left = (same & (place % 2 == 0)).nonzero().squeeze(-1)
        alone = (~same & (place % 2 == 0)).nonzero().squeeze(-1)
        best = yield from mpc.maximum(*(_pick(x, at) for at in (left, left + 1)))
        rows, order = torch.sort(torch.cat((rows[left], rows[alone])), stable=True)
        x = _pick(x.like(torch.cat((best.data, _pick(x, alone).data), -1)), order)
    return x


def _pick(x, places):
    return x.map(torch.index_select, -1, places.to(x.data.device))


def _below_maximum(mpc, x, dim):
    return x - (yield from maximum_over(mpc, x, dim, True))


def _terms(mpc, below):
    return tabulated(mpc, below, exp_table(below.frac, below.frac + GUARD, None), True)


def _inverse(mpc, total, k):
    return tabulated(mpc, total, _of_sum("reciprocal", k, total.frac, INVERSE), True)


def _shares_of(mpc, terms, inverse, frac):
    """terms · inverse, with `frac` fraction bits."""
    return (yield from mpc.truncate((yield from mpc.mul(terms, inverse)), terms.frac + INVERSE - frac))


@cache
def exp_table(unit, out, right):
    """e^x for x ≤ 0: one table, 0 below -15."""
    return fit(torch.exp, unit, out, -15, 2.0**-unit, absolute=8e-5, right=right)


@cache
def _of_sum(name, k, unit, out):
    """On [1, k] and a little more, where the sum of k exponentials lies if the largest is 1."""
    return fit(getattr(torch, name), unit, out, 0.9, 1.02 * k + 0.1, relative=1e-4, absolute=4e-5, left=None)
