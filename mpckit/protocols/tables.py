"""Public tables: any real function of one variable as a few tables of short lines, for `functions.tabulated`.

A piece cuts x = i·2^by + rest with i rounded down *or* up, so |rest| < 2^by, and holds one line for each node i, fitted
on both sides of it: a line on [-h, h] misses f by h²/4·|f''|. The index counts modulo the table's size, so a piece may
lie anywhere. How wide steps may be follows from the tolerance: `fit` tries, with the rounded numbers that are used.
All positions are integers in units of the last fraction bit.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import floor, log2, sqrt

import torch

Span = tuple[int | None, int | None]  # from … to below …; None: without end


@dataclass(frozen=True)
class Piece:
    """Lines: value + (slope·rest >> slope_frac). The least value and slope are public, so that what is secret is short.

    A word of `table` holds (value - value_low) >> value_unit in its low `value_bits` bits, and slope - slope_low in
    `slope_bits` above.
    """

    spans: tuple[Span, ...]
    by: int  # 0: a plain table, one entry for every integer
    table: torch.Tensor
    value_bits: int
    value_unit: int
    value_low: int
    slope_bits: int
    slope_frac: int
    slope_low: int

    @property
    def width(self) -> int:
        return self.value_bits + self.slope_bits

    @property
    def rise_bits(self) -> int:
        """|slope·rest| < 2^rise_bits, before slope_frac of them are dropped."""
        return max(abs(self.slope_low), abs(self.slope_low + (1 << self.slope_bits) - 1)).bit_length() + self.by

    def bits(self, base: int) -> int:
        """The result, less `base`, is below 2^bits at every node, also where x does not lie on this piece."""
        ends = (self.value_low, self.value_low + ((1 << self.value_bits) - 1 << self.value_unit))
        rise = (1 << max(0, self.rise_bits - self.slope_frac)) + 1
        return (max(abs(end - base) for end in ends) + rise).bit_length()

    def columns(self) -> torch.Tensor:
        """Values and slopes beside each other, those that differ from line to line at all: [1 or 2, entries]."""
        value, slope = self.table & ((1 << self.value_bits) - 1), self.table >> self.value_bits
        return torch.stack([c for c, bits in ((value, self.value_bits), (slope, self.slope_bits)) if bits])


@dataclass(frozen=True)
class Fit:
    """A function in pieces: lines on `pieces`, a constant on each of `steps`, x itself on `ramp`, elsewhere `base`."""

    pieces: tuple[Piece, ...]
    steps: tuple[tuple[Span, int], ...]
    ramp: Span | None
    base: int
    out: int  # fraction bits of the result

    @property
    def thresholds(self) -> tuple[int, ...]:
        """Where one piece ends and another begins: what x has to be compared with."""
        spans = [s for p in self.pieces for s in p.spans] + [s for s, _ in self.steps] + [self.ramp or (None, None)]
        return tuple(sorted({end for span in spans for end in span if end is not None}))


def fit(
    f: Callable[[torch.Tensor], torch.Tensor], unit: int, out: int, low: float, high: float, *, absolute: float = 0.0,
    relative: float = 0.0, entries: int = 10, left: float | None = 0.0, right: float | str | None = None,
    mirror: int = 0,
) -> Fit:  # fmt: skip
    """Tables for f (float64 tensors) on low ≤ x < high, which has `unit` fraction bits, the result `out`.

    absolute, relative  what a line may miss, whichever is larger (never less than 1.5 ulp); rounding adds up to one ulp
    entries             2^entries lines to a table
    left, right         the result below low, and from high on: a number; "x", x itself; None, x is never there
    mirror              +1: f is even, -1: odd; then low must be 0
    """
    scale = 2.0**out

    def g(v):
        return f(v.double() / 2.0**unit) * scale

    def tolerance(y):
        return (relative * y.abs()).clamp(min=max(absolute * scale, 1.5))

    low, high = (max(-(1 << 62), min(1 << 62, round(v * 2.0**unit))) for v in (low, high))
    pieces, at, by = [], low, 0
    while at < high:
        piece, at, by = _longest(g, tolerance, at, high, by, entries, mirror)
        pieces.append(piece)
    if left is None:
        pieces[0] = replace(pieces[0], spans=((None, at if len(pieces) == 1 else pieces[0].spans[0][1]),))
    if right is None:
        (start, _), *others = pieces[-1].spans
        pieces[-1] = replace(pieces[-1], spans=((start, None), *((None, end) for _, end in others)))
    if right == "x" and left:
        raise ValueError("where x itself follows on the right, the result on the left is 0")
    base = round((left or 0.0) * scale)
    steps = [((high, None), right)] if isinstance(right, int | float) else []
    steps += [((None, 1 - high), mirror * value) for _, value in steps if mirror]
    steps = tuple((span, round(value * scale)) for span, value in steps if round(value * scale) != base)
    return Fit(tuple(pieces), steps, (high, None) if right == "x" else None, base, out)


def _longest(g, tolerance, low, high, by, entries, mirror):
    """The piece that reaches furthest from `low`: (piece, its end, its `by`)."""
    best = None
    for b in range(by, 61):
        # A step has a node at either end. A mirrored piece has half of the nodes on each side.
        end = min(high, ((1 << entries - 1) - 1) << b if mirror else ((low >> b) + (1 << entries) - 1) << b)
        if end <= low:
            continue
        piece, end = _attempt(g, tolerance, low, end, b, entries, mirror)
        if best and end <= best[1]:
            break
        if piece:
            best = piece, end, b
        if end in (low, high):
            break
    if best is None:
        raise ValueError(f"no table of 2^{entries} lines meets the tolerance from {low} on")
    return best


def _attempt(g, tolerance, low, end, by, entries, mirror):
    """A piece with steps of 2^by from `low` as far towards `end` as tolerance and word allow: (piece, its end)."""
    while end > low:
        nodes = torch.arange(low >> by, -(1 - end >> by) + 1)
        value, slope, window = _lines(g, nodes, low, end, by)
        truth = g(window)
        allowed = tolerance(truth)
        least = log2(float(allowed.min()))
        # Their roundings are at most 1/16 and 1/4 of what is allowed.
        unit, frac = max(0, floor(least) - 3), max(1, by + 2 - floor(least))
        value, slope = torch.round(value / 2.0**unit).long(), torch.round(slope * 2.0**frac).long()
        line = value * 2.0**unit + slope * 2.0**-frac * (window - (nodes << by))
        bad = ((line - truth).abs() > allowed).any(0)
        if by and bool(bad.any()):
            end = min(end - 1, (int(nodes[bad][0]) - 1) << by)
            continue
        if mirror:  # f(-x) = ±f(x), so node -i has value ±value and slope ∓slope
            inner = nodes > 0
            nodes, value = torch.cat((nodes, -nodes[inner])), torch.cat((value, mirror * value[inner]))
            slope = torch.cat((slope, -mirror * slope[inner]))
        value_low, slope_low = int(value.min()), int(slope.min())
        value_bits, slope_bits = int(value.max() - value_low).bit_length(), int(slope.max() - slope_low).bit_length()
        if value_bits + slope_bits > 62 or int(slope.abs().max()) << by >= 1 << 61:
            end = (low + end) // 2 >> by << by
            continue
        table = torch.zeros(1 << entries, dtype=torch.int64)
        table[nodes & ((1 << entries) - 1)] = (value - value_low) | (slope - slope_low) << value_bits
        spans = ((low, end),) if not mirror else ((low, end), (1 - end, 1 - low)) if low else ((1 - end, end),)
        return Piece(spans, by, table, value_bits, unit, value_low << unit, slope_bits, frac, slope_low), end
    return None, low


def _lines(g, nodes, low, end, by):
    """For each node the line nearest to g on the steps beside it, inside [low, end): value, slope, points there."""
    reach = (1 << by) - 1
    a, b = ((nodes << by) - reach).clamp(min=low), ((nodes << by) + reach).clamp(max=end - 1)
    points = torch.stack([a + (b - a) // 8 * j for j in range(8)] + [b])
    middle, half = (a + b) / 2, (b - a) / 2
    # Through both Chebyshev nodes: the minimax line of a parabola, and nearly that of anything smooth.
    left, right = (g(middle + side * half / sqrt(2)) for side in (-1, 1))
    slope = torch.where(half > 0, (right - left) / (sqrt(2) * half).clamp(min=1e-9), 0.0)
    return (left + right) / 2 + slope * ((nodes << by) - middle), slope, points
