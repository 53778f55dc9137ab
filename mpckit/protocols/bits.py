"""Bits for any number of parties: and, adders, conversions. Xor is local; bits travel 64 to a word."""

import torch

from .. import kernels
from ..ask import Draw, Open, Protocol
from ..correlations import BitTriple, DaBit, EdaBits, WordBits
from ..kernels.place import placed
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
    r, r_bits = yield Draw(EdaBits(tuple(x.shape), x.bits))
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
        weights = [signed(1 << j) for j in range(b.bits - 1)] + [signed(-1 << (b.bits - 1))]
        place = placed(torch.tensor(weights), b.data.device)
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
