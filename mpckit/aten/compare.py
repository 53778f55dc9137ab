"""Rows that compare, choose, and find maxima. Their answers are secret bits."""

import torch

from ..cell import SecretError, finite
from .arithmetic import add, mul, neg, sub
from .reduce import count, dimensions
from .table import (
    alike,
    beside,
    both,
    call,
    each,
    fixed_point,
    is_bits,
    is_float,
    is_secret,
    local,
    numbers,
    row,
    secret_form,
    session_of,
    unit,
)


def _greater(x, y):
    """1{x > y}: by the difference, or against a public number as it is, which may lie beyond a declared range."""
    if is_secret(x) and not isinstance(y, torch.Tensor):
        return _at_least(x, y, 1)
    if is_secret(y) and not isinstance(x, torch.Tensor):
        return logical_not(_at_least(y, x, 0))
    gap = sub(*alike(x, y))
    return local(call(gap.session.suite.at_least, gap, (1,)), torch.Tensor.squeeze, 0)


def _at_least(x, number, more):
    """1{x ≥ number + more units in the last place}."""
    x, threshold = _threshold(x, number)
    return local(call(x.session.suite.at_least, x, (threshold + more,)), torch.Tensor.squeeze, 0)


def _threshold(x, number):
    """x, and a public number in its unit."""
    x = fixed_point(x) if is_float(x) or is_float(number) else numbers(x)
    number = torch.as_tensor(number, dtype=torch.float64 if is_float(number) else torch.int64)
    return x, int(x.session.ring.at(unit(x)).encode(finite(number, x.session)))


@row("ge.Tensor", "ge.Scalar")
def ge(x, y):
    return logical_not(_greater(y, x))


@row("gt.Tensor", "gt.Scalar")
def gt(x, y):
    return _greater(x, y)


@row("le.Tensor", "le.Scalar")
def le(x, y):
    return logical_not(_greater(x, y))


@row("lt.Tensor", "lt.Scalar")
def lt(x, y):
    return _greater(y, x)


@row("eq.Tensor", "eq.Scalar")
def eq(x, y):
    if _all_bits(x, y):
        return logical_not(xor(x, y))
    if not isinstance(y, torch.Tensor):
        x, number = _threshold(x, y)
        suite = x.session.suite
        return call(suite.eq, x, number, suite.width(x.shared.shares[0], (number,)))
    x, y = alike(x, y)
    return call(x.session.suite.eq, x, y)


@row("ne.Tensor", "ne.Scalar")
def ne(x, y):
    return logical_not(eq(x, y))


# ---- logic -----------------------------------------------------------------------------------------------------------


def _all_bits(*operands):
    return all(isinstance(v, bool) or (isinstance(v, torch.Tensor) and v.dtype == torch.bool) for v in operands)


def truth(x):
    """x ≠ 0 as a bit."""
    return x if _all_bits(x) else ne(x, 0) if is_secret(x) else x != 0


def _bitwise(*names):
    """Also register as a bitwise operator, of bits only: of integers it would mean their binary digits."""

    def register(logical):
        def bitwise(*operands):
            if not _all_bits(*operands):
                raise NotImplementedError(f"aten.{names[0]} of secret integers has no row; of bits (bool) it has one")
            return logical(*operands)

        row(*names)(bitwise)
        return logical

    return register


@_bitwise("bitwise_not")
@row("logical_not")
def logical_not(x):
    return each(truth(x), lambda s: ~s)


@_bitwise("bitwise_xor.Tensor", "bitwise_xor.Scalar")
@row("logical_xor")
def xor(x, y):
    session = session_of(x, y)
    return both(torch.logical_xor, *(secret_form(truth(v), session) for v in (x, y)))


@_bitwise("bitwise_and.Tensor", "bitwise_and.Scalar")
@row("logical_and")
def and_(x, y):
    x, y = truth(x), truth(y)
    if is_secret(x) and is_secret(y):
        return call(x.session.suite.and_, x, y)
    x, y = (x, y) if is_secret(x) else (y, x)
    return local(x, torch.logical_and, beside(x, torch.as_tensor(y)))


@_bitwise("bitwise_or.Tensor", "bitwise_or.Scalar")
@row("logical_or")
def or_(x, y):
    return logical_not(and_(*(logical_not(v) if is_secret(v) else ~truth(torch.as_tensor(v)) for v in (x, y))))


@row("any", "any.dim", "any.dims")
def any_(x, dim=None, keepdim=False):
    """One comparison of the number of ones, whatever the length."""
    return gt(numbers(truth(x)).sum(dim, keepdim), 0)


@row("all", "all.dim", "all.dims")
def all_(x, dim=None, keepdim=False):
    return logical_not(any_(logical_not(x), dim, keepdim))


# ---- choices ---------------------------------------------------------------------------------------------------------


