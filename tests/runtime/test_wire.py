"""The wire between the parties: what it carries, and that every failure reaches everybody, with its reason."""

import errno
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from beside import TOKEN, in_threads

from mpckit.runtime.doors import dial, listen
from mpckit.runtime.sockets import PeerError, TokenError, WireError
from mpckit.runtime.wire import HEADER, DivergenceError, Expected, Outgoing, TCPWire, Word, describe


def connect_all(parties, record=False):
    """The wires of all parties, in this process."""
    listeners = [listen() for _ in range(parties)]
    addresses = [listener.address for listener in listeners]
    wires = in_threads(
        [lambda p=p: TCPWire.connect(listeners[p], p, addresses, TOKEN, record=record) for p in range(parties)]
    )
    return wires


def turn(wire, payload=b"", step=1, word=Word.ROUND, where="a test", digest=5, expect=None, expect_digest=5):
    """One round in which this party sends `payload` to all and expects as much from all, unless told otherwise."""
    peers = [q for q in range(wire.parties) if q != wire.party]
    length = memoryview(payload).nbytes if expect is None else expect
    return wire.exchange(
        step,
        word,
        where,
        {q: Outgoing(digest, payload) for q in peers},
        {q: Expected(expect_digest, length) for q in peers},
    )


def test_two_parties_swap_greetings():
    """Everybody speaks once per round, and hears everybody."""
    alice, bob = connect_all(2)
    to_alice, to_bob = in_threads([lambda: turn(alice, b"I am Alice"), lambda: turn(bob, b"Bob, hello")])
    assert bytes(to_bob[0]) == b"I am Alice"
    assert bytes(to_alice[1]) == b"Bob, hello"
    assert to_alice[1].dtype == np.uint8
    in_threads([alice.finish, bob.finish])
    alice.close(), bob.close()


@pytest.mark.parametrize("parties", [2, 3, 4])
@pytest.mark.parametrize("size", [0, 1, 24, (64 << 10) + 1, 3 << 20])
def test_all_sizes_all_parties(parties, size):
    wires = connect_all(parties)
    sent = [np.frombuffer(secrets.token_bytes(size), np.uint8) for _ in range(parties)]

    def run(wire):
        return [turn(wire, sent[wire.party], step) for step in range(3)]

    for p, rounds in enumerate(in_threads([lambda w=w: run(w) for w in wires])):
        for got in rounds:
            assert got.keys() == set(range(parties)) - {p}
            assert all(np.array_equal(got[q], sent[q]) for q in got)
    for wire in wires:
        wire.close()


def test_64_mib_both_ways_at_once():
    """Far beyond the sockets' buffers: without a thread that sends, both would wait for the other to read."""
    wires = connect_all(2)
    sent = [np.full(64 << 20, p, np.uint8) for p in range(2)]
    start = time.perf_counter()
    got = in_threads([lambda w=w: turn(w, sent[w.party]) for w in wires])
    assert time.perf_counter() - start < 10
    assert got[0][1][-1] == 1 and got[1][0][0] == 0 and len(got[0][1]) == 64 << 20


def test_any_contiguous_buffer_is_sent():
    wires = connect_all(2)
    for step, payload in enumerate(
        [np.arange(6).reshape(2, 3), np.array(7), np.empty((0, 3)), bytearray(b"x"), memoryview(b"y")]
    ):
        got = in_threads([lambda w=w, v=payload, s=step: turn(w, v, s) for w in wires])
        assert bytes(got[0][1]) == memoryview(payload).tobytes()
    result = in_threads([lambda w=w: turn(w, np.arange(6).reshape(2, 3).T) for w in wires])
    assert any("not contiguous" in str(r) for r in result)


def test_transcript():
    """What an eavesdropper sees, byte for byte: header, then payload."""
    wires = connect_all(2, record=True)
    in_threads([lambda w=w: (turn(w, bytes([w.party]) * 8, step=3), w.finish()) for w in wires])
    assert HEADER.size == 24
    (said, to, header, payload), *_ = wires[0].transcript
    assert (said, to, payload) == ("sent", 1, bytes(8))
    assert HEADER.unpack(header)[:-1] == (3, Word.ROUND, 0, 0, 8, 5)  # the tag is another one in each session
    assert wires[1].transcript[1] == ("received", 0, header, bytes(8))
    assert len(wires[0].transcript) == 2, "the farewell is no part of the protocol"


