"""Rows that add and multiply. A sum costs nothing; a product of secrets one round, and one to bring its unit home."""

import math
from functools import partial, reduce

import torch

from .. import kernels
from ..cell import known
from ..protocols import functions
from ..protocols.widths import truncate
from ..tensor import SecretTensor
from . import scaled
from .masks import open_once
from .squares import finer, plus, square_of
from .table import (
    alike,
    apply,
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
    to_unit,
    unit,
)
from .waiting import plus as plus_waiting
from .waiting import wait

# ---- sums ------------------------------------------------------------------------------------------------------------


@row("add.Tensor", "add.Scalar")
def add(x, y, alpha=1):
    if all(isinstance(v, torch.Tensor) and v.dtype == torch.bool for v in (x, y)):
        return torch.logical_or(x, y)
    if type(y) in (int, float) and alpha == 1 and (out := plus(x, y, add)) is not None:
        return out
    if alpha == 1 and (out := plus_waiting(x, y)) is not None:
        return out
    if alpha == 1 and (out := scaled.plus(x, y)) is not None:
        return out
    return both(torch.add, *alike(x, y if alpha == 1 else mul(y, alpha)))


@row("sub.Tensor", "sub.Scalar")
def sub(x, y, alpha=1):
    return both(torch.sub, *alike(x, y if alpha == 1 else mul(y, alpha)))


@row("rsub.Tensor", "rsub.Scalar")
def rsub(x, y, alpha=1):
    return sub(y, x, alpha)


@row("neg")
def neg(x):
    return local(numbers(x), torch.neg)


# ---- products --------------------------------------------------------------------------------------------------------


@row("mul.Tensor", "mul.Scalar")
def mul(x, y):
    if not (is_secret(x) or is_secret(y)):
        return x * y
    if not (is_secret(x) and is_secret(y)):
        return times_public(torch.mul, *((x, y) if is_secret(x) else (y, x)))
    suite = x.session.suite
    if is_bits(x) and is_bits(y):
        return call(suite.and_, x, y)
    if is_bits(x) or is_bits(y):
        return call(suite.select, x, y) if is_bits(x) else call(suite.select, y, x)
    return square_of(x, home) if x is y else home(call(suite.mul, *finer(x, y)))


@row("square")
def square(x):
    return mul(numbers(x), numbers(x)) if is_bits(x) else mul(x, x)


def home(product: SecretTensor) -> SecretTensor:
    """Where both factors had a fraction, the product has one of twice the length: truncate."""
    return to_unit(product, min(unit(product), product.session.ring.frac))


def times_public(operator, x, y):
    """operator(x, y) for a public y and an operator linear in x: integers cost no message, fractions one truncation."""
    if is_bits(x) and isinstance(y, torch.Tensor) and y.dtype == torch.bool:
        return local(x, torch.logical_and, beside(x, y))
    if isinstance(y, complex):
        raise TypeError(f"a secret has no complex multiples (got {y}); multiply the real and the imaginary part")
    if not is_float(y):
        return local(numbers(x), operator, beside(x, y))
    if is_bits(x):
        return _scaled(operator, numbers(x), beside(x, x.session.ring.encode(y)), x.session.ring.frac)
    if isinstance(y, torch.Tensor):
        y = y.to("meta") if x.session.meta else known(y, x.session)
        if operator is torch.mul and y.dim():
            return scaled.times(fixed_point(x), y)
    return apply("scale", fixed_point(x), y, operator)


def _scaled(operator, x, factor, frac):
    """operator(x, factor · 2^-frac), in a unit finer by `frac`."""
    return each(x, lambda s: s.like(operator(s.data, factor), s.frac + frac))


@row("mm", "bmm")
def mm(x, y):
    if x.shape[-1] != y.shape[-2]:
        raise RuntimeError(f"matrices of shapes {list(x.shape)} and {list(y.shape)} cannot be multiplied")
    return bilinear("matmul", kernels.matmul, x, y)


def bilinear(name, kernel, x, y, *args):
    """A matrix product or a convolution, of a secret and a secret or public factor in either place."""
    if is_secret(x) and is_secret(y):
        x, y = open_once(numbers(x), numbers(y))
        return wait(call(getattr(x.session.suite, name), x, y, *args), home)
    if is_secret(x):
        return times_public(lambda a, b: kernel(a, b, *args), x, y)
    return times_public(lambda b, a: kernel(a, b, *args), y, x)


@row("addmm", "baddbmm")
def addmm(bias, x, y, beta=1, alpha=1):
    product = mm(x, y)
    return add(product if alpha == 1 else mul(product, alpha), bias if beta == 1 else mul(bias, beta))


@row("mv", "dot", "vdot")
def dot(x, y):
    out = mm(x.reshape(-1, x.shape[-1]), y.unsqueeze(-1))
    return out.reshape(x.shape[:-1])


