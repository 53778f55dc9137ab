"""Bodies for meta tensors, which a planner runs: shape and dtype without the reference's many small steps."""

import torch
import torch.nn.functional as F

from . import ends, ggm
from . import reference as definition
from .reference import DIGIT


def _words(*shape):
    return torch.empty(shape, dtype=torch.int64, device="meta")


@definition.conv.on("meta")
def conv(x, w, stride, padding, dilation, groups):
    steps = zip(x.shape[2:], w.shape[2:], stride, padding, dilation)
    size = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in steps]
    if min(size) < 1 or x.shape[1] != groups * w.shape[1] or w.shape[0] % groups:
        # Torch says what does not fit. It could say the shape as well, but imports a library for algebra to do so.
        return (F.conv1d if len(stride) == 1 else F.conv2d)(x, w, None, stride, padding, dilation, groups)
    return _words(x.shape[0], w.shape[0], *size)


@definition.beaver.on("meta")
def beaver(c, d, b, a, e, first):
    return torch.empty_like(c)


@definition.to_planes.on("meta")
def to_planes(v, bits):
    return _words(bits, *v.shape[:-1], -(-v.shape[-1] // 64))


@definition.from_planes.on("meta")
def from_planes(planes, n):
    return _words(*planes.shape[1:-1], n)


@definition.digit_tables.on("meta")
def digit_tables(planes):
    return _words(planes.shape[0] // DIGIT, 16, *planes.shape[1:])


@definition.digit_compare.on("meta")
def digit_compare(planes, tables):
    shape = (planes.shape[0] // DIGIT, *planes.shape[1:])
    return _words(*shape), _words(*shape)


@definition.tree_node.on("meta")
def tree_node(opened, dealt, radix, want, first):
    return _words(len(want), *opened.shape[1:])


@definition.lookup.on("meta")
def lookup(x_hat, hot, table):
    return torch.empty_like(x_hat)


@definition.signed_lookup.on("meta")
def signed_lookup(x_hat, hot, tables, first):
    return _words(tables.shape[0], *x_hat.shape)


# ---- trees ---------------------------------------------------------------------------------------


@ggm.prg.on("meta")
def prg(blocks, tweak):
    return torch.empty_like(blocks)


@ggm.dpf_gen.on("meta")
def dpf_gen(alpha, root0, root1, bits):
    return _words(bits - ggm.LEAF_BITS + 1, *root0.shape)


@ggm.dpf_eval.on("meta")
@ggm.dpf_parity.on("meta")
def dpf_points(x, root, cw, bits):
    return torch.empty(x.shape, dtype=torch.bool, device="meta")


@ggm.dpf_all.on("meta")
def dpf_all(root, cw, bits):
    return _words(root.shape[0], 1 << bits >> 6)


@ggm.dcf_gen.on("meta")
def dcf_gen(alpha, beta, root0, root1, bits):
    return _words(bits, *root0.shape), _words(bits + 1, *beta.shape)


@ggm.dcf_eval.on("meta")
def dcf_eval(x, root, cw, vcw):
    return _words(x.shape[0], *vcw.shape[1:])


# ---- ends of gates -------------------------------------------------------------------------------


@ends.join_packed.on("meta")
def join_packed(own, data, bits, is_xor):
    return torch.empty_like(own)


@ends.at_least.on("meta")
def at_least(x_hat, sign, root, cw, bits, thresholds, width, by, first):
    return torch.empty((len(thresholds), *x_hat.shape), dtype=torch.bool, device="meta")


@ends.dpf_look_up.on("meta")
def dpf_look_up(x_hat, root, cw, tables, bits, first):
    return _words(tables.shape[0], *x_hat.shape)


@ends.truncated.on("meta")
def truncated(x_hat, high, top, width, by, first):
    return torch.empty_like(x_hat)


@ends.select_truncated.on("meta")
def select_truncated(x_hat, b_hat, *rest):
    return torch.empty_like(x_hat), torch.empty_like(x_hat)
