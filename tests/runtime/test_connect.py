"""Ordinary processes that join one session: each with its own key, no controller, and a dealer who joins likewise."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import torch
from beside import in_threads

import mpckit as mk
from mpckit.runtime import connect as joining
from mpckit.runtime.sockets import DEALER, CertificateError, DivergenceError, PeerError, TokenError, WireError
from mpckit.runtime.tls import Identity, Pinned

WHO = [0, 1, DEALER]
IDENTITY = {party: Identity.make(party) for party in WHO}
PINS = {party: identity.certificate for party, identity in IDENTITY.items()}
KEYS = {party: Pinned(IDENTITY[party], PINS) for party in WHO}


def free_places(count):
    """Ports of this machine that were free a moment ago."""
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    places = ["{}:{}".format(*sock.getsockname()) for sock in socks]
    for sock in socks:
        sock.close()
    return places


def joined(program, keys=KEYS, options=({}, {}), timeout=20.0, patience=300.0):
    """What `program(session)` returns on both parties, and what the dealer's call returns."""
    a, b, c = free_places(3)

    def party(p):
        chosen = {"timeout": timeout, "patience": patience} | options[p]
        with mk.connect(p, [a, b], c, keys[p], **chosen) as session:
            return program(session)

    return in_threads([lambda: party(0), lambda: party(1), lambda: joining.deal(2, c, keys[DEALER], timeout=timeout)])


def product(session):
    mine = torch.tensor([1.5, -2.0, 4.0])
    x = mk.secret(mine if session.party == 0 else mine.to("meta"), owner=0)
    y = mk.secret(mine if session.party == 1 else mine.to("meta"), owner=1)
    return (x * y).relu().reveal(to=1)


def test_two_processes_and_a_dealer_multiply():
    """Each runs its own copy of the program; party 1 alone learns the result."""
    other, mine, dealer = joined(product)
    assert torch.allclose(mine, torch.tensor([2.25, 4.0, 16.0]), atol=1e-3)
    assert other.is_meta and dealer is None


def test_a_planned_program_draws_nothing_unplanned():
    def program(session):
        def two(x):
            return (mk.secret(x, owner=0) * mk.secret(x, owner=1)).relu().reveal()

        session.prepare(mk.plan(two, torch.ones(3, device="meta")).draws)
        value = two(torch.ones(3)) if session.party == 0 else two(torch.ones(3))
        return value, session.report()

    (value, report), _, _ = joined(program)
    assert torch.allclose(value, torch.ones(3), atol=1e-3) and not report.unplanned


def test_the_bill_is_that_of_the_simulator():
    def program(session):
        product(session)
        return session.report()

    reports = joined(program)[:2]
    with mk.simulate(2) as session:
        x = mk.secret(torch.ones(3), owner=0)
        (x * mk.secret(torch.ones(3), owner=1)).relu().reveal(to=1)
    for report in reports:
        assert report.rounds() == session.report().rounds()


def test_whoever_comes_first_waits_for_the_others():
    a, b, c = free_places(3)

    def party(p, delay):
        time.sleep(delay)
        with mk.connect(p, [a, b], c, KEYS[p]) as session:
            return product(session)

    def dealer():
        time.sleep(0.8)
        joining.deal(2, c, KEYS[DEALER])

    for delays in ((0, 0.4), (0.4, 0)):
        results = in_threads([lambda d=delays: party(0, d[0]), lambda d=delays: party(1, d[1]), dealer])
        assert results[1][0].item() == pytest.approx(2.25, abs=1e-3), results


# who is not let in


def test_a_stranger_s_key():
    """Party 1's machine has a key pair that party 0 and the dealer have never seen."""
    stranger = Identity.make(1)
    start = time.perf_counter()
    zero, one, dealer = joined(product, KEYS | {1: Pinned(stranger, PINS | {1: stranger.certificate})}, timeout=3)
    assert isinstance(one, CertificateError) and "does not know party 1's certificate" in str(one)
    assert isinstance(zero, PeerError) and "party 1 did not connect" in str(zero) and "refused" in str(zero)
    assert isinstance(dealer, PeerError)
    assert time.perf_counter() - start < 10


