"""What the parties' events add up to, while they come in: curves, seconds by layer, how far it is. No widgets here."""

import time
from dataclasses import dataclass, field

from ..runtime.report import Line, Report, layer_of
from ..runtime.units import duration, size

STAGES = ("plan", "offline", "setup", "online", "end")  # what a run tells by itself; any other is a program's own
KEPT = 4000  # points of a curve; beyond, every second one is forgotten


@dataclass
class Curve:
    """One party's bytes and rounds over time; it stays small for ever by growing coarser."""

    seconds: list[float] = field(default_factory=lambda: [0.0])
    sent: list[int] = field(default_factory=lambda: [0])
    rounds: list[int] = field(default_factory=lambda: [0])

    def add(self, second: float, sent: int, rounds: int):
        self.seconds.append(second)
        self.sent.append(self.sent[-1] + sent)
        self.rounds.append(self.rounds[-1] + rounds)
        if len(self.seconds) > KEPT:
            for values in (self.seconds, self.sent, self.rounds):
                del values[1:-1:2]


@dataclass
class Spent:
    """What a layer has cost online: seconds are a party's, on average; bytes by party."""

    compute: float = 0.0
    wire: float = 0.0
    waiting: float = 0.0  # for parties that came later to a round
    rounds: int = 0
    sent: dict[int, int] = field(default_factory=dict)