@pytest.mark.parametrize("parties", [2, 3, 4])
@pytest.mark.parametrize(
    "what, change",
    [
        ("step", {"step": 12}),
        ("word", {"word": Word.OPEN}),
        ("shapes", {"digest": 6, "expect_digest": 6}),
        ("length", {"payload": bytes(16)}),
        ("length", {"payload": bytes(1 << 20)}),
    ],
)
def test_divergence_raises_everywhere_and_says_who_is_where(parties, what, change):
    wires = connect_all(parties)
    odd = parties - 1

    def run(wire):
        there = {"payload": bytes(8), "step": 11, "where": f"layer {wire.party}"}
        turn(wire, **(there | change if wire.party == odd else there))
        turn(wire, step=99)  # who has not noticed does in the next round

    start = time.perf_counter()
    for p, error in enumerate(in_threads([lambda w=w: run(w) for w in wires])):
        assert isinstance(error, DivergenceError), repr(error)
        assert "in layer 0" in str(error) and f"in layer {odd}" in str(error), error
        assert what in str(error) and f"party {odd} at step {change.get('step', 11)}: " in str(error)
        assert error.positions.keys() == set(range(parties)), p
    assert time.perf_counter() - start < 5


def test_one_round_too_many_is_a_divergence():
    wires = connect_all(2)

    def run(wire):
        turn(wire)
        if wire.party == 0:
            turn(wire, step=2, where="an extra layer")
        wire.finish()

    for error in in_threads([lambda w=w: run(w) for w in wires]):
        assert isinstance(error, DivergenceError)
        assert "ROUND in an extra layer" in str(error) and "END in the end" in str(error)


def hold_back(peer, seconds):
    write, peer.write = peer.write, lambda: None
    threading.Timer(seconds, lambda: setattr(peer, "write", write)).start()


def test_a_frame_that_comes_early_is_kept():
    """Party 0 is a round ahead of party 1, who still waits for party 2; the next frame may be empty, too."""
    for size in (0, 8, 1 << 20):
        wires = connect_all(3)

        def run(wire, size=size):
            for step in range(4):
                if wire.party == 2 and step == 1:
                    hold_back(wire._peers[1], 0.5)  # party 1 alone waits
                turn(wire, bytes([step]) * size, step)
            wire.finish()
            return "done"

        assert in_threads([lambda w=w: run(w) for w in wires]) == ["done"] * 3


def test_divergence_does_not_wait_for_a_busy_party():
    wires = connect_all(3)

    def run(wire):
        if wire.party == 2:
            time.sleep(4)
        turn(wire, step=wire.party)

    start = time.perf_counter()
    first = in_threads([lambda: run(wires[0]), lambda: run(wires[1])])
    assert time.perf_counter() - start < 3.5
    assert all(isinstance(e, DivergenceError) and "party 2 has not said where it is" in str(e) for e in first)
    (last,) = in_threads([lambda: run(wires[2])])
    assert isinstance(last, DivergenceError) and last.positions.keys() == {0, 1, 2}, "the late one hears it too"


@pytest.mark.parametrize("parties", [2, 3, 4])
def test_a_failing_party_tells_why(parties):
    wires = connect_all(parties)

    def run(wire):
        with wire:
            turn(wire)
            if wire.party == 1:
                raise ValueError("no such label: 11")
            turn(wire, np.zeros(1 << 20), step=2)

    start = time.perf_counter()
    errors = in_threads([lambda w=w: run(w) for w in wires])
    assert time.perf_counter() - start < 2
    assert isinstance(errors.pop(1), ValueError)
    for error in errors:
        assert isinstance(error, PeerError) and error.party == 1
        assert str(error) == "party 1 failed: ValueError"  # the message may quote what party 1 alone knows
    with pytest.raises(WireError, match="closed.*ValueError"):
        turn(wires[0])