def test_party_0_is_somebody_else():
    stranger = Identity.make(0)
    zero, one, dealer = joined(product, KEYS | {0: Pinned(stranger, PINS | {0: stranger.certificate})}, timeout=3)
    assert isinstance(one, CertificateError) and "has another certificate than the one that is pinned" in str(one)
    assert isinstance(zero, PeerError) and isinstance(dealer, PeerError)


def test_the_dealer_is_somebody_else():
    stranger = Identity.make(DEALER)
    keys = KEYS | {DEALER: Pinned(stranger, PINS | {DEALER: stranger.certificate})}
    zero, one, dealer = joined(product, keys, timeout=3)
    errors = [zero, one]
    assert all(isinstance(error, WireError) for error in errors), errors
    assert any(isinstance(error, CertificateError) and "the dealer" in str(error) for error in errors)
    assert isinstance(dealer, PeerError) and "refused" in str(dealer)


def test_two_who_call_themselves_party_0():
    a, b, c = free_places(3)

    def other():
        with mk.connect(1, [a, b], c, KEYS[0], timeout=2):  # party 0's key under party 1's number
            pass

    def zero():
        with mk.connect(0, [a, b], c, KEYS[0], timeout=3):
            pass

    first, second = in_threads([zero, other])
    assert isinstance(second, TokenError) and "wrong number" in str(second)
    assert isinstance(first, PeerError) and "party 1 did not connect" in str(first)


def test_other_options_are_another_session():
    """Numbers with another unit would open as nonsense, without an error: so both must mean the same."""
    zero, one, dealer = joined(product, options=({}, {"ring": mk.Ring(frac=12)}), timeout=3)
    assert isinstance(one, TokenError) and "started with other options" in str(one)
    assert isinstance(zero, PeerError)


def test_a_plaintext_party():
    """An old script without keys, on the right port."""
    from mpckit.runtime.doors import dial

    a, b, c = free_places(3)
    results = []
    thread = threading.Thread(
        target=lambda: results.extend(in_threads([lambda: mk.connect(0, [a, b], c, KEYS[0], timeout=3)])), daemon=True
    )
    thread.start()
    host, port = a.split(":")
    with pytest.raises(PeerError, match="does it expect TLS"):
        dial((host, int(port)), 1, 0, bytes(32), patient=True, timeout=5)
    thread.join(10)
    assert isinstance(results[0], PeerError) and "1 callers were refused" in str(results[0])


# how it ends


def test_a_party_that_fails():
    def program(session):
        product(session)
        if session.party == 1:
            raise ValueError("what only party 1 knows")
        return product(session)

    start = time.perf_counter()
    zero, one, dealer = joined(program)
    assert isinstance(one, ValueError)
    assert isinstance(zero, PeerError) and str(zero) == "party 1 failed: ValueError"
    assert isinstance(dealer, PeerError) and str(dealer) == "party 1 failed: ValueError"
    assert time.perf_counter() - start < 10


def test_another_program():
    def program(session):
        product(session)
        return session.party and product(session)

    zero, one, dealer = joined(program)
    assert isinstance(zero, DivergenceError) and isinstance(one, DivergenceError)
    assert "END in the end" in str(one) and isinstance(dealer, PeerError)


def test_a_silent_party():
    start = time.perf_counter()
    zero, one, dealer = joined(lambda s: time.sleep(4) if s.party else product(s), patience=1.0)
    assert isinstance(zero, PeerError) and "party 1 is gone (it has said nothing for 1 s)" in str(zero)
    assert isinstance(one, WireError) and isinstance(dealer, PeerError)
    assert time.perf_counter() - start < 10


def test_a_session_serves_once():
    """Its keys, masks and numbers are used up: neither it nor its place in the conversation can be taken again."""
    a, b, c = free_places(3)
    again = []

    def party(p):
        session = mk.connect(p, [a, b], c, KEYS[p])
        with session:
            product(session)
            with session:  # a notebook's next cell
                product(session)
            if p == 1:
                try:
                    mk.connect(1, [a, b], c, KEYS[1], timeout=1.0)
                except PeerError as error:
                    again.append(str(error))
        return session

    *sessions, _ = in_threads([lambda: party(0), lambda: party(1), lambda: joining.deal(2, c, KEYS[DEALER])])
    assert "party 0 does not answer" in again[0], "a running session has closed its door"
    for session in sessions:
        session.close()
        with pytest.raises(WireError, match="over, and serves once"):
            session.__enter__()


