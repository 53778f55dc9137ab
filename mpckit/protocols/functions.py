"""Elementwise functions, composed once for every suite: `session.run(functions.gelu, session.suite, x)`.

Most are public tables (`splines.tabulated`), on the whole range of the ring, in 4 rounds. Domain, unless stated:
|x| < 2^(w-2) ring units. A result that the ring cannot hold is cut off as stated and never wraps; only products of
secrets wrap, beyond |x·y| = 2^(w-2-2·frac), as all products in the ring do. Errors are for 16 fraction bits; one ulp
is 2^-frac.
"""

import math
from functools import cache

import torch
import torch.nn.functional as F

from ..ask import Protocol, together
from ..share import AShare
from .normalise import OF_SQUARES, maximum_over, mean, minimum_over, normalise, of_squares, rms_norm, variance
from .products import product, scale, square
from .softmax import attend, exp_table, log_softmax, softmax, softmax_where
from .splines import tabulated
from .suite import Suite
from .tables import Piece, fit

__all__ = [
    "OF_SQUARES", "absolute", "attend", "clamp", "division", "erf", "exp", "exp_nonpositive", "gelu", "log",
    "log_softmax", "maximum_over", "mean", "minimum_over", "normalise", "of_squares", "power", "product", "reciprocal",
    "rms_norm", "rsqrt", "scale", "sigmoid", "silu", "softmax", "softmax_where", "softplus", "sqrt", "square", "tanh",
    "variance",
]  # fmt: skip

# ---- bounded functions ---------------------------------------------------------------------------


def absolute(mpc: Suite, x: AShare) -> Protocol[AShare]:
    """|x| = 2·relu(x) - x.

    Price: 4 rounds
    """
    return (yield from mpc.relu(x)) * 2 - x


def clamp(mpc: Suite, x: AShare, low: float | None = None, high: float | None = None) -> Protocol[AShare]:
    """x between two public numbers, as torch.clamp: one comparison with both, then one round of selections.

    Price: 4 rounds
    """
    if low is None and high is None:
        return x
    low_, high_ = (None if v is None else int(x.ring.encode(float(v))) for v in (low, high))
    if high is None:
        return (yield from mpc.relu(x - low_, mpc.width(x, (low_,)))) + low_
    if low is None:
        return -(yield from mpc.relu(high_ - x, mpc.width(x, (high_,)))) + high_
    if low_ >= high_:  # as torch: the upper bound wins
        return x.like(torch.zeros_like(x.data)) + high_
    above = yield from mpc.at_least(x, (low_, high_))
    from_low, from_high = (above.map(torch.select, 0, i) for i in (0, 1))
    inner, top = yield from together(mpc.select(from_low ^ from_high, x - low_), mpc.b2a(from_high, x.ring))
    return inner + top * (high_ - low_) + low_


def sigmoid(mpc: Suite, x: AShare) -> Protocol[AShare]:
    """1 / (1 + e^-x), within 1.5e-4.

    Price: 4 rounds
    """
    return (yield from tabulated(mpc, x, _sigmoid(x.frac)))


def tanh(mpc: Suite, x: AShare) -> Protocol[AShare]:
    """Hyperbolic tangent, within 1e-4.

    Price: 4 rounds
    """
    return (yield from tabulated(mpc, x, _tanh(x.frac)))


def erf(mpc: Suite, x: AShare) -> Protocol[AShare]:
    """The error function, within 1.2e-4.

    Price: 4 rounds
    """
    return (yield from tabulated(mpc, x, _erf(x.frac)))


def gelu(mpc: Suite, x: AShare, approximate: str = "none") -> Protocol[AShare]:
    """x·Φ(x), or torch's "tanh" form of it, within 1e-4: a table on ±5, x itself above.

    Price: 4 rounds
    """
    return (yield from tabulated(mpc, x, _gelu(x.frac, approximate)))


def silu(mpc: Suite, x: AShare) -> Protocol[AShare]:
    """x · sigmoid(x), within 2e-4: a table on ±14, x itself above.

    Price: 4 rounds
    """
    return (yield from tabulated(mpc, x, _silu(x.frac)))


def softplus(mpc: Suite, x: AShare) -> Protocol[AShare]:
    """log(1 + e^x), within 2e-4: a table on ±11, x itself above.

    Price: 4 rounds
    """
    return (yield from tabulated(mpc, x, _softplus(x.frac)))


@cache
def _sigmoid(unit):
    return fit(torch.sigmoid, unit, unit, -11, 11, absolute=1.1e-4, entries=9, right=1.0)


@cache
def _tanh(unit):
    return fit(torch.tanh, unit, unit, -6, 6, absolute=6.5e-5, left=-1.0, right=1.0)


