"""From one width to another: truncation, the same into a smaller ring, and sign extension into a larger one."""

import torch

from .. import kernels
from ..ask import Draw, Open, Protocol
from ..correlations import Reduce, TruncPair, Wrap
from ..ring import Ring, lsr, ones
from ..share import AShare, BShare
from .bits import b2a
from .compare import below


def truncate(
    x: AShare, by: int, mode: str = "stochastic", form: str = "digits", bits: int | None = None
) -> Protocol[AShare]:
    """x >> by: drops `by` fraction bits. Domain of the stochastic and the exact mode: |x| < 2^(b-2).

    Only the low `bits` bits of x are opened, where b of them are known to hold it (default: w, the ring's).

    "stochastic"  floor or floor + 1, right on average, since the borrow out of the low bits is left out. The coin is
                  tied to the opened value, so this is not the ideal functionality as usually written.   [LDH+23]
    "exact"       floor
    "local"       two parties shift their own pieces, no message; wrong by 2^(w-by) with probability about |x| / 2^w:
                  a lesson.   [MZ17]
    Price: 1 · b
    Price (exact): 2 + levels(k) · b + node_bits(k) + 1
    Price (exact dpf): 2 · b + 1   [SIGMA]
    Price (local): 0 · 0
    """
    bits = min(bits or x.bits, x.bits)
    if not 0 < by < bits - 1:
        raise ValueError(f"a {bits}-bit ring can drop 1 to {bits - 2} bits, not {by}")
    check_fraction(x, by)
    if mode == "local":
        data = x.ring.reduce(x.data)
        return x.like(data >> by if x.first else -(-data >> by), x.frac - by)
    exact = mode == "exact"
    r, r_high, r_top, *borrow = yield Draw(TruncPair(tuple(x.shape), bits, by, exact, form if exact else "digits"))
    # Shifted to be non-negative: then a wrap shows in the top bits.
    x_hat = yield Open(x.narrow(bits) + (1 << (bits - 2)) + r)
    out = x.like(kernels.truncated(x_hat, r_high.data, r_top.data, bits, by, x.first), x.frac - by)
    return out - (yield from _borrowed(x_hat, *borrow, by, out.ring)) if exact else out


def check_fraction(x: AShare, by: int) -> None:
    """Raises ValueError where a number has fewer fraction bits than are to be dropped."""
    if by > x.frac:
        raise ValueError(f"a number with {x.frac} fraction bits cannot drop {by} of them")


def _borrowed(x_hat, dealt, by, ring) -> Protocol[AShare]:
    """1{low `by` bits of x̂ < those of r} as a ring element: what the subtraction of r borrows from the high bits.

    Price: 1 + levels(k) · node_bits(k) + 1
    Price (dpf): 1 · 1
    """
    return (yield from b2a((yield from below(x_hat[None], dealt, by)).map(torch.squeeze, 0), ring))


def truncate_reduce(x: AShare, by: int, form: str = "digits") -> Protocol[AShare]:
    """floor(x / 2^by), in a ring of w - by bits: no wrap to account for, so the whole ring is its domain.   [SIGMA]

    Price: 2 + levels(k) · w + node_bits(k) + 1
    Price (dpf): 2 · w + 1
    """
    if not 0 < by < x.bits:
        raise ValueError(f"a {x.bits}-bit ring can give up 1 to {x.bits - 1} bits, not {by}")
    ring = Ring(x.bits - by, max(0, x.frac - by))
    r, r_high, dealt = yield Draw(Reduce(tuple(x.shape), x.bits, by, form))
    x_hat = yield Open(x + r)
    out = AShare(-r_high.data, x.party, ring) + lsr(x_hat & ones(x.bits), by)
    return out - (yield from _borrowed(x_hat, dealt, by, ring))


def wrap(x: AShare, form: str = "digits") -> Protocol[tuple[torch.Tensor, AShare, BShare]]:
    """(x̂, r, 1{x̂ < r}) for a fresh mask r: x = x̂ - r + 2^w·1{x̂ < r}, all between 0 and 2^w, in any ring.

    Price: 1 + levels(b) · b + node_bits(b)
    Price (dpf): 1 · b
    """
    r, r_whole, dealt = yield Draw(Wrap(tuple(x.shape), x.bits, form))
    x_hat = yield Open(x + r)
    wrapped = yield from below(x_hat[None], dealt, x.bits)
    return x_hat & ones(x.bits), r_whole, wrapped.map(torch.squeeze, 0)


def extend(x: AShare, ring: Ring, form: str = "digits") -> Protocol[AShare]:
    """The same signed number in a larger ring.   [SIGMA]

    Price: 2 + levels(b) · b + node_bits(b) + 1
    Price (dpf): 2 · b + 1
    """
    if ring.bits <= x.bits:
        raise ValueError(f"{x.bits} bits extend to more, not to {ring.bits}: `AShare.narrow` makes a ring smaller")
    half = 1 << (x.bits - 1)
    x_hat, r, wrapped = yield from wrap(x + half, form)  # not negative any more
    turn = yield from b2a(wrapped, ring)
    return AShare(-r.data + (turn.data << x.bits), x.party, ring) + (x_hat - half)