@row("addmv")
def addmv(bias, x, y, beta=1, alpha=1):
    return add(mul(dot(x, y), alpha), mul(bias, beta))


@row("_trilinear")
def trilinear(a, b, c, expand_a, expand_b, expand_c, summed, unroll=1):
    """What nn.Bilinear is made of: the product of three, broadcast and summed."""
    for dim in range(a.dim() + len(expand_a)):
        a, b, c = (v.unsqueeze(dim) if dim in e else v for v, e in ((a, expand_a), (b, expand_b), (c, expand_c)))
    return mul(mul(a, b), c).sum(summed)


# ---- quotients and powers --------------------------------------------------------------------------------------------


@row("div.Tensor", "div.Scalar")
def div(x, y):
    if not is_secret(y):
        return mul(x, 1 / (y.double() if isinstance(y, torch.Tensor) else y))
    return apply("division", x, fixed_point(y)) if is_secret(x) else mul(reciprocal(y), x)


@row("div.Tensor_mode", "div.Scalar_mode")
def div_mode(x, y, rounding_mode=None):
    return {None: div, "floor": floor_divide, "trunc": truncated_divide}[rounding_mode](x, y)


@row("reciprocal")
def reciprocal(x):
    return apply("reciprocal", x)


ROOTS = {0.5: "sqrt", -0.5: "rsqrt", -1: "reciprocal"}


@row("pow.Tensor_Scalar")
def power(x, exponent):
    if exponent == 2 and is_float(x):
        return square(x)
    if exponent in ROOTS and x.cell.pending is not None:
        return apply(ROOTS[exponent], x)
    if is_float(x) or is_float(exponent) or exponent < 1:
        return apply("power", x, exponent)
    return reduce(mul, [numbers(x)] * exponent)


@row("pow.Scalar")
def power_of(base, x):
    return apply("exp", mul(x, math.log(base)))


@row("pow.Tensor_Tensor")
def power_tensor(x, y):
    return apply("exp", mul(apply("log", x) if is_secret(x) else torch.log(x), y))


@row("abs")
def absolute(x):
    x = numbers(x)
    return call(partial(functions.absolute, x.session.suite), x)  # integers stay integers


@row("xlogy.Tensor")
def xlogy(x, y):
    return mul(x, apply("log", y) if is_secret(y) else torch.log(y))


# ---- whole numbers ---------------------------------------------------------------------------------------------------


def _whole(x):
    """⌊x⌋ as an integer, by the exact truncation: 2.0 stays 2."""
    return call(partial(truncate, by=unit(x), mode="exact", form=x.session.suite.form), x) if is_float(x) else x


@row("floor")
def floor(x):
    return fixed_point(_whole(x)) if is_float(x) else x


@row("ceil")
def ceil(x):
    return neg(floor(neg(x)))


@row("round")
def round_(x):
    """Halves go to the even neighbour: x + 1/2, less one unit in the last place where that would be an odd number."""
    if not is_float(x):
        return x
    up = fixed_point(add(x, 0.5))
    whole = _whole(up)
    odd = sub(whole, mul(_whole(each(whole, lambda s: s.like(s.data, 1))), 2))
    return floor(sub(up, each(odd, lambda s: s.like(s.data, unit(up)))))


@row("trunc")
def trunc(x):
    """Towards zero: of the fraction, only its sign remains to be seen."""
    below = floor(x)
    return add(below, mul(torch.lt(x, 0), torch.ne(x, below)))


@row("frac")
def frac(x):
    return sub(x, trunc(x))


@row("floor_divide", "floor_divide.Scalar")
def floor_divide(x, y):
    """⌊x / y⌋: an estimate, then what is left over says by how much it is wrong. |x / y| < 2^20."""
    is_whole = not (is_float(x) or is_float(y))
    if is_secret(y):
        flip = sub(1, mul(2, numbers(torch.lt(y, 0))))
        x, y = mul(x, flip), mul(y, flip)
    else:
        y = torch.as_tensor(y)
        x, y = mul(x, y.sign().to(torch.int64)), y.abs()
    quotient = _whole(fixed_point(div(x, y)))
    for last in (False, True):
        rest = sub(x, mul(quotient, y))  # exact: a whole number times y
        if last:
            too_small, too_large = numbers(torch.ge(rest, y)), numbers(torch.lt(rest, 0))
            quotient = add(quotient, sub(too_small, too_large))
        else:
            quotient = add(quotient, _whole(fixed_point(div(rest, y))))
    return quotient if is_whole else fixed_point(quotient)


def truncated_divide(x, y):
    """Towards zero: one more than the floor where that is negative and something is left over."""
    below = floor_divide(x, y)
    return add(below, mul(numbers(torch.lt(below, 0)), torch.ne(sub(x, mul(below, y)), 0)))


@row("remainder.Tensor", "remainder.Scalar")
def remainder(x, y):
    return sub(x, mul(floor_divide(x, y), y))
