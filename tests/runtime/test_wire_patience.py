"""Somebody who keeps others waiting on purpose: a crowd at the door, bytes that drip, a dealer that falls silent."""

import contextlib
import itertools
import re
import socket
import threading
import time

import pytest
from beside import TOKEN, admitting, dealing_for
from test_wire_attacks import facing, turn

from mpckit.runtime import dealing, doors, wire
from mpckit.runtime.dealing import DealerClient, serve
from mpckit.runtime.doors import dial, listen
from mpckit.runtime.sockets import DEALER, PeerError, ProtocolError


def dripping(sock, data=b"m", every=0.1) -> threading.Event:
    """`data` byte by byte, again and again, until the event is set or nobody listens."""
    enough = threading.Event()

    def drip():
        with contextlib.suppress(OSError):
            for at in itertools.count():
                if enough.wait(every):
                    break
                sock.send(data[at % len(data) :][:1])

    threading.Thread(target=drip, daemon=True).start()
    return enough


def test_a_stranger_who_drips_is_dismissed_in_time(monkeypatch):
    monkeypatch.setattr(doors, "ADMISSION", 0.5)
    listener, thread, result = admitting({1}, timeout=3)
    with socket.create_connection(listener.address) as stranger:
        start, enough = time.perf_counter(), dripping(stranger)
        stranger.settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert stranger.recv(1) == b""
        enough.set()
    assert time.perf_counter() - start < 2, "44 bytes, one every 0.1 s, would take longer"
    thread.join(5)


@pytest.mark.parametrize("does", [lambda sock: threading.Event(), dripping], ids=["is silent", "drips"])
def test_a_listener_that_does_not_come_to_the_point_is_left_after_the_time_given(does):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            caller, _ = server.accept()  # kept open
            does(caller).wait(20)

        threading.Thread(target=answer, daemon=True).start()
        start = time.perf_counter()
        with pytest.raises(PeerError, match="does not answer .*timed out"):
            dial(server.getsockname(), 1, 0, TOKEN, timeout=1)
        assert time.perf_counter() - start < 3


def test_half_a_frame_that_drips_is_given_up(monkeypatch):
    monkeypatch.setattr(wire, "SILENCE", 1.0)
    monkeypatch.setattr(wire, "TICK", 0.2)
    there, liar = facing()
    liar.sock.sendall(liar.frame(bytes(200), length=200)[:24])
    start, enough = time.perf_counter(), dripping(liar.sock)
    with pytest.raises(PeerError, match="stopped in the middle of a frame"):
        turn(there, size=200)
    enough.set()
    assert 0.9 < time.perf_counter() - start < 4


def test_a_frame_that_begins_late_has_its_own_time(monkeypatch):
    """The clock of half a frame starts with its first byte, not with the round."""
    monkeypatch.setattr(wire, "SILENCE", 1.0)
    monkeypatch.setattr(wire, "TICK", 0.2)
    there, liar = facing()
    frame = liar.frame(b"abcd")
    threading.Timer(1.5, lambda: liar.sock.sendall(frame[:5])).start()
    threading.Timer(2.1, lambda: liar.sock.sendall(frame[5:])).start()
    assert bytes(turn(there)[1]) == b"abcd"


def test_a_crowd_that_never_tires_keeps_nobody_out():
    """64 strangers and more stand at the door, silent: the one who belongs here is let in at its first call."""
    listener, thread, result = admitting({1})
    crowd = [socket.create_connection(listener.address) for _ in range(doors.STRANGERS + 20)]
    end = time.monotonic() + 5
    while len(listener._strangers) < doors.STRANGERS and time.monotonic() < end:
        time.sleep(0.01)
    start = time.perf_counter()
    dial(listener.address, 1, 0, TOKEN)
    thread.join(5)
    assert result.keys() == {1} and time.perf_counter() - start < 2 and listener.refused >= 20
    for sock in crowd:
        sock.close()


