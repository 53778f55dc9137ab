"""Events: all arrive, strangers are not heard, and nobody waits."""

import time

import pytest
import zmq

import mpckit as mk
from mpckit.runtime.meter import Event
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
    assert until(lambda: len(listener.events) == 2000)
    for p in range(2):
        assert [e["done"] for e in seen if e["party"] == p] == list(range(1000))
    assert list(listener.events) == seen
    unsubscribe()
    for end in (*senders, listener):
        end.close()


def test_what_is_in_the_list_has_been_taken_in_by_all_who_listen():
    """A cell ends when the last event is in the list; a figure that is still being drawn would come too late for it."""
    listener, drawn = EventListener(TOKEN), []
    listener.subscribe(lambda event: (time.sleep(0.1), drawn.append(event)))
    sender = EventSender(listener.address, 0, TOKEN)
    sender.send(phase="end")
    assert until(lambda: len(listener.events) == 1) and len(drawn) == 1
    sender.close(), listener.close()


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


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"\xff", b"[]", b"7", b"null", b"{}", b'{"party": 0}', b'{"party": 0, "dropped": 0, "events": 3}',
        b'{"party": [], "dropped": 0, "events": []}', b'{"party": 0, "dropped": {}, "events": []}',
        b'{"party": 0, "dropped": 0, "events": [7]}', b'{"party": 0, "dropped": 0, "events": [[1, 2]]}',
        b'{"party": true, "dropped": 0, "events": []}', b"[" * 100_000,
    ],
    ids=lambda text: text[:50].decode(errors="replace"),
)  # fmt: skip
def test_what_cannot_be_read_is_refused_and_the_rest_is_heard(text):
    """A thread that ended here would leave the notebook deaf, and the run waiting for its last events."""
    listener, raw = EventListener(TOKEN), zmq.Context.instance().socket(zmq.PUSH)
    raw.linger = 0
    raw.connect(listener.address)
    raw.send_multipart([TOKEN, text])
    assert until(lambda: listener.refused == 1)
    sender = EventSender(listener.address, 1, TOKEN)
    sender.send(phase="online")
    assert until(lambda: listener.events) and listener.dropped == {1: 0}
    for end in (raw, sender, listener):
        end.close()


def test_what_json_cannot_say_is_refused_where_it_is_said():
    """And not in the thread that sends, which would end unheard, and all that follows with it."""
    listener, around = EventListener(TOKEN), []
    around.append(around)
    sender = EventSender(listener.address, 0, TOKEN)
    for value in (1j, b"bytes", {(1, 2): 3}, around):
        with pytest.raises(TypeError, match="an event says numbers, texts"):
            sender.send(phase="tell", value=value)
        with mk.simulate(), pytest.raises(TypeError, match="an event says numbers, texts"):
            mk.tell(value)
    sender.send(phase="tell", value=7)
    assert until(lambda: listener.events) and listener.events[0]["value"] == 7
    sender.close(), listener.close()


def test_a_callback_that_breaks_is_reported_and_the_rest_goes_on():
    listener = EventListener(TOKEN)
    listener.subscribe(lambda event: 1 / 0)
    sender = EventSender(listener.address, 0, TOKEN)
    sender.send(a=1), sender.send(a=2)
    assert until(lambda: len(listener.events) == 2) and {e["phase"] for e in listener.events} == {None}
    assert listener.errors == ["ZeroDivisionError: division by zero"] * 2
    sender.close(), listener.close()


def test_nobody_listens_nobody_waits(monkeypatch):
    monkeypatch.setattr("mpckit.runtime.telemetry.MESSAGES", 10)
    sender = EventSender("tcp://127.0.0.1:9", 0, TOKEN)
    begin = time.perf_counter()
    for done in range(30_000):
        sender.send(done=done)
    assert time.perf_counter() - begin < 5
    sender.close()
    assert time.perf_counter() - begin < 6
    assert sender.dropped >= 30_000 - 10 * 500


