"""The trees and the keystream on a GPU: a thread walks a key, or a point on a key (`aes.cu`, `trees.cu`)."""

import torch

from .. import ggm
from .. import reference as definition
from .launch import BLOCK, MOST_BELOW, launch

BUSY = 1 << 17  # threads that keep a card busy; with more of them than that each one does more

STRETCHES = 1 << 12  # of a keystream, that a block of threads expands a key for


@definition.keystream.on("cuda")
def keystream(key, first_block, blocks):
    out = torch.empty((*key.shape[:-1], 2 * blocks), dtype=torch.int64, device=key.device)
    keys, (high, low) = out.numel() // max(2 * blocks, 1), divmod(first_block % (1 << 128), 1 << 64)
    span = max(BLOCK, -(-keys * blocks // STRETCHES))
    threads = BLOCK * keys * -(-blocks // span)
    launch("keystream", threads, key.contiguous(), out, keys, blocks, span, _signed(high), _signed(low))
    return out


def _signed(v):
    return v - (1 << 64) if v >> 63 else v


@ggm.prg.on("cuda")
def prg(blocks, tweak):
    out = torch.empty(blocks.shape, dtype=torch.int64, device=blocks.device)
    launch("prg", blocks.numel() // 2, blocks.contiguous(), out, blocks.numel() // 2, tweak)
    return out


@ggm.dpf_gen.on("cuda")
def dpf_gen(alpha, root0, root1, bits):
    n = len(alpha)
    out = alpha.new_empty((bits - ggm.LEAF_BITS + 1, n, 2))
    launch("dpf_gen", n, *_solid(alpha, root0, root1), out, n, bits)
    return out


def _points(x, root, cw, bits, prefix):
    out = torch.empty(x.shape, dtype=torch.bool, device=x.device)
    points, n = x.shape
    launch("dpf_points", x.numel(), *_solid(x, root, cw), out, n, points, bits, prefix)
    return out


@ggm.dpf_eval.on("cuda")
def dpf_eval(x, root, cw, bits):
    return _points(x, root, cw, bits, False)


@ggm.dpf_parity.on("cuda")
def dpf_parity(x, root, cw, bits):
    return _points(x, root, cw, bits, True)


@ggm.dpf_all.on("cuda")
def dpf_all(root, cw, bits):
    n, depth = len(root), bits - ggm.LEAF_BITS
    out = root.new_empty((n, 1 << bits >> 6))
    # The higher the node from which a thread goes down, the fewer nodes are met by several: but all must be busy.
    above = min(depth, max(depth - MOST_BELOW, (-(-BUSY // max(n, 1)) - 1).bit_length()))
    launch("dpf_all", n << above, *_solid(root, cw), out, n, bits, depth - above)
    return out


@ggm.dcf_gen.on("cuda")
def dcf_gen(alpha, beta, root0, root1, bits):
    n, blocks = len(alpha), len(beta)
    cws, sums = alpha.new_empty((bits, n, 2)), alpha.new_empty((bits + 1, blocks, n, 2))
    launch("dcf_gen", n, *_solid(alpha, beta, root0, root1), cws, sums, n, blocks, bits)
    return cws, sums


@ggm.dcf_eval.on("cuda")
def dcf_eval(x, root, cw, vcw):
    (points, n), (levels, blocks) = x.shape, vcw.shape[:2]
    out = x.new_empty((points, blocks, n, 2))
    launch("dcf_eval", points * n * -(-blocks // 4), *_solid(x, root, cw, vcw), out, n, points, blocks, levels - 1)
    return out


def _solid(*tensors):
    return [t.contiguous() for t in tensors]
