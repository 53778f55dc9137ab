"""Sums over dimensions and what is made of them: mean, variance, layer and batch normalisation, softmax.

A row needs a single reciprocal or square root: its table has more fraction bits than the session's ring.
"""

import math
from functools import cache

import torch

from ..ask import Protocol, together
from ..share import AShare
from .products import scale
from .splines import tabulated
from .suite import Suite
from .tables import fit


def maximum_over(mpc: Suite, x: AShare, dim: int, keepdim: bool = False) -> Protocol[AShare]:
    """The largest along one dimension.

    Price: 4·⌈log2 k⌉ rounds
    """
    out = yield from mpc.reduce_max(x.map(torch.movedim, dim, -1))
    return out.map(torch.unsqueeze, dim) if keepdim else out


def minimum_over(mpc: Suite, x: AShare, dim: int, keepdim: bool = False) -> Protocol[AShare]:
    """The smallest along one dimension.

    Price: 4·⌈log2 k⌉ rounds
    """
    return -(yield from maximum_over(mpc, -x, dim, keepdim))


def mean(mpc: Suite, x: AShare, dims=None, keepdim: bool = False) -> Protocol[AShare]:
    """The mean over `dims` (default: all).   Domain: |sum| < 2^(w-20-frac).

    Price: 1 round
    """
    dims = _dims(x, dims)
    return (yield from scale(mpc, x.map(torch.sum, dims, keepdim), 1 / _count(x, dims)))


def variance(mpc: Suite, x: AShare, dims=None, correction: int = 1, keepdim: bool = False) -> Protocol[AShare]:
    """The variance over `dims`, divided by n - correction as in torch.   Domain: a deviation below 512.

    Price: 4 rounds
    """
    dims = _dims(x, dims)
    _, squares, shift = yield from _deviation(mpc, x, dims)
    squares = squares if keepdim else squares.map(torch.squeeze, dims)
    total = yield from mpc.truncate(squares, x.frac)
    return (yield from scale(mpc, total, 4.0**shift / max(_count(x, dims) - correction, 1)))


def normalise(mpc: Suite, x: AShare, dims, eps: float = 1e-5) -> Protocol[AShare]:
    """(x - mean) / √(variance + eps) over `dims`, as in layer and batch norm.

    One table turns the sum of squares into 1/σ. Within 3e-4 relative, and two ulps of x over σ.
    Domain: a standard deviation below 512.
    Price: 8 rounds
    """
    dims = _dims(x, dims)
    if not x.data.numel():
        return x
    centred, squares, shift = yield from _deviation(mpc, x, dims)
    inverse = yield from tabulated(
        mpc, squares, _inverse_deviation(_count(x, dims), shift, float(eps), squares.frac, x.bits)
    )
    return (yield from mpc.truncate((yield from mpc.mul(centred, inverse)), inverse.frac))


def _deviation(mpc, x, dims):
    """x - mean, the sum of its squares over 4^shift (2·frac fraction bits), and the shift that keeps it in the ring.

    Price: 2 rounds
    """
    n = _count(x, dims)
    total = x.map(torch.sum, dims, True)
    shift = max(0, math.ceil((math.log2(max(n, 1)) + 2 * (9 + x.frac) - (x.bits - 3)) / 2))
    if shift:
        middle, small = yield from together(scale(mpc, total, 1 / n), scale(mpc, x * n - total, 0.5**shift / n))
        centred = x - middle
    else:
        centred = small = x - (yield from scale(mpc, total, 1 / n))
    return centred, (yield from mpc.square(small)).map(torch.sum, dims, True), shift


@cache
def _inverse_deviation(n, shift, eps, unit, bits):
    out = min(28, bits - 4 - unit // 2 - n.bit_length() // 2)  # |x - mean| / σ is at most √n

    def f(squares):
        return (squares.clamp(min=2.0**-unit) * (4.0**shift / n) + eps).rsqrt()

    left = eps**-0.5 if eps else 2.0 ** (unit / 2)
    return fit(f, unit, out, 0, 2.0 ** (bits - 2 - unit), relative=1.5e-4, absolute=2.0 ** (2 - out), left=left)


# ---- softmax -------------------------------------------------------------------------------------


GUARD = 8  # more fraction bits for the exponentials of a softmax: their sum may be long
INVERSE = 24  # fraction bits of the reciprocal of the sum, which is at most 1


def softmax(mpc: Suite, x: AShare, dim: int = -1) -> Protocol[AShare]:
    """exp(x - max) / sum, within 3e-4 for any logits: terms below e^-15 of the largest count as 0.

    Price: 4·⌈log2 k⌉ + 10 rounds
    """
    if x.data.dim() == 0 or not x.data.numel():
        return x.like(torch.zeros_like(x.data)) + (1 << x.frac)
    terms, total = yield from _terms(mpc, (yield from _below_maximum(mpc, x, dim)), dim)
    inverse = yield from tabulated(mpc, total, _of_sum("reciprocal", x.shape[dim], total.frac, INVERSE))
    return (yield from mpc.truncate((yield from mpc.mul(terms, inverse)), total.frac + INVERSE - x.frac))


def log_softmax(mpc: Suite, x: AShare, dim: int = -1) -> Protocol[AShare]:
    """x - max - log(sum of exp(x - max)), within 4e-4.

    Price: 4·⌈log2 k⌉ + 8 rounds
    """
    if x.data.dim() == 0 or not x.data.numel():
        return x.like(torch.zeros_like(x.data))
    below = yield from _below_maximum(mpc, x, dim)
    _, total = yield from _terms(mpc, below, dim)
    return below - (yield from tabulated(mpc, total, _of_sum("log", x.shape[dim], total.frac, x.frac)))


def _below_maximum(mpc, x, dim):
    return x - (yield from maximum_over(mpc, x, dim, True))


def _terms(mpc, below, dim):
    terms = yield from tabulated(mpc, below, exp_table(below.frac, below.frac + GUARD, None))
    return terms, terms.map(torch.sum, dim, True)


@cache
def exp_table(unit, out, right):
    """e^x for x ≤ 0: one table, 0 below -15."""
    return fit(torch.exp, unit, out, -15, 2.0**-unit, absolute=8e-5, right=right)


@cache
def _of_sum(name, k, unit, out):
    """On [1, k] and a little more, where the sum of k exponentials lies if the largest is 1."""
    return fit(getattr(torch, name), unit, out, 0.9, 1.02 * k + 0.1, relative=1e-4, absolute=4e-5, left=None)


def _dims(x, dims):
    every = range(x.data.dim())
    return tuple(every) if dims is None else tuple(every[d] for d in ((dims,) if isinstance(dims, int) else dims))


def _count(x, dims):
    return math.prod(x.shape[d] for d in dims)
