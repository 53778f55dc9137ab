"""What a peer may do to a wire, on purpose or not: each ends with an error that names it, for everybody, in seconds."""

import json
import pickle
import secrets
import socket
import threading
import time

import numpy as np
import pytest
from beside import TOKEN, admitting, dealing_for

from mpckit.runtime import dealing, doors, peer, wire
from mpckit.runtime.dealing import DealerClient
from mpckit.runtime.doors import dial, listen
from mpckit.runtime.frames import HEADER, LONGEST, Direction, Word
from mpckit.runtime.sockets import (
    DEALER,
    DivergenceError,
    Line,
    PeerError,
    ProtocolError,
    TokenError,
    WireError,
    cut_off,
    receive,
)  # fmt: skip
from mpckit.runtime.wire import Expected, Outgoing, TCPWire


class Liar:
    """Party `party`, played by a test that may put any bytes on its line."""

    def __init__(self, party: int, line: Line):
        self.sock, self.out = line.sock, Direction(line.key, party)

    def frame(self, payload=b"", step=0, word=Word.ROUND, digest=5, length=None) -> bytes:
        return self.out.pack(step, word, digest, len(payload) if length is None else length) + payload

    def said(self) -> dict:
        """What the wire told the liar at its end: the reason in the last frame."""
        everything = b""
        self.sock.settimeout(5)
        while got := self.sock.recv(1 << 16):
            everything += got
        return json.loads(everything[everything.rindex(b'{"kind"') :])


def facing(**options) -> tuple[TCPWire, Liar]:
    """Party 0 on a wire, and a liar who is party 1."""
    ours, theirs = socket.socketpair()
    key = secrets.token_bytes(32)
    return TCPWire(0, 2, {1: Line(ours, key)}, **options), Liar(1, Line(theirs, key))


def turn(wire, size=4, step=0):
    peers = [q for q in range(wire.parties) if q != wire.party]
    out, expect = dict.fromkeys(peers, Outgoing(5, bytes(size))), dict.fromkeys(peers, Expected(5, size))
    return wire.exchange(step, Word.ROUND, "a test", out, expect)


def test_an_honest_frame_is_heard():
    """The liar can speak the truth: what fails below fails for its reason alone."""
    wire, liar = facing()
    liar.sock.sendall(liar.frame(b"true") + liar.frame(b"also", step=1))
    assert bytes(turn(wire)[1]) == b"true" and bytes(turn(wire, step=1)[1]) == b"also"


def replayed(liar):
    first = liar.frame(b"same")
    return first + first


def swapped(liar):
    frames = [liar.frame(b"abcd", step) for step in range(3)]
    return frames[0] + frames[2] + frames[1]


def lost(liar):
    frames = [liar.frame(b"abcd", step) for step in range(3)]
    return frames[0] + frames[2]


def from_another_session(liar):
    return liar.frame(b"abcd") + Direction(secrets.token_bytes(32), 1).pack(1, Word.ROUND, 5, 4) + b"abcd"


def changed(at):
    def change(liar):
        frame = liar.frame(b"abcd")
        header = bytearray(liar.frame(b"", 1))
        header[at] ^= 1
        return frame + bytes(header)

    change.__name__ = f"bit_{8 * at}"
    return change


def noise(liar):
    return liar.frame(b"abcd") + secrets.token_bytes(4096)


def no_such_word(liar):
    frame = liar.frame(b"abcd")

    class Seven(int):
        pass

    return frame + liar.out.pack(1, Seven(7), 5, 4)


def too_long(liar):
    first = liar.frame(b"abcd")
    header = HEADER.pack(1, Word.ROUND, LONGEST >> 32, 1, 1, 5, bytes(8))[:16]
    return first + header + liar.out._tag(header, liar.out.count)


def long_farewell(liar):
    return liar.frame(b"abcd") + liar.frame(b"", 1, Word.ABORT, length=1 << 20)


