"""What the notebook says when a party fails: who, why, and that party's own short traceback."""

import linecache
import os
import traceback
from dataclasses import dataclass, field

SHOWN = 6  # frames of a traceback, the last ones
OURS = tuple(
    os.sep + os.path.join("mpckit", *f)
    for f in (["engines", "running.py"], ["engines", "seat.py"], ["engines", "cells.py"], ["runtime", "wire.py"])
)  # frames that say nothing about the program
LONGEST = 4000  # characters of an error message


class TeamError(RuntimeError):
    """The team cannot do this now; the message says what helps."""


class PartyError(RuntimeError):
    """A party failed in a run, which has ended on all parties.

    `party` is its number (the dealer's is the number of parties), `kind` the name of its exception, and `frames` say
    where it was raised: (file, line, function, text), innermost last. `told[p]` is what party p's own run ended with.
    """

    def __init__(
        self, message: str, party: int, kind: str, frames: list[tuple[str, int, str, str]], told: dict[int, str]
    ):
        super().__init__(message)
        self.party, self.kind, self.frames, self.told = party, kind, frames, told

    def _render_traceback_(self):
        # In a notebook the frames of the waiting cell say nothing: show the party's own.
        return [f"PartyError: {self}"]


@dataclass
class Failure:
    """How one party's part of a run ended, as its engine tells it."""

    party: int
    kind: str
    message: str = ""
    frames: list = field(default_factory=list)
    died: bool = False

    @classmethod
    def of(cls, party: int, error: BaseException) -> "Failure":
        """On the engine: what is told about `error`."""
        frames = [
            (f.filename, f.lineno or 0, f.name, f.line or "")
            for f in traceback.extract_tb(error.__traceback__)
            if not f.filename.endswith(OURS)
        ]
        return cls(party, type(error).__name__, str(error)[:LONGEST], frames[-SHOWN:])

    @property
    def rank(self) -> int:
        """Causes before consequences: who waits for a party that failed fails too, and who was stopped was asked to."""
        if self.died:
            return 0
        return {"KeyboardInterrupt": 4, "PeerError": 3, "DivergenceError": 2}.get(self.kind, 1)


def name(party: int, parties: int) -> str:
    """ "party 1", or "the dealer"."""
    return f"party {party}" if party < parties else "the dealer"


def party_error(failures: list[Failure], parties: int, note: str = "") -> PartyError:
    """The error to raise for the failures of one run: that of the party that failed by itself."""
    cause = min(failures, key=lambda f: f.rank)
    who = name(cause.party, parties)
    if cause.died:
        text = f"{who} is gone: {cause.message}"
    elif cause.kind == "DivergenceError":
        text = cause.message  # no party's fault alone, and the message says who is where
    else:
        text = f"{who} failed: {cause.kind}" + (f": {cause.message}" if cause.message else "")
    frames = [(file, line, function, code or _source(file, line)) for file, line, function, code in cause.frames]
    if frames:
        text += f"\n  in {who}, innermost call last:"
        for file, line, function, code in frames:
            place = "notebook cell" if "ipykernel_" in file or file.startswith("<") else file
            text += f"\n    {place}, line {line}, in {function}" + (f"\n      {code.strip()}" if code else "")
    told = {f.party: f"{f.kind}: {f.message}" if f.message else f.kind for f in failures}
    return PartyError(text + note, cause.party, cause.kind, frames, told)


def _source(file: str, line: int) -> str:
    # A cell's text is known to the notebook alone, so the engine cannot quote it.
    return linecache.getline(file, line).strip()
