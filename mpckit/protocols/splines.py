"""Any function of one variable in 4 rounds: look lines up on all pieces, compare, keep the piece that x lies on.

Look-ups count modulo their table: on a piece where x does not lie they give some number, which is not selected then.
Hence they need not wait for the comparison: nothing is clamped or normalised first. (Normalising by the leading bit
would read one table where 1/x or √x read six to ten, but takes 9 or 10 rounds, one after the other.)
"""

from functools import reduce
from operator import xor

import torch

from ..ask import Protocol, together
from ..share import AShare, BShare
from .suite import Suite
from .tables import Fit, Piece


def line(mpc: Suite, x: AShare, piece: Piece, out: int) -> Protocol[tuple[AShare, AShare]]:
    """(value, slope·rest still to be shifted by slope_frac) of one piece's line at x.

    Price: 2 rounds
    """
    # A plain table has an entry for every x. The lowest bit of 2x is clear, so the index is x, never x + 1: no rest.
    cut = x if piece.by else x.like(x.data << 1)
    word, rest = yield from mpc.split_lut(cut, piece.by or 1, piece.table.to(x.data.device), piece.width)
    asks = []
    if piece.value_bits:
        low = BShare(word.data & ((1 << piece.value_bits) - 1), x.party, piece.value_bits)
        asks.append(mpc.bits_of(low, x.ring.at(out)))
    if piece.slope_bits:  # each bit of the slope selects the rest: one round, where `b2a` and a product would take two
        digits = torch.arange(piece.slope_bits, device=word.data.device) + piece.value_bits
        bits = BShare(((word.data[..., None] >> digits) & 1).bool(), x.party)
        asks.append(mpc.select(bits, rest.map(torch.unsqueeze, -1)))
    found = yield from together(*asks)
    value, slope = x.like(torch.zeros_like(x.data), out), rest.like(rest.data * piece.slope_low, piece.slope_frac)
    if piece.value_bits:
        value = value + found.pop(0).map(from_bits) * (1 << piece.value_unit)
    if piece.slope_bits:
        slope = slope + slope.like(from_bits(found.pop().data))
    return value + piece.value_low, slope


def from_bits(bits):
    """The numbers with these bits, least significant first: int64 [..., k] → [...]; linear, so of shares too."""
    return (bits << torch.arange(bits.shape[-1], device=bits.device)).sum(-1)


def curve(mpc: Suite, x: AShare, piece: Piece, out: int) -> Protocol[AShare]:
    """One piece's line at x, with `out` fraction bits.

    Price: 3 rounds
    """
    value, slope = yield from line(mpc, x, piece, out)
    if not (piece.slope_bits or piece.slope_low):
        return value
    rise = yield from mpc.truncate(slope, piece.slope_frac)
    return value + rise.like(rise.data, out)


def tabulated(mpc: Suite, x: AShare, f: Fit) -> Protocol[AShare]:
    """f(x) for any function that `tables.fit` has put into pieces, with f.out fraction bits.   [Grotto]

    Price: 4 rounds
    """
    if not x.data.numel():
        return x.like(x.data, f.out)
    if not f.thresholds:
        return (yield from curve(mpc, x, f.pieces[0], f.out))
    above, *options = yield from together(mpc.at_least(x, f.thresholds), *(curve(mpc, x, p, f.out) for p in f.pieces))
    row = {c: above.map(torch.select, 0, i) for i, c in enumerate(f.thresholds)}

    def on(*spans) -> BShare:
        """Whether x lies on one of these disjoint spans: the xor of the comparisons with their ends."""
        ends = [
            row[start] ^ row[end] if None not in (start, end) else ~row[end] if start is None else row[start]
            for start, end in spans
        ]
        return reduce(xor, ends)

    which = [on(*p.spans) for p in f.pieces]
    if f.ramp:
        options, which = [*options, x], [*which, on(f.ramp)]
    asks = [mpc.select(_stack(which), _stack([option - f.base for option in options]))]
    if f.steps:
        asks.append(mpc.b2a(_stack([on(span) for span, _ in f.steps]), x.ring.at(f.out)))
    chosen, *steps = yield from together(*asks)
    result = chosen.map(torch.sum, 0) + f.base
    for bits in steps:
        for i, (_, value) in enumerate(f.steps):
            result = result + bits.map(torch.select, 0, i) * (value - f.base)
    return result


def _stack(shares):
    return shares[0].like(torch.stack([s.data for s in shares]))
