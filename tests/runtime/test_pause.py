"""What a pause costs is the difference between rounds after one and rounds without, by the parties' own clock."""

import numpy as np
import pytest

from mpckit.runtime import pause


class Clock:
    """Time passes only where somebody sleeps or says so."""

    def __init__(self):
        self.now, self.slept = 0.0, False

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now, self.slept = self.now + seconds, True


class SlowAfterPause:
    """A wire between two parties whose rounds take `usual` seconds, and `more` where one has slept before."""

    parties, party = 2, 0

    def __init__(self, clock, usual, more, theirs):
        self.clock, self.usual, self.more, self.theirs, self.rounds = clock, usual, more, theirs, 0

    def exchange(self, step, word, where, out, expect):
        self.clock.now += self.usual + self.more * self.clock.slept
        self.clock.slept = False
        self.rounds += 1
        assert memoryview(out[1].payload).nbytes == expect[1].length
        last = self.rounds == 3 * pause.ROUNDS + 1
        return {1: np.array([self.theirs]).view("u1") if last else np.zeros(expect[1].length, np.uint8)}


@pytest.mark.parametrize("more, theirs, cost", [(50e-6, 70e-6, 60e-6), (0.0, 0.0, 0.0), (-20e-6, -10e-6, 0.0)])
def test_the_difference_is_what_a_pause_costs(monkeypatch, more, theirs, cost):
    """The mean of what the parties have seen, and never less than nothing."""
    clock = Clock()
    monkeypatch.setattr(pause, "time", clock)
    wire = SlowAfterPause(clock, 70e-6, more, theirs)
    assert pause.cost(wire) == pytest.approx(cost, abs=1e-12)
    assert wire.rounds == 3 * pause.ROUNDS + 1
