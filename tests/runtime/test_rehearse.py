"""A plan runs a protocol once for each kind of operands, and says the rest from memory:

three alike layers are dealt, billed and answered as three layers, and computed as one.
"""

import pytest
import torch

import mpckit as mk
from mpckit.protocols import arithmetic
from mpckit.runtime.rehearse import Rehearsal


def layers(x):
    x = mk.secret(x, owner=0)
    for _ in range(3):
        x = torch.relu(x * x) @ x.mT
    return x.reveal()


@pytest.mark.parametrize("suite", ["bits", "fss"])
def test_a_plan_from_memory_is_the_plan(suite, monkeypatch):
    plan = mk.plan(layers, torch.ones(4, 4), suite=suite)
    with mk.simulate(suite=suite) as session:
        session.prepare(plan.draws)
        layers(torch.ones(4, 4))
    alone = session.report()
    assert alone.unplanned == {} and len(session.store) == 0
    bill = [(line.phase, line.path, line.rounds, line.calls, line.sent) for line in alone.lines]
    assert [(line.phase, line.path, line.rounds, line.calls, line.sent) for line in plan.report.lines] == bill

    monkeypatch.setattr(Rehearsal, "run", lambda self, session, protocol, args, drive: drive())
    slow = mk.plan(layers, torch.ones(4, 4), suite=suite)
    assert slow.draws == plan.draws
    assert slow.report.offline_bytes == plan.report.offline_bytes and slow.report.key_bytes == plan.report.key_bytes


def conversations(program) -> int:
    """How many protocols a dry run of `program()` computes."""
    count = 0
    with mk.Session(2, meta=True) as session:
        drive = session._drive

        def counted(*args, **kwargs):
            nonlocal count
            count += 1
            return drive(*args, **kwargs)

        session._drive = counted
        program(session)
    return count


def test_a_second_one_of_a_kind_computes_nothing():
    def twice(session):
        x, y = (mk.secret(torch.ones(3), owner=0) for _ in range(2))  # not remembered: an input is a party's own
        _ = x * y, y * x

    def once(session):
        x, y = (mk.secret(torch.ones(3), owner=0) for _ in range(2))
        _ = x * y

    assert conversations(twice) == conversations(once)


def test_what_may_differ_is_asked_again():
    """Another shape, another unit, another function that looks the same; a room, whose places are used once."""

    def program(session):
        x = session.share(torch.ones(4, 6, device="meta"), 0)
        for y in (x, x.map(torch.ops.aten.t.default), session.fix(x)[0]):
            for bits in (3, 3, 5):
                session.run(lambda s, bits=bits: arithmetic.mul(s, s), y)
        room = session.run(arithmetic.room, session.masks(1)[0], (8, 6), 0)
        filled = [session.run(arithmetic.fill, x, room) for _ in range(2)]
        assert [tuple(f.shape) for f in filled] == [(4, 6), (8, 6)]
        numbers = {session.run(arithmetic.room, number, (2,), 0).shares[0].number for number in session.masks(2)}
        assert len(numbers) == 2

    assert conversations(program) == 1 + 1 + 9 + 1 + 2 + 2


def test_operands_that_only_look_alike_are_asked_again():
    """Of one shape: as it is, turned in memory, in another unit, and under a mask; each of them twice."""

    def program(session):
        x = session.share(torch.ones(4, 4, device="meta"), 0)
        masked = session.fix(x)[0]
        alike = (x, x.map(torch.t), session.share(torch.ones(4, 4, dtype=torch.int64), 0, session.ring.at(0)), masked)
        for y in alike:
            first, second = (session.run(arithmetic.mul, y, y) for _ in range(2))
            assert first is second and first.shares[0].ring.frac == 2 * y.shares[0].ring.frac

    assert conversations(program) == 3 + 4, "two inputs, a mask, and one product of each"
