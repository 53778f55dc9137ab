"""Comparisons: open x + r once; what was dealt with r says of any public y whether it lies below r.

It is dealt in one of two forms (`correlations/masked.py`). In "digits", one-hot tables of r's 4-bit digits, every party
looks up "less" and "equal" of all digits without a word, and a tree of radix 4 joins them, four digits to one in a
round: any number of parties, 3 rounds and 12.25 bytes for 64 bits. (Adding the parties' pieces bit by bit takes 7
rounds and 30 bytes.) In "dpf", keys of the point function at r, each party walks its key and nothing more is said: one
round and 8 bytes, but two parties only, and a key of about a kilobyte where the tables take 45 bytes.
"""

import torch

from .. import kernels
from ..ask import Draw, Open, Protocol
from ..correlations import Compare, Equal, Node
from ..correlations.masked import digits
from ..fss import Keys
from ..ring import lsr, ones, signed
from ..share import AShare, BShare
from .bits import unpack_bits


def at_least(x: AShare, thresholds=(0,), bits: int | None = None, form: str = "digits") -> Protocol[BShare]:
    """1{x ≥ c} for public ring integers c, from one opening of x: bool [len(thresholds), *shape].

    Only the low `bits` bits of x (default: all) are opened and compared.   Domain: |x - c| < 2^(bits-1).
    Price: 1 + levels(b - 1) · b / t + node_bits(b - 1)   [Grotto, SIGMA]
    Price (dpf): 1 · b / t
    """
    x = x.narrow(bits or x.bits)
    r, dealt, top = yield Draw(Compare(tuple(x.shape), x.bits, form=form))
    x_hat = yield Open(x + r)
    return (yield from at_least_opened(x_hat, thresholds, x.bits, dealt, top))


def at_least_opened(x_hat, thresholds, bits: int, dealt, top: BShare, width: int = 64, by: int = 0) -> Protocol[BShare]:
    """As `at_least`, where x + r is already public: one x̂ may serve several gates that one Draw dealt together.

    x - c = (x̂ - c) - r, so its sign is msb(x̂ - c) ⊕ msb(r) ⊕ [low bits of x̂ - c < low bits of r]. With `by` the
    public sum is (x̂ mod 2^width) >> by, and r what has been dealt beside it.
    Price: levels(b - 1) · node_bits(b - 1)
    Price (dpf): 0 · 0
    """
    if isinstance(dealt, Keys):
        found = dealt.at_least(x_hat.reshape(-1), top.data.reshape(-1), thresholds, width, by)
        return top.like(found.view(len(thresholds), *x_hat.shape))
    z = lsr(x_hat & ones(width), by) if by else x_hat
    y = torch.stack([z - signed(c) for c in thresholds])
    msb_ = ((y >> (bits - 1)) & 1).bool()
    less = yield from below(y, dealt, bits - 1)
    return ~(less ^ top.map(torch.Tensor.unsqueeze, 0) ^ msb_)


def below(y, dealt, bits: int) -> Protocol[BShare]:
    """1{low `bits` bits of the public y < those of the dealt r}: y [T, *shape], T numbers for each r → bool.

    Price: levels(b) · node_bits(b)
    Price (dpf): 0 · 0
    """
    low = y.reshape(len(y), -1) & ones(bits)
    if isinstance(dealt, Keys):
        return BShare(dealt.less_than(low).view(y.shape), dealt.party)
    less, equal = kernels.digit_compare(kernels.to_planes(low, 4 * digits(bits)), dealt.data)
    return unpack_bits((yield from tree_reduce(dealt.like(less), dealt.like(equal), "g")), y.shape)


def tree_reduce(g: BShare, p: BShare, want: str) -> Protocol[BShare]:
    """Join the k/4 digits [D, …] of a comparison, least significant first (`kernels/tree.py`).

    "g" gives 1{x < r} over all of them, "p" equality.
    Price (g): levels(k) · 64 * node_bits(k)
    Price (p): levels(k) · 64 * equal_bits(k)
    """
    while (count := p.shape[0]) > 1:
        radix = min(4, count)
        groups = -(-count // radix)
        now = want if groups == 1 or want == "p" else "gp"
        # Whole groups only: digits that are missing at the top are "equal" (public: party 0 alone holds the ones).
        fill = (groups * radix - count, *p.shape[1:])
        p = torch.cat((p.data, torch.full(fill, -1 if p.first else 0, dtype=torch.int64, device=p.data.device)))
        g = g.like(torch.cat((g.data, g.data.new_zeros(fill))))
        # [radix, groups, …], top first
        ps, gs = (v.unflatten(0, (groups, radix)).flip(1).movedim(1, 0) for v in (p, g.data))
        inputs = torch.cat([ps if "p" in now else ps[:-1]] + ([gs[1:]] if "g" in now else []))
        a, products = yield Draw(Node(radix, now, tuple(inputs.shape[1:])))
        opened = yield Open(g.like(inputs) ^ a)
        out = kernels.tree_node(opened, torch.cat((a.data, products.data)), radix, now, g.first)
        p = g.like(out[-1])
        g = g.like(out[0] ^ gs[0]) if "g" in now else p
    return (g if want == "g" else p).map(torch.Tensor.__getitem__, 0)


def drelu(x: AShare, bits: int | None = None, form: str = "digits") -> Protocol[BShare]:
    """1{x ≥ 0}.   Domain: |x| < 2^(bits-1).

    Price: 1 + levels(b - 1) · b + node_bits(b - 1)   [SIGMA]
    Price (dpf): 1 · b
    """
    return (yield from at_least(x, (0,), bits, form)).map(torch.Tensor.__getitem__, 0)


def msb(x: AShare, bits: int | None = None, form: str = "digits") -> Protocol[BShare]:
    """The sign bit of x.   Domain: |x| < 2^(bits-1).

    Price: 1 + levels(b - 1) · b + node_bits(b - 1)
    Price (dpf): 1 · b
    """
    return ~(yield from drelu(x, bits, form))


def eq(x: AShare, y: AShare | torch.Tensor | int, bits: int | None = None, form: str = "digits") -> Protocol[BShare]:
    """1{x = y}: the opened x - y + r is r.   Domain: |x - y| < 2^bits, and no more than the low `bits` are opened.

    Price: 1 + levels(b) · b + equal_bits(b)   [SIGMA]
    Price (dpf): 1 · b
    """
    z = x - y
    z = z.narrow(bits or z.bits)
    r, dealt = yield Draw(Equal(tuple(z.shape), z.bits, form))
    z_hat = (yield Open(z + r)).reshape(1, -1) & ones(z.bits)
    if isinstance(dealt, Keys):
        return BShare(dealt.equal(z_hat).view(z.shape), dealt.party)
    _, equal = kernels.digit_compare(kernels.to_planes(z_hat, 4 * digits(z.bits)), dealt.data)
    equal = dealt.like(equal)
    out = yield from tree_reduce(equal, equal, "p")
    return unpack_bits(out.map(torch.Tensor.squeeze, 0), z.shape)
