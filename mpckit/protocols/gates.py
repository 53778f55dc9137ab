"""Gates: from a comparison to ReLU, selections and maxima. Shares in, shares out.

`bits` says how many bits the values compared are known to need (default: all of the ring's): the comparison runs on
these. Where a product follows the ring's width is opened all the same, and only what is dealt shrinks. `form` is how
comparisons are dealt (`compare.py`); "dcf" is "dpf" with the ReLU of one round.
"""

import torch

from .. import kernels
from ..ask import Draw, Open, Protocol, together
from ..correlations import Compare, Ramp, Select, TruncRelu
from ..ring import lsr, ones
from ..share import AShare, BShare
from .compare import at_least_opened, below, drelu
from .widths import check_fraction


def select(b: BShare, x: AShare, bits: int | None = None) -> Protocol[AShare]:
    """b · x for a secret bit b, with broadcasting: open b ⊕ s and x + r, where s, r and r·s were dealt.   [SIGMA]

    With `bits`, x is opened modulo 2^bits only; then |x| < 2^(bits-2), so that the opened value tells, as in
    `truncate`, whether it has wrapped.
    Price: 1 · w + 1
    Price (narrow): 1 · b + 1
    """
    if bits is None or bits >= x.bits:
        r, s, s_sum, rs = yield Draw(Select(tuple(b.shape), tuple(x.shape)))
        x_hat, b_hat = yield Open(x + r, b ^ s)
        return x.like(kernels.select(x.data, x_hat, b_hat, s_sum.data, rs.data))
    half = 1 << (bits - 2)
    r, s, s_sum, rs, turn = yield Draw(Select(tuple(b.shape), tuple(x.shape), bits))
    x_hat, b_hat = yield Open(x.narrow(bits) + half + r, b ^ s)
    x_hat = x_hat & ones(bits)
    wrapped = (1 - lsr(x_hat, bits - 1)) * turn.data
    return x.like(kernels.select(x.data, x_hat - half, b_hat, s_sum.data, rs.data - wrapped))


def relu(x: AShare, bits: int | None = None, form: str = "digits") -> Protocol[AShare]:
    """max(x, 0): the comparison and the selection share one mask, so x is opened once.   Domain: |x| < 2^(bits-1).

    Price: 2 + levels(b - 1) · w + node_bits(b - 1) + 1
    Price (dpf): 2 · w + 1   [SIGMA]
    Price (dcf): 1 · w
    """
    bits = bits or x.bits
    if form == "dcf":
        return (yield from relu_at_once(x, bits))
    r, dealt, top, s, s_sum, rs = yield Draw(Compare(tuple(x.shape), bits, True, form))
    x_hat = yield Open(x + r)
    positive = yield from at_least_opened(x_hat, (0,), bits, dealt, top)
    b_hat = yield Open(positive.map(torch.Tensor.__getitem__, 0) ^ s)
    return x.like(kernels.select(x.data, x_hat, b_hat, s_sum.data, rs.data))


def relu_at_once(x: AShare, bits: int) -> Protocol[AShare]:
    """ReLU in one round, for two parties: b·x = b·x̂ - b·r, and keys of the comparison function give b and b·r at x̂.

    b = 1{x ≥ 0} = c ⊕ m ⊕ l, where c (dealt) is 1 where r's sign bit is 0, m is the sign bit of x̂, and l tells whether
    the low bits of x̂ are below those of r. For m = 0 that is c + (1 - 2c)·l, and otherwise 1 minus that.   [BCG+21]
    Price: 1 · w
    """
    r, keys, c, cr = yield Draw(Ramp(tuple(x.shape), bits, x.bits))
    x_hat = yield Open(x + r)
    flipped = (x_hat >> (bits - 1)) & 1
    # With c in l's place both terms come at once: shares of b·1 and of b·r, up to the flip.
    b, br = keys.payload(x_hat.reshape(-1) & ones(bits - 1)).view(2, *x.shape) + torch.stack((c.data, cr.data))
    one = flipped if x.first else torch.zeros_like(flipped)
    b, br = one + (1 - 2 * flipped) * b, flipped * r.data + (1 - 2 * flipped) * br
    return x.like(x_hat * b - br)


