"""The meter: a ledger of rounds, bytes and seconds by phase, layer and operator; and what they cost on a link.

Listeners hear every word as an `Event`; without one that costs nothing.

Bytes are what one party puts on its sockets, 24-byte headers included. Phases: "setup" (once per model: weights are
shared and masked), "offline" (dealing; no input needed), "online" (per inference).
"""

import json
import math
import statistics
import time
from collections import deque
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True)
class Link:
    """A network: round trip seconds and bytes per second each way."""

    name: str
    rtt: float
    bandwidth: float

    def seconds(self, rounds: int, sent: int, compute: float = 0.0, exchange: float = 0.0) -> float:
        """Virtual time: both directions of a round go at once, so it waits half a round trip, then the bytes drain.

        `exchange`: seconds that a round takes on a line without length: software, and waking up.
        """
        return compute + rounds * (exchange + self.rtt / 2) + sent / self.bandwidth


LAN = Link("LAN", rtt=0.5e-3, bandwidth=10e9 / 8)
WAN = Link("WAN", rtt=60e-3, bandwidth=305e6 / 8)
MOBILE = Link("4G", rtt=50e-3, bandwidth=20e6 / 8)
KEPT = 10_000  # exchanges, whose mean is reported


class Event(NamedTuple):
    """One word of one party: what a listener of the meter hears.

    time      seconds since 1970, when it was over        word       "Draw", "Open", "Send", several of them joined
    step      rounds of this session before it                       by "+", or "Return": the end of a protocol
    path      layer/operator                              draws      Draws since the last event, answered from the store
    protocol  the generators that ran, outermost first    to         {peer: bytes}, headers included
    compute   seconds before it was said                  waiting    seconds until its answer was there: on the wire,
                                                                     and until the others, or the dealer, came

    A Draw is an event of its own where a dealer had to be asked.
    """

    time: float
    party: int
    phase: str
    step: int
    path: str
    protocol: str
    word: str
    rounds: int
    draws: int
    to: dict[int, int]
    compute: float
    waiting: float


def sayable(event: dict) -> dict:
    """The event itself. Raises TypeError for what JSON cannot say: the thread that sends could tell nobody of it."""
    try:
        json.dumps(event)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"an event says numbers, texts, and lists and dicts of those: {error}") from None
    return event


@dataclass
class Entry:
    """One line of the ledger: all that one operator of one layer has cost in one phase.

    `sent` is bytes by party hosted here, `compute` seconds.
    """

    rounds: int = 0
    calls: int = 0
    sent: dict[int, int] = field(default_factory=dict)
    compute: float = 0.0  # sum over rounds of the slowest party here
    waiting: float = 0.0  # in rounds: on the wire, and until the others came

    def computed(self, seconds: dict[int, float]):
        """By all parties at once, {party: seconds}."""
        self.compute += max(seconds.values())