class Trap:
    """Unpickling it would leave a mark."""

    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def pickled_farewell(liar):
    return liar.frame(b"abcd") + liar.frame(pickle.dumps(Trap()), 1, Word.ABORT)


def odd_farewell(said):
    def farewell(liar):
        return liar.frame(b"abcd") + liar.frame(said, 1, Word.ABORT)

    farewell.__name__ = f"farewell_{said[:20].decode()}"
    return farewell


ATTACKS = {
    replayed: "frame 0 a second time, where frame 1 belongs",
    swapped: "frame 2 where frame 1 belongs: out of order",
    lost: "frame 2 where frame 1 belongs",
    from_another_session: "24 bytes that are not the header of frame 1 of this session",
    noise: "24 bytes that are not the header",
    no_such_word: "a word that does not exist: 7",
    too_long: "too long",
    long_farewell: "announces 1048576 bytes",
    pickled_farewell: "a reason that cannot be read",
    odd_farewell(b"{}"): "a reason that cannot be read",
    odd_farewell(b"[" * 60000): "a reason that cannot be read",
    odd_farewell(b'{"kind": "failed", "party": "x", "reason": "y"}'): "a reason that cannot be read",
    odd_farewell(b'{"kind": "failed", "party": 1, "reason": ["y"]}'): "a reason that is no text",
    odd_farewell(b'{"kind": ["failed"], "party": 1, "reason": "y"}'): "a reason that cannot be read",
    odd_farewell(b'{"kind": "gone", "party": 2, "reason": "y"}'): "blames somebody who is no party",
    odd_farewell(b'{"kind": "failed", "party": -1, "reason": "y"}'): "blames somebody who is no party",
} | {changed(at): "24 bytes that are not the header" for at in range(HEADER.size)}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack_on_the_second_frame(attack):
    wire, liar = facing()
    start = time.perf_counter()
    liar.sock.sendall(attack(liar))
    assert len(turn(wire)[1]) == 4
    with pytest.raises(ProtocolError, match="party 1 broke the rules of the wire: .*" + ATTACKS[attack]) as caught:
        turn(wire, step=1)
    assert caught.value.party == 1 and not Trap.sprung
    assert liar.said()["kind"] == "broken"
    assert time.perf_counter() - start < 3
    with pytest.raises(WireError, match="serves one session: start a new one"):
        turn(wire, step=2)


def test_last_words_do_not_steer_a_terminal():
    """What another party wrote is shown as one short line: no escape codes, no lines that look like ours."""
    wire, liar = facing()
    reason = "\x1b]52;c;cm0gLXJm\x07\x1b[2J all is well\n\rTraceback\u202e\x9b1m" + "A" * 5000
    liar.sock.sendall(liar.frame(json.dumps({"kind": "failed", "party": 1, "reason": reason}).encode(), 0, Word.ABORT))
    with pytest.raises(PeerError, match="party 1 failed: .*all is well  Traceback") as caught:
        turn(wire)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 3100


def test_last_words_through_the_dealer_do_not_either():
    thread, (honest, liar), outcome = dealing_for(2)
    liar.abort("\x1b[2J" + "A" * 5000)
    thread.join(9)
    with pytest.raises(PeerError, match="the dealer failed: party 1 failed: ") as caught:
        honest.request("triples")
    assert all(str(error).isprintable() and len(str(error)) < 3200 for error in (outcome[0], caught.value))


def test_a_party_s_own_frame_sent_back():
    wire, liar = facing()
    liar.sock.sendall(liar.frame(b"abcd"))
    turn(wire)
    own = receive(liar.sock, HEADER.size + 4)
    liar.sock.sendall(own)
    with pytest.raises(ProtocolError, match="not the header of frame 1"):
        turn(wire, step=1)


def test_a_terabyte_is_not_allocated():
    """An honest header with a length that nobody expects is a divergence, and costs no memory."""
    wire, liar = facing()
    liar.sock.sendall(liar.frame(b"", length=LONGEST))
    start = time.perf_counter()
    with pytest.raises(DivergenceError, match="differs in length"):
        turn(wire)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("cut", [0, 1, 23, 24, 27])
