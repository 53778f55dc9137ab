"""Three who read the same `Correlation.deal`: the dealer, a party that expands its own pieces, and the planner.

Dealing is compressed by seeds: each party has one that only the dealer knows besides. Uniform secrets are *defined*
as the sum of what the parties expand, so nothing is sent for them; of a dependent secret all pieces but the last
are expanded, and the last party's, the correction, travels. A party cannot tell its pieces from uniform ones, and
learns nothing of the other parties' seeds. Of keys each party expands its own root, and correction words go to both.
"""

import dataclasses
import json
from functools import reduce
from math import prod
from operator import xor
from typing import NamedTuple, get_origin

import torch

from .. import correlations, kernels
from ..fss import Keys, dcf, dpf
from ..share import AShare, BShare, split
from ..stream import MetaStream, Stream, Streams


class Dealt(NamedTuple):
    """A dealt secret: its value (meta at a party), the pieces at hand, and whether they are xor shares.

    Keys of function secret sharing have no value; their pieces are `dpf.Key` or `dcf.Key`.
    """

    value: torch.Tensor | None
    pieces: list
    xor: bool = False


class Correction(NamedTuple):
    """What travels of a dealt secret: `width` bits of each word, to the last party or to all."""

    words: torch.Tensor
    width: int
    to_all: bool = False

    def goes_to(self, party: int, parties: int) -> bool:
        return self.to_all or party == parties - 1


def mask_piece(stream, party: int, number: int, shape) -> torch.Tensor:
    """A party's piece of a persistent mask: `stream(party, label)` is one from its seed."""
    return stream(party, f"mask/{number}").words(shape)


class _Deal:
    """What `Correlation.deal` calls; `serial` names the streams, so that pieces are never expanded twice: several names
    for several parts that are dealt side by side.
    """

    def __init__(self, seeds: dict[int, bytes], parties: int, serial: int | str | list[str], device="cpu"):
        self.seeds, self.parties, self.device = seeds, parties, device
        names = serial if isinstance(serial, list) else [serial]
        streams = {p: [self._stream(p, f"draw/{name}") for name in names] for p in seeds}
        self.streams = {p: Streams(own) if len(own) > 1 else own[0] for p, own in streams.items()}

    def _stream(self, party, label):
        return Stream(self.seeds[party], label, self.device)

    def mask(self, shape):
        return self._uniform("words", shape, False)

    def words(self, shape):
        return self._uniform("words", shape, True)

    def bits(self, shape):
        return self._uniform("bits", shape, True)

    def fixed(self, number, shape):
        pieces = [mask_piece(self._stream, p, number, shape) for p in self.seeds]
        return Dealt(self._total(pieces, False), pieces, False)

    def point(self, alpha, bits):
        """Keys of 1{x = alpha mod 2^bits}, one for each element of alpha."""
        self._two()
        return Dealt(None, self._point_keys(alpha.reshape(-1), bits))

    def comparison(self, alpha, payload, bits, width):
        """Keys of payload·1{x < alpha mod 2^bits}: alpha [*shape], payload [words, *shape], modulo 2^width."""
        self._two()
        return Dealt(None, self._comparison_keys(alpha.reshape(-1), payload.reshape(len(payload), -1), bits, width))

    def _two(self):
        if self.parties != 2:
            raise ValueError(f"function secret sharing is for two parties, not {self.parties}: take suite='bits'")

    def _uniform(self, draw, shape, is_xor):
        pieces = [getattr(s, draw)(shape) for s in self.streams.values()]
        return Dealt(self._total(pieces, is_xor), pieces, is_xor)


class Dealing(_Deal):
    """The dealer's reading: all seeds, real values; collects what travels."""

    def __init__(self, seeds, serial, device="cpu"):
        super().__init__(seeds, len(seeds), serial, device)
        self.corrections: list[Correction] = []

    def share(self, value):
        _whole(value, torch.int64)
        return self._corrected(split(value, list(self.streams.values())[:-1]), value, False)

    def xor_share(self, value):
        _whole(value, torch.int64, torch.bool)
        pieces = [_like(value, s) for s in list(self.streams.values())[:-1]]
        return self._corrected([*pieces, reduce(xor, pieces, value)], value, True)

    def sign(self, keys, alpha):
        """Which party's share of 1{x = alpha} is 1 at alpha: +1 for party 0, -1 for party 1."""
        return 2 * dpf.eval(keys.pieces[0], alpha.reshape(-1)).view(alpha.shape).to(torch.int64) - 1

    def _point_keys(self, alpha, bits):
        pieces = dpf.gen(alpha, bits, list(self.streams.values()))
        self.corrections += [Correction(*c) for c in dpf.corrections(pieces[1])]
        return list(pieces)

    def _comparison_keys(self, alpha, payload, bits, width):
        pieces = dcf.gen(alpha, payload, bits, list(self.streams.values()), width)
        self.corrections += [Correction(*c) for c in dcf.corrections(pieces[1])]
        return list(pieces)

    def _corrected(self, pieces, value, is_xor):
        self.corrections.append(Correction(pieces[-1], _width(value)))
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

    `read(n)` gives the next n bytes (uint8) of what travels to this party, in order.
    """

    def __init__(self, party, parties, seed, serial, read=None, device="cpu"):
        super().__init__({party: seed}, parties, serial, device)
        self.party, self.stream, self.read = party, self.streams[party], read

    def share(self, value):
        return self._take(value, False)

    def xor_share(self, value):
        return self._take(value, True)

    def sign(self, keys, alpha):
        return torch.empty(alpha.shape, dtype=alpha.dtype, device="meta")

    def _point_keys(self, alpha, bits):
        return [dpf.expand(self.party, len(alpha), bits, self.stream, self._received)]

    def _comparison_keys(self, alpha, payload, bits, width):
        return [dcf.expand(self.party, len(alpha), bits, len(payload), width, self.stream, self._received)]

    def _take(self, value, is_xor):
        last = self.party == self.parties - 1
        piece = self._received(value.shape, _width(value)) if last else _like(value, self.stream)
        return Dealt(value, [piece], is_xor)

    def _received(self, shape, width):
        count = torch.Size(shape).numel()
        return kernels.unpack(self.read(kernels.packed_bytes(count, width)), width, count).view(shape)

    @staticmethod
    def _total(pieces, is_xor):
        return torch.empty(pieces[0].shape, dtype=pieces[0].dtype, device="meta")


def tensors_of(piece) -> list[torch.Tensor]:
    """Of a dealt secret's piece: itself, or what a key consists of."""
    if isinstance(piece, torch.Tensor):
        return [piece]
    return [v for v in vars(piece).values() if isinstance(v, torch.Tensor)]


