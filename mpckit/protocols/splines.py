"""Any function of one variable in 4 rounds: look lines up on all pieces, compare, keep the piece that x lies on.

x is opened once for all of them. Look-ups count modulo their table: on a piece where x does not lie they give some
number, which is not selected then. Hence they need not wait for the comparison: nothing is clamped or normalised first.
(Normalising by the leading bit would read one table where 1/x or √x read six to ten, but takes 9 or 10 rounds, one
after the other.)
"""

from functools import reduce
from operator import xor

import torch

from ..ask import Protocol, together
from ..share import AShare, BShare
from .suite import Suite
from .tables import Fit, Piece


def curve(mpc: Suite, line: Protocol, piece: Piece) -> Protocol[AShare]:
    """Finish a line that `mpc.lines` began: value + (slope·rest >> slope_frac).

    Price: 2 rounds
    """
    value, slope = yield from line
    if not (piece.slope_bits or piece.slope_low):
        return value
    rise = slope.like(slope.data, piece.slope_frac)
    return value + (yield from mpc.truncate(rise, piece.slope_frac, _room(piece)))


def _room(piece: Piece) -> int:
    """How many bits hold slope·rest for its truncation."""
    return max(piece.rise_bits, piece.slope_frac) + 2


def tabulated(mpc: Suite, x: AShare, f: Fit, inner: int | None = None) -> Protocol[AShare]:
    """f(x) for any function that `tables.fit` has put into pieces, with f.out fraction bits.   [Grotto]

    `inner`: x is a protocol's own number, a sum say, which has so many bits: a declared range (`Suite`) is not of it.
    Price: 4 rounds
    """
    if not x.data.numel():
        return x.like(x.data, f.out)
    needed = max((_room(p) for p in f.pieces if p.slope_bits or p.slope_low), default=0)
    if needed > x.bits:
        raise ValueError(f"a line of this function needs {needed} bits, and the ring has {x.bits}: take a larger one")
    compare, found, *choose = yield from mpc.lines(x, f.pieces, f.thresholds, inner, f.ramp is not None)
    curves = [curve(mpc, line, piece) for (_, line), piece in zip(found, f.pieces)]
    if compare is None:
        return x.like((yield from curves[0]).data, f.out)
    above, *options = yield from together(compare, *curves)
    options = [x.like(option.data, f.out) for option in options]
    row = {c: above.map(torch.select, 0, i) for i, c in enumerate(f.thresholds)}

    def on(*spans) -> BShare:
        """Whether x lies on one of these disjoint spans: the xor of the comparisons with their ends."""
        ends = [
            row[start] ^ row[end] if None not in (start, end) else ~row[end] if start is None else row[start]
            for start, end in spans
        ]
        return reduce(xor, ends)

    which = _stack([on(*p.spans) for p in f.pieces])
    bits = max(p.bits(f.base) for p in f.pieces) + 2
    asks = [mpc.select(which, _stack([option - f.base for option in options]), bits)]
    asks += [choose(on(f.ramp)) for choose in choose]
    if f.steps:
        asks.append(mpc.b2a(_stack([on(span) for span, _ in f.steps]), x.ring.at(f.out)))
    chosen, *steps = yield from together(*asks)
    result = chosen.map(torch.sum, 0) + f.base
    for _ in choose:
        result = result + steps.pop(0)
    for bits in steps:
        for i, (_, value) in enumerate(f.steps):
            result = result + bits.map(torch.select, 0, i) * (value - f.base)
    return result


def _stack(shares):
    return shares[0].like(torch.stack([s.data for s in shares]))
