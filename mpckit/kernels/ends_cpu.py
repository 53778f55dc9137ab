"""The ends of gates on a CPU: one loop each, or the loops of the trees and the look-ups on what fits the caches."""

import numpy as np
import torch
from numba import njit

from . import aes, ends, ggm, reference
from .ggm_cpu import _body, _grouped

AT_ONCE = 1 << 17  # bytes of codes that are spelt out before they are looked up


def _flat(*tensors):
    return [t.contiguous().view(-1).numpy() for t in tensors]


@ends.join_packed.on("cpu")
def join_packed(own, data, bits, is_xor):
    if own.dtype == torch.bool or bits in (1, 64):
        other = reference.unpack(data, bits, own.numel()).view(own.shape)
        total = own ^ other if is_xor or own.dtype == torch.bool else own + other
        return total if bits == 64 or own.dtype == torch.bool else (total << (64 - bits)) >> (64 - bits)
    if data.numel() < reference.packed_bytes(own.numel(), bits):
        raise ValueError(f"{own.numel()} elements of {bits} bits do not lie in {data.numel()} bytes")
    out = np.empty(own.numel(), np.int64)
    _join_packed(*_flat(own, data), bits, is_xor, out)
    return torch.from_numpy(out).view(own.shape)


@njit(cache=True)
def _join_packed(own, data, bits, is_xor, out):
    spare, at, held, have = np.int64(64 - bits), 0, np.uint64(0), 0
    for i in range(out.size):
        value, got = held, have  # bits of the last byte that belong to this element
        held, have = np.uint64(0), 0
        while got < bits:
            byte = np.uint64(data[at])
            value |= byte << np.uint64(got)
            if got + 8 > bits:
                have = got + 8 - bits
                held = byte >> np.uint64(8 - have)
            got, at = got + 8, at + 1
        if got > bits and have == 0:  # one byte held more than one element
            have = got - bits
            held = value >> np.uint64(bits)
        total = own[i] ^ np.int64(value) if is_xor else own[i] + np.int64(value)
        out[i] = (total << spare) >> spare


@_body(ends.at_least)
def at_least(x_hat, sign, root, cw, bits, thresholds, width, by, first):
    n, count = len(x_hat), len(thresholds)
    out = torch.empty((count, n, 1), dtype=torch.bool)

    def loop(x_hat, sign, root, cw, out, n, lanes):
        aes.at_least(x_hat, sign, levels, root, cw, out, n, bits, width, by, np.int64(first), lanes)

    levels = np.array(thresholds, np.int64)
    return _grouped(loop, [x_hat[:, None], sign[:, None], root, cw], [out])[0][..., 0]


@ends.dpf_look_up.on("cpu")
def dpf_look_up(x_hat, root, cw, tables, bits, first):
    n, some = len(x_hat), max(aes.GROUP, AT_ONCE >> (bits - 3))
    parts = [
        reference.signed_lookup(
            x_hat[at : at + some], ggm.dpf_all(root[at : at + some], cw[:, at : at + some], bits), tables, first
        )
        for at in range(0, max(n, 1), some)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


@ends.truncated.on("cpu")
def truncated(x_hat, high, top, width, by, first):
    if not (x_hat.shape == high.shape == top.shape):
        return ends.truncated.reference(x_hat, high, top, width, by, first)
    out = np.empty(x_hat.numel(), np.int64)
    _truncated(*_flat(x_hat, high, top), width, by, first, out)
    return torch.from_numpy(out).view(x_hat.shape)


@njit(cache=True)
def _truncated(x_hat, high, top, width, by, first, out):
    keep, half = (np.int64(1) << (width - by)) - 1, np.int64(1) << (width - 2 - by)
    public = np.int64(-1 if first else 0)
    for i in range(out.size):
        clear = ((x_hat[i] >> (width - 1)) & 1) - 1
        out[i] = (clear & top[i]) - high[i] + ((((x_hat[i] >> by) & keep) - half) & public)


@ends.select_truncated.on("cpu")
def select_truncated(x_hat, b_hat, high, top, s, s_high, s_top, width, by, first, w_hat=None, u=None, su=None):
    given, exact = ends.selected(x_hat, b_hat, high, top, s, s_high, s_top, w_hat, u, su), w_hat is not None
    if given is None:
        return ends.select_truncated.reference(
            x_hat, b_hat, high, top, s, s_high, s_top, width, by, first, w_hat, u, su
        )
    out, y = np.empty(x_hat.numel(), np.int64), np.empty(x_hat.numel(), np.int64)
    _select_truncated(*_flat(*given), width, by, first, exact, out, y)
    return tuple(torch.from_numpy(v).view(x_hat.shape) for v in (out, y))


@njit(cache=True)
def _select_truncated(x_hat, b_hat, high, top, s, s_high, s_top, w_hat, u, su, width, by, first, exact, out, y):
    keep, half = (np.int64(1) << (width - by)) - 1, np.int64(1) << (width - 2 - by)
    one = np.int64(1 if first else 0)
    for i in range(out.size):
        clear = ((x_hat[i] >> (width - 1)) & 1) - 1
        public = ((x_hat[i] >> by) & keep) - half
        value, masked = (clear & top[i]) - high[i] + one * public, s_high[i] - (clear & s_top[i])
        if exact:
            flip = np.int64(w_hat[i])
            turn = 1 - 2 * flip
            value -= turn * u[i] + one * flip
            masked += flip * s[i] + turn * su[i]
        product = public * s[i] - masked
        y[i] = value
        out[i] = value - product if b_hat[i] else product
