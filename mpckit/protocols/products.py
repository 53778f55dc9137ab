"""Fixed-point products: multiply, then bring the unit home."""

import math

import torch

from ..ask import Protocol, together
from ..kernels.place import placed
from ..ring import Ring
from ..share import AShare
from .suite import Suite


def product(mpc: Suite, x: AShare, y: AShare) -> Protocol[AShare]:
    """x · y in x's unit, with broadcasting.   Domain: |x·y| < 2^(w-2-frac-frac).

    Price: 2 rounds
    """
    out = yield from mpc.mul(x, y)
    return (yield from mpc.truncate(out, y.frac)) if y.frac else out


def square(mpc: Suite, x: AShare) -> Protocol[AShare]:
    """x² in x's unit.   Domain: x² < 2^(w-2-2·frac).

    Price: 2 rounds
    """
    return (yield from mpc.truncate((yield from mpc.square(x)), x.frac))


def scale(mpc: Suite, x: AShare, factor, operator=torch.mul) -> Protocol[AShare]:
    """operator(x, factor) for a public number or tensor, and an operator linear in x (mul, matmul …); x's unit.

    A factor is a whole part, exact and free, and a rest in two short limbs, each truncated by itself (up to 1 ulp): one
    long factor would leave x no room in the ring.   Domain: x and the result below 2^(w-17-frac) (2^31 for 64 and 16).
    Price: 1 round (0 for whole numbers)
    """
    whole, *parts = in_limbs(x, factor, operator)
    return (yield from brought_home(mpc, whole, parts, x.frac))


def in_limbs(x: AShare, factor, operator=torch.mul) -> list[AShare | None]:
    """operator(x, factor) as products with the factor's limbs: [in x's unit or None, in finer units …]; no message."""
    whole, *rest = ((_beside(x, limb), frac) for limb, frac in limbs(factor, x.ring))
    total = x.like(operator(x.data, whole[0])) if whole[0] is not None else None
    return [total, *(x.like(operator(x.data, limb), x.frac + frac) for limb, frac in rest)]


def brought_home(mpc: Suite, total: AShare | None, parts: list[AShare], frac: int) -> Protocol[AShare]:
    """The sum of what `in_limbs` gives, with `frac` fraction bits.

    Price: 1 round
    """
    for part in (yield from together(*(mpc.truncate(p, p.frac - frac) for p in parts))):
        total = part if total is None else total + part
    return total


def _beside(x: AShare, limb):
    return placed(limb, x.data.device) if isinstance(limb, torch.Tensor) else limb


def limbs(factor, ring: Ring) -> list[tuple]:
    """[(whole or None, 0), (limb, frac), …] with factor ≈ whole + Σ limb · 2^-frac: int64 tensors or numbers.

    What a number needs is seen from it (a dyadic one is exact in one limb); for a tensor the limbs are always the same,
    since its values must not decide what is drawn. Raises RangeError for a factor that is not finite or too large.
    """
    short = max(2, min(15, (ring.bits - 2 - ring.frac) // 3))
    most = min(ring.bits - 2, 62 - ring.frac)
    if isinstance(factor, torch.Tensor):
        value = factor.double()
        whole = ring.at(0).encode(value)
        high = torch.round((value - whole) * 2.0**short)
        low = torch.round((value - whole - high * 2.0**-short) * 4.0**short)
        return [(whole, 0), (high.long(), short), (low.long(), 2 * short)]
    value = float(factor)
    whole = int(ring.at(0).encode(value))
    out, rest = [(whole or None, 0)], value - whole
    frac = short - math.frexp(rest)[1]
    while rest and frac <= most and len(out) < 3:
        limb = round(math.ldexp(rest, frac))
        rest -= math.ldexp(limb, -frac)
        zeros = (limb & -limb).bit_length() - 1 if limb else 0
        if limb:
            out.append((limb >> zeros, frac - zeros))
        frac = min(frac + short, most) if frac < most else most + 1
    return out if len(out) > 1 or whole else [(0, 0)]
