"""Three who read the same `Correlation.deal`: the dealer, a party that expands its own pieces, and the planner.

Dealing is compressed by seeds: each party has one that only the dealer knows besides. Uniform secrets are *defined*
as the sum of what the parties expand, so nothing is sent for them; of a dependent secret all pieces but the last
are expanded, and the last party's, the correction, travels. A party cannot tell its pieces from uniform ones, and
learns nothing of the other parties' seeds.
"""

import dataclasses
import json
from functools import reduce
from operator import xor
from typing import NamedTuple

import torch

from .. import correlations, kernels
from ..share import AShare, BShare, split
from ..stream import MetaStream, Stream


class Dealt(NamedTuple):
    """A dealt secret: its value (meta at a party), the pieces at hand, and whether they are xor shares."""

    value: torch.Tensor
    pieces: list
    xor: bool


class _Deal:
    """What `Correlation.deal` calls; `serial` names the streams, so that pieces are never expanded twice."""

    def __init__(self, seeds: dict[int, bytes], serial: int):
        self.seeds = seeds
        self.streams = {p: self._stream(p, f"draw/{serial}") for p in seeds}

    def _stream(self, party, label):
        return Stream(self.seeds[party], label)

    def mask(self, shape):
        return self._uniform("words", shape, False)

    def words(self, shape):
        return self._uniform("words", shape, True)

    def bits(self, shape):
        return self._uniform("bits", shape, True)

    def fixed(self, number, shape):
        pieces = [self._stream(p, f"mask/{number}").words(shape) for p in self.seeds]
        return Dealt(self._total(pieces, False), pieces, False)

    def _uniform(self, draw, shape, is_xor):
        pieces = [getattr(s, draw)(shape) for s in self.streams.values()]
        return Dealt(self._total(pieces, is_xor), pieces, is_xor)


class Dealing(_Deal):
    """The dealer's reading: all seeds, real values; collects the corrections for the last party."""

    def __init__(self, seeds, serial):
        super().__init__(seeds, serial)
        self.corrections = []

    def share(self, value):
        return self._corrected(split(value, list(self.streams.values())[:-1]), value, False)

    def xor_share(self, value):
        pieces = [_like(value, s) for s in list(self.streams.values())[:-1]]
        return self._corrected([*pieces, reduce(xor, pieces, value)], value, True)

    def _corrected(self, pieces, value, is_xor):
        self.corrections.append(pieces[-1])
        return Dealt(value, pieces, is_xor)

    @staticmethod
    def _total(pieces, is_xor):
        return reduce(xor, pieces) if is_xor else sum(pieces[1:], pieces[0])


class MetaDealing(Dealing):
    """The planner's reading: shapes only."""

    def _stream(self, party, label):
        return MetaStream()


class Expanding(_Deal):
    """A party's reading: its own seed, and values are meta.

    The last party takes the corrections from `received` (bytes), in order.
    """

    def __init__(self, party, parties, seed, serial, received=None):
        super().__init__({party: seed}, serial)
        self.last = party == parties - 1
        self.received, self.at = received, 0

    def share(self, value):
        return self._take(value, False)

    def xor_share(self, value):
        return self._take(value, True)

    def _take(self, value, is_xor):
        if not self.last:
            piece = _like(value, next(iter(self.streams.values())))
        else:
            bits = _width(value)
            size = kernels.packed_bytes(value.numel(), bits)
            piece = kernels.unpack(self.received[self.at : self.at + size], bits, value.numel()).view(value.shape)
            self.at += size
        return Dealt(value, [piece], is_xor)

    @staticmethod
    def _total(pieces, is_xor):
        return torch.empty_like(pieces[0], device="meta")


def _like(value, stream) -> torch.Tensor:
    """A uniform piece of the shape and kind of `value`: bits for bool, words for int64."""
    return stream.bits(value.shape) if value.dtype == torch.bool else stream.words(value.shape)


def _width(piece) -> int:
    return 1 if piece.dtype == torch.bool else 64


def pieces_of(handles, parties) -> list[tuple]:
    """For each of `parties` (the hosts of the handles' pieces, in order): its tuple of shares."""
    return [tuple((BShare if h.xor else AShare)(h.pieces[i], p) for h in handles) for i, p in enumerate(parties)]


def correction_bytes(corrections) -> int:
    """What `pack_corrections` gives, in bytes."""
    return sum(kernels.packed_bytes(c.numel(), _width(c)) for c in corrections)


def pack_corrections(corrections) -> torch.Tensor:
    """uint8, as `Expanding` reads them back."""
    packed = [kernels.pack(c, _width(c)) for c in corrections]
    return torch.cat(packed) if packed else torch.empty(0, dtype=torch.uint8)


# ---- correlations as text: what a party may ask a dealer for -------------------------------------

_KINDS = {
    name: kind for name, kind in vars(correlations).items() if isinstance(kind, type) and dataclasses.is_dataclass(kind)
}  # fmt: skip


def to_json(correlation) -> str:
    """A correlation as text, which `from_json` reads back."""

    def plain(v):
        if dataclasses.is_dataclass(v):
            return {"type": type(v).__name__, **{f.name: plain(getattr(v, f.name)) for f in dataclasses.fields(v)}}
        return [plain(i) for i in v] if isinstance(v, (tuple, list)) else v

    return json.dumps(plain(correlation))


def from_json(text: str):
    """The correlation; raises ValueError for anything that is not one of `mpckit.correlations`."""

    def build(v):
        if isinstance(v, dict):
            return _KINDS[v.pop("type")](**{k: build(i) for k, i in v.items()})
        return tuple(build(i) for i in v) if isinstance(v, list) else v

    try:
        correlation = build(json.loads(text))
    except (KeyError, TypeError, RecursionError) as error:  # an unknown kind; fields that it does not have
        raise ValueError(f"not a correlation: {text[:200]}") from error
    if not isinstance(correlation, correlations.Correlation):
        raise ValueError(f"not a correlation: {text[:200]}")
    return correlation
