"""Ctrl-C may strike who waits for work at any moment: the work has ended when it is heard, and the next one is done."""

import random
import threading
import time

import pytest
from strikes import interrupted

from mpckit.engines.shelter import Shelter, answered, drained


@pytest.fixture
def shelter():
    shelter = Shelter("test")
    yield shelter
    shelter.close()


def test_work_is_done_in_order_and_its_errors_are_raised(shelter):
    assert shelter.do(lambda work: threading.current_thread().name) == "test"
    with pytest.raises(ZeroDivisionError):
        shelter.do(lambda work: 1 / 0)
    seen = []
    assert drained(shelter.steps(lambda work: time.sleep(0.2) or 7), lambda: seen.append(1)) == 7
    assert len(seen) >= 2, "who waits can do something in between"


def test_a_strike_at_any_moment(shelter):
    """Some meet the waiting, some the coming and going; the same from within a generator that passes on news."""
    busy, heard, choice = [], 0, random.Random(1)

    def work_for_3_ms(work):
        busy.append(work)
        end = time.monotonic() + 0.003
        while time.monotonic() < end and not work.asked:
            time.sleep(0.0001)
        busy.remove(work)

    def whole():
        drained(answered(shelter.steps(work_for_3_ms), lambda: None))

    for _ in range(500):
        heard += interrupted(choice.uniform(1e-5, 4e-3), whole)
        assert not busy, "it goes on though nobody waits for it"
    assert heard > 100
    assert shelter.do(lambda work: "still there") == "still there"


def test_asked_twice_means_at_once(shelter):
    asked = []

    def stubborn(work):
        end = time.monotonic() + 5
        while work.asked < 2 and time.monotonic() < end:
            time.sleep(0.001)
        asked.append(work.asked)

    def struck_again():
        steps = shelter.steps(stubborn)
        next(steps)
        steps.close()

    assert interrupted(0.3, struck_again) and asked == [2]


def test_work_that_is_left_alone_ends(shelter):
    """The generator is closed: its work has ended when `close` returns."""
    ended = []

    def until_asked(work):
        while not work.asked:
            time.sleep(0.001)
        ended.append(work)

    steps = shelter.steps(until_asked)
    next(steps)
    steps.close()
    assert len(ended) == 1


def test_a_closed_shelter_says_so(shelter):
    shelter.close()
    with pytest.raises(RuntimeError, match="closed"):
        shelter.do(lambda work: None)