def test_a_truncated_stream(cut):
    wire, liar = facing()
    liar.sock.sendall(liar.frame(b"abcd")[:cut])
    liar.sock.close()
    with pytest.raises(PeerError, match="party 1 is gone .connection closed at step 0 in a test"):
        turn(wire)


@pytest.mark.parametrize("cut", [1, 24, 27])
def test_silence_in_the_middle_of_a_frame(cut, monkeypatch):
    monkeypatch.setattr(wire, "SILENCE", 1.0)
    there, liar = facing()
    liar.sock.sendall(liar.frame(b"abcd")[:cut])
    start = time.perf_counter()
    with pytest.raises(PeerError, match="party 1 is gone .it stopped in the middle of a frame and sent nothing for 1"):
        turn(there)
    assert 1 < time.perf_counter() - start < 4


def test_a_silent_party_is_waited_for_as_long_as_was_agreed():
    there, liar = facing(patience=1.0)
    start = time.perf_counter()
    with pytest.raises(PeerError, match="party 1 is gone .it has said nothing for 1 s"):
        turn(there)
    assert 1 < time.perf_counter() - start < 4
    there, liar = facing()
    threading.Timer(3.0, lambda: liar.sock.sendall(liar.frame(b"late"))).start()
    assert bytes(turn(there)[1]) == b"late", "without a limit a party may compute as long as it likes"


