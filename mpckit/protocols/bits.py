"""Bits for any number of parties: and, adders, conversions, comparisons. Xor is local; bits travel 64 to a word.

A comparison opens x + r once. The dealer knows r and has shared a one-hot table of each of its 4-bit digits, so
that every party looks up "less" and "equal" of all digits without a word; a tree of radix 4 joins them, four digits
to one in a round: a 64-bit comparison costs 3 rounds and 12.25 bytes. (Adding the parties' pieces bit by bit takes 7
rounds and 30 bytes.)
"""

import torch

from .. import kernels
from ..ask import Draw, Open, Protocol
from ..correlations import BitTriple, Compare, DaBit, Equal, Masked, Node, WordBits, digits
from ..ring import Ring, signed
from ..share import AShare, BShare


def and_(x: BShare, y: BShare) -> Protocol[BShare]:
    """x & y with broadcasting, on words or on single bits.   [Bea91]

    Price: 1 · 2 * b
    """
    if x.bits == 1:
        shape = torch.broadcast_shapes(x.shape, y.shape)
        packed = [pack_bits(v.map(torch.Tensor.expand, shape)) for v in (x, y)]
        return unpack_bits((yield from and_(*packed)), shape)
    a, b, c = yield Draw(BitTriple(tuple(x.shape), tuple(y.shape)))
    d, e = yield Open(x ^ a, y ^ b)
    out = c.data ^ (d & b.data) ^ (a.data & e)
    return x.like(out ^ (d & e) if x.first else out)


def pack_bits(x: BShare) -> BShare:
    """Single bits of any shape → words [W], 64 to a word."""
    return BShare(kernels.to_planes(x.data.reshape(-1), 1)[0], x.party)


def unpack_bits(words: BShare, shape) -> BShare:
    """The inverse of `pack_bits`; words [..., W] with as many leading dimensions as needed."""
    n = torch.Size(shape[words.data.dim() - 1 :]).numel()
    return BShare(kernels.from_planes(words.data[None], n).bool().reshape(shape), words.party)


# ---- adders and conversions ----------------------------------------------------------------------


def carries(g: BShare, p: BShare) -> Protocol[BShare]:
    """All carries of an adder from its generate and propagate words: prefix form of depth log2 w.   [KS73]

    Price: log2(b) · (3 * log2(b) - 1) * b
    """
    bits, k = g.bits, 1
    while k < bits:
        last = 2 * k >= bits
        lower = torch.stack((g.data << k,) if last else (g.data << k, p.data << k))
        joined = yield from and_(p.map(torch.Tensor.unsqueeze, 0), p.like(lower))
        g = g ^ joined.map(torch.Tensor.__getitem__, 0)
        p = joined.map(torch.Tensor.__getitem__, -1)
        k *= 2
    return g


def add(x: BShare, y: BShare) -> Protocol[BShare]:
    """x + y modulo 2^b on xor-shared words.   [KS73]

    Price: 1 + log2(b) · (1 + 3 * log2(b)) * b
    """
    g = yield from and_(x, y)
    p = x ^ y
    return p ^ ((yield from carries(g, p)) << 1)


def a2b(x: AShare) -> Protocol[BShare]:
    """Additive → xor shares of x's w bits: open x + r, then subtract the xor-shared r from the public word.   [EGKRS20]

    Price: 1 + log2(w) · 3 * log2(w) * w
    """
    r, r_bits = yield Draw(Masked(tuple(x.shape), x.bits))
    x_hat = yield Open(x + r)
    not_r = ~BShare(r_bits.data, x.party, x.bits)  # x = x̂ + ~r + 1
    p, g = not_r ^ x_hat, not_r & x_hat
    g = g ^ (p & torch.ones_like(x_hat))  # the +1 enters as a carry into bit 0: p and g are never both set
    carry = yield from carries(g, p)
    return p ^ (carry << 1) ^ torch.ones_like(x_hat)


