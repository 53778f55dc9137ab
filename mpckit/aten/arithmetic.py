"""Rows that add and multiply. A sum costs nothing; a product of two secrets one round, and one that brings its unit home."""

import math

import torch

from .. import kernels
from ..runtime.session import Shared
from ..tensor import SecretTensor
from .table import call, constant, fixed_point, is_bits, is_float, is_secret, local, numbers, row, to_unit, unit

SIGNIFICANT = 20  # bits of a public factor: what a product of size 10^6 leaves room for
FRACTION = 26  # bits behind the point of a public tensor: its size must not decide what is drawn, or a plan would need its values


def aligned(x, y):
    """Two operands as secrets of one unit. A public one is held by party 0 alone, so that adding it costs no message."""
    x, y = (v if is_secret(v) else constant(v, other) for v, other in ((x, y), (y, x)))
    if is_float(x) or is_float(y):
        return fixed_point(x), fixed_point(y)
    return numbers(x), numbers(y)


def both(operator, x, y):
    """`operator` on the shares of two secrets; no message."""
    pairs = zip(x.shared.shares, y.shared.shares)
    return SecretTensor(Shared(tuple(a.like(operator(a.data, b.data)) for a, b in pairs)), x.session)


# ---- sums ------------------------------------------------------------------------------------------------------------------


@row("add.Tensor", "add.Scalar")
def add(x, y, alpha=1):
    return both(torch.add, *aligned(x, y if alpha == 1 else mul(y, alpha)))


@row("sub.Tensor", "sub.Scalar")
def sub(x, y, alpha=1):
    return both(torch.sub, *aligned(x, y if alpha == 1 else mul(y, alpha)))


@row("rsub.Tensor", "rsub.Scalar")
def rsub(x, y, alpha=1):
    return sub(y, x, alpha)


@row("neg")
def neg(x):
    return local(numbers(x), torch.neg)


# ---- products --------------------------------------------------------------------------------------------------------------


@row("mul.Tensor", "mul.Scalar")
def mul(x, y):
    if not (is_secret(x) or is_secret(y)):
        return x * y
    if not (is_secret(x) and is_secret(y)):
        return times_public(torch.mul, *((x, y) if is_secret(x) else (y, x)))
    suite = x.session.suite
    if is_bits(x) or is_bits(y):
        return call(suite.and_, x, y) if is_bits(x) and is_bits(y) else call(suite.select, *((x, y) if is_bits(x) else (y, x)))
    return fixed_point_again(call(suite.square, x) if x is y else call(suite.mul, x, y))


def fixed_point_again(product):
    """Where both factors had a fraction, the product has one of twice the length: truncate."""
    return to_unit(product, min(unit(product), product.session.ring.frac))


def times_public(operator, x, y):
    """operator(x, y) for a public y and an operator linear in x: integers cost no message, fractions one truncation."""
    x = numbers(x)
    if not is_float(y):
        return local(x, operator, y)
    if isinstance(y, torch.Tensor) and y.dim() > 0:
        whole = torch.round(y.double())
        parts = [(whole.to(torch.int64), 0), (torch.round((y.double() - whole) * 2.0**FRACTION).to(torch.int64), FRACTION)]
        if not whole.is_meta and not whole.any():
            parts = parts[1:]
    else:
        parts = short(float(y), 62 - unit(x))
    terms = [rescaled(local(x, operator, factor), unit(x), frac) for factor, frac in parts]
    return terms[0] if len(terms) == 1 else both(torch.add, *terms)


def rescaled(x, was, extra):
    """x, whose unit has just grown by `extra` bits, in the session's unit."""
    shares = (s.like(s.data, was + extra) for s in x.shared.shares)
    return fixed_point(SecretTensor(Shared(tuple(shares)), x.session))


def short(value: float, most: int) -> list[tuple[int, int]]:
    """A number as [(m, e), …] with value ≈ Σ m·2^-e: its whole part, and a rest of few bits. A dyadic number is exact and its e small."""
    whole = round(value)
    rest = value - whole
    parts = [(whole, 0)] if whole or not rest else []
    if rest:
        frac = min(SIGNIFICANT - math.frexp(rest)[1], most)
        factor = round(math.ldexp(rest, frac))
        while factor and factor % 2 == 0:
            factor, frac = factor // 2, frac - 1
        parts += [(factor, frac)] if factor or not parts else []
    return parts


@row("div.Tensor", "div.Scalar")
def div(x, y):
    if is_secret(y):
        raise NotImplementedError("division by a secret")
    return mul(x, 1 / y)


@row("mm", "bmm")
def mm(x, y):
    return bilinear("matmul", kernels.matmul, x, y)


def bilinear(name, kernel, x, y, *args):
    """A matrix product or a convolution, by secret or public factors in either place."""
    if is_secret(x) and is_secret(y):
        x, y = numbers(x), numbers(y)
        return fixed_point_again(call(getattr(x.session.suite, name), x, y, *args))
    if is_secret(x):
        return times_public(lambda a, b: kernel(a, b, *args), x, y)
    return times_public(lambda b, a: kernel(a, b, *args), y, x)


@row("addmm", "baddbmm")
def addmm(bias, x, y, beta=1, alpha=1):
    product = mm(x, y)
    return add(product if alpha == 1 else mul(product, alpha), bias if beta == 1 else mul(bias, beta))
