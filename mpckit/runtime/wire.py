"""The wire: one frame to and one frame from every other party per round, and nobody left waiting when one fails.

A frame says at which step the sender is, which word it speaks and what shapes it sends, and the receiver compares that
with its own place in the program: parties that do not run the same program raise `DivergenceError`, all of them, and
the error says who is where. What is no frame of this session raises `ProtocolError`, on all of them.
"""

import os
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from errno import errorcode
from typing import NamedTuple

import numpy as np

from .doors import Encryption, Listener, dial, listen
from .frames import HEADER, SHAPES, Head, Word, unpack_abort
from .peer import Peer, ready
from .sockets import SILENCE, DivergenceError, Line, PeerError, ProtocolError, WireError, cut_off, is_near

__all__ = [
    "HEADER", "DivergenceError", "Expected", "Outgoing", "PeerError", "ProtocolError", "TCPWire", "Wire", "WireError",
    "Word", "listen",
]  # fmt: skip

LONGEST_REASON = 1000  # characters
PATIENCE = 2.0  # seconds to wait for what the others say about a divergence
TICK = 1.0  # seconds between two looks at whether a silent peer is still there


class Outgoing(NamedTuple):
    """What one peer gets this round: a digest of the shapes, and a C-contiguous buffer of any length."""

    digest: int
    payload: bytes | memoryview | np.ndarray = b""


class Expected(NamedTuple):
    """What one peer should send this round: a digest of the shapes, and the length in bytes."""

    digest: int
    length: int = 0


class Wire(ABC):
    """How party `party` of `parties` talks with the others."""

    party: int
    parties: int
    local = False  # whether all of them are known to be on one machine

    @abstractmethod
    def exchange(
        self, step: int, word: Word | int | str, where: str, out: dict[int, Outgoing], expect: dict[int, Expected]
    ) -> dict[int, np.ndarray]:
        """One round: a frame to every peer, a frame from every peer → {peer: payload (length,) uint8}.

        `where` names the place in the program for error messages. Payloads may be changed again once this returns.
        Raises DivergenceError (a frame does not fit), PeerError (a peer failed or is gone), on every party.
        """

    @abstractmethod
    def check(self):
        """Between two rounds: raise PeerError or DivergenceError if a peer has said that it failed, or is gone."""

    @abstractmethod
    def abort(self, reason: str):
        """Tell every peer, as far as they can be reached, that this party failed, and close."""

    @abstractmethod
    def close(self):
        """End the conversation."""


@dataclass
class _Position:
    """Where this party is in its program; what it would tell the others."""

    step: int = 0
    word: Word = Word.END
    where: str = "the start"
    out: dict[int, Outgoing] = field(default_factory=dict)
    expect: dict[int, Expected] = field(default_factory=dict)

    def text(self, detail: str) -> str:
        return f"at step {self.step}: {self.word.name} in {self.where} ({detail})"

    def sends(self, peer: int) -> str:
        if peer not in self.out:
            return "has sent nothing yet"
        digest, payload = self.out[peer]
        return f"sends {memoryview(payload).nbytes} bytes, shapes {digest & SHAPES:08x}"

    def expects(self, peer: int) -> str:
        if peer not in self.expect:
            return f"expects nothing yet from party {peer}"
        digest, length = self.expect[peer]
        return f"expects {length} bytes, shapes {digest & SHAPES:08x}, from party {peer}"


class _Mismatch(Exception):
    """A frame does not fit this party's place in the program."""


class _Told(Exception):
    """A peer sent an ABORT frame, which says `said`."""

    def __init__(self, said: dict):
        super().__init__()
        self.said = said


