"""Where a session's pieces come from: a dealer in this process, a dealer's engine, or nowhere (planning)."""

import torch

from .dealer import Dealing, Expanding, MetaDealing, correction_bytes, from_json, pack_corrections, pieces_of, to_json
from .store import ReuseError


class LocalDealer:
    """Deals for all parties in this process.

    `sent` counts the bytes of corrections that a real dealer would send to the last party.
    """

    reading = Dealing

    def __init__(self, seeds: dict[int, bytes]):
        self.seeds, self.sent = seeds, 0

    def deal(self, serial: int, correlation) -> list[tuple]:
        """For each party, in order, its tuple of shares."""
        d = self.reading(self.seeds, serial)
        pieces = pieces_of(correlation.deal(d), list(self.seeds))
        self.sent += correction_bytes(d.corrections)
        return pieces


class Planner(LocalDealer):
    """Deals shapes only."""

    reading = MetaDealing


class RemoteDealer:
    """One party's side of a dealer's engine: it expands its own seed.

    The last party also asks for its corrections; `sent` counts their bytes.
    """

    def __init__(self, party: int, parties: int, seed: bytes, client):
        self.party, self.parties, self.seed, self.client, self.sent = party, parties, seed, client, 0
        client.request("seed", {"seed": seed.hex()})

    def deal(self, serial: int, correlation) -> list[tuple]:
        received = None
        if self.party == self.parties - 1:
            _, data = self.client.request("deal", {"serial": serial, "correlation": to_json(correlation)})
            received = _as_tensor(data)
            self.sent += received.numel()
        d = Expanding(self.party, self.parties, self.seed, serial, received)
        return pieces_of(correlation.deal(d), [self.party])


class DealerService:
    """The dealer's side: knows the parties' dealing seeds, sees no input, answers the last party's requests."""

    def __init__(self, parties: int):
        self.parties, self.seeds, self.next = parties, {}, 0

    def __call__(self, party: int, kind: str, request: dict):
        """(JSON answer, payload) for one request; raises ValueError for what a party may not ask."""
        if kind == "seed" and party not in self.seeds:
            self.seeds[party] = bytes.fromhex(request["seed"])
            return {}, b""
        if kind != "deal" or party != self.parties - 1:
            raise ValueError(
                f"party {party} asked its dealer for {kind!r}; only the last party asks, for one correlation at a time"
            )
        return {}, self.corrections(request["serial"], request["correlation"])

    def corrections(self, serial: int, text: str):
        """The last party's pieces of the correlation in `text`, packed (uint8). Raises ReuseError for an old serial."""
        # The corrections of two correlations under one serial would reveal the other parties' pieces.
        if serial < self.next:
            raise ReuseError(f"draw {serial} has been dealt already; the next is {self.next}")
        self.next = serial + 1
        d = Dealing(dict(sorted(self.seeds.items())), serial)
        from_json(text).deal(d)
        return pack_corrections(d.corrections).numpy()


def _as_tensor(data):
    return torch.frombuffer(data, dtype=torch.uint8) if len(data) else torch.empty(0, dtype=torch.uint8)
