"""What `python -m mpckit bench accuracy` measures: functions, where torch's truth is, what is allowed, where to look.

Bounds are those that the kit promises: 3e-4 for gelu, silu, sigmoid and tanh, 5e-4 relative or 4 ulp for reciprocal and
rsqrt, 1e-3 for softmax, 3e-3 for normalisation, nothing at all for relu and exact truncation; elsewhere those in the
docstrings of `protocols/`. Where an input lies outside of a function's domain but within the ring's, the value in the
docstring is the truth. One ulp is 2^-16.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F

from ..aten.table import call
from ..protocols import functions
from ..runtime.session import DEFAULT_RING

FRAC = DEFAULT_RING.frac
ULP, END = 2.0**-FRAC, 1 << DEFAULT_RING.bits - 2  # of |x|, in ulps


# ---- what is allowed -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bound:
    """An error counts over `per(y, x)` (results, and inputs, as real numbers), and then is at most `limit`."""

    text: str
    limit: float
    per: Callable


def absolute(limit: float) -> Bound:
    return Bound(f"{limit:g}", limit, lambda y, x: 1.0)


def relative(limit: float, ulps: int) -> Bound:
    return Bound(f"{limit:g}·|y| or {ulps} ulp", limit, lambda y, x: y.abs().clamp(min=ulps * ULP / limit))


def ulps(text: str, limit: float, times=lambda x: 1.0) -> Bound:
    return Bound(text, limit, lambda y, x: ULP * times(x))


# ---- cases -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """`compute` works on a secret tensor, `truth` on int64 ring units: (whole, rest), their sum in units of the result.

    `inputs(generator, thresholds)` gives tensors of samples, [n] or [n, numbers]; a sample for which `inside` is false
    is none. `thresholds` are the numbers that the protocol compares with, as found by a first run.
    """

    name: str
    compute: Callable
    truth: Callable
    bound: Bound
    inputs: Callable
    inside: Callable
    truncation: str | None = None  # what the suite takes

    def error(self, x: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
        """What each result, ring units like x, is off, in the unit of the bound."""
        whole, rest = self.truth(x)
        off = ((found - whole).double() - rest).abs() * ULP
        return off / self.bound.per((whole.double() + rest) * ULP, real(x))


class ArgMax(Case):
    """The largest logit's lead in the true probabilities, where another one comes out above it; else 0."""

    def error(self, x, found):
        at, out_at = x.argmax(-1, True), found.argmax(-1, True)
        p = real(x).softmax(-1)
        lost = found.gather(-1, at) < found.gather(-1, out_at)
        return (p.gather(-1, at) - p.gather(-1, out_at)) * lost / self.bound.per(p, x)


def real(x: torch.Tensor) -> torch.Tensor:
    return x.double() * ULP


def of_torch(f):
    """f on real numbers as a `truth`. Where f(x) is x, that is taken as the integer that it is, beyond float64 too."""

    def truth(x):
        y = f(real(x)).double() / ULP
        same = y == x.double() if y.shape == x.shape else torch.zeros_like(y, dtype=torch.bool)
        whole = torch.where(same, x, y.round().long()) if bool(same.any()) else y.round().long()
        return whole, torch.where(same, 0.0, y - y.round())

    return truth


def shifted(x, by, nearest):
    """x / 2^by, or the nearest whole number, exactly."""
    return (x + (1 << by - 1) >> by, 0.0) if nearest else (x >> by, (x & (1 << by) - 1).double() / 2**by)


def protocol(name, *args):
    """A function of `protocols/functions.py` that torch has no name for."""
    return lambda x: call(partial(getattr(functions, name), x.session.suite), x, *args)


def truncated(x):
    return call(lambda s: x.session.suite.truncate(s, FRAC), x)


def magnitudes(generator, each, lowest=0, highest=62):
    """Integers of every size, `each` to an octave, with random low bits and both signs."""
    octave = torch.arange(lowest, highest).repeat_interleave(each)
    top = torch.bitwise_left_shift(torch.ones_like(octave), octave)
    size = top + (torch.randint(0, 1 << 62, octave.shape, generator=generator) & (top - 1))
    return size * (torch.randint(0, 2, octave.shape, generator=generator) * 2 - 1)


def sweep(reach=40.0, each=256, window=1 << 13):
    """One number: all sizes, a dense uniform window, zero, powers of two and thresholds with neighbours, the ends."""

    def inputs(generator, thresholds):
        powers = 1 << torch.arange(62)
        marks = torch.cat((powers, -powers, torch.tensor([0, *thresholds], dtype=torch.int64)))
        marks = (marks[:, None] + torch.tensor([-300, -2, -1, 0, 1, 2, 300])).flatten()
        ends = torch.tensor([END - 1, 1 - END])
        dense = ((torch.rand(window, generator=generator, dtype=torch.float64) * 2 - 1) * reach / ULP).long()
        return [torch.cat((ends, torch.arange(-1024, 1025), marks, dense, magnitudes(generator, each)))]

    return inputs


