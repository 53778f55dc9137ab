"""The wire: one frame to and one frame from every other party per round, and nobody left waiting when one fails.

A frame is a header of 24 bytes and a payload. The header says at which step the sender is, which word it speaks and
what shapes it sends, and the receiver compares that with its own place in the program: parties that do not run the same
program raise `DivergenceError`, all of them, and the error says who is where.
"""

import json
import select
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .peer import HEADER, LONGEST_ABORT, Peer, Word
from .sockets import DivergenceError, Listener, PeerError, WireError, dial, listen

__all__ = [
    "HEADER", "DivergenceError", "Expected", "Outgoing", "PeerError", "TCPWire", "Wire", "WireError", "Word", "listen",
]  # fmt: skip

SMALL = 64 << 10  # bytes up to which a frame surely fits the socket's buffer, so that sending it cannot block
LONGEST_REASON = 1000  # characters
PATIENCE = 2.0  # seconds to wait for what the others say about a divergence


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

    @abstractmethod
    def exchange(
        self, step: int, word: Word | int | str, where: str, out: dict[int, Outgoing], expect: dict[int, Expected]
    ) -> dict[int, np.ndarray]:
        """One round: a frame to every peer, a frame from every peer → {peer: payload (length,) uint8}.

        `where` names the place in the program for error messages. Payloads may be changed again once this returns.
        Raises DivergenceError (a frame does not fit), PeerError (a peer failed or is gone), on every party.
        """

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
        digest, payload = self.out[peer]
        return f"sends {memoryview(payload).nbytes} bytes, shapes {digest:016x}"

    def expects(self, peer: int) -> str:
        digest, length = self.expect[peer]
        return f"expects {length} bytes, shapes {digest:016x}, from party {peer}"


class _Mismatch(Exception):
    """A frame does not fit this party's place in the program."""


class _Told(Exception):
    """A peer sent an ABORT frame, which says `said`."""

    def __init__(self, said: dict):
        super().__init__()
        self.said = said