def test_mistakes_are_named_before_anybody_is_called(tmp_path):
    a, b, c = free_places(3)
    with pytest.raises(ValueError, match="party 2 of 2"):
        mk.connect(2, [a, b], c, KEYS[0])
    with pytest.raises(ValueError, match="no address: host:port"):
        mk.connect(0, [a, "example.org"], c, KEYS[0])
    with pytest.raises(ValueError, match="addresses are a list"):
        mk.connect(0, f"{a},{b}", c, KEYS[0])
    with pytest.raises(FileNotFoundError, match="mpckit keys --party 0"):
        mk.connect(0, [a, b], c, tmp_path)
    with pytest.raises(ValueError, match="certificates are missing"):
        mk.connect(0, [a, b], c, Pinned(IDENTITY[0], {0: PINS[0], 1: PINS[1]}))
    with socket.create_server(("127.0.0.1", 0)) as busy:
        taken = "{}:{}".format(*busy.getsockname())
        wrong = [
            ({"dealer": "nowhere"}, ValueError, "'nowhere' is no address"),
            ({"dealer": None}, ValueError, "None is no address"),
            ({"addresses": [a, ("127.0.0.1", 1, 2)]}, ValueError, "is no address"),
            ({"addresses": [a, ":7000"]}, ValueError, "is no address"),
            ({"addresses": [a, "127.0.0.1:٧"]}, ValueError, "is no address"),
            ({"addresses": [a, a]}, ValueError, f"two of {a}, {a}, .* are the same"),
            ({"dealer": a}, ValueError, "are the same: each has a place of its own"),
            ({"party": "0"}, ValueError, "a party is a number from 0 on, not '0'"),
            ({"party": True}, ValueError, "a party is a number from 0 on, not True"),
            ({"timeout": -1}, ValueError, "timeout is a number of seconds, more than 0"),
            ({"patience": float("nan")}, ValueError, "patience is a number of seconds"),
            ({"meta": True}, TypeError, "meta is not for `connect`"),
            ({"device": "cuda:99"}, RuntimeError, "sees no GPU here|sees .* GPU"),
            ({"addresses": [taken, b]}, OSError, f"cannot listen at {taken} .Address already in use.: .*another port"),
            (
                {"addresses": ["192.0.2.7:7000", b]},
                OSError,
                "cannot listen at 192.0.2.7:7000 .*listen_on='0.0.0.0:PORT'",
            ),
            ({"addresses": ["nowhere.invalid:7000", b]}, OSError, "cannot listen at nowhere.invalid:7000"),
        ]
        start = time.perf_counter()
        for change, kind, message in wrong:
            arguments = {"party": 0, "addresses": [a, b], "dealer": c, "keys": KEYS[0], "timeout": 20} | change
            with pytest.raises(kind, match=message):
                mk.connect(**arguments)
        with pytest.raises(ValueError, match="two parties or more, not for 1"):
            joining.deal(1, c, KEYS[DEALER])
        assert time.perf_counter() - start < 10, "nobody was waited for"


# the command line

PROGRAM = """
import sys, torch, mpckit as mk
session = mk.Session.current()
mine = torch.tensor([float(v) for v in sys.argv[1:]])
x = mk.secret(mine if session.party == 0 else torch.empty(2, device="meta"), owner=0)
y = mk.secret(mine if session.party == 1 else torch.empty(2, device="meta"), owner=1)
print((x * y).reveal().tolist())
if session.party == 1 and len(sys.argv) > 3:
    raise SystemExit(5)
"""


LONG = """
import torch, mpckit as mk
session = mk.Session.current()
x = mk.secret(torch.ones(100) if session.party == 0 else torch.empty(100, device="meta"), owner=0)
print("begun", flush=True)
for _ in range(100_000):
    x.relu()
"""


