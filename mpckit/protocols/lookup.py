"""Tables and lines looked up at a secret x, from x + r opened.

Two forms again. In "digits" the dealer shares the one-hot *bits* of r, a word comes out xor-shared, and its bits are
turned into numbers one by one: few bytes online, any number of parties. In "dpf" a key of the point function at r
spans the one-hot code, and the table's *numbers* are added up under it: the parties get shares of u·T[x], where the
sign u says whose bit is 1. It does not depend on x, so the dealer knows u and deals what takes it away: a tenth of
the dealt bytes, two parties.   [Pika]
"""

from functools import partial

import torch

from .. import kernels
from ..ask import Draw, Open, Protocol
from ..correlations import Cut, Lines, SignedTable, Table
from ..kernels.place import placed
from ..ring import Ring, lsr, ones, signed
from ..share import AShare, BShare
from .bits import b2a
from .compare import at_least, at_least_opened


def lut(x: AShare, table: torch.Tensor, width: int = 64) -> Protocol[BShare]:
    """table[x mod 2^k] for a public table of 2^k words of `width` bits, k ≤ 10, as xor shares.

    `b2a` brings the word home. Raises ValueError for a table of another size.
    Price: 1 · k
    """
    k = _log2(table.numel(), 10)
    r, hot = yield Draw(Table(tuple(x.shape), k))
    x_hat = yield Open(AShare(x.data, x.party, Ring(k, 0)) + r)
    out = kernels.lookup(x_hat.reshape(-1), hot.data, table).reshape(x.shape)
    return BShare(out & ones(width), x.party, width)


def one_hot(x: AShare, classes: int) -> Protocol[AShare]:
    """The one-hot code of x as integers 0 and 1 of unit 0, [*shape, classes]; zeros where x names none of the classes.

    Dealt is the code of r mod 2^k ≥ classes. x + r, opened, says how far it is turned.   Domain: 0 ≤ x < 2^k.
    Price: 2 · k / c + 1
    """
    k = max(1, (classes - 1).bit_length())
    r, hot = yield Draw(Table(tuple(x.shape), k))
    x_hat = yield Open(AShare(x.data, x.party, Ring(k, 0)) + r)
    place = (x_hat[..., None] - torch.arange(classes, device=x.data.device)) & ones(k)
    words = hot.data.view(*x.shape, -1).gather(-1, place >> 6)
    return (yield from b2a(BShare(((words >> (place & 63)) & 1).bool(), x.party), x.ring.at(0)))


def signed_lut(x: AShare, tables: torch.Tensor, ring: Ring) -> Protocol[list[AShare]]:
    """Each table's entry at x mod 2^k, in `ring`: tables [t, 2^k], k ≤ 12; they share one key. Two parties.   [Pika]

    Raises ValueError for tables of another size.
    Price: 2 · k + t * w
    """
    words, k = len(tables), _log2(tables.shape[-1], 12)
    r, keys, u, m, um = yield Draw(SignedTable(tuple(x.shape), k, words))
    x_hat = yield Open(AShare(x.data, x.party, Ring(k, 0)) + r)
    found = _under_sign(x_hat, keys, tables).view(words, *x.shape).movedim(0, -1)
    opened = yield Open(AShare(found, x.party, ring) + m)
    out = u.data[..., None] * opened - um.data
    return [AShare(v, x.party, ring) for v in out.unbind(-1)]


def _log2(entries: int, most: int) -> int:
    k = entries.bit_length() - 1
    if entries != 1 << k or k > most:
        raise ValueError(f"a table has 2^k entries, k at most {most}, not {entries}: pad it, or take `tables.fit`")
    return k


def _under_sign(index, keys, tables):
    """Shares of u·tables[:, x]: [t, N] from index = x + r, public."""
    return keys.look_up(index.reshape(-1), tables)


def interval_lut(x: AShare, thresholds, values, bits: int | None = None, form: str = "digits") -> Protocol[AShare]:
    """The value of the interval that x lies on: values [t + 1] for thresholds c_1 < … < c_t, ring integers both.

    One comparison with all thresholds, on one key; sums of bits do the rest.   Domain: |x - c| < 2^(bits-1).
    Price: 2 + levels(b - 1) · b + t * (node_bits(b - 1) + 1)
    Price (dpf): 2 · b + t
    """
    above = yield from at_least(x, thresholds, bits, form)
    steps = yield from b2a(above, x.ring)
    rises = placed(torch.tensor([signed(b - a) for a, b in zip(values, values[1:])]), x.data.device)
    return x.like((steps.data * rises.view(-1, *[1] * x.data.dim())).sum(0)) + values[0]


# ---- lines ---------------------------------------------------------------------------------------