class TCPWire(Wire):
    """A full mesh of sockets between processes. `record=True` keeps every frame in `.transcript`.

    A peer that says nothing for `patience` seconds counts as gone (None: it may compute as long as it likes).
    """

    def __init__(
        self, party: int, parties: int, lines: dict[int, Line], record: bool = False, patience: float | None = None
    ):
        self.party, self.parties, self.patience = party, parties, patience
        self.transcript: list[tuple[str, int, bytes, bytes]] | None = [] if record else None
        self._peers = {q: Peer(q, line, party) for q, line in sorted(lines.items())}
        self.local = all(is_near(line.sock) for line in lines.values())
        self._at = _Position()
        self._ended: str | None = None

    @classmethod
    def connect(
        cls, listener: Listener, party: int, addresses: list, token: bytes, timeout: float = 20.0, record: bool = False,
        tls: Encryption | None = None, patience: float | None = None, patient: bool = False,
    ) -> "TCPWire":  # fmt: skip
        """Join party `party` with all others; `addresses[q]` is where party q listens. Closes the listener.

        `patient`: the others may begin to listen later. Raises ValueError, TokenError, CertificateError, or PeerError
        for a party that does not come within `timeout` seconds.
        """
        lines, deadline = {}, time.monotonic() + timeout
        try:
            # Party p calls the lower numbers and waits for the higher ones, so that no two wait for each other.
            for q in range(party):
                left = max(0.1, deadline - time.monotonic())
                lines[q] = dial(tuple(addresses[q]), party, q, token, left, tls, patient)
            left = max(0.1, deadline - time.monotonic())
            lines |= listener.accept(party, set(range(party + 1, len(addresses))), token, left)
        except BaseException:
            for line in lines.values():
                line.close()
            raise
        finally:
            listener.close()
        return cls(party, len(addresses), lines, record, patience)

    def exchange(self, step, word, where, out, expect):
        if self._ended:
            raise WireError(
                f"this wire is closed ({self._ended}); it serves one session: start a new one on all parties"
            )
        if out.keys() != self._peers.keys() or expect.keys() != self._peers.keys():
            raise ValueError(f"party {self.party} must address every one of parties {list(self._peers)} in each round")
        word = Word(word)
        self._at = _Position(step, word, where, out, expect)
        try:
            for q, peer in self._peers.items():
                digest, payload = out[q]
                payload = memoryview(payload)
                if not payload.c_contiguous:
                    raise ValueError(f"the payload for party {q} is not contiguous")
                header = peer.send(step, word, digest, payload.cast("B") if payload.nbytes else memoryview(b""))
                if self.transcript is not None and word != Word.END:
                    self.transcript.append(("sent", q, header, payload.tobytes()))
            frames = self._receive()
        except _Mismatch as mismatch:
            raise self._diverged(str(mismatch)) from None
        except _Told as told:
            raise self._heard(told.said) from None
        except EOFError as error:
            (gone,) = error.args
            seen = f"connection closed at step {step} in {where}"
            raise self._fail({"kind": "gone", "party": gone, "reason": seen}) from None
        except ProtocolError as error:
            raise self._fail({"kind": "broken", "party": error.party, "reason": str(error)}) from None
        except PeerError as error:
            raise self._fail({"kind": "gone", "party": error.party, "reason": str(error)}) from None
        except BaseException as error:
            # The frame may be half sent: after an interrupt, too, this conversation cannot go on.
            self.abort(describe(error))
            raise
        if self.transcript is not None and word != Word.END:
            self.transcript += [("received", q, p.heard, frames[q].tobytes()) for q, p in self._peers.items()]
        return frames

    def check(self):
        try:
            for peer in self._peers.values() if not self._ended else ():
                if (complete := peer.look_ahead()) is not None:
                    raise _Told(unpack_abort(complete[1].tobytes(), peer.party, self.parties))
                if peer.gone:
                    seen = f"connection closed after step {self._at.step}"
                    raise self._fail({"kind": "gone", "party": peer.party, "reason": seen})
        except _Told as told:
            raise self._heard(told.said) from None
        except ProtocolError as error:
            raise self._fail({"kind": "broken", "party": error.party, "reason": str(error)}) from None

    def finish(self):
        """Agree with every peer that the program is over. Finds the party that does one round more than the others."""
        nothing, none = Outgoing(0), Expected(0)
        step = self._at.step + 1 if self._at.out else 0
        self.exchange(step, Word.END, "the end", dict.fromkeys(self._peers, nothing), dict.fromkeys(self._peers, none))

    def abort(self, reason):
        if not self._ended:
            self._fail({"kind": "failed", "party": self.party, "reason": reason[:LONGEST_REASON]})

    def close(self):
        if not self._ended:
            self._end("closed by this party", 0.0)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if error is not None:
            self.abort(describe(error))
        self.close()

    # how a round is received

    def _receive(self) -> dict[int, np.ndarray]:
        """The payload from every peer, once all is sent."""
        peers, frames, start = list(self._peers.values()), {}, time.monotonic()
        looked = start
        now = [peer for peer in peers if peer.ahead()]
        while True:
            for peer in now:
                # Who has spoken may fail while we wait for another one: look whether its next frame is an ABORT.
                complete = peer.look_ahead() if peer.party in frames else peer.read(self._judge)
                if complete is not None:
                    head, frames[peer.party] = complete
                    if head.word == Word.ABORT:
                        raise _Told(unpack_abort(frames[peer.party].tobytes(), peer.party, self.parties))
                if peer.sending:
                    peer.write()
            reading = [peer for peer in peers if peer.party not in frames]
            sending = [peer for peer in peers if peer.sending]
            if not reading and not sending:
                for peer in peers:  # only now: who has left may have said why
                    peer.check_sent()
                return frames
            now = ready(reading + [peer for peer in peers if peer.party in frames and peer.open], sending, TICK)
            if (moment := time.monotonic()) - looked >= TICK or not now:  # who is heard must not hide who is not
                self._look_after(reading, start)
                looked = moment

    def _look_after(self, reading: list[Peer], start: float):
        """Raise PeerError for a silent peer that will not speak again."""
        now = time.monotonic()
        for peer in reading:
            silent = now - max(start, peer.moved)
            if peer.begun and silent > SILENCE:
                raise PeerError(f"it stopped in the middle of a frame and sent nothing for {SILENCE:g} s", peer.party)
            if self.patience is not None and silent > self.patience:
                raise PeerError(f"it has said nothing for {self.patience:g} s", peer.party)
        for peer in self._peers.values():
            if cut_off(peer.sock):
                raise PeerError(f"its host has not answered for {SILENCE:g} s", peer.party)

    def _judge(self, peer: Peer, head: Head) -> int:
        """The payload length, if the header fits this party's place in the program."""
        at, (digest, length) = self._at, self._at.expect[peer.party]
        if head.word == Word.ABORT:
            return head.length
        theirs = head.step, head.word, head.digest, head.length
        ours = at.step, at.word, digest & SHAPES, length
        if theirs != ours:
            names = ("step", "word", "shapes", "length")
            differs = ", ".join(name for name, a, b in zip(names, theirs, ours, strict=True) if a != b)
            raise _Mismatch(f"party {peer.party}'s frame differs in {differs} from what party {self.party} expects")
        return length

    # how a conversation ends

    def _end(self, why: str, patience: float):
        self._ended = why
        deadline = time.monotonic() + patience
        for peer in self._peers.values():
            peer.leave(last_words=patience > 0)
        for peer in self._peers.values():
            peer.left.wait(max(0.0, deadline - time.monotonic()))

    def _fail(self, said: dict) -> WireError:
        """Pass on whose failure it was, so that every party blames the same one, and close."""
        for peer in self._peers.values():
            peer.abort(self._at.step, said)
        who = said["party"]
        kind = ProtocolError if said["kind"] == "broken" else PeerError
        text = {
            "failed": f"party {who} failed: {said['reason']}",
            "gone": f"party {who} is gone ({said['reason']})",
            "broken": f"party {who} broke the rules of the wire: {said['reason']}",
        }[said["kind"]]
        self._end(text, 1.0)
        return kind(text, who)

    def _heard(self, said: dict) -> WireError:
        if said["kind"] == "diverged":
            return self._diverged(said["reason"], {said["party"]: said["position"]})
        return self._fail(said)

    def _diverged(self, reason: str, positions: dict[int, str] | None = None) -> WireError:
        """Say where this party is, hear where the others are, and close."""
        at, positions = self._at, dict(positions or {})
        for q, peer in self._peers.items():
            said = {"kind": "diverged", "party": self.party, "reason": reason, "position": at.text(at.sends(q))}
            peer.abort(at.step, said)
        waiting, deadline = {q: p for q, p in self._peers.items() if q not in positions}, time.monotonic() + PATIENCE
        while waiting and time.monotonic() < deadline:
            for q, peer in list(waiting.items()):
                try:
                    body = peer.look_for_abort()
                    said = None if body is None else unpack_abort(body.tobytes(), q, self.parties)
                except EOFError:
                    said = {"kind": "gone", "party": q}
                except ProtocolError as error:
                    said = {"kind": "failed", "party": q, "reason": str(error)}
                if said is None:
                    continue
                if said["kind"] == "diverged":
                    positions[q] = said["position"]
                else:
                    positions[q] = "is gone" if said["kind"] == "gone" else f"failed: {said['reason']}"
                del waiting[q]
            for peer in ready(waiting.values(), [p for p in self._peers.values() if p.sending], 0.1):
                peer.write()
        expects = "; ".join(at.expects(q) for q in self._peers)
        positions[self.party] = at.text(expects)
        for q in waiting:
            positions[q] = f"has not said where it is within {PATIENCE:g} s"
        self._end("the parties diverged", 1.0)
        told = "; ".join(f"party {q} {positions[q]}" for q in sorted(positions))
        return DivergenceError(f"the parties do not run the same program: {reason}. {told}", positions)


def describe(error: BaseException) -> str:
    """What the others may know of a failure: its kind, as a message may quote a value that only this party has.

    What the system or somebody else did to this party is no secret, and says where to look.
    """
    kind = type(error).__name__
    if isinstance(error, PeerError):
        return f"{kind}: {error}"
    return f"{kind}: {os.strerror(error.errno)}" if isinstance(error, OSError) and error.errno in errorcode else kind
