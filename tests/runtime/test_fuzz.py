"""A hundred thousand mutated frames: each is read as what was sent, or refused with a named error, and nothing else."""

import os
import random
import socket
import time

import pytest

from mpckit.runtime.frames import HEADER, LONGEST, Direction, Word, unpack_abort
from mpckit.runtime.peer import Peer
from mpckit.runtime.sockets import Line, PeerError, ProtocolError, WireError
from mpckit.runtime.wire import DivergenceError, Expected, Outgoing, TCPWire

KEY = bytes(range(32))
WORDS = [Word.OPEN, Word.SEND, Word.ROUND]


class Recording:
    """A socket that has `data` to read, in pieces of at most `piece` bytes, and then the end of the file."""

    def __init__(self, data: bytes, piece: int):
        self.data, self.piece, self.at = data, piece, 0

    def setblocking(self, flag):
        assert not flag

    def recv_into(self, view):
        got = min(len(view), self.piece, len(self.data) - self.at)
        view[:got] = self.data[self.at : self.at + got]
        self.at += got
        return got


def conversation(rng) -> tuple[list, list[bytes]]:
    """What a party says in a few rounds, as (step, word, digest, payload) and as frames."""
    direction, said, frames = Direction(KEY, 1), [], []
    for step in range(rng.randrange(1, 5)):
        word = rng.choice(WORDS)
        payload = rng.randbytes(rng.choice([0, 1, 8, 40]))
        said.append((step, word, rng.getrandbits(32), payload))
        frames.append(direction.pack(step, word, said[-1][2], len(payload)) + payload)
    return said, frames


def flip(rng, frames):
    k = rng.randrange(len(frames))
    frame = bytearray(frames[k])
    for _ in range(rng.choice([1, 1, 2, 8])):
        frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
    frames[k] = bytes(frame)


def overwrite(rng, frames):
    k = rng.randrange(len(frames))
    at = rng.randrange(len(frames[k]))
    new = rng.choice([bytes(8), b"\xff" * 8, rng.randbytes(rng.randrange(1, 40))])
    frames[k] = frames[k][:at] + new + frames[k][at + len(new) :]


def duplicate(rng, frames):
    frames.insert(rng.randrange(len(frames) + 1), rng.choice(frames))


def reorder(rng, frames):
    rng.shuffle(frames)


def drop(rng, frames):
    del frames[rng.randrange(len(frames))]


def truncate(rng, frames):
    k = rng.randrange(len(frames))
    frames[k:] = [frames[k][: rng.randrange(len(frames[k]))]]


def insert(rng, frames):
    k = rng.randrange(len(frames))
    at = rng.randrange(len(frames[k]) + 1)
    frames[k] = frames[k][:at] + rng.randbytes(rng.randrange(1, 64)) + frames[k][at:]


def replace(rng, frames):
    frames[:] = [rng.randbytes(rng.randrange(200))]


def huge(rng, frames):
    k = rng.randrange(len(frames))
    fields = list(HEADER.unpack(frames[k][: HEADER.size]))
    fields[2], fields[4] = rng.randrange(256), rng.getrandbits(32)
    frames[k] = HEADER.pack(*fields) + frames[k][HEADER.size :]


def stranger(rng, frames):
    """A frame of another session, or of another party."""
    other = Direction(rng.choice([KEY, rng.randbytes(32)]), 2)
    other.count = rng.randrange(3)
    frames[rng.randrange(len(frames))] = other.pack(0, Word.ROUND, 0, 0)


MUTATIONS = [flip, overwrite, duplicate, reorder, drop, truncate, insert, replace, huge, stranger]


def listen_to(data: bytes, piece: int):
    """All frames that a party takes from `data`, and the error that ends them; and what it wanted to allocate."""
    peer, heard, wanted = Peer(1, Line(Recording(data, piece), KEY), 0), [], []

    def judge(peer, head):
        wanted.append(head.length)
        return head.length

    try:
        while True:
            complete = peer.read(judge)
            if complete is not None:
                head, payload = complete
                heard.append((head.step, head.word, head.digest, payload.tobytes()))
    except (EOFError, ProtocolError) as error:
        return heard, error, wanted