# what a dealer hears, and what one party can do to the others through it


@pytest.mark.parametrize("sizes", [(12, 64 << 20), (12, 1), (2 << 20, 0)], ids=["payload", "a byte", "text"])
def test_a_request_is_short(sizes):
    """A payload that nobody reads, and a long text, are refused by their announcement: they would fill the dealer."""
    serving, lines, outcome = dealing_for(2)
    lines[1]._sock.sendall(dealing.SIZES.pack(*sizes) + b'{"kind":"x"}')
    serving.join(5)
    assert isinstance(outcome[0], ProtocolError) and outcome[0].party == 1, outcome
    assert re.search(f"sent a message of {sizes[0]} and {sizes[1]} bytes", str(outcome[0]))


def test_a_request_that_drips_does_not_hold_up_the_others(monkeypatch):
    monkeypatch.setattr(dealing, "SILENCE", 0.5)
    serving, lines, outcome = dealing_for(2)
    lines[1]._sock.sendall(dealing.SIZES.pack(1000, 0))
    start, enough = time.perf_counter(), dripping(lines[1]._sock, b" ")
    with pytest.raises(PeerError, match="the dealer failed: party 1 is gone"):
        lines[0].request("triples")
    enough.set()
    assert time.perf_counter() - start < 3 and outcome[0].party == 1


def test_a_dealer_that_says_nothing_is_waited_for_as_long_as_was_agreed():
    listener, lines = listen(), []
    threading.Thread(target=lambda: lines.append(listener.accept(DEALER, {0}, TOKEN)), daemon=True).start()
    client = DealerClient(listener.address, 0, TOKEN, patience=0.5)
    start = time.perf_counter()
    with pytest.raises(PeerError, match="the dealer is gone .it has said nothing for 0.5 s while party 0 asked for"):
        client.request("triples")
    assert time.perf_counter() - start < 3


def test_a_party_that_does_not_read_its_answer_does_not_hold_up_the_dealer():
    """It asks for more than the sockets' buffers hold, and takes in nothing of it."""
    thread, (honest, deaf), outcome = dealing_for(2, bytes(64 << 20), patience=0.5)
    start = time.perf_counter()
    dealing._send(deaf._sock, {"kind": "triples"})
    with pytest.raises(PeerError, match="the dealer failed: party 1 has not taken in what it asked for within 0.5 s"):
        while True:
            honest.request("triples")
    thread.join(5)
    assert isinstance(outcome[0], PeerError) and outcome[0].party == 1 and time.perf_counter() - start < 5


@pytest.mark.parametrize("patience", [None, 5.0])
def test_a_large_answer_comes_whole(patience):
    listener = listen()
    whole = bytes(range(256)) * (3 << 12) + b"end"
    threading.Thread(
        target=serve, args=(listener, TOKEN, {0}, lambda *_: ({}, whole), 5.0, patience), daemon=True
    ).start()
    client = DealerClient(listener.address, 0, TOKEN)
    for _ in range(3):
        assert bytes(client.request("triples")[1]) == whole
    client.close()


def test_a_name_that_means_another_address_the_second_time(monkeypatch):
    """What was found to be this machine when it was checked may be elsewhere when it is used."""
    real, names = doors.check_loopback, {"this.example"}
    monkeypatch.setattr(doors, "check_loopback", lambda host: None if host in names else real(host))
    bind = socket.socket.bind
    monkeypatch.setattr(socket.socket, "bind", lambda sock, place: bind(sock, ("0.0.0.0", place[1])))
    with pytest.raises(ValueError, match="0.0.0.0 is not a loopback address"):
        listen("this.example")
    monkeypatch.setattr(socket.socket, "connect", lambda *_: None)
    monkeypatch.setattr(socket.socket, "getpeername", lambda _: ("192.0.2.1", 9))
    with pytest.raises(ValueError, match="192.0.2.1 is not a loopback address"):
        dial(("this.example", 9), 1, 0, TOKEN, timeout=1)
