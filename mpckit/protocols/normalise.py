"""Sums over dimensions and what is made of them: mean, variance, layer, batch and RMS normalisation; extremes.

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


def maximum_over(mpc: Suite, x: AShare, dim: int, keepdim: bool = False, bits: int | None = None) -> Protocol[AShare]:
    """The largest along one dimension.

    Price: 4·⌈log2 k⌉ rounds
    """
    out = yield from mpc.reduce_max(x.map(torch.movedim, dim, -1), bits=bits)
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
    _, squares, _, shift = yield from _deviation(mpc, x, dims)
    squares = squares if keepdim else squares.map(torch.squeeze, dims)
    total = yield from mpc.truncate(squares, x.frac)
    return (yield from scale(mpc, total, 4.0**shift / max(_count(x, dims) - correction, 1)))


OF_SQUARES = {f.__name__: f for f in (torch.sqrt, torch.rsqrt, torch.log, torch.reciprocal)}


def of_squares(
    mpc: Suite, x: AShare, name: str, frac: int, more: int = 0, factor: float = 1.0, offset: float = 0.0
) -> Protocol[AShare]:
    """sqrt, rsqrt, log or reciprocal (`name`) of v = x·factor + offset for x ≥ 0 in any unit.

    The result has frac + more fraction bits; it is within 3e-4 relative or 4 ulp. Without an offset of 2^(-2·frac) or
    more, v counts as 2^-frac at least, but for sqrt.
    Domain: x < 2^(w-2) ring units, which for squares in their double unit is 2^(w-2-2·frac).
    Price: 4 rounds
    """
    return (yield from tabulated(mpc, x, _of_squares(name, x.frac, frac, more, factor, offset, x.bits), x.bits))


@cache
def _of_squares(name, unit, frac, more, factor, offset, bits):
    f, out = OF_SQUARES[name], frac + more
    floor = 0.0 if name == "sqrt" else offset if offset >= 4.0**-frac else 2.0**-frac
    low = max(0.0, (floor - offset) / factor)  # what is below is a step: lines cannot follow the bend of a clamp
    left = float(f(torch.tensor(floor, dtype=torch.float64))) if low else None

    def of(x):
        return f((x * factor + offset).clamp(min=floor))

    high = 2.0 ** (bits - 2 - unit)
    return fit(of, unit, out, low, high, relative=2.2e-4, absolute=2 * 2.0**-out, left=left)


def normalise(mpc: Suite, x: AShare, dims, eps: float = 1e-5, weight: AShare | None = None) -> Protocol[AShare]:
    """weight · (x - mean) / √(variance + eps) over `dims`, as in layer and batch norm.

    One table turns the sum of squares into 1/σ, while weight · (x - mean), from the same opening, is brought home.
    Within 3e-4 relative, two ulps of x over σ, and one ulp of the result.
    Domain: a standard deviation below 512, or 128 in a ring that has no more room (`_deviation`); |weight| < 64.
    Price: 8 rounds
    """
    dims = _dims(x, dims)
    if not x.data.numel():
        return x
    centred, squares, weighed, shift = yield from _deviation(mpc, x, dims, weight)
    return (yield from _over_root(mpc, centred, squares, weighed, shift, _count(x, dims), float(eps), weight))


def rms_norm(mpc: Suite, x: AShare, dims, eps: float = 1e-5, weight: AShare | None = None) -> Protocol[AShare]:
    """weight · x / √(mean of x² + eps) over `dims`: x is opened once, for its squares and for the weight.

    As exact as `normalise`, of which it is the half without a mean.
    Domain: the sum of the squares below 2^(w-2-2·frac); |weight| < 64.
    Price: 7 rounds
    """
    dims = _dims(x, dims)
    if not x.data.numel():
        return x
    if weight is None:
        squares, weighed = (yield from mpc.square(x)), None
    else:
        squares, weighed = yield from mpc.square_and_product(x, weight)
    squares = squares.map(torch.sum, dims, True)
    return (yield from _over_root(mpc, x, squares, weighed, 0, _count(x, dims), float(eps), weight))


def _over_root(mpc, x, squares, weighed, shift, n: int, eps: float, weight) -> Protocol[AShare]:
    """x, or `weighed` in its double unit, by the root of the squares' mean + eps.

    Price: 6 rounds
    """
    spread = n.bit_length() // 2 + 1  # |x| ≤ √n·σ
    room = x.bits - 3 - spread - (6 if weight is not None else 0)
    table = _inverse_deviation(n, shift, eps, squares.frac, x.bits, min(28, room - x.frac - 3))
    inverse = tabulated(mpc, squares, table, x.bits)
    if weight is None:
        inverse, centred, bits = (yield from inverse), x, x.frac + table.out + spread + 3
    else:
        drop = max(0, weight.frac - min(8, room - x.frac - table.out))
        inverse, *home = yield from together(inverse, *([mpc.truncate(weighed, drop)] if drop else []))
        centred, bits = (home[0] if home else weighed), None
    out = yield from mpc.mul(centred, inverse)
    return (yield from mpc.truncate(out, out.frac - x.frac, bits))


def _deviation(mpc, x, dims, weight=None):
    """x - mean, the sum of its squares over 4^shift (2·frac fraction bits), weight · (x - mean) in its double unit or
    None, and the shift that keeps the squares in the ring.

    Price: 2 rounds
    """
    n = _count(x, dims)
    total = x.map(torch.sum, dims, True)
    room = (x.bits - 3 - math.log2(max(n, 1))) / 2 - x.frac  # before the point, for a standard deviation
    shift = 0 if room >= 7 else math.ceil(9 - room)
    if shift:
        middle, small = yield from together(scale(mpc, total, 1 / n), scale(mpc, x * n - total, 0.5**shift / n))
        centred = x - middle
    else:
        centred = small = x - (yield from scale(mpc, total, 1 / n))
    weighed = None
    if weight is None:
        squares = yield from mpc.square(small)
    elif shift:
        squares, weighed = yield from together(mpc.square(small), mpc.mul(centred, weight))
    else:
        squares, weighed = yield from mpc.square_and_product(centred, weight)
    return centred, squares.map(torch.sum, dims, True), weighed, shift


@cache
def _inverse_deviation(n, shift, eps, unit, bits, out):
    def f(squares):
        return (squares.clamp(min=2.0**-unit) * (4.0**shift / n) + eps).rsqrt()

    left = eps**-0.5 if eps else 2.0 ** (unit / 2)
    return fit(f, unit, out, 0, 2.0 ** (bits - 2 - unit), relative=1.5e-4, absolute=2.0 ** (2 - out), left=left)


def _dims(x, dims):
    every = range(x.data.dim())
    return tuple(every) if dims is None else tuple(every[d] for d in ((dims,) if isinstance(dims, int) else dims))


def _count(x, dims):
    return math.prod(x.shape[d] for d in dims)