@row("where.self")
def where(condition, x, y):
    if not is_secret(condition):  # each party chooses among its own pieces
        if not (is_bits(x) and is_bits(y)):
            x, y = alike(x, y)
        condition = beside(x, condition)
        return both(lambda a, b: torch.where(condition, a, b), x, y)
    if _all_bits(x, y):
        return xor(y, and_(condition, xor(x, y) if is_secret(x) or is_secret(y) else x ^ y))
    if not is_secret(x) and not is_secret(y):
        x, y = (finite(v, condition.session) for v in (x, y))
        return add(mul(condition, x - y), y)
    x, y = alike(x, y)
    return add(mul(condition, sub(x, y)), y)


@row("masked_fill.Scalar", "masked_fill.Tensor")
def masked_fill(x, mask, value):
    """A value with which scores are masked, -1e20 say, and which the ring has no room for, counts as infinite."""
    value = torch.as_tensor(value, dtype=x.dtype)
    if is_float(x) and not value.is_meta and not is_secret(value):
        ring = session_of(x, mask).ring
        value = torch.where(value.abs() < 2.0 ** (ring.bits - 1 - ring.frac), value, value.sign() * torch.inf)
    return where(mask, value, x)


@row("maximum")
def maximum(x, y):
    x, y = alike(x, y)
    return call(x.session.suite.maximum, x, y)


@row("minimum")
def minimum(x, y):
    return neg(maximum(*(neg(v) if is_secret(v) else -v for v in (x, y))))


# ---- extremes along a dimension --------------------------------------------------------------------------------------


def _last(x, dims):
    """x with `dims` flattened into the last one."""
    if not count(x, dims):
        raise RuntimeError(f"no elements to find an extreme of: {list(x.shape)} over dimensions {dims}")
    kept = [d for d in range(x.dim()) if d not in dims]
    return numbers(x).permute(*kept, *dims).flatten(len(kept)) if x.dim() else numbers(x).reshape(1)


def _kept(out, x, dims, keepdim):
    return out.reshape([1 if d in dims else size for d, size in enumerate(x.shape)]) if keepdim else out


def _extreme(x, dim, keepdim=False, sign=1):
    x, dims = x if sign > 0 else neg(x), sorted(dimensions(x, dim))
    out = _kept(call(x.session.suite.reduce_max, _last(x, dims)), x, dims, keepdim)
    return out if sign > 0 else neg(out)


def _with_index(x, dim, keepdim, sign=1):
    x, dims = x if sign > 0 else neg(x), dimensions(x, dim)
    best, index = (_kept(v, x, dims, keepdim) for v in call(x.session.suite.argmax, _last(x, dims)))
    return best if sign > 0 else neg(best), index


@row("amax")
def amax(x, dim=(), keepdim=False):
    return _extreme(x, dim, keepdim)


@row("amin")
def amin(x, dim=(), keepdim=False):
    return _extreme(x, dim, keepdim, -1)


@row("max")
def max_(x):
    return _extreme(x, ())


@row("min")
def min_(x):
    return _extreme(x, (), sign=-1)


@row("max.dim")
def max_dim(x, dim, keepdim=False):
    return _with_index(x, dim, keepdim)


@row("min.dim")
def min_dim(x, dim, keepdim=False):
    return _with_index(x, dim, keepdim, -1)


@row("argmax")
def argmax(x, dim=None, keepdim=False):
    return _with_index(x, dim, keepdim)[1]


@row("argmin")
def argmin(x, dim=None, keepdim=False):
    return _with_index(x, dim, keepdim, -1)[1]


@row("topk")
def topk(x, k, dim=-1, largest=True, sorted=True):
    """The k largest in descending order, and their indices: k tournaments, each without what was taken before.

    Domain for k > 1: numbers within ±2^30, or the declared range: one which was taken is put at its lower end.
    """
    if not 1 <= k <= (length := x.shape[dim] if x.dim() else 1):
        raise RuntimeError(f"the {k} largest of {list(x.shape)} over dimension {dim}: 1 to {length} can be had")
    left = (x if largest else neg(x)).movedim(dim, -1) if x.dim() else x.reshape(1)
    found, place = [], torch.arange(left.shape[-1])
    end = -torch.inf if is_float(x) else -int(x.session.suite.largest(x.session.ring.at(0)))
    for taken in range(k):
        best, index = _with_index(left, -1, keepdim=True)
        found.append((best, index))
        if taken < k - 1:
            left = where(eq(sub(place, index), 0), torch.tensor(end), left)
    values, indices = (torch.cat(v, -1) for v in zip(*found))
    values, indices = ((v.movedim(-1, dim) if x.dim() else v.reshape(())) for v in (values, indices))
    return values if largest else neg(values), indices


# ---- what would need a value -----------------------------------------------------------------------------------------


VALUES = """
    _local_scalar_dense equal allclose nonzero masked_select _unique2 unique_dim is_nonzero sort multinomial median
    median.dim kthvalue mode
"""


@row(*VALUES.split())
def refuse(x, *args, **kwargs):
    raise SecretError(
        f"a shape or a Python value would depend on a secret tensor {tuple(x.shape)}: stay secret with torch.where, "
        "amax or a sum over a mask, or make it public first, x.reveal()"
    )
