"""An emulated link takes its time, and the virtual clock says how much:

with mk.simulate(link=mk.WAN, emulate_link=True): …
"""

import time

import pytest
import torch

import mpckit as mk
from mpckit.runtime.delay import hold

SLOW = mk.Link("slow", rtt=0.1, bandwidth=1e6)


def test_a_round_takes_half_a_round_trip_and_its_bytes():
    def program(x):
        return mk.secret(x, owner=0).relu()

    x = torch.ones(10_000)
    with mk.simulate():
        program(x)  # loads the kernels
    draws = mk.plan(program, x).draws

    def run():
        session = mk.simulate(link=SLOW, emulate_link=True)
        session.prepare(draws)
        with session:
            start = time.perf_counter()
            program(x)
            return time.perf_counter() - start, session.report()

    seconds, report = min((run() for _ in range(3)), key=lambda ran: ran[0])  # the machine may be shared
    assert report.rounds() == 5 and seconds >= 5 * 0.05 + report.sent() / 1e6
    assert report.total().waiting == pytest.approx(5 * 0.05 + report.sent() / 1e6, rel=0.15)
    assert report.seconds() == pytest.approx(seconds, rel=0.15), "the virtual clock"


def test_without_it_nothing_waits_and_a_plan_never_does():
    def program():
        return mk.secret(torch.ones(3), owner=0).relu().reveal()

    with mk.simulate(link=SLOW) as session:
        program()
    assert session.report().total().waiting == 0.0
    start = time.perf_counter()
    planned = mk.plan(program, link=mk.Link("moon", rtt=10.0, bandwidth=1e6), emulate_link=True)
    assert planned.report.rounds() == 6 and time.perf_counter() - start < 6 * 5


@pytest.mark.parametrize("seconds", [0.0, 0.0005, 0.02])
def test_hold_is_never_early(seconds):
    until = time.perf_counter() + seconds
    hold(until)
    assert time.perf_counter() >= until
    hold(until)  # passed already