def b2a(b: BShare, ring: Ring) -> Protocol[AShare]:
    """Xor → additive shares: a bit as integer 0 or 1, a word of w bits as a signed integer.   [RW19]

    `ring` is the result's.
    Price: 1 · b
    """
    if b.bits > 1:
        digits_ = yield from bits_of(b, ring)
        place = torch.tensor(
            [signed(1 << j) for j in range(b.bits - 1)] + [signed(-1 << (b.bits - 1))], device=b.data.device
        )
        return digits_.like((digits_.data * place).sum(-1))
    s, s_sum = yield Draw(DaBit(tuple(b.shape)))
    return _unflip((yield Open(b ^ s)), s_sum, ring)


def bits_of(b: BShare, ring: Ring) -> Protocol[AShare]:
    """The bits of xor-shared words as additive 0 or 1, least significant first: [*shape] → [*shape, bits].

    A weighted sum of them is local.
    Price: 1 · 1
    """
    m, m_bits = yield Draw(WordBits(tuple(b.shape), b.bits))
    public = yield Open(b ^ m)
    return _unflip(((public[..., None] >> torch.arange(b.bits, device=public.device)) & 1).bool(), m_bits, ring)


def _unflip(b_hat, s: AShare, ring: Ring) -> AShare:
    """b = b̂ ⊕ s over the integers: b̂ + (1 - 2·b̂)·s."""
    b_hat = b_hat.to(torch.int64)
    return AShare((1 - 2 * b_hat) * s.data, s.party, ring) + b_hat


# ---- comparison ----------------------------------------------------------------------------------


def at_least(x: AShare, thresholds=(0,)) -> Protocol[BShare]:
    """1{x ≥ c} for public ring integers c, from one opening of x: bool [len(thresholds), *shape].

    Domain: |x - c| < 2^(w-1).
    Price: 1 + levels(w - 1) · w / t + node_bits(w - 1)   [Grotto, SIGMA]
    """
    r, tables, top = yield Draw(Compare(tuple(x.shape), x.bits))
    x_hat = yield Open(x + r)
    return (yield from at_least_opened(x_hat, thresholds, x.bits, tables, top))


def at_least_opened(x_hat, thresholds, bits: int, tables: BShare, top: BShare) -> Protocol[BShare]:
    """As `at_least`, where x + r is already public: one x̂ may serve several gates that one Draw dealt together.

    x - c = (x̂ - c) - r, so its sign is msb(x̂ - c) ⊕ msb(r) ⊕ [low bits of x̂ - c < low bits of r].
    Price: levels(w - 1) · node_bits(w - 1)
    """
    y = torch.stack([x_hat - signed(c) for c in thresholds])
    msb = ((y >> (bits - 1)) & 1).bool()
    less = yield from low_borrow(y.reshape(len(thresholds), -1), tables, bits - 1)
    return ~(unpack_bits(less, y.shape) ^ top.map(torch.Tensor.unsqueeze, 0) ^ msb)


def low_borrow(y, tables: BShare, bits: int) -> Protocol[BShare]:
    """1{low `bits` bits of the public y < those of the dealt r}: y [T, N], one row a threshold → words [T, W].

    Price: levels(k) · 64 * node_bits(k)
    """
    planes = kernels.to_planes(y & ((1 << bits) - 1), 4 * digits(bits))
    less, equal = kernels.digit_compare(planes, tables.data)
    return (yield from tree_reduce(tables.like(less), tables.like(equal), "g"))


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


def msb(x: AShare) -> Protocol[BShare]:
    """The sign bit of x.

    Price: 1 + levels(w - 1) · w + node_bits(w - 1)
    """
    return ~(yield from at_least(x)).map(torch.Tensor.__getitem__, 0)


def eq(x: AShare, y: AShare | torch.Tensor | int) -> Protocol[BShare]:
    """1{x = y}: all digits of the opened x - y + r are those of r.

    Price: 1 + levels(w) · w + equal_bits(w)   [SIGMA]
    """
    z = x - y
    r, tables = yield Draw(Equal(tuple(z.shape), z.bits))
    z_hat = yield Open(z + r)
    low = z_hat.reshape(1, -1) if z.bits == 64 else z_hat.reshape(1, -1) & ((1 << z.bits) - 1)
    _, equal = kernels.digit_compare(kernels.to_planes(low, 4 * digits(z.bits)), tables.data)
    equal = tables.like(equal)
    out = yield from tree_reduce(equal, equal, "p")
    return unpack_bits(out.map(torch.Tensor.squeeze, 0), z.shape)
