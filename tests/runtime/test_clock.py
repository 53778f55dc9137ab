"""How long a GPU computes is learnt without waiting for it:

    session.report().compute()      # this waits
"""

import pytest
import torch

import mpckit as mk
from mpckit.kernels import place
from mpckit.runtime.clock import Clock


@pytest.fixture
def card(monkeypatch):
    """Events of a GPU that takes a second from each to the next, and has done nothing before somebody waits."""

    class Event:
        said = done = 0
        waits = []

        def __init__(self, enable_timing):
            assert enable_timing

        def record(self, stream):
            Event.said += 1
            self.at = Event.said

        def query(self):
            return self.at <= Event.done

        def synchronize(self):
            Event.waits.append(self.at)
            Event.done = max(Event.done, self.at)

        def elapsed_time(self, later):
            assert later.at <= Event.done, "torch refuses moments that are not over"
            return 1000.0 * (later.at - self.at)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    return Event


@pytest.fixture
def clock(card):
    return Clock(torch.device("cuda:0"))


def test_seconds_come_when_they_are_known(clock, card):
    booked = []
    spans = [{"a": (clock.now(), clock.now())} for _ in range(3)]
    clock.owe(booked.append, spans[0])
    clock.owe(booked.append, spans[1])
    assert booked == [] and card.waits == []
    card.done = 2
    clock.owe(booked.append, spans[2])
    assert booked == [{"a": 1.0}] and card.waits == [2], "one that is over is waited for no more"
    clock.settle()
    assert booked == [{"a": 1.0}] * 3 and clock.seconds(spans[0]) == {"a": 1.0}


def test_on_a_cpu_seconds_are_those_of_the_host():
    clock = Clock(torch.device("cpu"))
    span = clock.now(), clock.now()
    assert not clock.ahead and clock.seconds({0: span}) == {0: span[1] - span[0]}


def program(session, x):
    session.clock.ahead = True  # everything else is the CPU's
    counted = {"words": 0, "deals": 0}
    book, deal = session.meter.book, session.dealer.deal

    def counting(name, function):
        def counts(*args, **kwargs):
            counted[name] += 1
            return function(*args, **kwargs)

        return counts

    session.meter.book, session.dealer.deal = counting("words", book), counting("deals", deal)
    with session, session.scope("here"):
        mk.secret(x, owner=0).relu()
    return counted


def test_a_session_waits_for_nothing_and_has_the_seconds_on_its_bill(card):
    session = mk.simulate()
    counted = program(session, torch.tensor([-1.0, 2.0, 3.0]))
    assert card.waits == [] and card.said > 4 * counted["words"] > 0 < counted["deals"]
    report = session.report()
    assert report.compute() == counted["words"], "a second of the slower party for every word"
    assert report.offline_seconds == counted["deals"] and card.waits
    assert all(layer.split("/")[0] == "here" for layer in report.by_layer() if report.by_layer()[layer].compute)


def test_who_listens_hears_them_at_once(card):
    session, heard = mk.simulate(), []
    session.meter.listeners.append(heard.append)
    counted = program(session, torch.tensor([1.0]))
    assert sum(e.compute for e in heard if e.party == 0) == counted["words"] and card.waits
    assert sum(e.waiting for e in heard if e.party == 0 and e.word == "Draw") == counted["deals"]


def test_what_a_gpu_fetches_is_locked_and_what_is_large_is_waited_for(monkeypatch):
    class Public(torch.Tensor):
        to = lambda self, device, non_blocking=False: (device.type, non_blocking, made[:])  # noqa: E731

    made, empty_like = [], torch.empty_like

    def locked(tensor, pin_memory=False):
        made.append(pin_memory)
        return empty_like(tensor)

    monkeypatch.setattr(torch, "empty_like", locked)
    small, large = (torch.zeros(n, dtype=torch.uint8).as_subclass(Public) for n in (16, place.MOST + 1))
    assert place.placed(large, "cuda:0") == ("cuda", False, [])
    assert place.placed(small, "cuda:0") == ("cuda", True, [True])
    assert place.placed(small, "cpu") == ("cpu", False, [True]), "no CPU needs it"