def test_what_does_not_fit_is_dropped_counted_and_told(monkeypatch):
    """The count of the lost comes with the next event that is not."""
    monkeypatch.setattr("mpckit.runtime.telemetry.EVERY", 1.0)
    monkeypatch.setattr("mpckit.runtime.telemetry.QUEUE", 50)
    listener, seen = EventListener(TOKEN), []
    listener.subscribe(seen.append)
    sender = EventSender(listener.address, 1, TOKEN)
    for done in range(80):
        sender.send(phase="online", done=done)
    assert sender.dropped == 30
    assert until(lambda: len(seen) == 50)
    assert {e["dropped"] for e in seen} == {30} and listener.dropped == {1: 30}
    assert [e["done"] for e in seen] == list(range(50))
    sender.send(huge="x" * 2_000_000)
    sender.close()
    assert sender.dropped == 31 and not listener.errors
    listener.close()


def test_the_end_of_a_run_always_finds_room(monkeypatch):
    """However much a party had to say before: a dashboard that did not hear of the end would wait for it for ever."""
    monkeypatch.setattr("mpckit.runtime.telemetry.EVERY", 1.0)
    monkeypatch.setattr("mpckit.runtime.telemetry.QUEUE", 50)
    listener = EventListener(TOKEN)
    sender = EventSender(listener.address, 1, TOKEN)
    for done in range(80):
        sender.send(phase="chat", done=done)
    sender.send(phase="end", seconds=1.0)
    sender.close()
    assert until(lambda: len(listener.events) == 51) and sender.dropped == 30
    assert listener.events[-1]["phase"] == "end" and listener.dropped == {1: 30}
    listener.close()


def test_what_is_too_long_takes_nothing_else_with_it():
    listener = EventListener(TOKEN)
    sender = EventSender(listener.address, 0, TOKEN)
    for value in (1, "x" * 2_000_000, 2, 3):
        sender.send(phase="tell", value=value)
    sender.close()
    assert until(lambda: len(listener.events) == 3)
    assert [e["value"] for e in listener.events] == [1, 2, 3] and sender.dropped == 1
    assert listener.dropped == {0: 1}, "and the next message says so"
    listener.close()


def test_events_of_the_meter_arrive_with_all_their_fields():
    listener = EventListener(TOKEN)
    sender = EventSender(listener.address, 0, TOKEN)
    event = Event(1.5, 0, "online", 7, "conv1/convolution", "conv > product", "Open", 1, 2, {1: 424}, 0.25, 0.125)
    sender.hear(event)
    sender.close()
    assert until(lambda: listener.events)
    (heard,) = listener.events
    assert heard == event._asdict() | {"to": {"1": 424}, "dropped": 0}
    listener.close()


def test_the_notebook_s_own_events_reach_its_listeners_only():
    listener, seen = EventListener(TOKEN), []
    listener.subscribe(seen.append)
    listener.tell(phase="plan", report=TOKEN)
    assert seen == [{"phase": "plan", "report": TOKEN}] and not listener.events
    listener.close()


def test_an_event_costs_a_party_microseconds():
    """Paired with the same loop without: what is added to each round, which takes hundreds of microseconds."""
    listener = EventListener(TOKEN)
    sender = EventSender(listener.address, 0, TOKEN)
    event = Event(1.5, 0, "online", 7, "conv1/convolution", "conv > product", "Open", 1, 2, {1: 424}, 0.25, 0.125)
    costs = []
    for _ in range(20):
        begin = time.perf_counter()
        for _ in range(100):
            sender.hear(event)
        costs.append((time.perf_counter() - begin) / 100)
        time.sleep(0.01)
    assert sorted(costs)[len(costs) // 2] < 20e-6
    sender.close(), listener.close()


def test_a_sender_that_is_forgotten_leaves_no_thread():
    """As where Ctrl-C strikes before its maker has put it down."""
    listener = EventListener(TOKEN)
    sender = EventSender(listener.address, 0, TOKEN)
    thread = sender._thread
    assert thread.is_alive()
    del sender
    assert until(lambda: not thread.is_alive())
    listener.close()
