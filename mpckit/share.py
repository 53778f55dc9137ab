"""Shares: one party's piece of a secret tensor, with the algebra that needs no message.

AShare: additive modulo 2^bits, the secret is the sum of all parties' pieces.   [Bea91]
BShare: xor; bool tensors hold single bits, int64 tensors hold words of `bits` bits.
Any number of parties; n-1 pieces are uniform and say nothing. Shares are values: every operation gives a new one.
"""

from functools import reduce
from operator import xor

import torch

from .ring import Ring


class UnitError(TypeError):
    """Two fixed-point values with different units met."""


class AShare:
    """One party's additive share. `ring` carries the unit; a fresh mask has none (None) and takes the other's.

    `fixed` is set when the value stands under a persistent mask (`protocols.arithmetic.fix`): then products need not
    open it again. Rearrangements keep it, arithmetic drops it.
    """

    __slots__ = ("data", "party", "ring", "fixed")

    def __init__(self, data: torch.Tensor, party: int, ring: Ring | None = None, fixed=None):
        self.data, self.party, self.ring, self.fixed = data, party, ring, fixed

    shape = property(lambda self: self.data.shape)
    layout = property(lambda self: self.data)  # a tensor of its shape and strides, for who needs no data
    bits = property(lambda self: self.ring.bits)
    frac = property(lambda self: self.ring.frac)
    first = property(lambda self: self.party == 0)

    def like(self, data, frac=None) -> "AShare":
        """A share of this party in this ring with other data, and another unit if `frac` is given."""
        return AShare(data, self.party, self.ring if frac is None else self.ring.at(frac))

    def narrow(self, bits: int) -> "AShare":
        """The secret modulo 2^bits, local: pieces modulo 2^w are pieces modulo any smaller power of two."""
        return AShare(self.data, self.party, Ring(bits, min(self.frac, 62)))

    def map(self, view, *args, **kwargs) -> "AShare":
        """Apply a linear map (view, transpose, index, sum …).

        A persistent mask follows an aten operator, which the dealer can repeat.
        """
        out = self.like(view(self.data, *args, **kwargs))
        if self.fixed is not None and isinstance(view, torch._ops.OpOverload) and not kwargs:
            out.fixed = self.fixed.map(view, *args, **kwargs)
        return out

    def __add__(self, other):
        if isinstance(other, AShare):
            return AShare(self.data + other.data, self.party, self._unit(other))
        # Party 0 alone adds a public constant, or the sum would count it once for every party.
        if self.party == 0:
            return self.like(self.data + other)
        shape = torch.broadcast_shapes(self.shape, other.shape) if isinstance(other, torch.Tensor) else self.shape
        return self.like(self.data if shape == self.shape else self.data.expand(shape))

    __radd__ = __add__

    def __neg__(self):
        return self.like(-self.data)

    def __sub__(self, other):
        if isinstance(other, AShare):
            return AShare(self.data - other.data, self.party, self._unit(other))
        return self + (-other)

    def __rsub__(self, other):
        return -self + other

    def __mul__(self, factor):
        """Times public integers; the unit stays."""
        return self.like(self.data * factor)

    __rmul__ = __mul__

    def _unit(self, other):
        if self.ring is None or other.ring is None:
            return self.ring or other.ring
        if self.ring != other.ring:
            raise UnitError(
                f"cannot add values in {self.ring} and in {other.ring}; truncate or shift one to the other's unit first"
            )
        return self.ring

    def __repr__(self):  # never the data: a share in a log is one share fewer to find
        return f"AShare(party={self.party}, shape={tuple(self.shape)}, ring={self.ring})"


class BShare:
    """One party's xor share: bool data for single bits (bits = 1), int64 for words of `bits` bits."""

    __slots__ = ("data", "party", "bits")

    def __init__(self, data: torch.Tensor, party: int, bits: int | None = None):
        self.data, self.party = data, party
        self.bits = 1 if data.dtype == torch.bool else (bits or 64)

    shape = property(lambda self: self.data.shape)
    layout = property(lambda self: self.data)
    first = property(lambda self: self.party == 0)

    def like(self, data) -> "BShare":
        return BShare(data, self.party, self.bits)

    def map(self, view, *args, **kwargs) -> "BShare":
        return self.like(view(self.data, *args, **kwargs))

    def __xor__(self, other):
        if isinstance(other, BShare):
            return self.like(self.data ^ other.data)
        # Party 0 alone flips by a public value, for the same reason as above.
        if self.party == 0:
            return self.like(self.data ^ other)
        return self.like(self.data ^ torch.zeros_like(other)) if isinstance(other, torch.Tensor) else self

    __rxor__ = __xor__

    def __and__(self, mask):
        """And with public bits or words."""
        return self.like(self.data & mask)

    def __invert__(self):
        return self ^ True if self.bits == 1 else self ^ torch.full_like(self.data, -1)

    def __lshift__(self, k):
        return self.like(self.data << k)

    def __repr__(self):
        return f"BShare(party={self.party}, shape={tuple(self.shape)}, bits={self.bits})"


def split(value: torch.Tensor, streams) -> list[torch.Tensor]:
    """Pieces of `value` (int64 or bool): a uniform one from each stream, and a last one.

    The last makes the sum (int64) or xor (bool) right.
    """
    if value.dtype == torch.bool:
        pieces = [s.bits(value.shape) for s in streams]
        return [*pieces, reduce(xor, pieces, value)]
    pieces = [s.words(value.shape) for s in streams]
    return [*pieces, value - sum(pieces)] if pieces else [value]


def join(shares) -> torch.Tensor:
    """The secret: int64 representatives reduced to the ring, words (signed, as `b2a` reads them), or bool."""
    shares = list(shares)
    if isinstance(shares[0], BShare):
        words, bits = reduce(xor, (s.data for s in shares)), shares[0].bits
        # What lies above a narrow word is not sent: each party would see something else there.
        return words if bits in (1, 64) else Ring(bits, 0).reduce(words)
    total = sum((s.data for s in shares[1:]), shares[0].data)
    return shares[0].ring.reduce(total) if shares[0].ring else total
