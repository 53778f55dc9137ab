"""Fixed-point products: multiply, then bring the unit home."""

import torch

from ..ask import Protocol
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


def scale(mpc: Suite, x: AShare, factor) -> Protocol[AShare]:
    """x times a public number or tensor: integers are exact and free, else the largest factor has 18 significant bits.

    Domain: |x · factor| < 2^(w-20-frac).
    Price: 1 round
    """
    factor = torch.as_tensor(factor, dtype=torch.float64, device=None if x.data.is_meta else x.data.device)
    digits = 0 if not factor.numel() else _fraction_digits(factor)
    scaled = x.like(x.data * torch.round(factor * 2.0**digits).long().to(x.data.device), min(x.frac + digits, 62))
    out = (yield from mpc.truncate(scaled, digits)) if digits else scaled
    return out.like(out.data, x.frac)


def _fraction_digits(factor) -> int:
    """As few binary digits behind the point as represent the factors, or give the largest one 18 significant bits."""
    most = max(0, 17 - int(torch.log2(factor.abs().max().clamp(min=1e-18)).floor()))
    return next((d for d in range(most) if torch.equal(factor * 2.0**d, torch.round(factor * 2.0**d))), most)