def lines(
    x: AShare, pieces, thresholds=(), bits: int | None = None, form: str = "digits", choose: bool = False
) -> Protocol[tuple]:
    """Open x once, and return what goes on from there, to be run side by side (`together`): a protocol for 1{x ≥ c} at
    the thresholds (None without any), and for each of `pieces` (`tables.Piece`) the pair of rest, where
    x = i·2^by + rest with i rounded down or up, and a protocol for (value, slope·rest) at node i.

    i counts modulo the table's size, and x may be anything in the ring. Results are integers of unit 0. With `choose` a
    third result b → a protocol for b·x, which opens the bit alone.
    Domain of the comparison: |x - c| < 2^(bits-1).
    Price: 1 · w
    """
    cuts = tuple(Cut(p.by, p.table.numel().bit_length() - 1, p.value_bits, p.slope_bits) for p in pieces)
    if any(cut.by + cut.entries > x.bits for cut in cuts):
        raise ValueError(f"a table reaches beyond the {x.bits} bits of the ring, take a larger one: {cuts}")
    compare = (bits or x.bits) if thresholds else 0
    dealt = iter((yield Draw(Lines(tuple(x.shape), cuts, compare, form, choose))))
    x_hat = yield Open(x + next(dealt))
    above = at_least_opened(x_hat, thresholds, compare, next(dealt), next(dealt)) if thresholds else None
    found = []
    for piece, cut in zip(pieces, cuts):
        low, zero = x_hat & ones(piece.by), x.like(torch.zeros_like(x.data), 0)
        r_low = zero.like(next(dealt).data) if piece.by else zero
        own = [next(dealt) for _ in range(cut.pieces(form))]
        found.append((low - r_low, _line(x_hat, low, r_low, piece, own, form)))
    return (above, found, partial(_choose, x, x_hat, tuple(dealt))) if choose else (above, found)


def _choose(x, x_hat, dealt, b) -> Protocol[AShare]:
    """b · x, where x + r is open already.

    Price: 1 · 1
    """
    s, s_sum, rs = dealt
    b_hat = yield Open(b ^ s)
    return x.like(kernels.select(x.data, x_hat, b_hat, s_sum.data, rs.data))


def _line(x_hat, low, r_low, piece, dealt, form) -> Protocol[tuple]:
    """(value, slope·rest) of one piece, from what was dealt for it; rest = low - r_low.

    Price: 1 · piece.width
    Price (dpf): 1 · piece.width + 2 * ((piece.value_bits > 0) + (piece.slope_bits > 0))
    """
    value = slope = r_low.like(torch.zeros_like(low))
    if piece.width:
        value, slope = yield from (_from_bits if form == "digits" else _from_keys)(x_hat, low, r_low, piece, *dealt)
    return value * (1 << piece.value_unit) + piece.value_low, slope + (low - r_low) * piece.slope_low


def _from_bits(x_hat, low, r_low, piece, hot, m, m_bits, m_low=None) -> Protocol[tuple]:
    """From xor-shared words. m's bits m_j were dealt, and m_j·r_low: a bit is b_j = b̂_j + (1 - 2b̂_j)·m_j.

    Price: 1 · piece.width
    """
    word = kernels.lookup(lsr(x_hat, piece.by).reshape(-1), hot.data, placed(piece.table, low.device)).view(low.shape)
    public = (yield Open(BShare(word, r_low.party, piece.width) ^ m)) & ones(piece.width)
    v, place = piece.value_bits, torch.arange(piece.width, device=low.device)
    weights = (1 - 2 * ((public[..., None] >> place) & 1)) << torch.where(place < v, place, place - v)
    terms = weights * m_bits.data
    value = r_low.like(terms[..., :v].sum(-1)) + (public & ones(v))
    if m_low is None:
        return value, r_low.like(torch.zeros_like(low))
    slope = r_low.like(terms[..., v:].sum(-1)) + (public >> v)
    return value, slope * low - r_low.like(r_low.data * (public >> v) + (weights[..., v:] * m_low.data).sum(-1))


def _from_keys(x_hat, low, r_low, piece, keys, u, m, um, ut, u_low=None, u_low_m=None, u_low_t=None) -> Protocol[tuple]:
    """From numbers under the keys' sign u: u·v + m is opened, in as many bits as v needs, and v is what that makes it.

    u·v = v̂ - m + (a turn of m, if v̂ has wrapped, which its top bit tells); all of it times u, and times r_low.
    Price: 1 · piece.width + 2 * ((piece.value_bits > 0) + (piece.slope_bits > 0))
    """
    widths = [bits + 2 for bits in (piece.value_bits, piece.slope_bits) if bits]
    found = _under_sign(lsr(x_hat, piece.by), keys, placed(piece.columns(), low.device)).view(-1, *low.shape)
    asked = [
        AShare(v, r_low.party, Ring(k, 0)) + (1 << k - 2) + m.map(torch.select, -1, i)
        for i, (v, k) in enumerate(zip(found, widths))
    ]
    opened = yield Open(*asked)
    signs = [_signed_part(v, k) for v, k in zip(opened if len(widths) > 1 else [opened], widths)]
    whole = [u.data * v - um.data[..., i] + clear * ut.data[..., i] for i, (v, clear) in enumerate(signs)]
    value = r_low.like(whole[0] if piece.value_bits else torch.zeros_like(low))
    if u_low is None:
        return value, r_low.like(torch.zeros_like(low))
    v, clear = signs[-1]
    by_low = u_low.data * v - u_low_m.data + clear * u_low_t.data
    return value, r_low.like(whole[-1] * low - by_low)


def _signed_part(v_hat, k):
    """(v̂ less what was added to make it non-negative, 1 where its top bit is clear): there m may have wrapped."""
    v_hat = v_hat & ones(k)
    return v_hat - (1 << k - 2), 1 - lsr(v_hat, k - 1)