class Meter:
    """Where the session writes. `path` is the layer and the operator now running.

    settle   has all booked that a device has computed so far, before anybody reads it
    """

    def __init__(self, parties, settle=lambda: None):
        self.parties, self.settle = tuple(parties), settle
        self.ledger: dict[tuple[str, str], Entry] = {}
        self.phase, self._path = "online", []
        self.unplanned: dict[str, int] = {}  # correlation kind → draws that no plan had foreseen
        self.dealt_bytes, self.dealt_seconds, self.key_bytes = 0, 0.0, 0
        self.wall: dict[str, float] = {}  # seconds by the clock, waiting included
        self.step = 0  # rounds so far, of all phases
        self._drawn: tuple[int, dict[int, float]] | None = None  # Draws not told yet: how many, compute before them
        self.listeners: list[Callable[[Event], None]] = []
        self.exchanges: deque[float] = deque(maxlen=KEPT)  # seconds of each that the line had no part in, where known
        self.pause = 0.0  # seconds that a round takes longer where one has waited for the line before it, where known

    @property
    def exchange(self) -> float:
        """Seconds of software in an exchange on a line where one waits; 0 where none was clocked.

        The mean of this session's, of which the longest tenth does not count (waits for a party that began later), and
        what a pause costs.
        """
        usual = sorted(self.exchanges)[: math.ceil(0.9 * len(self.exchanges))]
        return statistics.fmean(usual) + self.pause if usual else 0.0

    @contextmanager
    def scope(self, name: str):
        """Inside, costs are booked on `name`, below the scopes around it."""
        depth = len(self._path)
        self.push(name)
        try:
            yield
        finally:
            del self._path[depth:]

    def where(self) -> tuple[str, ...]:
        """The scopes around, for `at`."""
        return tuple(self._path)

    @contextmanager
    def at(self, path: tuple[str, ...]):
        """Inside, costs are booked there: on the layer that caused them, where another has them paid."""
        before, self._path = self._path, list(path)
        try:
            yield
        finally:
            self._path = before

    def leave_layers(self):
        """Be in no layer: one that Ctrl-C has ended may come back to the path when its last frame is freed."""
        self._path = []

    def push(self, name: str):
        self._path.append(name)

    def pop(self):
        self._path.pop()

    @contextmanager
    def phase_of(self, phase: str):
        """Inside, costs and seconds are booked on `phase`, and the seconds not on the phase around it."""
        before, depth, start = self.phase, len(self._path), time.perf_counter()
        self.phase = phase
        try:
            yield
        finally:
            self.phase = before
            del self._path[depth:]  # layers that Ctrl-C has ended are still on it: torch runs no hook of theirs
            elapsed = time.perf_counter() - start
            self.wall[phase] = self.wall.get(phase, 0.0) + elapsed
            if phase != before:
                self.wall[before] = self.wall.get(before, 0.0) - elapsed

    @property
    def path(self) -> str:
        return "/".join(self._path)

    def entry(self) -> Entry:
        return self.ledger.setdefault((self.phase, self.path), Entry())

    def book(self, word: str, compute: dict[int, float], sent=None, waiting: float = 0.0, speaker=None):
        """One word of the parties hosted here.

        `compute` is {party: seconds}; `sent`, {party: {peer: bytes}}, makes it a round; `speaker` is one of their
        generators, for listeners. A Draw from the store waits for nothing.
        """
        entry = self.entry()
        entry.computed(compute)
        if sent is not None:
            entry.rounds += 1
            entry.waiting += waiting
            for party, to in sent.items():
                entry.sent[party] = entry.sent.get(party, 0) + sum(to.values())
        if self.listeners:
            self._tell(word, compute, sent, waiting, speaker)
        self.step += sent is not None

    def dealt(self, seconds: dict[str, float]):
        """By the dealer, {"dealt": seconds}."""
        self.dealt_seconds += seconds["dealt"]

    def _tell(self, word, compute, sent, waiting, speaker):
        if self._drawn is not None:  # in the conversation that goes on here, so of the same path
            count, before = self._drawn
            self._drawn, compute = None, {party: seconds + before[party] for party, seconds in compute.items()}
        else:
            count = 0
        if word == "Draw" and not waiting:
            self._drawn = count + 1, compute
            return
        now, path, protocol = time.time(), self.path, spoken_by(speaker)
        for party, seconds in compute.items():
            to = {} if sent is None else sent[party]
            event = Event(
                now, party, self.phase, self.step, path, protocol, word, int(sent is not None), count, to, seconds,
                waiting,
            )  # fmt: skip
            for listener in self.listeners:
                listener(event)

    def total(self, phase: str = "online") -> Entry:
        """All entries of a phase in one."""
        self.settle()
        total = Entry()
        for (at, _), entry in self.ledger.items():
            if at == phase:
                total.rounds += entry.rounds
                total.calls += entry.calls
                total.compute += entry.compute
                total.waiting += entry.waiting
                for party, size in entry.sent.items():
                    total.sent[party] = total.sent.get(party, 0) + size
        return total

    def sent(self, phase: str = "online") -> int:
        """Bytes that the party which sent most has sent."""
        return max(self.total(phase).sent.values(), default=0)


def spoken_by(generator) -> str:
    """The protocols that a suspended generator is in, outermost first: "relu > drelu > compare"."""
    names = []
    while (name := getattr(generator, "__name__", None)) is not None:
        if name not in ("together", "advance") and name not in names[-1:]:
            names.append(name)
        generator = generator.gi_yieldfrom
    return " > ".join(names)
