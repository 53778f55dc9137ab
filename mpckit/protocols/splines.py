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
    rise = yield from mpc.truncate(slope.like(slope.data, piece.slope_frac), piece.slope_frac)
    return value + rise


def tabulated(mpc: Suite, x: AShare, f: Fit, inner: bool = False) -> Protocol[AShare]:
    """f(x) for any function that `tables.fit` has put into pieces, with f.out fraction bits.   [Grotto]

    `inner`: x is a protocol's own number, a sum say, of which a declared range (`Suite`) promises nothing.
    Price: 4 rounds
    """
    if not x.data.numel():
        return x.like(x.data, f.out)
    compare, found = yield from mpc.lines(x, f.pieces, f.thresholds, inner)
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