def _whole(value, *kinds):
    """TypeError for anything but ring elements and bits: a piece of a rounded number would not be uniform."""
    if value.dtype not in kinds:
        raise TypeError(f"what is shared are words or bits, not {value.dtype}")


def _like(value, stream) -> torch.Tensor:
    """A uniform piece of the shape and kind of `value`: bits for bool, words for int64."""
    return stream.bits(value.shape) if value.dtype == torch.bool else stream.words(value.shape)


def _width(piece) -> int:
    return 1 if piece.dtype == torch.bool else 64


def correction_bytes(corrections, party: int, parties: int) -> int:
    """What travels to `party`, in bytes."""
    return sum(kernels.packed_bytes(c.words.numel(), c.width) for c in corrections if c.goes_to(party, parties))


def pack_corrections(corrections, party: int, parties: int) -> torch.Tensor:
    """uint8, as `Expanding` reads them back."""
    packed = [kernels.pack(c.words, c.width) for c in corrections if c.goes_to(party, parties)]
    return torch.cat(packed) if packed else torch.empty(0, dtype=torch.uint8)


def pieces_of(handles, parties, spool=None) -> list[tuple]:
    """For each of `parties` (the hosts of the handles' pieces, in order): its tuple of shares and keys.

    Keys wait in the `spool`, if there is one.
    """
    return list(zip(*(_pieces(h, parties, spool) for h in handles)))


def _pieces(handle, parties, spool):
    if handle.value is not None:
        return [(BShare if handle.xor else AShare)(piece, p) for piece, p in zip(handle.pieces, parties)]
    if spool is None:
        return [Keys.of(key) for key in handle.pieces]
    return [Keys(key.party, [(len(key), load)]) for key, load in zip(handle.pieces, spool.hold(handle.pieces))]


class Joined:
    """The pieces of a correlation of `shape`, part by part (`Correlation.parts`), for each party.

    They are written where they belong at once: between the keys of the parts, which go, they would leave memory in
    fragments of which no further keys find room.
    """

    def __init__(self, shape):
        self.shape, self.at, self._rows = tuple(shape), 0, None

    def add(self, count: int, part: list[tuple]):
        """The pieces of the next `count` elements."""
        if self._rows is None:
            self._rows = [[self._begin(piece) for piece in row] for row in part]
        for row, pieces in zip(self._rows, part):
            for whole, piece in zip(row, pieces):
                if isinstance(piece, Keys):
                    whole.append(piece)
                else:
                    whole.data[self.at : self.at + count] = piece.data
        self.at += count

    def pieces(self) -> list[tuple]:
        return [tuple(self._end(whole) for whole in row) for row in self._rows]

    def _begin(self, piece):
        if isinstance(piece, Keys):
            return []
        return type(piece)(piece.data.new_empty((prod(self.shape), *piece.shape[1:])), piece.party)

    def _end(self, whole):
        if isinstance(whole, list):
            return Keys.join(whole)
        return type(whole)(whole.data.view(*self.shape, *whole.shape[1:]), whole.party)


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


def _typed(made):
    """The same, if each field is what its class says. TypeError for 1.0 or True where 1 belongs, which would pass for
    it wherever correlations are compared.
    """
    for field in dataclasses.fields(made):
        value = getattr(made, field.name)
        kind = get_origin(field.type) or field.type
        other = kind in (int, bool, str, tuple) and type(value) is not kind
        if other or (field.name != "steps" and not _plain(value)):  # the arguments of torch's views may be anything
            raise TypeError(f"{field.name} is {value!r}")
    return made


def _plain(value) -> bool:
    if isinstance(value, tuple):
        return all(not isinstance(v, (bool, float)) and _plain(v) for v in value)
    return type(value) is not int or abs(value) < 1 << 62


def from_json(text: str):
    """The correlation; raises ValueError for anything that is not one of `mpckit.correlations`."""

    def build(v):
        if isinstance(v, dict):
            return _typed(_KINDS[v.pop("type")](**{k: build(i) for k, i in v.items()}))
        return tuple(build(i) for i in v) if isinstance(v, list) else v

    try:
        correlation = build(json.loads(text))
    except (KeyError, TypeError, RecursionError) as error:  # an unknown kind; fields that it does not have
        raise ValueError(f"not a correlation: {text[:200]}") from error
    if not isinstance(correlation, correlations.Correlation):
        raise ValueError(f"not a correlation: {text[:200]}")
    return correlation
