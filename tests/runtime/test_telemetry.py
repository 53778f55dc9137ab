"""Events: all arrive, strangers are not heard, and nobody waits."""

import time

import zmq

from mpckit.runtime.telemetry import EventListener, EventSender

TOKEN = b"\3" * 32


def until(condition, seconds=5):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def test_events_arrive_in_each_party_s_order():
    listener, seen = EventListener(TOKEN), []
    unsubscribe = listener.subscribe(seen.append)
    senders = [EventSender(listener.address, p, TOKEN) for p in range(2)]
    for done in range(1000):
        for sender in senders:
            sender.send(phase="online", done=done)
    assert until(lambda: len(seen) == 2000)
    for p in range(2):
        assert [e["done"] for e in seen if e["party"] == p] == list(range(1000))
    assert list(listener.events) == seen
    unsubscribe()
    for end in (*senders, listener):
        end.close()


def test_strangers_are_not_heard():
    listener = EventListener(TOKEN)
    stranger, known = EventSender(listener.address, 0, b"x" * 32), EventSender(listener.address, 1, TOKEN)
    raw = zmq.Context.instance().socket(zmq.PUSH)
    raw.linger = 0
    raw.connect(listener.address)
    stranger.send(phase="online"), raw.send(b"hello")
    assert until(lambda: listener.refused == 2)
    known.send(phase="offline")
    assert until(lambda: listener.events)
    assert [e["party"] for e in listener.events] == [1]
    for end in (stranger, known, raw, listener):
        end.close()


def test_a_callback_that_breaks_is_reported_and_the_rest_goes_on():
    listener = EventListener(TOKEN)
    listener.subscribe(lambda event: 1 / 0)
    sender = EventSender(listener.address, 0, TOKEN)
    sender.send(a=1), sender.send(a=2)
    assert until(lambda: len(listener.events) == 2)
    assert listener.errors == ["ZeroDivisionError: division by zero"] * 2
    sender.close(), listener.close()


def test_nobody_listens_nobody_waits():
    sender = EventSender("tcp://127.0.0.1:9", 0, TOKEN)
    begin = time.perf_counter()
    for done in range(30_000):
        sender.send(done=done)
    assert sender.dropped >= 19_000
    assert time.perf_counter() - begin < 5
    sender.close()