@cache
def _erf(unit):
    return fit(torch.erf, unit, unit, -3.5, 3.5, absolute=8e-5, entries=9, left=-1.0, right=1.0)


@cache
def _gelu(unit, approximate):
    return fit(lambda x: F.gelu(x, approximate=approximate), unit, unit, -5, 5, absolute=7e-5, right="x")


@cache
def _silu(unit):
    return fit(F.silu, unit, unit, -14, 14, absolute=1.5e-4, right="x")


@cache
def _softplus(unit):
    return fit(F.softplus, unit, unit, -11, 11, absolute=9e-5, right="x")


# ---- powers and logarithms, on the whole range ---------------------------------------------------

MANTISSA, LOG2E = 17, 21  # fraction bits of 2^fraction and of the constant log2(e): 2^-17 and 2^-22·|x| relative


def exp(mpc: Suite, x: AShare) -> Protocol[AShare]:
    """e^x = 2^i · 2^rest for x·log2(e) = i + rest, |rest| < 1, within 3.5e-5 relative or 2 ulp.

    Ends: 0 where e^x is below half an ulp; at most 0.999·2^(w-19-frac), which is 2^29 at 64 bits and 16 fraction bits.
    Price: 6 rounds
    """
    if not x.data.numel():
        return x
    (low, high, top), powers, mantissa = _exp(x.frac, x.bits)

    def factors():
        y = x.like(x.data * round(2**LOG2E / math.log(2)))
        _, ((rest, power),) = yield from mpc.lines(y, (powers,))
        return (yield from together(power, of_rest(rest)))

    def of_rest(rest):
        _, ((_, line),) = yield from mpc.lines(rest, (mantissa,))
        return (yield from line)

    above, ((power, _), (value, slope)) = yield from together(mpc.at_least(x, (low, high)), factors())
    from_low, from_high = (above.map(torch.select, 0, i) for i in (0, 1))
    # Outside, the power of two becomes 0 before the product: beside the truncation this takes no round of its own.
    rise, scale_, over = yield from together(
        mpc.truncate(slope.like(slope.data, mantissa.slope_frac), mantissa.slope_frac, mantissa.rise_bits + 2),
        mpc.select(from_low ^ from_high, x.like(power.data)),
        mpc.b2a(from_high, x.ring),
    )
    inner = yield from mpc.mul(scale_, x.like((value + rise).data, MANTISSA))
    return (yield from mpc.truncate(inner, MANTISSA)) + over * top


@cache
def _exp(unit, bits):
    largest = bits - 2 - MANTISSA - unit
    low, high = round(-(unit + 1) * math.log(2) * 2**unit), int((largest * math.log(2) - 1e-3) * 2**unit)
    exponents = torch.arange(-(unit + 2), largest + 1)
    powers = torch.zeros(1 << (len(exponents) - 1).bit_length(), dtype=torch.int64)
    powers[exponents % len(powers)] = torch.where(exponents < -unit, 0, 1 << (exponents + unit).clamp(min=0))
    one = 2 ** (unit + LOG2E)
    mantissa = fit(torch.exp2, unit + LOG2E, MANTISSA, 1 / one - 1, 1, relative=1.2e-5, entries=9, left=None).pieces
    if len(mantissa) > 1:
        raise AssertionError("the mantissa of exp does not fit one table")
    powers = Piece((), unit + LOG2E, powers, int(powers.max()).bit_length(), 0, 0, 0, 0, 0)
    return (low, high, round(math.exp(high / 2**unit) * 2**unit)), powers, mantissa[0]


def exp_nonpositive(mpc: Suite, x: AShare) -> Protocol[AShare]:
    """e^x for x ≤ 0, within 1e-4; 1 for positive x. One table, half the price of `exp`.

    Price: 4 rounds
    """
    return (yield from tabulated(mpc, x, exp_table(x.frac, x.frac, 1.0)))


def log(mpc: Suite, x: AShare) -> Protocol[AShare]:
    """The natural logarithm, within 3e-4 relative or 4 ulp. x ≤ 0 counts as the smallest positive number: -frac·ln 2.

    Price: 4 rounds
    """
    return (yield from tabulated(mpc, x, _log(x.frac, x.bits)))


def reciprocal(mpc: Suite, x: AShare, positive: bool = False) -> Protocol[AShare]:
    """1/x, within 3e-4 relative or 4 ulp; 1/0 is 2^frac, as for the smallest positive number.

    `positive` makes it cheaper by a quarter where x > 0 is known; x < 0 then gives 2^frac too.

    Price: 4 rounds
    """
    return (yield from tabulated(mpc, x, _reciprocal(x.frac, x.frac, positive)))


