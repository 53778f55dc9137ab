"""The bill: a snapshot of a session's ledger that prints itself, in a terminal and in Jupyter, and compares itself."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from .meter import Link
from .units import duration, size

__all__ = ["Diff", "Line", "Offer", "Report", "duration", "size"]


@dataclass(frozen=True)
class Line:
    """One operator of one layer in one phase: bytes sent by each party; compute and waiting in seconds.

    `waiting` is what a party spent in exchanges: on the wire, and until the others came (0 in the simulator).
    """

    phase: str
    path: str
    calls: int
    rounds: int
    by_party: dict[int, int]
    compute: float
    waiting: float = 0.0

    @property
    def sent(self) -> int:
        """Bytes of the party that sends most here."""
        return max(self.by_party.values(), default=0)

    @property
    def cost(self) -> tuple[int, int, float]:
        """What `Link.seconds` asks: rounds, bytes, compute."""
        return self.rounds, self.sent, self.compute

    def __add__(self, other: "Line") -> "Line":
        sent = {p: self.by_party.get(p, 0) + other.by_party.get(p, 0) for p in self.by_party | other.by_party}
        calls, rounds = self.calls + other.calls, self.rounds + other.rounds
        seconds = self.compute + other.compute, self.waiting + other.waiting
        return Line(self.phase, self.path, calls, rounds, sent, *seconds)


def total(lines, phase: str = "", path: str = "") -> Line:
    """All `lines` in one."""
    return sum(lines, Line(phase, path, 0, 0, {}, 0.0))


@dataclass(frozen=True)
class Offer:
    """What a program costs with one suite, online and in what is dealt: bytes of the party that sends, or gets, most.

    `key_bytes`, part of `offline_bytes` but for the roots that a party expands, are those of function secret sharing.
    """

    suite: str
    truncation: str
    rounds: int
    sent: int
    key_bytes: int
    offline_bytes: int

    @classmethod
    def of(cls, report: "Report") -> "Offer":
        sums = report.rounds(), report.sent(), report.key_bytes, report.offline_bytes
        return cls(report.suite, report.truncation, *sums)

    def seconds(self, link: Link) -> float:
        """On the link, without compute and software."""
        return link.seconds(self.rounds, self.sent)


@dataclass(frozen=True, repr=False)
class Report:
    """Rounds, bytes and seconds of a run. `print` it, or show it as the last line of a cell.

    Bytes are those of one party (the one that sends most); `offline_bytes` is what the dealer sent.
    """

    parties: int
    suite: str
    truncation: str
    link: Link
    lines: tuple[Line, ...]
    offline_bytes: int
    offline_seconds: float
    unplanned: dict = field(default_factory=dict)
    insecure: bool = False
    key_bytes: int = 0  # those of one party's keys of function secret sharing
    why: str = ""  # why this suite
    planned: tuple[Offer, ...] = ()  # what "auto" chose from
    wall: dict = field(default_factory=dict)  # phase → seconds by the clock here, once the session's `with` has ended
    transcript: object = field(default=None, compare=False)  # `runtime.transcript.Transcript`, where one was recorded
    exchange: float = (
        0.0  # seconds of software in a round, measured on this machine's engines; nobody has in a simulator
    )

    @classmethod
    def of(cls, session) -> "Report":
        meter = session.meter
        meter.settle()
        lines = [
            Line(phase, path or "(program)", e.calls, e.rounds, dict(e.sent), e.compute, e.waiting)
            for (phase, path), e in meter.ledger.items()
        ]
        return cls(
            session.parties, session.suite.name, session.truncation, session.link, tuple(lines),
            meter.dealt_bytes, meter.dealt_seconds, dict(meter.unplanned), session.insecure, meter.key_bytes,
            session.why, wall=dict(meter.wall),
            transcript=session.transcript, exchange=session.exchange,
        )  # fmt: skip

    def total(self, phase: str = "online") -> Line:
        """All lines of a phase in one."""
        return total((line for line in self.lines if line.phase == phase), phase)

    def rounds(self, phase: str = "online") -> int:
        return self.total(phase).rounds

    def sent(self, phase: str = "online") -> int:
        """Bytes of the party that sends most in this phase, 24-byte headers included."""
        return self.total(phase).sent

    def compute(self, phase: str = "online") -> float:
        return self.total(phase).compute

    def seconds(self, link: Link | None = None, phase: str = "online") -> float:
        """Predicted by the virtual clock: compute of the slowest party, software of exchanges, latency, bytes."""
        return (link or self.link).seconds(*self.total(phase).cost, self.exchange)

    def by_layer(self, phase: str = "online", depth: int | None = None) -> dict[str, Line]:
        """Lines added up by layer: the path without its operator. `depth=1`: by the model's outermost modules."""
        layers: dict[str, list[Line]] = {}
        for line in self.lines:
            if line.phase == phase:
                layers.setdefault(layer_of(line.path, depth), []).append(line)
        return {path: total(lines, phase, path) for path, lines in layers.items()}

    @property
    def offers(self) -> tuple[Offer, ...]:
        """What each suite costs that was planned, or else the one in use."""
        return self.planned or (Offer.of(self),)

    def diff(self, other: "Report") -> "Diff":
        """What changes from this report to `other`, layer by layer."""
        return Diff(self, other)

    # as text, page and file

    def to_json(self, path: str | Path | None = None) -> str:
        """All of it but a transcript as JSON, which `from_json` reads; also written to `path`, if given."""
        return written(json.dumps(asdict(replace(self, transcript=None)), indent=1), path)

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """The report that `to_json` wrote. Raises ValueError for what is none."""
        try:
            data = json.loads(text)
            lines = tuple(Line(**line | {"by_party": _by_party(line)}) for line in data.pop("lines"))
            planned = tuple(Offer(**offer) for offer in data.pop("planned", ()))
            return cls(**data | {"link": Link(**data["link"]), "lines": lines, "planned": planned})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this is no report: {error}; write one with report.to_json()") from None

    def to_html(self, path: str | Path | None = None) -> str:
        """A page of its own, for light and dark, that needs no network; also written to `path`, if given."""
        from .render import page, report_html

        return written(page("The bill", report_html(self)), path)

    def __str__(self):
        from .render import report_text

        return report_text(self)

    __repr__ = __str__  # in a notebook that shows no HTML, and at the prompt

    def _repr_html_(self):
        from .render import report_html

        return report_html(self)