def pairs(largest, each=512):
    """Two numbers, all sizes with all sizes, and for every y an x inside of its end, `largest(|y|)`."""

    def inputs(generator, thresholds):
        x, y = (magnitudes(generator, each) for _ in range(2))
        near = largest(y.abs().double()).clamp(max=END) * (1 - torch.rand(len(y), generator=generator) ** 2 / 2)
        edge = torch.stack((near.long() * x.sign(), y), -1)
        return [torch.cat((torch.stack((x, y[torch.randperm(len(y), generator=generator)]), -1), edge))]

    return inputs


def normal(generator, *shape):
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def logits(sigma, *widths, close=False, numbers=1 << 16):
    """Rows of N(0, σ); `close`: each has a second one just below the largest."""

    def inputs(generator, thresholds):
        return [row(generator, max(numbers // width, 64), width) for width in widths]

    def row(generator, n, width):
        x = (normal(generator, n, width) * sigma / ULP).round().long()
        if close:
            other = x.argmax(-1, True) + torch.randint(1, width, (n, 1), generator=generator)
            below = 2.0 ** (10 * torch.rand(n, 1, generator=generator))
            x = x.scatter(-1, other % width, x.amax(-1, True) - below.long())
        return x

    return inputs


def spreads(*widths, offset=0, groups=1, outlier=False, low=1e-3, high=1e4, numbers=1 << 16):
    """Rows, or groups in a row, of normal numbers: variances of every size, means up to `offset` deviations.

    `outlier`: nearly all of the variance is that of one number, which normalisation makes as large as it can be.
    """

    def inputs(generator, thresholds):
        out = []
        for width in widths:
            shape = (max(numbers // width, 64), groups)
            sizes = torch.rand(*shape, 1, generator=generator, dtype=torch.float64)
            means = offset * (2 * torch.rand(*shape, 1, generator=generator, dtype=torch.float64) - 1)
            x = normal(generator, *shape, width // groups) + means
            if outlier:
                x = x / 100
                x[..., 0] += width**0.5
            x = x * (low * (high / low) ** sizes).sqrt()
            out.append((x / ULP).round().long().flatten(-2))
        return out

    return inputs


def scalar(name, f, bound, compute=None, reach=40.0, inside=lambda x: x.abs() < END, truth=None, **options):
    return Case(name, compute or f, truth or of_torch(f), bound, sweep(reach), inside, **options)


def positive(f):
    """f where what is not positive counts as the smallest positive number."""
    return lambda x: f(x.clamp(min=ULP))


def nonzero(x):
    return x + (x == 0) * ULP


# Of 1/y with 6 more bits: its own error, in the result and in the room that the product needs.
QUOTIENT_END, RELATIVE, OF_X = 2.0 ** (DEFAULT_RING.bits - 8 - 2 * FRAC), 3e-4, 2.0 ** -(FRAC + 4)


def quotient(x):
    return x[..., 0] / x[..., 1]


def divisible(x):
    """Is there room for x times 1/y and its error?"""
    v = real(x)
    needed = (1 + RELATIVE) * quotient(v).abs() + OF_X * v[..., 0].abs()
    return (x[..., 1] != 0) & (needed < QUOTIENT_END) & (x.abs().amax(-1) < END)


def varied(x, groups=1, central=True):
    """Is the variance (or mean square) of each row, or of its groups, one of those that normalisation is stated for?"""
    v = real(x).unflatten(-1, (groups, -1))
    squares = v.var(-1, correction=0) if central else v.square().mean(-1)
    return ((squares >= 1e-3) & (squares <= 1e4)).all(-1)


def deviation(x):
    return x.var(-1, correction=0, keepdim=True).add(1e-5).sqrt()


GROUPS = 4
GROUPED = (8, 16)  # channels, numbers in each


SOFTMAX, LOG_SOFTMAX = (partial(f, dim=-1) for f in (torch.softmax, torch.log_softmax))


def layer_norm(x):
    return F.layer_norm(x, x.shape[-1:])


def rms_norm(x):
    return F.rms_norm(x, x.shape[-1:], eps=1e-5)


def group_norm(x):
    return F.group_norm(x.unflatten(-1, GROUPED), GROUPS).flatten(-2)


def cases() -> list[Case]:
    third, three = relative(3e-4, 4), absolute(3e-4)
    out = [
        scalar("relu", torch.relu, ulps("exact", 0.0)),
        scalar("gelu", F.gelu, three, reach=6.0),
        scalar("gelu tanh", partial(F.gelu, approximate="tanh"), three, reach=6.0),
        scalar("silu", F.silu, three, reach=16.0),
        scalar("sigmoid", torch.sigmoid, three, reach=16.0),
        scalar("tanh", torch.tanh, three, reach=8.0),
        scalar("erf", torch.erf, absolute(1.2e-4), reach=5.0),
        scalar("softplus", F.softplus, absolute(2e-4), reach=16.0),
        scalar("exp", lambda x: x.exp().clamp(max=0.999 * 2.0**29), relative(3.5e-5, 2), torch.exp),
        scalar(
            "exp_nonpositive", lambda x: x.clamp(max=0).exp(), absolute(1e-4), protocol("exp_nonpositive"), reach=16.0
        ),
        scalar("log", positive(torch.log), third, torch.log),
        scalar("reciprocal", lambda x: 1 / nonzero(x), relative(5e-4, 4), torch.reciprocal),
        scalar("sqrt", lambda x: x.clamp(min=0).sqrt(), third, torch.sqrt),
        scalar("rsqrt", positive(torch.rsqrt), relative(5e-4, 4), torch.rsqrt),
        scalar("power 0.5", lambda x: x.clamp(min=0) ** 0.5, third, lambda x: x**0.5),
        scalar("power -1.5", positive(lambda x: x**-1.5), third, lambda x: x**-1.5),
        # Two truncations, the first of which is multiplied by x; |x|³ < 2^30.
        scalar(
            "power 3",
            lambda x: x**3,
            ulps("(1 + |x|) ulp", 1.0, lambda x: 1 + x.abs()),
            lambda x: x**3,
            inside=lambda x: x.abs() < 1 << 10 + FRAC,
        ),
        Case(
            "product",
            lambda x: x[..., 0] * x[..., 1],
            lambda x: shifted(x[..., 0] * x[..., 1], FRAC, False),
            ulps("1 ulp", 1.0),
            pairs(lambda y: END / y),
            lambda x: x.double().prod(-1).abs() < END,
        ),
        Case(
            "division",
            quotient,
            of_torch(quotient),
            Bound("3e-4·|y| + |x|/2^20 + 1 ulp", 1.0, lambda y, x: RELATIVE * y.abs() + OF_X * x[..., 0].abs() + ULP),
            pairs(lambda y: QUOTIENT_END / ((1 + RELATIVE) / y + OF_X * ULP)),
            divisible,
        ),
        scalar(
            "truncate",
            None,
            ulps("1 ulp", 1.0),
            truncated,
            truth=lambda x: shifted(x, FRAC, False),
            truncation="stochastic",
        ),
        Case(
            "truncate exact",
            truncated,
            lambda x: shifted(x, FRAC, True),
            ulps("exact", 0.0),
            sweep(each=1 << 16, window=1 << 17),
            lambda x: x.abs() < END - (1 << FRAC - 1),
            "exact",
        ),
    ]
    small, widths = lambda x: x.abs().amax(-1) < END, (2, 10, 128)
    for sigma in (1, 3, 8):
        plain, close = (logits(sigma, *widths, close=c) for c in (False, True))
        for name, f, bound in (("softmax", SOFTMAX, absolute(1e-3)), ("log_softmax", LOG_SOFTMAX, absolute(4e-4))):
            out.append(Case(f"{name} σ={sigma}", f, of_torch(f), bound, plain, small))
        lead = ulps("a lead of 1 ulp", 1.0)
        out.append(ArgMax(f"arg max σ={sigma}", SOFTMAX, of_torch(SOFTMAX), lead, close, small))
    # What `normalise` states.
    stated = Bound("3e-4·|y| + (1 + 2/σ) ulp", 1.0, lambda y, x: 3e-4 * y.abs() + (1 + 2 / deviation(x)) * ULP)
    one = spreads(16, 128, 768, outlier=True)
    out.append(Case("layer_norm outlier", layer_norm, of_torch(layer_norm), stated, one, varied))
    norms = [
        ("layer_norm", layer_norm, spreads(16, 128, 768, offset=3), varied),
        ("rms_norm", rms_norm, spreads(16, 128, 768), partial(varied, central=False)),
        (
            "group_norm",
            group_norm,
            spreads(128, offset=3, groups=GROUPS, numbers=1 << 18),
            partial(varied, groups=GROUPS),
        ),
    ]
    return out + [Case(name, f, of_torch(f), absolute(3e-3), inputs, inside) for name, f, inputs, inside in norms]
