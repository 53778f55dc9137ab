"""The line to the dealer: questions and answers, and no silence when either end dies."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from mpckit.runtime.dealing import DealerClient, serve
from mpckit.runtime.doors import listen
from mpckit.runtime.sockets import DEALER, PeerError, TokenError

TOKEN = b"\5" * 32


def start(handler, parties=(0, 1), outcome=None):
    listener = listen()
    outcome = {} if outcome is None else outcome

    def work():
        try:
            serve(listener, TOKEN, set(parties), handler)
            outcome["end"] = "closed"
        except BaseException as error:
            outcome["end"] = error

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return listener.address, thread, outcome


def clients(address, parties=(0, 1)):
    return [DealerClient(address, p, TOKEN) for p in parties]


def test_ask_and_be_answered():
    def dealer(party, kind, obj):
        return {"kind": kind, "for": party, "shape": obj["shape"]}, np.arange(int(np.prod(obj["shape"])))

    address, thread, outcome = start(dealer)
    lines = clients(address)
    for p, line in enumerate(lines):
        for shape in ([3], [0], [1 << 20]):
            obj, payload = line.request("triples", {"shape": shape})
            assert obj == {"kind": "triples", "for": p, "shape": shape}
            assert np.array_equal(payload.view(np.int64), np.arange(shape[0]))
    for line in lines:
        line.close()
    thread.join(5)
    assert outcome["end"] == "closed"
    with pytest.raises(PeerError, match="line to the dealer is closed"):
        lines[0].request("more")


def test_a_request_can_wait_for_another_party():
    """The dealer deals for all, so it waits until it has everybody's seed."""
    seeds = {}

    def dealer(party, kind, obj):
        if kind == "seed":
            seeds[party] = obj
            return {}, b""
        return (sorted(seeds.values()), b"dealt") if len(seeds) == 2 else None

    address, thread, outcome = start(dealer)
    lines, answers = clients(address), []
    lines[1].request("seed", 11)
    early = threading.Thread(target=lambda: answers.append(lines[1].request("deal")), daemon=True)
    early.start()
    time.sleep(0.1)
    assert not answers
    lines[0].request("seed", 10)
    early.join(5)
    assert answers[0][0] == [10, 11] and bytes(answers[0][1]) == b"dealt"


def test_a_failing_dealer_tells_everybody():
    def dealer(party, kind, obj):
        raise KeyError(kind)

    address, thread, outcome = start(dealer)
    lines = clients(address)
    for line in lines:
        with pytest.raises(PeerError, match="the dealer failed: KeyError: 'cubes'") as caught:
            line.request("cubes")
        assert caught.value.party == DEALER
    thread.join(5)
    assert isinstance(outcome["end"], KeyError)


def test_a_failing_party_ends_the_dealer():
    address, thread, outcome = start(lambda *_: ({}, b""))
    lines = clients(address)
    lines[1].abort("ValueError: no")
    thread.join(5)
    with pytest.raises(PeerError, match="party 1 failed: ValueError: no"):
        lines[0].request("triples")
    assert str(outcome["end"]) == "party 1 failed: ValueError: no"


def test_a_vanished_party_ends_the_dealer():
    address, thread, outcome = start(lambda *_: ({}, b""), parties=(1,))
    (line,) = clients(address, (1,))
    line._sock.close()
    thread.join(5)
    assert str(outcome["end"]) == "party 1 is gone (its line to the dealer closed)"


def test_wrong_token():
    address, _, _ = start(lambda *_: ({}, b""))
    with pytest.raises(TokenError, match="the dealer at .* has another token than party 0"):
        DealerClient(address, 0, b"x" * 32)


def test_a_killed_dealer_is_missed_at_once():
    code = f"""
import time
from mpckit.runtime.dealing import serve
from mpckit.runtime.doors import listen
listener = listen()
print(listener.address[1], flush=True)
serve(listener, {TOKEN!r}, {{1}}, lambda *_: time.sleep(60))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    line = DealerClient(("127.0.0.1", int(process.stdout.readline())), 1, TOKEN)
    threading.Timer(0.3, process.kill).start()
    begin = time.perf_counter()
    with pytest.raises(PeerError, match="the dealer is gone .*while party 1 asked for triples"):
        line.request("triples")
    assert time.perf_counter() - begin < 3
    process.communicate()
