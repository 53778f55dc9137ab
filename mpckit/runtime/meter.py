"""The meter: a ledger of rounds, bytes and compute seconds by phase, layer and operator; and what they cost on a link.

Bytes are what one party puts on its sockets, 24-byte headers included. Phases: "setup" (once per model: weights are
shared and masked), "offline" (dealing; no input needed), "online" (per inference).
"""

import time
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Link:
    """A network: round trip seconds and bytes per second each way."""

    name: str
    rtt: float
    bandwidth: float

    def seconds(self, rounds: int, sent: int, compute: float = 0.0) -> float:
        """Virtual time: both directions of a round go at once, so it waits half a round trip, then the bytes drain."""
        return compute + rounds * self.rtt / 2 + sent / self.bandwidth


LAN = Link("LAN", rtt=0.5e-3, bandwidth=10e9 / 8)
WAN = Link("WAN", rtt=60e-3, bandwidth=305e6 / 8)


@dataclass
class Entry:
    """One line of the ledger: all that one operator of one layer has cost in one phase.

    `sent` is bytes by party hosted here, `compute` seconds.
    """

    rounds: int = 0
    calls: int = 0
    sent: dict[int, int] = field(default_factory=dict)
    compute: float = 0.0  # sum over rounds of the slowest party here


class Meter:
    """Where the session writes. `path` is the layer and the operator now running."""

    def __init__(self, parties):
        self.parties = tuple(parties)
        self.ledger: dict[tuple[str, str], Entry] = {}
        self.phase, self._path = "online", []
        self.unplanned: dict[str, int] = {}  # correlation kind → draws that no plan had foreseen
        self.dealt_bytes, self.dealt_seconds = 0, 0.0
        self.wall: dict[str, float] = {}  # seconds by the clock, waiting included
        self.listeners = []

    @contextmanager
    def scope(self, name: str):
        """Inside, costs are booked on `name`, below the scopes around it."""
        self.push(name)
        try:
            yield
        finally:
            self.pop()

    def push(self, name: str):
        self._path.append(name)

    def pop(self):
        self._path.pop()

    @contextmanager
    def phase_of(self, phase: str):
        """Inside, costs and seconds are booked on `phase`, and the seconds not on the phase around it."""
        before, self.phase, start = self.phase, phase, time.perf_counter()
        try:
            yield
        finally:
            self.phase = before
            elapsed = time.perf_counter() - start
            self.wall[phase] = self.wall.get(phase, 0.0) + elapsed
            if phase != before:
                self.wall[before] = self.wall.get(before, 0.0) - elapsed

    @property
    def path(self) -> str:
        return "/".join(self._path)

    def entry(self) -> Entry:
        return self.ledger.setdefault((self.phase, self.path), Entry())

    def book(self, rounds=0, sent=None, compute=0.0):
        entry = self.entry()
        entry.rounds += rounds
        entry.compute += compute
        for party, size in (sent or {}).items():
            entry.sent[party] = entry.sent.get(party, 0) + size
        for listener in self.listeners:
            listener(self.phase, self.path, rounds, sent or {}, compute)

    def total(self, phase: str = "online") -> Entry:
        """All entries of a phase in one."""
        total = Entry()
        for (at, _), entry in self.ledger.items():
            if at == phase:
                total.rounds += entry.rounds
                total.calls += entry.calls
                total.compute += entry.compute
                for party, size in entry.sent.items():
                    total.sent[party] = total.sent.get(party, 0) + size
        return total

    def sent(self, phase: str = "online") -> int:
        """Bytes that the party which sent most has sent."""
        return max(self.total(phase).sent.values(), default=0)
