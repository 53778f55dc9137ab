"""What was dealt ahead is used once, in the order dealt:

store.put(Square((3,)), pieces)
store.take(Square((3,)))      # pieces
store.take(Square((3,)))      # None: deal anew
"""

import pytest
import torch

from mpckit.correlations import Mask, Square, Triple
from mpckit.offline.store import Store
from mpckit.once import ReuseError
from mpckit.protocols import arithmetic
from mpckit.ring import Ring
from mpckit.runtime.session import Session


def test_the_example():
    store = Store()
    store.put(Square((3,)), "pieces")
    assert len(store) == 1 and store.take(Square((3,))) == "pieces"
    assert store.take(Square((3,))) is None and len(store) == 0


def test_pieces_leave_by_kind_and_in_the_order_dealt():
    store = Store()
    for number in range(3):
        store.put(Square((3,)), f"a{number}")
        store.put(Square((4,)), f"b{number}")
    assert len(store) == 6
    assert [store.take(Square((3,))) for _ in range(4)] == ["a0", "a1", "a2", None]
    assert [store.take(Square((4,))) for _ in range(4)] == ["b0", "b1", "b2", None]
    assert store.take(Mask(0, (3,))) is None


def test_a_mask_meets_one_value():
    store = Store()
    store.bind(0)
    store.bind(1)
    for number in (0, 1):
        with pytest.raises(ReuseError, match=f"mask {number} already hides a value"):
            store.bind(number)
    assert issubclass(ReuseError, RuntimeError)


# ---- a session that has been prepared ------------------------------------------------------------


def squares(session, count):
    x = session.share(torch.arange(3), 0)
    return [session.open(session.run(arithmetic.square, x)).tolist() for _ in range(count)]


def test_a_prepared_session_draws_from_its_store_and_names_what_it_had_not():
    session = Session(3, ring=Ring(64, 0), insecure_seed=1)
    done = []
    session.prepare([Square((3,))] * 2, lambda k, total: done.append((k, total)))
    assert done == [(1, 2), (2, 2)] and len(session.store) == 2
    dealt = session.meter.dealt_bytes
    assert dealt == 2 * 3 * 8  # c = a² for the last party; the masks are expanded

    assert squares(session, 2) == [[0, 1, 4]] * 2
    assert session.meter.dealt_bytes == dealt and len(session.store) == 0 and session.meter.unplanned == {}
    assert squares(session, 1) == [[0, 1, 4]]
    assert session.meter.unplanned == {"Square": 1} and session.meter.dealt_bytes == dealt + 24
    assert "drawn outside the plan, dealt on demand: 1 × Square" in str(session.report())


def test_a_session_without_a_plan_misses_nothing_in_it():
    session = Session(2, ring=Ring(64, 0), insecure_seed=1)
    squares(session, 1)
    assert session.meter.unplanned == {} and "outside the plan" not in str(session.report())


def test_no_two_draws_have_a_mask_in_common():
    session = Session(2, ring=Ring(64, 0), insecure_seed=1, record=True)
    x = session.share(torch.arange(3), 0)
    session.prepare([Square((3,))] * 2)
    start = len(session.transcript)
    for _ in range(4):  # two from the store, two on demand
        session.run(arithmetic.square, x)
    messages = [data for sender, _, data in session.transcript[start:] if sender == 0]
    assert len(messages) == len(set(messages)) == 4
    mul = Triple(arithmetic.MUL, (3,), (3,))
    assert session.store.take(mul) is None