def test_without_a_mutation_all_is_heard():
    rng = random.Random(0)
    for _ in range(200):
        said, frames = conversation(rng)
        heard, end, _ = listen_to(b"".join(frames), rng.choice([1, 7, 1000]))
        assert heard == said and isinstance(end, EOFError)


def test_a_hundred_thousand_mutated_frames():
    rng = random.Random(20)
    start, ends = time.perf_counter(), {EOFError: 0, ProtocolError: 0}
    for _ in range(100_000):
        said, frames = conversation(rng)
        honest = b"".join(frames)
        rng.choice(MUTATIONS)(rng, frames)
        data = b"".join(frames)
        heard, end, wanted = listen_to(data, rng.choice([3, 24, 1000]))
        ends[type(end)] += 1
        # Headers cannot be forged, so all that is heard was said, in order; only payloads are as the socket gives them.
        assert [h[:3] for h in heard] == [s[:3] for s in said[: len(heard)]]
        assert [len(h[3]) for h in heard] == [len(s[3]) for s in said[: len(heard)]]
        assert max(wanted, default=0) <= 40, "a length that nobody said would have been allocated"
        intact = len(os.path.commonprefix([honest, data]))
        whole, at = 0, 0
        for _, _, _, payload in said:
            at += HEADER.size + len(payload)
            whole += at <= intact
        assert heard[:whole] == said[:whole], "what came before the first change is heard"
        if data != honest and isinstance(end, EOFError):
            assert len(data) < len(honest) + HEADER.size, "bytes that nobody said have passed for a frame"
    assert min(ends.values()) > 1000, ends
    assert time.perf_counter() - start < 20


def test_ten_thousand_last_words():
    """An ABORT's text is data: it is read as one of four known forms, or refused."""
    rng, good = random.Random(21), b'{"kind": "failed", "party": 1, "reason": "ValueError"}'
    for _ in range(10_000):
        body = bytearray(good)
        for _ in range(rng.choice([1, 1, 2, 5])):
            at = rng.randrange(len(body))
            body[at : at + rng.choice([0, 1, 1, 3])] = rng.choice([b"", b"0", b"{", b"\xff", b'"', rng.randbytes(2)])
        try:
            said = unpack_abort(bytes(body), 1)
            assert said["kind"] == "failed" and type(said["party"]) is int and type(said["reason"]) is str
        except ProtocolError as error:
            assert error.party == 1


@pytest.mark.parametrize("seed", range(4))
def test_whole_wires_end_with_a_named_error(seed):
    """The same through sockets: whatever a peer sends before it leaves, there are frames or a WireError."""
    rng, outcomes = random.Random(30 + seed), set()
    for _ in range(100):
        said, frames = conversation(rng)
        rng.choice(MUTATIONS)(rng, frames)
        ours, theirs = socket.socketpair()
        wire = TCPWire(0, 2, {1: Line(ours, KEY)})
        theirs.sendall(b"".join(frames))
        theirs.shutdown(socket.SHUT_WR)
        try:
            for step, word, digest, payload in said:
                wire.exchange(step, word, "fuzz", {1: Outgoing(digest)}, {1: Expected(digest, len(payload))})
            outcomes.add("heard")
            wire.close()
        except WireError as error:
            assert type(error) in (ProtocolError, PeerError, DivergenceError)
            outcomes.add(type(error))
        theirs.close()
    assert {ProtocolError, PeerError} <= outcomes


def test_the_largest_frame_that_may_be_announced():
    direction = Direction(KEY, 1)
    direction.pack(0, Word.OPEN, 0, LONGEST)
    with pytest.raises(ValueError, match="at most"):
        direction.pack(0, Word.OPEN, 0, LONGEST + 1)