def relu_truncated(
    x: AShare, by: int, exact: bool = False, bits: int | None = None, form: str = "digits", keep: bool = False
) -> Protocol[tuple[AShare, AShare | None]]:
    """(max(x >> by, 0), x >> by if that is to `keep`) of a product: both from one opening, one word instead of two.

    x + r, opened, tells h = (x + r) >> by; and h - (r >> by) is x >> by, or one more if a borrow is missing. So h is
    also what is opened of a comparison under the mask r >> by, in a ring shorter by `by`. With 1 as its threshold it
    picks the same whether or not the borrow is there: between the two lie -1 and 0, or 0 and 1, of which the ReLU of
    the floor is 0.   Domain: |x| < 2^(w-2), |x >> by| < 2^(bits-1).
    Price: 2 + levels(w - k - 1) · w + node_bits(w - k - 1) + 1
    Price (exact): 2 + max(levels(w - k - 1), levels(k)) · w + node_bits(w - k - 1) + node_bits(k) + 2
    Price (dpf): 2 · w + 1
    Price (exact dpf): 2 · w + 2
    """
    if not 0 < by < x.bits - 1:
        raise ValueError(f"a {x.bits}-bit ring can drop 1 to {x.bits - 2} bits, not {by}")
    check_fraction(x, by)
    bits, form = min(bits or x.bits, x.bits - by), "dpf" if form == "dcf" else form
    r, dealt, sign, s, high, top, s_sum, s_high, s_top, *more = yield Draw(
        TruncRelu(tuple(x.shape), x.bits, by, bits, exact, form)
    )
    x_hat = yield Open(x + (1 << (x.bits - 2)) + r)  # not negative, as in `truncate`
    half = 1 << (x.bits - 2 - by)  # what that adds to the high bits
    compared = at_least_opened(x_hat, (1 + half,), bits, dealt, sign, x.bits, by)
    more_opened = ()
    if exact:
        borrow, u, u_sum, su = more
        positive, borrowed = yield from together(compared, below(x_hat[None], borrow, by))
        b_hat, w_hat = yield Open(_first(positive) ^ s, _first(borrowed) ^ u)
        more_opened = w_hat, u_sum.data, su.data
    else:
        positive = yield from compared
        b_hat = yield Open(_first(positive) ^ s)
    masks = (v.data for v in (high, top, s_sum, s_high, s_top))
    out, plain = kernels.select_truncated(x_hat, b_hat, *masks, x.bits, by, x.first, *more_opened)
    return x.like(out, x.frac - by), x.like(plain, x.frac - by) if keep else None


def _first(bits: BShare) -> BShare:
    return bits.map(torch.Tensor.__getitem__, 0)


def maximum(x: AShare, y: AShare, bits: int | None = None, form: str = "digits") -> Protocol[AShare]:
    """max(x, y) = y + relu(x - y).   Domain: |x - y| < 2^(bits-1).

    Price: 2 + levels(b - 1) · w + node_bits(b - 1) + 1
    Price (dpf): 2 · w + 1
    Price (dcf): 1 · w
    """
    return y + (yield from relu(x - y, bits, form))


def reduce_max(x: AShare, bits: int | None = None, form: str = "digits") -> Protocol[AShare]:
    """Maximum over the last dimension [..., k] → [...], by a tournament of ⌈log2 k⌉ levels; the odd one is carried on.

    Price: log2(k) * (2 + levels(b - 1)) · (k - 1) * (w + node_bits(b - 1) + 1)
    Price (dpf): log2(k) * 2 · (k - 1) * (w + 1)
    """
    while (k := x.shape[-1]) > 1:
        half = k // 2
        left, right = (x.map(torch.narrow, -1, at, half) for at in (0, half))
        best = yield from maximum(left, right, bits, form)
        x = _append(best, x.map(torch.narrow, -1, 2 * half, k - 2 * half))
    return x.map(torch.squeeze, -1)


def argmax(x: AShare, bits: int | None = None, form: str = "digits") -> Protocol[tuple[AShare, AShare]]:
    """(maximum, its index as an integer of unit 0) over the last dimension; of equal ones the first, as torch.

    Price: log2(k) * (2 + levels(b - 1)) · (k - 1) * (b + 2 * w + node_bits(b - 1) + 2)
    Price (dpf): log2(k) * 2 · (k - 1) * (b + 2 * w + 2)
    """
    place = torch.arange(x.shape[-1], device=x.data.device).expand(x.shape)
    index = AShare(place * int(x.first), x.party, x.ring.at(0))
    while (k := x.shape[-1]) > 1:
        half = k // 2  # neighbours meet, so that the left one has the smaller index and wins a draw
        left, left_index = (v.map(_every_second, 0, half) for v in (x, index))
        right, right_index = (v.map(_every_second, 1, half) for v in (x, index))
        keep_left = yield from drelu(left - right, bits, "dpf" if form == "dcf" else form)
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
