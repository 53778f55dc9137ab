"""The bill: a snapshot of a session's ledger that prints itself, in a terminal and in Jupyter."""

import json
from dataclasses import asdict, dataclass, field

from .meter import LAN, WAN, Link

PHASES = ("setup", "offline", "online")


@dataclass(frozen=True)
class Line:
    """One operator of one layer in one phase: bytes sent by each party, compute in seconds."""

    phase: str
    path: str
    calls: int
    rounds: int
    by_party: dict[int, int]
    compute: float

    @property
    def sent(self) -> int:
        """Bytes of the party that sends most here."""
        return max(self.by_party.values(), default=0)

    def __add__(self, other: "Line") -> "Line":
        sent = {p: self.by_party.get(p, 0) + other.by_party.get(p, 0) for p in self.by_party | other.by_party}
        calls, rounds = self.calls + other.calls, self.rounds + other.rounds
        return Line(self.phase, self.path, calls, rounds, sent, self.compute + other.compute)


@dataclass(frozen=True)
class Report:
    """Rounds, bytes and seconds of a run.

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
    wall: dict = field(default_factory=dict)  # phase → seconds by the clock here, once the session's `with` has ended

    @classmethod
    def of(cls, session) -> "Report":
        meter = session.meter
        lines = [
            Line(phase, path or "(program)", e.calls, e.rounds, dict(e.sent), e.compute)
            for (phase, path), e in meter.ledger.items()
        ]
        return cls(
            session.parties, session.suite.name, session.truncation, session.link, tuple(lines),
            meter.dealt_bytes, meter.dealt_seconds, dict(meter.unplanned), session.insecure, dict(meter.wall),
        )  # fmt: skip

    def total(self, phase: str = "online") -> Line:
        """All lines of a phase in one."""
        return sum((line for line in self.lines if line.phase == phase), Line(phase, "", 0, 0, {}, 0.0))

    def rounds(self, phase: str = "online") -> int:
        return self.total(phase).rounds

    def sent(self, phase: str = "online") -> int:
        """Bytes of the party that sends most in this phase, 24-byte headers included."""
        return self.total(phase).sent

    def compute(self, phase: str = "online") -> float:
        return self.total(phase).compute

    def seconds(self, link: Link | None = None, phase: str = "online") -> float:
        """Predicted by the virtual clock: compute of the slowest party, latency, bytes over bandwidth."""
        return (link or self.link).seconds(self.rounds(phase), self.sent(phase), self.compute(phase))

    def by_layer(self, phase: str = "online") -> dict[str, Line]:
        """Lines added up by layer: the path without its operator."""
        out: dict[str, Line] = {}
        for line in self.lines:
            if line.phase == phase:
                layer = line.path.rpartition("/")[0] or line.path
                out[layer] = out.get(layer, Line(phase, layer, 0, 0, {}, 0.0)) + line
        return out

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    def __str__(self):
        links = dict.fromkeys((self.link, LAN, WAN))
        rows = [("phase / layer / operator", "calls", "rounds", "sent", "compute", *(link.name for link in links))]
        for phase in PHASES:
            if phase == "offline":
                rows.append(
                    (phase, "", "", size(self.offline_bytes), duration(self.offline_seconds), *(" " for _ in links))
                )
                continue
            if not any(line.phase == phase for line in self.lines):
                continue
            times = [duration(self.seconds(link, phase)) for link in links]
            rows.append(
                (phase, "", str(self.rounds(phase)), size(self.sent(phase)), duration(self.compute(phase)), *times)
            )
            for line in self.lines:
                if line.phase == phase and (line.rounds or line.compute > 1e-4):
                    times = [duration(link.seconds(line.rounds, line.sent, line.compute)) for link in links]
                    cells = str(line.calls), str(line.rounds), size(line.sent), duration(line.compute)
                    rows.append((f"  {line.path}", *cells, *times))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        text = [f"{self.parties} parties · suite {self.suite} · {self.truncation} truncation · per party and its peers"]
        for row in rows:
            text.append(
                "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip()
            )
        if self.unplanned:
            text.append(
                "drawn outside the plan, dealt on demand: " + ", ".join(f"{n} × {k}" for k, n in self.unplanned.items())
            )
        if self.insecure:
            text.append("INSECURE: all parties share one seed (insecure_seed); for tests and transcripts only")
        return "\n".join(text)

    def _repr_html_(self):
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


def size(count: float) -> str:
    """Bytes for people: 512 B, 1.5 kB, 3.4 MB (powers of ten)."""
    for unit in ("B", "kB", "MB"):
        if count < 999.5:  # what rounds to a thousand takes the next unit
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def duration(seconds: float) -> str:
    """Seconds for people: 3.2 ms, 1.5 s, 2 min 5 s."""
    if seconds < 0.9995e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 99.95:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