def test_everybody_hears_who_broke_the_rules():
    """Party 2 sends garbage to party 0 alone; party 1, who waits for both, blames party 2 as well."""
    keys = {pair: secrets.token_bytes(32) for pair in ((0, 1), (0, 2), (1, 2))}
    ends = {pair: socket.socketpair() for pair in keys}

    def line(p, q):
        pair = min(p, q), max(p, q)
        return Line(ends[pair][p > q], keys[pair])

    wires = [TCPWire(p, 3, {q: line(p, q) for q in range(3) if q != p}) for p in range(2)]
    line(2, 0).sock.sendall(bytes(1000))
    errors = [None, None]

    def run(p):
        try:
            turn(wires[p])
        except BaseException as error:
            errors[p] = error

    threads = [threading.Thread(target=run, args=(p,)) for p in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(9)
    for error in errors:
        assert isinstance(error, ProtocolError) and error.party == 2, error


def test_a_large_send_to_a_dead_end_is_interruptible_by_its_failure():
    """The peer reads nothing and leaves while 64 MiB are on their way to it."""
    there, liar = facing()
    threading.Timer(0.5, liar.sock.close).start()
    with pytest.raises(PeerError, match="party 1 is gone"):
        turn(there, size=64 << 20)


def test_threads_of_a_broken_wire_end(monkeypatch):
    monkeypatch.setattr(peer, "LINGER", 0.5)

    def leaving():
        return [thread for thread in threading.enumerate() if thread.name == "leaving party 1"]

    for _ in range(20):
        there, liar = facing()
        liar.sock.sendall(bytes(24))
        with pytest.raises(ProtocolError):
            turn(there)
    assert leaving()
    end = time.monotonic() + 8
    while leaving() and time.monotonic() < end:
        time.sleep(0.05)
    assert not leaving()


def test_a_socket_that_is_none_is_not_cut_off():
    assert not cut_off(socket.socketpair()[0])
    assert not cut_off(socket.socket())


# admission


def test_a_party_comes_once():
    """A second caller with the right token and number is refused, during the session's start and after."""
    listener, thread, result = admitting({1, 2})
    first = dial(listener.address, 1, 0, TOKEN)
    with pytest.raises(TokenError, match="has come already .a session is one-time: start a new one on all parties"):
        dial(listener.address, 1, 0, TOKEN)
    second = dial(listener.address, 2, 0, TOKEN)
    thread.join(5)
    assert result.keys() == {1, 2} and first.key == result[1].key != second.key
    listener.close()
    with pytest.raises(PeerError, match="does not answer"):
        dial(listener.address, 1, 0, TOKEN)


def test_a_listener_that_is_no_mpckit():
    """Whatever answers there, a caller gets an error with the address."""
    for answer in (b"SSH-2.0-OpenSSH_9.2p1\r\n" * 10, b"", bytes(64)):
        with socket.create_server(("127.0.0.1", 0)) as server:

            def speak(server=server, answer=answer):
                sock, _ = server.accept()
                sock.sendall(answer)
                time.sleep(0.2)
                sock.close()

            threading.Thread(target=speak, daemon=True).start()
            with pytest.raises(WireError, match=f"party 0 .*at 127.0.0.1:{server.getsockname()[1]}"):
                dial(server.getsockname(), 1, 0, TOKEN, timeout=3)


def test_a_crowd_of_silent_strangers_keeps_nobody_out(monkeypatch):
    monkeypatch.setattr(doors, "ADMISSION", 0.5)
    listener, thread, result = admitting({1})
    crowd = [socket.create_connection(listener.address) for _ in range(3 * doors.STRANGERS)]
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            dial(listener.address, 1, 0, TOKEN)
            break
        except PeerError:  # the door was full
            time.sleep(0.1)
    thread.join(5)
    assert result.keys() == {1}
    for sock in crowd:
        sock.close()


# the line to the dealer

GARBAGE = {
    "noise": b"\xff" * 4096,
    "no JSON": dealing.SIZES.pack(4, 0) + b"\x80\x04N.",
    "no object": dealing.SIZES.pack(4, 0) + b"1234",
    "no kind": dealing.SIZES.pack(2, 0) + b"{}",
    "long text": dealing.SIZES.pack(0xFFFFFFFF, 0),
    "long payload": dealing.SIZES.pack(2, 1 << 63) + b"{}",
    "deep": dealing.SIZES.pack(100_000, 0) + b"[" * 100_000,
    "pickle": dealing.SIZES.pack(len(pickle.dumps(Trap())), 0) + pickle.dumps(Trap()),
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_for_the_dealer(what):
    """The dealer says who sent it, to the others as well."""
    thread, (honest, liar), outcome = dealing_for(2)
    liar._sock.sendall(GARBAGE[what])
    thread.join(9)
    assert isinstance(outcome[0], ProtocolError) and outcome[0].party == 1 and not Trap.sprung
    with pytest.raises(PeerError, match="the dealer failed: party 1 "):
        honest.request("triples")


@pytest.mark.parametrize("what", sorted(GARBAGE.keys() - {"no kind"}))
def test_garbage_from_the_dealer(what):
    listener = listen()
    thread = threading.Thread(
        target=lambda: listener.accept(DEALER, {0}, TOKEN)[0].sock.sendall(GARBAGE[what]), daemon=True
    )
    thread.start()
    client = DealerClient(listener.address, 0, TOKEN)
    with pytest.raises(ProtocolError, match="the dealer sent"):
        client.request("triples")
    with pytest.raises(PeerError, match="line to the dealer is closed"):
        client.request("triples")


def test_half_a_request_does_not_hold_up_the_dealer_for_ever(monkeypatch):
    monkeypatch.setattr(dealing, "SILENCE", 0.5)
    thread, (client,), outcome = dealing_for(1)
    client._sock.sendall(dealing.SIZES.pack(100, 0) + b"{")
    thread.join(5)
    assert isinstance(outcome[0], PeerError) and "party 0" in str(outcome[0])


def test_arrays_only():
    """What a party receives is bytes in an array; nothing that it says is ever turned into an object."""
    there, liar = facing()
    payload = pickle.dumps(Trap())
    liar.sock.sendall(liar.frame(payload))
    peers = {1: Outgoing(5, b"")}
    got = there.exchange(0, Word.ROUND, "a test", peers, {1: Expected(5, len(payload))})[1]
    assert got.dtype == np.uint8 and bytes(got) == payload and not Trap.sprung