def sqrt(mpc: Suite, x: AShare) -> Protocol[AShare]:
    """The square root, within 3e-4 relative or 4 ulp; 0 for x < 0.

    Price: 4 rounds
    """
    return (yield from tabulated(mpc, x, _sqrt(x.frac, x.bits)))


def rsqrt(mpc: Suite, x: AShare) -> Protocol[AShare]:
    """1/√x, within 3e-4 relative or 4 ulp. x ≤ 0 counts as the smallest positive number: 2^(frac/2).

    Price: 4 rounds
    """
    return (yield from tabulated(mpc, x, _rsqrt(x.frac, x.bits)))


def power(mpc: Suite, x: AShare, exponent: int | float) -> Protocol[AShare]:
    """x ** exponent for a public number.

    Integers multiply (domain: |x|^exponent < 2^(w-2-2·frac)), negative ones after taking the reciprocal.

    Other exponents are tabulated, within 3e-4 relative or 4 ulp; x < 0 counts as 0, which for a negative exponent
    counts as the smallest positive number, and results end at 2^(w-3-frac).
    Price: 4 rounds; 2·⌈log2 exponent⌉ rounds for an integer, 4 more for a negative one
    """
    if exponent == int(exponent):
        return (yield from _integer_power(mpc, x, int(exponent)))
    return (yield from tabulated(mpc, x, _power(float(exponent), x.frac, x.bits)))


def _integer_power(mpc, x, n):
    if n < 0:
        x, n = (yield from reciprocal(mpc, x)), -n
    if n == 0:
        return x.like(torch.zeros_like(x.data)) + (1 << x.frac)
    result = None
    while n:
        asks = [square(mpc, x)] if n > 1 else []
        if n & 1:
            result, asks = (x, asks) if result is None else (result, [*asks, product(mpc, result, x)])
        done = yield from together(*asks)
        if len(asks) - (n > 1):
            result = done.pop()
        x, n = done[0] if done else x, n >> 1
    return result


def division(mpc: Suite, x: AShare, y) -> Protocol[AShare]:
    """x / y, for a secret y by its reciprocal with 6 more bits: error 3e-4·|x/y| + |x|·2^-(frac+4) + 1 ulp.

    The last ulp is the result's own rounding, the others are 1/y's error times x, for which the product needs room too.
    Domain: 1.0003·|x/y| + |x|·2^-(frac+4) < 2^(w-8-2·frac), for a public y that of `scale`.

    Price: 6 rounds; 1 round for a public y
    """
    if not isinstance(y, AShare):
        return (yield from scale(mpc, x, 1 / (y.double() if isinstance(y, torch.Tensor) else y)))
    inverse = yield from tabulated(mpc, y, _reciprocal(y.frac, y.frac + 6, False))
    return (yield from product(mpc, x, inverse))


def _wide(f, unit, out, high, **options):
    """f on the whole positive range, where a relative error is asked for."""
    smallest = 2.0**-unit
    return fit(
        lambda x: f(x.clamp(min=smallest)), unit, out, 0, high, relative=2.2e-4, absolute=2 * 2.0**-out, **options
    )


@cache
def _log(unit, bits):
    return _wide(torch.log, unit, unit, 2.0 ** (bits - 2 - unit), left=-unit * math.log(2))


@cache
def _reciprocal(unit, out, positive):
    sign = {"left": 2.0**unit} if positive else {"mirror": -1}
    return _wide(torch.reciprocal, unit, out, 2.0 ** (out + 1), right=0.0, **sign)


@cache
def _sqrt(unit, bits):
    return fit(torch.sqrt, unit, unit, 0, 2.0 ** (bits - 2 - unit), relative=2.2e-4, absolute=2 * 2.0**-unit)


@cache
def _rsqrt(unit, bits):
    return _wide(torch.rsqrt, unit, unit, 2.0 ** (bits - 2 - unit), left=2.0 ** (unit / 2))


@cache
def _power(exponent, unit, bits):
    def f(x):
        return x**exponent

    end = 2.0 ** ((bits - 3 - unit) / abs(exponent))  # from here on, or up to its inverse, x^exponent does not fit
    whole, largest = 2.0 ** (bits - 2 - unit), 2.0 ** (bits - 3 - unit)
    if exponent > 0:
        right = largest if end < whole else None
        return fit(f, unit, unit, 0, min(end, whole), relative=2.2e-4, absolute=2 * 2.0**-unit, right=right)
    if 1 / end <= 2.0**-unit:
        return _wide(f, unit, unit, whole, left=2.0 ** (-unit * exponent))
    return fit(f, unit, unit, 1 / end, whole, relative=2.2e-4, absolute=2 * 2.0**-unit, left=largest)
