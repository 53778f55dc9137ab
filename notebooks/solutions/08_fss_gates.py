"""Solutions to the puzzles of notebook 08. A test fills them in and runs the notebook."""

import torch

import mpckit as mk
from mpckit.correlations import Select
from mpckit.kernels import ggm


def correction(s0, s1, right):
    return ggm.prg(s0, ggm.CHILD) ^ ggm.prg(s1, ggm.CHILD) ^ ((s0 ^ s1) & ~right)


def below(key, x):
    s, total, before = key.root, 0, torch.zeros_like(x)[:, None]
    for level in range(key.bits - 7):
        right = ggm.path(x, level, key.bits)
        total = total ^ ((right ^ before) & ggm.control(s))  # the path turns here
        s, before = ggm.descend(s, right, key.cw[level]), right
    leaf = ggm.prg(s, ggm.LEAF) ^ (key.cw[-1] & ggm.control(s))
    return ((total[:, 0] & 1) ^ ggm.parity(leaf & (ggm.up_to(x) ^ before)) ^ key.party).bool()


def relu_gate(b, x):
    r, s, s_sum, rs = yield mk.Draw(Select(tuple(b.shape), tuple(x.shape)))
    x_hat, b_hat = yield mk.Open(x + r, b ^ s)
    sx = s_sum.data * x_hat - rs.data  # a share of s·x
    return x.like(torch.where(b_hat, x.data - sx, sx))