PARTY = """
import sys, time
import numpy as np
from mpckit.runtime.wire import TCPWire, Outgoing, Expected, listen
party, parties = int(sys.argv[1]), int(sys.argv[2])
listener = listen()
print(listener.address[1], flush=True)
addresses = [("127.0.0.1", int(port)) for port in sys.stdin.readline().split()]
wire = TCPWire.connect(listener, party, addresses, bytes([7]) * 32)
print("connected", flush=True)
size, rounds, nap = int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
peers = [q for q in range(parties) if q != party]
payload = np.zeros(size, np.uint8)
try:
    start = time.perf_counter()
    for step in range(rounds):
        out, expect = {q: Outgoing(1, payload) for q in peers}, {q: Expected(1, size) for q in peers}
        wire.exchange(step, 3, f"round {step}", out, expect)
        nap and time.sleep(nap)
    wire.finish()
    print("done", (time.perf_counter() - start) / rounds, flush=True)
except BaseException as error:
    print(type(error).__name__, error, flush=True)
"""


def soon(function, *args):
    """The WireError that `function` raises, asked again and again for a while."""
    end = time.monotonic() + 5.0
    with pytest.raises(WireError) as caught:
        while time.monotonic() < end:
            function(*args)
            time.sleep(0.01)
    return caught.value


def test_between_two_rounds_a_party_can_ask_how_the_others_are():
    """One that prepares for a minute should not learn only then that another has failed in the meantime."""
    alice, bob = connect_all(2)
    alice.check()
    bob.abort("ValueError")
    assert str(soon(alice.check)) == "party 1 failed: ValueError"
    alice, bob = connect_all(2)
    bob.close()
    assert str(soon(alice.check)) == "party 1 is gone (connection closed after step 0)"


def test_asking_leaves_the_next_round_as_it_is():
    alice, bob = connect_all(2)
    early = threading.Thread(target=turn, args=(bob, b"early"))
    early.start()
    time.sleep(0.1)
    for _ in range(3):
        alice.check()
    assert bytes(turn(alice, b"later")[1]) == b"early"
    early.join()
    in_threads([alice.finish, bob.finish])
    bob.close()
    assert "party 1 is gone" in str(soon(alice.check))


def test_who_has_not_begun_says_so_when_another_speaks_of_divergence():
    """Whatever a peer says, and whenever: the answer is an error of the wire."""
    alice, bob = connect_all(2)
    said = in_threads([lambda: soon(alice.check), lambda: bob._diverged("so I say")])
    assert all(isinstance(error, DivergenceError) and "so I say" in str(error) for error in said)
    assert "has sent nothing yet" in str(said[1]) and "expects nothing yet from party 1" in str(said[0])


def test_what_others_may_know_of_a_failure():
    """Its kind; and what the system or somebody else did, which no secret is in."""
    assert describe(ValueError("12.5 is too much")) == "ValueError"
    assert describe(OSError(errno.ENOSPC, "no room for 77")) == f"OSError: {os.strerror(errno.ENOSPC)}"
    assert describe(OSError(77777, "12.5")) == describe(OSError("12.5", "x")) == "OSError"
    assert describe(PeerError("the dealer is gone")) == "PeerError: the dealer is gone"


def processes(parties, size, rounds, nap=0.0):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PARTY, *map(str, (p, parties, size, rounds, nap))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for p in range(parties)
    ]
    ports = " ".join(p.stdout.readline().strip() for p in started)
    for process in started:
        print(ports, file=process.stdin, flush=True)
    assert all(process.stdout.readline() == "connected\n" for process in started)
    return started


def last_words(process):
    out, _ = process.communicate(timeout=20)
    return out.strip()


@pytest.mark.parametrize("size, rounds", [(8, 2000), (64 << 20, 4)])
def test_between_processes(size, rounds):
    said = [last_words(process) for process in processes(2, size, rounds)]
    assert all(words.startswith("done") for words in said), said
    print(f"{size} bytes both ways: {float(said[0].split()[1]) * 1e6:.1f} us")