class Watch:
    """Adds up all runs of a team since it was made.

    Seconds between exchange and answer are split by the parties' clocks, which on one machine are one: until the last
    party came it is waiting, from then on the wire. `depth`: how deep in a model to tell layers apart.
    """

    def __init__(self, parties: int, depth: int | None = None):
        self.depth = depth
        self.parties, self.runs, self.running = parties, 0, False
        self.curves = [Curve() for _ in range(parties)]
        self.layers: dict[str, Spent] = {}
        self.status, self.fraction, self.left = "waiting for the parties", 0.0, None
        self.planned: Report | None = None
        self.dropped: dict[int, int] = {}
        self.exchange = 0.0  # seconds of software in a round of the latest run: of the party that waited least
        self._start = self._run_start = None
        self._exchanges: dict[int, list[dict]] = {}  # step → events of this run's parties so far
        self._done, self._ended, self._here = [0, 0], set(), ""

    def hear(self, event: dict):
        """Take in one event: a word of a party (`runtime.meter.Event`), or one of the stages of a run."""
        now = event.get("time") or time.time()
        if self._start is None and "time" in event:  # the first word of a party: engines may take long to wake up
            self._start = now - event["waiting"]
        stage = getattr(self, f"_{event['phase']}") if event["phase"] in STAGES else self._other
        stage(event, now)
        if event.get("dropped"):
            self.dropped[event["party"]] = event["dropped"]

    # the stages of a run

    def _plan(self, event, now):
        self.runs, self.running, self.planned, self.left = self.runs + 1, True, event["report"], None
        self.status, self.fraction = "planned; the dealer begins", 0.0
        self._exchanges, self._done, self._ended, self._run_start = {}, [0, 0], set(), None

    def _offline(self, event, now):
        if event["party"] == self.parties - 1:  # the one who asks the dealer
            self.status = f"offline: the dealer has dealt {event['done']} of {event['total']} correlations"

    def _setup(self, event, now):
        self.status = "set-up: the weights are shared and masked"
        self._advance(event, now)

    def _online(self, event, now):
        party, sent = event["party"], sum(event["to"].values())
        if event["rounds"]:
            self.curves[party].add(now - self._start, sent, event["rounds"])
        layer = self.layers.setdefault(layer_of(event["path"], self.depth), Spent())
        layer.compute += event["compute"] / self.parties
        layer.sent[party] = layer.sent.get(party, 0) + sent
        layer.rounds += event["rounds"] if party == 0 else 0
        if event["rounds"]:
            self._split(layer, event, now)
        else:
            layer.waiting += event["waiting"] / self.parties  # for the dealer
        self._here = event["path"]
        self._advance(event, now)
        if party == 0:
            layer, left = layer_of(self._here), f", about {duration(self.left)} left" if self.left else ""
            self.status = f"online: {layer}, round {self._done[0]}{self._of()}{left}"

    def _of(self):
        rounds = self._expected()[0]
        return f" of {rounds}" if rounds >= self._done[0] else ""

    def _expected(self) -> tuple[int, int]:
        """Rounds, and bytes of party 0, in a run's set-up and online phases."""
        if self.planned is None:
            return 0, 0
        lines = [self.planned.total(phase) for phase in ("setup", "online")]
        return sum(line.rounds for line in lines), sum(line.by_party.get(0, 0) for line in lines)

    def _advance(self, event, now):
        if event["party"] != 0:
            return
        self._run_start = self._run_start or now - event["compute"] - event["waiting"]
        self._done = [self._done[0] + event["rounds"], self._done[1] + sum(event["to"].values())]
        if all(expected := self._expected()):
            # Neither rounds nor bytes alone tell how far it is: early layers send much, late ones speak often.
            self.fraction = min(1.0, sum(d / e for d, e in zip(self._done, expected)) / 2)
            self.left = (now - self._run_start) * (1 - self.fraction) / self.fraction if self.fraction else None

    def _split(self, layer, event, now):
        together = self._exchanges.setdefault(event["step"], [])
        together.append({"begin": now - event["waiting"], "waiting": event["waiting"]})
        if len(together) == self.parties:
            last = max(each["begin"] for each in together)
            for each in self._exchanges.pop(event["step"]):
                late = min(max(0.0, last - each["begin"]), each["waiting"])
                layer.waiting += late / self.parties
                layer.wire += (each["waiting"] - late) / self.parties

    def _end(self, event, now):
        told = event.get("exchange", 0.0)
        self.exchange = min(told, self.exchange) if self._ended else told
        self._ended.add(event["party"])
        self.fraction, self.left, self.running = 1.0, None, len(self._ended) < self.parties
        self.status = f"done: {self.rounds} rounds online, {size(max(self.by_party.values()))} sent by a party"

    def _other(self, event, now):
        self.status = str(event["phase"])

    # what it comes to

    @property
    def rounds(self) -> int:
        """Online rounds heard of."""
        return self.curves[0].rounds[-1]

    @property
    def by_party(self) -> dict[int, int]:
        """Bytes that each party has sent online."""
        return {party: curve.sent[-1] for party, curve in enumerate(self.curves)}

    @property
    def slowest(self) -> float:
        """Seconds online until the last party spoke, round by round: compute of the slowest."""
        return sum(layer.compute + layer.waiting for layer in self.layers.values())

    @property
    def elapsed(self) -> float:
        """Seconds online, of a party on average: compute, wire and waiting."""
        return sum(layer.compute + layer.wire + layer.waiting for layer in self.layers.values())

    @property
    def lost(self) -> int:
        """Events of this run that did not arrive."""
        return sum(self.dropped.values())

    def agrees(self, *reports: Report) -> bool:
        """Whether these bills, added up, are what was heard: rounds, and bytes by party."""
        total = sum((report.total() for report in reports), Line("online", "", 0, 0, {}, 0.0))
        return (self.rounds, self.by_party) == (total.rounds, total.by_party)

    def words(self) -> str:
        """All of it as a sentence or two."""
        seconds = {
            kind: sum(getattr(layer, kind) for layer in self.layers.values()) for kind in ("compute", "wire", "waiting")
        }
        slowest = max(self.layers.items(), key=lambda item: item[1].compute + item[1].wire, default=None)
        bytes_sent = ", ".join(f"party {party} sent {sent} bytes" for party, sent in self.by_party.items())
        text = f"{self.runs or 'No'} run{'s' * (self.runs != 1)}: {self.rounds} rounds online; {bytes_sent}. "
        text += "A party's seconds: " + ", ".join(f"{kind} {duration(s)}" for kind, s in seconds.items()) + "."
        if slowest:
            text += f" Most of it in {slowest[0]}."
        if self.lost:
            text += f" {self.lost} events were dropped: the figure shows less than there was."
        return text