def mpckit(*args, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "mpckit", *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three machines' key folders, made by the command, after the certificates were exchanged."""
    base = tmp_path_factory.mktemp("keys")
    names = {"0": "party-0", "1": "party-1", "dealer": "dealer"}
    for name in names:
        out, err = (process := mpckit("keys", "--party", name, base / name)).communicate(timeout=60)
        assert process.returncode == 0 and "fingerprint" in out, err
    for name, file in names.items():
        for other in names:
            (base / other / f"{file}.crt").write_bytes((base / name / f"{file}.crt").read_bytes())
    return base


def test_the_command_line(folders, tmp_path):
    """`mpckit party` three times, with the same line but for who it is."""
    (tmp_path / "program.py").write_text(PROGRAM)
    a, b, c = free_places(3)
    where = ["--addresses", f"{a},{b}", "--dealer", c]
    values = {"0": ["2", "3"], "1": ["4", "-0.5"], "dealer": None}
    started = {
        name: mpckit(
            "party", "--party", name, *where, "--keys", folders / name,
            *([tmp_path / "program.py", *numbers] if numbers else []),
        ) for name, numbers in values.items()
    }  # fmt: skip
    said = {name: process.communicate(timeout=60) for name, process in started.items()}
    assert all(process.returncode == 0 for process in started.values()), said
    for name in "01":
        out, bill = said[name]
        got = [float(v) for v in out.strip("[]\n").split(",")]
        assert got == pytest.approx([8, -1.5], abs=1e-3) and "online" in bill
    assert said["dealer"] == ("", "")


def test_the_command_line_says_what_is_wrong(folders, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    places = free_places(3), free_places(3)  # two cases that do not meet
    here, there = (["--addresses", f"{a},{b}", "--dealer", c, "--timeout", "1"] for a, b, c in places)
    own, program = folders / "0", tmp_path / "program.py"
    cases = [
        (["party", "--party", "0", *here, "--keys", tmp_path, program], "FileNotFoundError: .*mpckit keys --party 0"),
        (["party", "--party", "0", *here, "--keys", own, program], "PeerError: party 1 did not connect"),
        (["party", "--party", "1", *there, "--keys", folders / "1", program], "PeerError: party 0 does not answer"),
        (["party", "--party", "0", *here, "--keys", own], "a party runs a program file"),
        (["keys", "--party", "0", own], "party-0.crt is there already"),
        (["keys", "--party", "0", program / "sub"], "NotADirectoryError"),
        (["party", "--party", "0", *here, "--keys", own, tmp_path / "none.py"], "none.py cannot be run: FileNotFound"),
        (["party", "--party", "0", *here, "--keys", own, tmp_path / "broken.py"], "broken.py cannot be run: SyntaxErr"),
    ]
    (tmp_path / "broken.py").write_text("x = (")
    started = [mpckit(*args) for args, _ in cases]
    for process, (args, message) in zip(started, cases):
        out, err = process.communicate(timeout=60)
        assert process.returncode == 1 and not out, args
        assert re.search(message, err) and "Traceback" not in err, err


@pytest.mark.skipif(sys.platform == "win32", reason="a system with other signals")
def test_ctrl_c_while_the_others_are_waited_for(folders, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    a, b, c = free_places(3)
    where = ["--addresses", f"{a},{b}", "--dealer", c]
    started = [
        mpckit("party", "--party", "0", *where, "--keys", folders / "0", tmp_path / "program.py"),
        mpckit("party", "--party", "dealer", *where, "--keys", folders / "dealer"),
    ]
    for process, place in zip(started, (a, c)):
        host, port = place.split(":")
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
        assert process.returncode == 1 and not out and "mpckit: interrupted" in err and "Traceback" not in err, err


@pytest.mark.skipif(sys.platform == "win32", reason="a system with other signals")
def test_a_dealer_that_is_stopped_is_missed_by_both(folders, tmp_path):
    """It is there, and answers nothing any more: parties that wait for pieces do so for as long as was agreed."""
    (tmp_path / "program.py").write_text(LONG)
    a, b, c = free_places(3)
    where = ["--addresses", f"{a},{b}", "--dealer", c, "--patience", "2"]
    parties = [
        mpckit("party", "--party", p, *where, "--keys", folders / p, tmp_path / "program.py") for p in ("0", "1")
    ]
    dealer = mpckit("party", "--party", "dealer", *where, "--keys", folders / "dealer")
    try:
        for process in parties:
            assert process.stdout.readline() == "begun\n"
        dealer.send_signal(signal.SIGSTOP)
        said = [process.communicate(timeout=30)[1] for process in parties]
    finally:
        dealer.kill()
        dealer.wait()
        for process in parties:
            process.kill()
    assert all(process.returncode == 1 for process in parties)
    assert "the dealer is gone (it has said nothing for 2 s" in "".join(said), said
