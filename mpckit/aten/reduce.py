"""Rows that reduce: sums are local, means one truncation, products and norms protocols."""

import math

import torch

from .arithmetic import div, mul, square, sub
from .shape import clone
from .squares import mean_of, sum_of
from .table import apply, local, numbers, row


def dimensions(x, dim) -> list[int]:
    """What torch means by dim=None, dim=() and dim=-1."""
    if dim is None or (not isinstance(dim, int) and len(dim) == 0):
        return list(range(x.dim()))
    return [d % max(x.dim(), 1) for d in ([dim] if isinstance(dim, int) else dim)] if x.dim() else []


def count(x, dim) -> int:
    return math.prod(x.shape[d] for d in dimensions(x, dim))


@row("sum", "sum.dim_IntList")
def sum_(x, dim=None, keepdim=False, dtype=None):
    dims = dimensions(x, dim)
    return local(numbers(x), torch.sum, dims, keepdim) if dims else clone(numbers(x))


@row("cumsum")
def cumsum(x, dim, dtype=None):
    return local(numbers(x), torch.cumsum, dim)


@row("mean", "mean.dim")
def mean(x, dim=None, keepdim=False, dtype=None):
    return average(x, dim, keepdim, count(x, dim))


def average(x, dim, keepdim, n):
    """The sum by n; of squares one that waits."""

    def now(v):
        return div(sum_(v, dim, keepdim), n)

    out = mean_of(x, dimensions(x, dim), keepdim, n, now)
    return now(x) if out is None else out


@row("var.correction")
def var(x, dim=None, correction=1, keepdim=False):
    return var_mean(x, dim, correction, keepdim)[0]


@row("var_mean.correction")
def var_mean(x, dim=None, correction=1, keepdim=False):
    center = mean(x, dim, True)
    n = max(count(x, dim) - (1 if correction is None else correction), 0)
    spread = average(square(sub(x, center)), dim, keepdim, n)
    return spread, center.reshape(spread.shape)


@row("std.correction")
def std(x, dim=None, correction=1, keepdim=False):
    return apply("sqrt", var(x, dim, correction, keepdim))


@row("std_mean.correction")
def std_mean(x, dim=None, correction=1, keepdim=False):
    spread, center = var_mean(x, dim, correction, keepdim)
    return apply("sqrt", spread), center


@row("prod", "prod.dim_int")
def prod(x, dim=None, keepdim=False, dtype=None):
    """A tournament: as many rounds as the logarithm of the length."""
    dims = dimensions(x, dim)
    out = numbers(x).movedim(dims, list(range(len(dims)))).flatten(0, len(dims) - 1) if dims else x.reshape(1)
    while (length := out.shape[0]) > 1:
        half = length // 2
        left, right, odd = out[:half], out[half : 2 * half], out[2 * half :]
        out = torch.cat((mul(left, right), odd)) if length % 2 else mul(left, right)
    kept = [1 if d in dims else size for d, size in enumerate(x.shape)]
    return out.reshape(kept if keepdim else out.shape[1:])


@row("linalg_vector_norm")
def norm(x, ord=2, dim=None, keepdim=False, dtype=None):
    if ord == 2:
        squares = square(x)
        total = sum_of(squares, dimensions(x, dim), keepdim, lambda v: sum_(v, dim, keepdim))
        return apply("sqrt", sum_(squares, dim, keepdim) if total is None else total)
    if ord == 1:
        return sum_(apply("absolute", x), dim, keepdim)
    if ord in (math.inf, -math.inf):
        return (torch.amax if ord > 0 else torch.amin)(apply("absolute", x), dimensions(x, dim), keepdim)
    raise NotImplementedError(f"the vector norm of order {ord} has no row: orders 1, 2 and inf have one")


@row("_cdist_forward")
def cdist(x, y, p=2, mode=None):
    return norm(sub(x.unsqueeze(-2), y.unsqueeze(-3)), p, -1)


@row("logsumexp")
def logsumexp(x, dim, keepdim=False):
    top = torch.amax(x, dim, True)
    total = apply("log", sum_(apply("exp", sub(x, top)), dim, True)) + top
    return total if keepdim else total.squeeze(dim)
