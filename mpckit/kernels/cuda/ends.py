"""The ends of gates on a GPU (`ends.cu`)."""

import functools

import torch

from .. import ends, ggm, reference
from ..ggm import LEAF_BITS
from .launch import launch
from .trees import BUSY

BELOW, LANES = 2, 5  # levels: those under a lane's node, and those that tell a warp's lanes apart


def _solid(*tensors):
    return [t.contiguous() for t in tensors]


@ends.join_packed.on("cuda")
def join_packed(own, data, bits, is_xor):
    data = data.contiguous()
    if data.numel() < reference.packed_bytes(own.numel(), bits):
        raise ValueError(f"{own.numel()} elements of {bits} bits do not lie in {data.numel()} bytes")
    out = torch.empty(own.shape, dtype=own.dtype, device=own.device)
    launch("join_packed", out.numel(), *_solid(own), data, out, out.numel(), bits, is_xor, own.element_size())
    return out


@ends.at_least.on("cuda")
def at_least(x_hat, sign, root, cw, bits, thresholds, width, by, first):
    n, count = len(x_hat), len(thresholds)
    out = torch.empty((count, n), dtype=torch.bool, device=x_hat.device)
    numbers = _there(tuple(thresholds), x_hat.device)
    given = _solid(x_hat, sign, root, cw)
    launch("at_least", out.numel(), *given, numbers, out, n, count, bits, width, by, first)
    return out


@functools.lru_cache(1024)
def _there(numbers, device):
    """Numbers as words on the device, where they stay, so that no call sends them."""
    return torch.tensor(numbers, dtype=torch.int64).to(device)


@ends.dpf_look_up.on("cuda")
def dpf_look_up(x_hat, root, cw, tables, bits, first):
    (count, size), n, depth = tables.shape, len(x_hat), bits - LEAF_BITS
    if depth > BELOW + LANES or size != 1 << bits:
        return reference.signed_lookup(x_hat, ggm.dpf_all(root, cw, bits), tables, first)
    # As in `dpf_all`: few nodes are met by several lanes where each lane spells out more, but all must be busy.
    above = max(depth - BELOW, min(depth, LANES, (-(-BUSY // max(n, 1)) - 1).bit_length()))
    out = tables.new_empty((count, n))
    given = _solid(x_hat, root, cw, tables)
    launch("dpf_look_up", n << above, *given, out, n, bits, depth - above, count, not first)
    return out


@ends.truncated.on("cuda")
def truncated(x_hat, high, top, width, by, first):
    if not (x_hat.shape == high.shape == top.shape):
        return ends.truncated.reference(x_hat, high, top, width, by, first)
    out = torch.empty(x_hat.shape, dtype=torch.int64, device=x_hat.device)
    launch("truncated", out.numel(), *_solid(x_hat, high, top), out, out.numel(), width, by, first)
    return out


@ends.select_truncated.on("cuda")
def select_truncated(x_hat, b_hat, high, top, s, s_high, s_top, width, by, first, w_hat=None, u=None, su=None):
    given, exact = ends.selected(x_hat, b_hat, high, top, s, s_high, s_top, w_hat, u, su), w_hat is not None
    if given is None:
        return ends.select_truncated.reference(
            x_hat, b_hat, high, top, s, s_high, s_top, width, by, first, w_hat, u, su
        )
    out, y = (torch.empty(x_hat.shape, dtype=torch.int64, device=x_hat.device) for _ in range(2))
    launch("select_truncated", out.numel(), *_solid(*given), out, y, out.numel(), width, by, first, exact)
    return out, y