@pytest.mark.parametrize("parties, size", [(2, 8), (3, 8), (3, 8 << 20)])
def test_a_killed_party_is_missed_at_once(parties, size):
    started = processes(parties, size, 10**6, nap=0.01)
    time.sleep(0.3)
    start = time.perf_counter()
    started[1].kill()
    for p in (0, *range(2, parties)):
        assert "PeerError party 1 is gone (connection closed at step" in last_words(started[p])
    assert time.perf_counter() - start < 5
    started[1].communicate()


def test_a_waiting_party_can_be_interrupted():
    """Ctrl-C reaches a party that waits for a frame, and the other one hears of it."""
    first, second = processes(2, 8, 10**6, nap=0.01)
    time.sleep(0.3)
    second.send_signal(signal.SIGSTOP)  # so that the first waits
    time.sleep(0.3)
    first.send_signal(signal.SIGINT)
    assert last_words(first).startswith("KeyboardInterrupt")
    second.send_signal(signal.SIGCONT)
    assert last_words(second) == "PeerError party 0 failed: KeyboardInterrupt"


def test_who_does_not_know_the_token_stays_outside():
    """The stranger is refused with a clear error, and the listener goes on."""
    listener = listen()
    address = listener.address
    silent = socket.create_connection(address)  # says nothing at all, and holds nobody up
    result = {}
    thread = threading.Thread(target=lambda: result.update(listener.accept(0, {1}, TOKEN)), daemon=True)
    thread.start()
    with pytest.raises(TokenError, match="party 0 .* has another token than party 1"):
        dial(address, 1, 0, b"x" * 32)
    with pytest.raises(TokenError, match="refused party 3"):
        dial(address, 3, 0, TOKEN)
    garbage = socket.create_connection(address)
    garbage.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
    sock = dial(address, 1, 0, TOKEN)
    thread.join(5)
    assert result.keys() == {1} and listener.refused >= 2
    for s in (silent, garbage, sock):
        s.close()


def test_a_forged_proof_is_refused():
    """Sending the listener's own proof back, or a random one, opens nothing."""
    listener = listen()
    from mpckit.runtime.doors import HELLO, MAGIC, NONCE, receive

    thread = threading.Thread(
        target=lambda: in_threads([lambda: listener.accept(0, {1}, TOKEN, timeout=1.5)]), daemon=True
    )
    thread.start()
    for forge in (lambda proof: proof, lambda proof: secrets.token_bytes(32)):
        with socket.create_connection(listener.address) as sock:
            sock.sendall(HELLO.pack(MAGIC, 1, 0, bytes(32)))
            answer = receive(sock, NONCE + 32)
            sock.sendall(forge(answer[NONCE:]))
            assert receive(sock, 1) == b"N"
    thread.join(5)
    assert listener.refused == 2


def test_a_party_that_never_comes_is_named():
    listener = listen()
    with pytest.raises(PeerError, match="party 1, party 2 did not connect to party 0 within 0.3 s"):
        listener.accept(0, {1, 2}, TOKEN, timeout=0.3)
    gone = listen()
    gone.close()
    with pytest.raises(PeerError, match="party 0 does not answer"):
        dial(gone.address, 1, 0, TOKEN)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_plaintext_stays_on_this_machine(host):
    with pytest.raises(ValueError, match="plaintext.*mpckit.connect"):
        listen(host)
    with pytest.raises(ValueError, match="not a loopback address"):
        dial((host, 9), 1, 0, TOKEN)


def test_a_short_token_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        dial(("127.0.0.1", 9), 1, 0, b"secret")


def test_the_conversation_s_own_names_and_plain_tuples_do():
    alice, bob = connect_all(2)
    got = in_threads(
        [
            lambda w=w, q=q: w.exchange(0, "Open", "a test", {q: (5, b"hi")}, {q: (5, 2)})
            for w, q in ((alice, 1), (bob, 0))
        ]
    )
    assert bytes(got[0][1]) == b"hi"