class TCPWire(Wire):
    """A full mesh of sockets between processes of one machine. `record=True` keeps every frame in `.transcript`."""

    def __init__(self, party: int, parties: int, sockets: dict, record: bool = False):
        self.party, self.parties = party, parties
        self.transcript: list[tuple[str, int, bytes, bytes]] | None = [] if record else None
        self._peers = {q: Peer(q, sock) for q, sock in sorted(sockets.items())}
        self._at = _Position()
        self._ended: str | None = None

    @classmethod
    def connect(
        cls, listener: Listener, party: int, addresses: list, token: bytes, timeout: float = 20.0, record: bool = False
    ) -> "TCPWire":
        """Join party `party` with all others; `addresses[q]` is where party q listens. Closes the listener.

        Raises ValueError, TokenError, or PeerError for a party that does not come within `timeout` seconds.
        """
        sockets = {}
        try:
            # Party p calls the lower numbers and waits for the higher ones, so that no two wait for each other.
            for q in range(party):
                sockets[q] = dial(tuple(addresses[q]), party, q, token, timeout)
            sockets |= listener.accept(party, set(range(party + 1, len(addresses))), token, timeout)
        except BaseException:
            for sock in sockets.values():
                sock.close()
            raise
        finally:
            listener.close()
        return cls(party, len(addresses), sockets, record)

    def exchange(self, step, word, where, out, expect):
        if self._ended:
            raise WireError(f"this wire is closed ({self._ended}): connect again")
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
                header = HEADER.pack(step, word, self.party, digest, payload.nbytes)
                peer.send(header, payload.cast("B") if payload.nbytes else b"", direct=payload.nbytes <= SMALL)
                if self.transcript is not None and word != Word.END:
                    self.transcript.append(("sent", q, header, payload.tobytes()))
            frames = self._receive()
            for peer in self._peers.values():
                peer.flush()
        except _Mismatch as mismatch:
            raise self._diverged(str(mismatch)) from None
        except _Told as told:
            raise self._heard(told.said) from None
        except EOFError as error:
            (gone,) = error.args
            seen = f"connection closed at step {step} in {where}"
            raise self._fail({"kind": "gone", "party": gone, "reason": seen}) from None
        except BaseException as error:
            # The frame may be half sent: after an interrupt, too, this conversation cannot go on.
            self.abort(describe(error))
            raise
        if self.transcript is not None and word != Word.END:
            self.transcript += [("received", q, bytes(header), frames[q].tobytes()) for q, header in self._headers()]
        return frames

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

    def _headers(self):
        return [(q, peer.header) for q, peer in self._peers.items()]

    def _receive(self) -> dict[int, np.ndarray]:
        pending, frames = dict(self._peers), {}
        while pending:
            # With one socket left, a blocking read is the fastest way to wait; with more, an ABORT may come on any.
            ready = list(pending) if len(pending) == 1 else _readable(pending)
            for q in ready:
                frame = pending[q].read(self._judge, block=len(pending) == 1)
                if frame is not None:
                    frames[q] = frame
                    del pending[q]
        return frames

    def _judge(self, peer: Peer, header: bytes) -> int:
        """The payload length, if the header fits this party's place in the program."""
        step, word, sender, digest, length = HEADER.unpack(header)
        at, (fit, size) = self._at, self._at.expect[peer.party]
        if word == Word.ABORT:
            raise _Told(peer.read_abort(length))
        theirs, ours = (sender, step, word, digest, length), (peer.party, at.step, at.word, fit, size)
        if theirs != ours:
            names = ("sender", "step", "word", "shapes", "length")
            differs = ", ".join(name for name, a, b in zip(names, theirs, ours, strict=True) if a != b)
            peer.skip = length
            raise _Mismatch(f"party {peer.party}'s frame differs in {differs} from what party {self.party} expects")
        return length

    # how a conversation ends

    def _tell(self, said: dict):
        body = json.dumps(said).encode()[:LONGEST_ABORT]
        for peer in self._peers.values():
            peer.post(HEADER.pack(self._at.step, Word.ABORT, self.party, 0, len(body)), body)

    def _end(self, why: str, patience: float):
        self._ended = why
        deadline = time.monotonic() + patience
        for peer in self._peers.values():
            peer.hang_up()
        for peer in self._peers.values():
            peer.sent.wait(max(0.0, deadline - time.monotonic()))

    def _fail(self, said: dict) -> WireError:
        """Pass on whose failure it was, so that every party blames the same one, and close."""
        self._tell(said)
        who = said["party"]
        text = f"party {who} failed: " + said["reason"]
        if said["kind"] == "gone":
            text = f"party {who} is gone ({said['reason']})"
        self._end(text, 1.0)
        return PeerError(text, who)

    def _heard(self, said: dict) -> WireError:
        if said["kind"] == "diverged":
            return self._diverged(said["reason"], {said["party"]: said["position"]})
        return self._fail(said)

    def _diverged(self, reason: str, positions: dict[int, str] | None = None) -> WireError:
        """Say where this party is, hear where the others are, and close."""
        at, positions = self._at, dict(positions or {})
        for q, peer in self._peers.items():
            said = {"kind": "diverged", "party": self.party, "reason": reason, "position": at.text(at.sends(q))}
            body = json.dumps(said).encode()
            peer.post(HEADER.pack(at.step, Word.ABORT, self.party, 0, len(body)), body)
        waiting, deadline = {q: p for q, p in self._peers.items() if q not in positions}, time.monotonic() + PATIENCE
        while waiting and time.monotonic() < deadline:
            for q in _readable(waiting, 0.1):
                try:
                    said = waiting[q].look_for_abort()
                except EOFError:
                    said = {"kind": "gone", "party": q}
                if said is None:
                    continue
                if said["kind"] == "diverged":
                    positions[q] = said["position"]
                else:
                    positions[q] = f"failed: {said['reason']}" if said["kind"] == "failed" else "is gone"
                del waiting[q]
        expects = "; ".join(at.expects(q) for q in self._peers)
        positions[self.party] = at.text(expects)
        for q in waiting:
            positions[q] = f"has not said where it is within {PATIENCE:g} s"
        self._end("the parties diverged", 1.0)
        told = "; ".join(f"party {q} {positions[q]}" for q in sorted(positions))
        return DivergenceError(f"the parties do not run the same program: {reason}. {told}", positions)


def describe(error: BaseException) -> str:
    """What the others may know of a failure: its kind. A message may quote a value that only this party has."""
    return type(error).__name__


def _readable(peers: dict[int, Peer], timeout: float | None = None) -> list[int]:
    """Those of `peers` that have something to read (all that have, once one has)."""
    if not hasattr(select, "poll"):  # Windows
        ready = set(select.select([p.sock for p in peers.values()], [], [], timeout)[0])
        return [q for q, p in peers.items() if p.sock in ready]
    poller, numbers = select.poll(), {}
    for q, peer in peers.items():
        poller.register(peer.sock, select.POLLIN)
        numbers[peer.sock.fileno()] = q
    return [numbers[fd] for fd, _ in poller.poll(None if timeout is None else timeout * 1000)]
