"""The ends of gates, each in one pass: from a message that has come to the share that goes on, or out, next.

What a gate does between two openings is a handful of small steps on every element. One by one each would read and
write all of them, and on a GPU be a launch of its own; here they are one kernel, made of the others' definitions.
"""

import torch

from . import kernel
from .ggm import dpf_all, dpf_parity
from .reference import select, signed_lookup, unpack


def _shifted(x_hat, width, by):
    """(x̂ mod 2^width) >> by, as a number from 0 on; by = 0 leaves x̂ as it is."""
    return x_hat if by == 0 else (x_hat >> by) & ((1 << (width - by)) - 1)


@kernel
def join_packed(own, data, bits, is_xor):
    """The opened value from a party's own share (int64 or bool) and another's message: data as `pack` makes it.

    Xor or sum of both; of int64 the signed representative modulo 2^bits.
    """
    other = unpack.reference(data, bits, own.numel()).view(own.shape)
    if own.dtype == torch.bool:
        return own ^ other
    total = own ^ other if is_xor else own + other
    return (total << (64 - bits)) >> (64 - bits)


@kernel
def at_least(x_hat, sign, root, cw, bits, thresholds, width, by, first):
    """A share of 1{z ≥ c} for each public c: x̂ [N] → bool [T, N], where z + r = (x̂ mod 2^width) >> by is public.

    root [N, 2] and cw [bits - 6, N, 2] are keys of the point function at r mod 2^bits, bits ≥ 7, and sign [N] is a
    share of bit `bits` of r. That bit of z - c is that of (z + r) - c, xor r's, xor 1{low bits of it < those of r}.
    """
    y = torch.stack([_shifted(x_hat, width, by) - c for c in thresholds])
    out = ~(dpf_parity.reference(y, root, cw, bits) ^ sign)
    return out ^ ((y >> bits) & 1).bool() if first else out


@kernel
def dpf_look_up(x_hat, root, cw, tables, bits, first):
    """`signed_lookup` of x̂ [N] in tables [T, 2^bits] under the one-hot codes that keys span (`dpf_all`), bits ≥ 7:
    int64 [T, N].   [Pika]
    """
    return signed_lookup.reference(x_hat, dpf_all.reference(root, cw, bits), tables, first)


@kernel
def truncated(x_hat, high, top, width, by, first):
    """A share of x >> by, or one more, from x̂ = x + 2^(width-2) + r opened modulo 2^width.

    high and top are shares of (r mod 2^width) >> by, and of what it costs if the sum has wrapped: only where x̂'s top
    bit is clear can it have.
    """
    clear = 1 - ((x_hat >> (width - 1)) & 1)
    out = clear * top - high
    return out + (_shifted(x_hat, width, by) - (1 << (width - 2 - by))) if first else out


@kernel
def select_truncated(x_hat, b_hat, high, top, s, s_high, s_top, width, by, first, w_hat=None, u=None, su=None):
    """(a share of b·y, a share of y), where y is what `truncated` gives and b ⊕ s = b̂ is public.

    s, s_high, s_top are shares of s and its products with what high and top share. With ŵ = w ⊕ u public, where w is
    the borrow out of the low bits, and shares of u and of s·u, y is less by w: the floor.
    """
    y = truncated.reference(x_hat, high, top, width, by, first)
    public = _shifted(x_hat, width, by) - (1 << (width - 2 - by))
    masked = -truncated.reference(x_hat, s_high, s_top, width, by, False)  # s·y is s·public less this
    if w_hat is not None:
        flip = w_hat.to(torch.int64)
        turn = 1 - 2 * flip
        y = y - turn * u - flip if first else y - turn * u
        masked = masked + flip * s + turn * su
    return select.reference(y, public, b_hat, s, masked), y


def selected(x_hat, b_hat, high, top, s, s_high, s_top, w_hat=None, u=None, su=None) -> list[torch.Tensor] | None:
    """The ten tensors that a body of `select_truncated` reads, some in place of those of a floor that is not asked for;
    None where they would have to be broadcast, which bodies leave to the definition.
    """
    floor = (b_hat, s, s) if w_hat is None else (w_hat, u, su)
    given = [x_hat, b_hat, high, top, s, s_high, s_top, *floor]
    return given if all(t.shape == x_hat.shape for t in given) else None
