"""Gates of the n-party bit suite: from a comparison to ReLU, maxima and tables. Shares in, shares out."""

import torch

from .. import kernels
from ..ask import Draw, Open, Protocol
from ..correlations import Compare, Select, Table
from ..ring import Ring
from ..share import AShare, BShare
from .arithmetic import masked_high
from .bits import at_least, at_least_opened


def drelu(x: AShare) -> Protocol[BShare]:
    """1{x ≥ 0}.

    Price: 1 + levels(w - 1) · w + node_bits(w - 1)   [SIGMA]
    """
    return (yield from at_least(x)).map(torch.Tensor.__getitem__, 0)


def select(b: BShare, x: AShare) -> Protocol[AShare]:
    """b · x for a secret bit b, with broadcasting: open b ⊕ s and x + r, where s, r and r·s were dealt.   [SIGMA]

    Price: 1 · w + 1
    """
    r, s, s_sum, rs = yield Draw(Select(tuple(b.shape), tuple(x.shape)))
    x_hat, b_hat = yield Open(x + r, b ^ s)
    return x.like(kernels.select(x.data, x_hat, b_hat, s_sum.data, rs.data))


def relu(x: AShare) -> Protocol[AShare]:
    """max(x, 0): the comparison and the selection share one mask, so x is opened once.   Domain: the whole ring.

    Price: 2 + levels(w - 1) · w + node_bits(w - 1) + 1
    """
    r, tables, top, s, s_sum, rs = yield Draw(Compare(tuple(x.shape), x.bits, choose=True))
    x_hat = yield Open(x + r)
    positive = yield from at_least_opened(x_hat, (0,), x.bits, tables, top)
    b_hat = yield Open(positive.map(torch.Tensor.__getitem__, 0) ^ s)
    return x.like(kernels.select(x.data, x_hat, b_hat, s_sum.data, rs.data))


def maximum(x: AShare, y: AShare) -> Protocol[AShare]:
    """max(x, y) = y + relu(x - y).   Domain: |x - y| < 2^(w-1).

    Price: 2 + levels(w - 1) · w + node_bits(w - 1) + 1
    """
    return y + (yield from relu(x - y))


def reduce_max(x: AShare) -> Protocol[AShare]:
    """Maximum over the last dimension [..., k] → [...], by a tournament of ⌈log2 k⌉ levels; the odd one is carried on.

    Price: log2(k) * (2 + levels(w - 1)) · (k - 1) * (w + node_bits(w - 1) + 1)
    """
    while (k := x.shape[-1]) > 1:
        half = k // 2
        left, right = (x.map(torch.narrow, -1, at, half) for at in (0, half))
        best = yield from maximum(left, right)
        x = _append(best, x.map(torch.narrow, -1, 2 * half, k - 2 * half))
    return x.map(torch.squeeze, -1)


def argmax(x: AShare) -> Protocol[tuple[AShare, AShare]]:
    """(maximum, its index as an integer of unit 0) over the last dimension; of equal ones the first, as torch.

    Price: log2(k) * (2 + levels(w - 1)) · (k - 1) * (3 * w + node_bits(w - 1) + 2)
    """
    place = torch.arange(x.shape[-1], device=x.data.device).expand(x.shape)
    index = AShare(place * int(x.first), x.party, x.ring.at(0))
    while (k := x.shape[-1]) > 1:
        half = k // 2  # neighbours meet, so that the left one has the smaller index and wins a draw
        left, left_index = (v.map(_every_second, 0, half) for v in (x, index))
        right, right_index = (v.map(_every_second, 1, half) for v in (x, index))
        keep_left = yield from drelu(left - right)
        gaps = AShare(torch.stack(((left - right).data, (left_index - right_index).data)), x.party, x.ring)
        kept = yield from select(keep_left.map(torch.Tensor.expand, gaps.shape), gaps)
        best, best_index = right.like(right.data + kept.data[0]), right_index.like(right_index.data + kept.data[1])
        x, index = (
            _append(w, v.map(torch.narrow, -1, 2 * half, k - 2 * half)) for w, v in ((best, x), (best_index, index))
        )
    return x.map(torch.squeeze, -1), index.map(torch.squeeze, -1)


def _every_second(v, start, count):
    return v[..., start : 2 * count : 2]


def _append(x, rest):
    return x.like(torch.cat((x.data, rest.data), -1)) if rest.shape[-1] else x


# ---- tables --------------------------------------------------------------------------------------


def lut(x: AShare, table: torch.Tensor, width: int = 64) -> Protocol[BShare]:
    """table[x mod 2^k] for a public table of 2^k words of `width` bits, k ≤ 10, as xor shares.

    `b2a` brings the word home.
    The dealer shares the one-hot *bits* of r: 2^k bits a look-up, where a rotated table of words takes 64 · 2^k.
    Price: 1 · k
    """
    k = table.numel().bit_length() - 1
    r, hot = yield Draw(Table(tuple(x.shape), x.bits, 0, k))
    x_hat = yield Open(AShare(x.data, x.party, Ring(k, 0)) + r)
    out = kernels.lookup(x_hat.reshape(-1), hot.data, table).reshape(x.shape)
    return BShare(out & ((1 << width) - 1) if width < 64 else out, x.party, width)


def split_lut(x: AShare, by: int, table: torch.Tensor, width: int) -> Protocol[tuple[BShare, AShare]]:
    """(table[i mod 2^k], x - i·2^by) for i = x >> by and |x| < 2^(w-2).

    i is rounded down or up, as in stochastic truncation.
    Price: 1 · w
    """
    k = table.numel().bit_length() - 1
    r, hot, r_high, r_top = yield Draw(Table(tuple(x.shape), x.bits, by, k))
    x_hat = yield Open(x + (1 << (x.bits - 2)) + r)
    high, no_msb = masked_high(x_hat, x.bits, by)
    gap = 1 << (x.bits - 2 - by)
    index = x.like(no_msb * r_top.data - r_high.data, 0) + (high - gap)
    word = kernels.lookup((high - gap).reshape(-1), hot.data, table).reshape(x.shape)
    rest = x.like(x.data - (index.data << by))
    return BShare(word & ((1 << width) - 1), x.party, width), rest