@dataclass(frozen=True, repr=False)
class Diff:
    """Two reports side by side, by layer; `print` it."""

    before: Report
    after: Report

    def rows(self, phase: str = "online") -> list[tuple[Line, Line]]:
        """(before, after) of every layer in `phase`, in the order of the first report; what one lacks is empty."""
        first, second = self.before.by_layer(phase), self.after.by_layer(phase)
        return [(first.get(p, total((), phase, p)), second.get(p, total((), phase, p))) for p in first | second]

    @property
    def same(self) -> bool:
        """Whether rounds and bytes are the same, party by party, in every layer, and the dealer's bytes too."""

        def exact(line):
            return line.rounds, {p: sent for p, sent in line.by_party.items() if sent}

        return self.before.offline_bytes == self.after.offline_bytes and all(
            exact(a) == exact(b) for phase in ("setup", "online") for a, b in self.rows(phase)
        )

    def to_html(self, path: str | Path | None = None) -> str:
        """A page of its own; also written to `path`, if given."""
        from .render import diff_html, page

        return written(page("Two bills", diff_html(self)), path)

    def __str__(self):
        from .render import diff_text

        return diff_text(self)

    __repr__ = __str__

    def _repr_html_(self):
        from .render import diff_html

        return diff_html(self)


def layer_of(path: str, depth: int | None = None) -> str:
    """The layer in a path of the ledger: "conv1" of "conv1/convolution"; no more than `depth` modules deep."""
    return "/".join((path.rpartition("/")[0] or path).split("/")[:depth])


def written(text: str, path: str | Path | None) -> str:
    """`text`, after it has been written to `path`, if there is one."""
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text


def _by_party(line: dict) -> dict[int, int]:
    return {int(party): sent for party, sent in line["by_party"].items()}  # JSON has no numbers as keys
