"""Where a session's pieces come from: a dealer in this process, a dealer's engine, or nowhere (planning).

A correlation with long keys is dealt in parts, and its keys wait in a `Spool`: memory stays bounded on all sides.
"""

import hashlib
from abc import ABC, abstractmethod

import torch

from ..kernels.dry import Dry
from ..once import OneTime, ReuseError
from ..runtime.device import received
from ..stream import Stream
from .dealer import (
    Dealing,
    Expanding,
    Joined,
    MetaDealing,
    correction_bytes,
    mask_piece,
    pieces_of,
    to_json,
)
from .spool import Spool

AT_ONCE = 1 << 20  # elements that are dealt side by side on a GPU


class Source(OneTime, ABC):
    """Abstract. `sent` counts the bytes that go to the last party, who gets most; `keys` those of one party's keys of
    function secret sharing, with the roots, which it expands by itself.
    """

    def __init__(self, spool: Spool | None = None):
        self.spool, self.sent, self.keys = spool, 0, 0
        self.at_once = 1  # elements: fewer than a part has, so each part is dealt by itself
        self._next = 0

    def deal(self, serial: int, correlation) -> list[tuple]:
        """For each party here, in order, its tuple of shares and keys. Raises ReuseError for an old serial: what was
        expanded under one would be expanded again.
        """
        self.stay_home()
        if serial < self._next:
            raise ReuseError(f"draw {serial} has been dealt already; the next is {self._next}")
        self._next, whole = serial + 1, None
        for i, part, count in side_by_side(correlation.parts(), self.at_once):
            pieces = self._deal_part(serial, i, part, *((count,) if count > 1 else ()))
            if part is correlation:
                return pieces
            whole = whole or Joined(correlation.shape)
            whole.add(count * part.shape[0], pieces)
        return whole.pieces()

    @abstractmethod
    def _deal_part(self, serial: int, i: int, part, count: int = 1) -> list[tuple]:
        """The same for part i, and as many more like it as make `count`: the pieces of all of them in a row."""

    def mask(self, party: int, number: int, shape) -> torch.Tensor:
        """The piece of a persistent mask that a party here was given, expanded anew: it hides the same value."""
        self.stay_home()
        return mask_piece(lambda p, label: Stream(self.seeds[p], label, self.device), party, number, shape)

    def _pieces(self, handles, parties):
        self.keys += sum(h.pieces[0].size for h in handles if h.value is None)
        return pieces_of(handles, parties, self.spool)


def side_by_side(parts, at_once: int):
    """Parts of a correlation → (number of the first, it, how many like it): together at most `at_once` elements, so
    that a GPU has enough to do. What is dealt is the same.
    """
    first, held, count = 0, None, 0
    for i, part in enumerate(parts):
        if held is not None and part == held and (count + 1) * held.shape[0] <= at_once:
            count += 1
            continue
        if held is not None:
            yield first, held, count
        first, held, count = i, part, 1
    yield first, held, count


def stream_names(serial: int, part: int, correlation, count: int) -> list[str]:
    """Of `count` parts from number `part` on, each as `stream_name` has it."""
    return [stream_name(serial, i, correlation) for i in range(part, part + count)]


def stream_name(serial: int, part: int, correlation) -> str:
    """What the streams of a part are called, for all who expand them.

    The correlation is part of the name: who has another one dealt under this number gets pieces of unrelated streams,
    and not the masks of the others.
    """
    what = hashlib.blake2b(repr(correlation).encode(), digest_size=16).hexdigest()
    return f"{serial}/{part}/{what}"


class LocalDealer(Source):
    """Deals for all parties in this process."""

    reading = Dealing

    def __init__(self, seeds: dict[int, bytes], spool: Spool | None = None, device="cpu"):
        super().__init__(spool)
        self.seeds, self.device = seeds, device
        if torch.device(device).type != "cpu":
            self.at_once = AT_ONCE

    def _deal_part(self, serial, i, part, count=1):
        d = self.reading(self.seeds, stream_names(serial, i, part, count), self.device)
        handles = part.together(count).deal(d)
        self.sent += correction_bytes(d.corrections, len(self.seeds) - 1, len(self.seeds))
        return self._pieces(handles, list(self.seeds))


class Planner(LocalDealer):
    """Deals shapes only: once for each correlation, since another of its kind has the same ones."""

    def __init__(self, seeds: dict[int, bytes]):
        super().__init__(seeds)
        self._known: dict = {}  # correlation → its handles, and the bytes sent for them

    def deal(self, serial, correlation):
        if correlation not in self._known:
            d = MetaDealing(self.seeds, stream_name(serial, 0, correlation))
            handles = correlation.deal(d)
            self._known[correlation] = handles, correction_bytes(d.corrections, len(self.seeds) - 1, len(self.seeds))
        handles, sent = self._known[correlation]
        self.sent += sent
        return self._pieces(handles, list(self.seeds))


class RemoteDealer(Source):
    """One party's side of a dealer's engine: it expands its own seed, and asks for what it cannot expand.

    The last party asks for corrections; for the correction words of keys both do.
    """

    def __init__(self, party: int, parties: int, seed: bytes, client, spool: Spool | None = None, device="cpu"):
        super().__init__(spool)
        self.party, self.parties, self.seed, self.client, self.device = party, parties, seed, client, device
        self.seeds = {party: seed}
        if torch.device(device).type != "cpu":
            self.at_once = AT_ONCE >> 3  # their corrections travel in one answer
        client.request("seed", {"seed": seed.hex(), "device": torch.device(device).type})

    def _deal_part(self, serial, i, part, count=1):
        answer = None

        def read(size):
            nonlocal answer
            if answer is None:
                request = {"serial": serial, "part": i, "count": count, "correlation": to_json(part)}
                answer = received(_as_tensor(self.client.request("deal", request)[1]), self.device)
                self.sent += answer.numel()
            if answer.numel() < size:
                raise ValueError(f"the dealer's answer is too short for {part}: is it of another version?")
            data, answer = answer[:size], answer[size:]
            return data

        names = stream_names(serial, i, part, count)
        expanding = Expanding(self.party, self.parties, self.seed, names, read, self.device)
        with Dry():
            handles = part.together(count).deal(expanding)
        if answer is not None and answer.numel():
            raise ValueError(f"the dealer's answer is too long for {part}: is it of another version?")
        return self._pieces(handles, [self.party])


def _as_tensor(data):
    return torch.frombuffer(data, dtype=torch.uint8) if len(data) else torch.empty(0, dtype=torch.uint8)
