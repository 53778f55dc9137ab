"""What may be used once is used once, whatever happens in between:

keys.equal(x); keys.equal(x)        # ReuseError
copy.copy(session)                  # ReuseError, and so are a pickle and a fork
retry after an exception            # other masks: nothing that was opened before tells anything of what is opened now
"""

import copy
import os
import pickle
import sys
import threading

import pytest
import torch
from watching import watched

from mpckit.ask import Draw, Open
from mpckit.correlations import Compare, Mask, Square
from mpckit.fss import Keys, dpf
from mpckit.offline.service import DealerService
from mpckit.offline.source import LocalDealer
from mpckit.offline.spool import Spool
from mpckit.offline.store import Store
from mpckit.once import OneTime, ReuseError
from mpckit.protocols import arithmetic, gates, widths
from mpckit.ring import Ring
from mpckit.runtime.session import Session
from mpckit.stream import Stream

INTEGERS = Ring(64, 0)
X = torch.arange(-6, 6)
SEEDS = {p: bytes([p]) * 32 for p in (0, 1)}


def fresh(parties=2, **options):
    ring = options.pop("ring", INTEGERS)
    return Session(parties, ring=ring, suite="fss" if parties == 2 else "bits", insecure_seed=3, **options)


def keys_of(alpha=X, bits=16, party=0):
    return Keys.of(dpf.gen(alpha, bits, [Stream(SEEDS[p], "keys") for p in SEEDS])[party])


def relu(x):
    return gates.relu(x, form="dpf")


def no_two_alike(tensors):
    """Ring elements of 64 bits under masks of their own meet by chance with probability 2^-58 or less."""
    words = torch.cat([t.reshape(-1) for t in tensors if t.dtype == torch.int64])
    return words.numel() > 0 and words.unique().numel() == words.numel()


# ---- copies --------------------------------------------------------------------------------------

MATERIAL = {
    "session": fresh,
    "store": Store,
    "keys": keys_of,
    "spool": Spool,
    "dealer": lambda: LocalDealer(SEEDS),
    "service": lambda: DealerService(2),
}


@pytest.mark.parametrize("name", MATERIAL)
@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, pickle.dumps, lambda thing: copy.deepcopy([thing])])
def test_no_copies(name, how):
    material = MATERIAL[name]()
    assert isinstance(material, OneTime)
    with pytest.raises(ReuseError, match="a copy would be used a second time"):
        how(material)


def in_a_fork(action) -> str:
    """What the child answers: the error's type, or "done"."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            action()
            said = "done"
        except BaseException as error:  # the child must not come back into pytest, whatever happens
            said = type(error).__name__
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_forked_process_uses_none_of_it():
    session, keys = fresh(key_memory=0), keys_of()
    x = session.share(X, 0)
    session.prepare([Compare((12,), 64, True, "dpf"), Square((12,))])
    actions = {
        "run": lambda: session.run(relu, x),
        "run on demand": lambda: session.run(arithmetic.mul, x, x),
        "share": lambda: session.share(X, 0),
        "open": lambda: session.open(x),
        "fix": lambda: session.fix(x),
        "prepare": lambda: session.prepare([Square((3,))]),
        "take": lambda: session.store.take(Square((12,))),
        "bind": lambda: session.store.bind(0),
        "deal": lambda: session.dealer.deal(99, Square((3,))),
        "keys": lambda: keys.equal(X[None]),
    }
    assert {name: in_a_fork(action) for name, action in actions.items()} == dict.fromkeys(actions, "ReuseError")
    assert in_a_fork(lambda: fresh().share(X, 0)) == "done", "a session of its own is a child's to have"
    assert in_a_fork(lambda: session.store._ready.clear()) == "done"  # drops the keys that lie in the shared file
    assert torch.equal(session.open(session.run(relu, x)), X.relu()), "and the parent's are whole"
    assert int(keys.equal(X[None]).shape[-1]) == 12


# ---- errors in between ---------------------------------------------------------------------------


def stops(protocol, after: int):
    """The protocol, with an exception after so many answers."""

    def run(*args):
        generator, reply = protocol(*args), None
        for _ in range(after):
            reply = yield generator.send(reply)
        raise KeyError("stopped")

    return run


@pytest.mark.parametrize("ahead", [0, 1, 4])
@pytest.mark.parametrize(
    "protocol", [relu, lambda x: widths.truncate(x, 3, "exact", "dpf"), lambda x: gates.relu(x, form="dcf")]
)
def test_a_retry_draws_other_masks(protocol, ahead):
    fractions = Ring(64, 8)
    session, opened, drawn = fresh(ring=fractions), [], []
    x = session.share(X * 64, 0)
    planned = fresh(meta=True, ring=fractions)
    planned.run(protocol, planned.share(X.to("meta"), 0))
    session.prepare(planned.drawn * ahead)
    failures = 0
    for after in (1, 2, 3, 4):
        try:
            session.run(watched(stops(protocol, after), opened, drawn), x)
        except KeyError:
            failures += 1
        except RuntimeError as error:
            assert "StopIteration" in str(error), error  # the protocol was over before it could be stopped
            break
    assert failures >= 2
    results = [session.run(watched(protocol, opened, drawn), x) for _ in range(2)]
    assert torch.equal(session.open(results[0]), session.open(results[1]))
    own = opened[::2]  # both parties are told the same
    assert no_two_alike([v for v in own if v.dtype == torch.int64]), "no opened value appears twice"
    assert no_two_alike(drawn), "no party's piece of a mask appears twice"


def test_the_check_sees_a_mask_that_is_used_again(monkeypatch):
    """A session that dealt each draw under one serial would be noticed by the test above."""
    session, opened, drawn = fresh(), [], []
    x = session.share(X * 64, 0)
    deal = session.dealer._deal_part
    monkeypatch.setattr(session.dealer, "_deal_part", lambda serial, i, part: deal(0, i, part))
    for _ in range(2):
        session.run(watched(relu, opened, drawn), x)
    assert not no_two_alike(opened[::2]) and not no_two_alike(drawn)


def test_an_error_while_a_key_is_evaluated_spends_it(monkeypatch):
    session, opened, drawn = fresh(), [], []
    x = session.share(X, 0)
    session.prepare([Compare((12,), 64, True, "dpf")] * 2)
    held = []

    def fails(*args):
        raise MemoryError("in the kernel")

    def keeps_its_keys(x):
        r, keys, *_ = yield Draw(Compare((12,), 64, True, "dpf"))
        held.append(keys)
        yield Open(x + r)
        keys.less_than((x.data & 7)[None])

    with monkeypatch.context() as patch:
        patch.setattr(dpf, "less_than", fails)
        with pytest.raises(MemoryError):
            session.run(watched(keeps_its_keys, opened, drawn), x)
    with pytest.raises(ReuseError, match="have been used"):
        held[0].less_than(X[None])
    assert len(session.store) == 1, "struck off before it was used"
    assert torch.equal(session.open(session.run(watched(relu, opened, drawn), x)), X.relu())
    assert no_two_alike(opened[::2]) and no_two_alike(drawn)
    assert len(session.store) == 0


def test_a_protocol_that_evaluates_its_keys_twice_is_stopped():
    def twice(x):
        r, keys, *_ = yield Draw(Compare((12,), 64, form="dpf"))
        x_hat = yield Open(x + r)
        for _ in range(2):
            keys.less_than((x_hat & 7)[None])

    session = fresh()
    with pytest.raises(ReuseError, match="each hides its point for one opened value only; draw others"):
        session.run(twice, session.share(X, 0))


def test_a_planned_session_run_twice_draws_anew():
    planned = fresh(meta=True)
    planned.run(relu, planned.share(X.to("meta"), 0))
    session, opened, drawn = fresh(), [], []
    x = session.share(X, 0)
    session.prepare(planned.drawn)
    for times in range(1, 4):
        assert torch.equal(session.open(session.run(watched(relu, opened, drawn), x)), X.relu())
        assert session.meter.unplanned.get("Compare", 0) == times - 1
    assert no_two_alike(opened[::2]) and no_two_alike(drawn)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_an_interrupted_preparation_gives_no_number_out_again(stop):
    session, opened, drawn = fresh(), [], []
    x = session.share(X, 0)
    draws = [Compare((12,), 64, True, "dpf")] * 4

    def interrupts(done, total):
        if done == 2:
            raise stop

    dealt, deal = [], session.dealer._deal_part
    session.dealer._deal_part = lambda serial, i, part: (dealt.append((serial, i)), deal(serial, i, part))[1]
    with pytest.raises(stop):
        session.prepare(draws, interrupts)
    assert len(session.store) == 2
    session.prepare(draws)
    assert len(session.store) == 6 and len(set(dealt)) == len(dealt) == 6
    for _ in range(7):
        session.run(watched(relu, opened, drawn), x)
    assert no_two_alike(opened[::2]) and no_two_alike(drawn)


def test_an_interrupt_inside_a_deal_spends_its_number():
    session = fresh()
    x = session.share(X, 0)
    used, deal = [], session.dealer.deal

    def interrupted(serial, correlation):
        used.append(serial)
        if len(used) == 1:
            deal(serial, correlation)
            raise KeyboardInterrupt
        return deal(serial, correlation)

    session.dealer.deal = interrupted
    with pytest.raises(KeyboardInterrupt):
        session.run(relu, x)
    session.run(relu, x)
    assert used == [0, 1]


@pytest.mark.parametrize("parties", [2, 3])
def test_a_mask_of_a_fixed_value_is_bound_once_also_after_an_error(parties):
    session = fresh(parties)
    x = session.share(X, 0)
    with pytest.raises(KeyError):
        session.run(stops(lambda v: arithmetic.fix(v, 5), 1), x)
    with pytest.raises(ReuseError, match="mask 5 already hides a value"):
        session.run(arithmetic.fix, x, 5)

    def draws(x):
        yield Draw(Mask(6, (12,)))

    session.run(draws, x)
    with pytest.raises(ReuseError, match="mask 6 already hides a value"):
        session.run(draws, x)


def test_a_dealer_here_deals_no_serial_twice():
    dealer = LocalDealer(SEEDS)
    dealer.deal(3, Square((2,)))
    for serial in (3, 2, 0):
        with pytest.raises(ReuseError, match=f"draw {serial} has been dealt already; the next is 4"):
            dealer.deal(serial, Square((2,)))
    assert dealer.deal(4, Square((2,)))


# ---- threads -------------------------------------------------------------------------------------


def at_once(action, threads=8):
    """Run it in so many threads that start together: (results, errors)."""
    results, errors, ready = [], [], threading.Barrier(threads)

    def run():
        ready.wait()
        try:
            results.append(action())
        except ReuseError as error:
            errors.append(error)

    workers = [threading.Thread(target=run) for _ in range(threads)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(interval)
    return results, errors


def test_of_many_threads_one_has_the_keys():
    for _ in range(20):
        keys = keys_of()
        results, errors = at_once(lambda keys=keys: keys.equal(X[None]))
        assert len(results) == 1 and len(errors) == 7


def test_threads_take_different_pieces_from_a_store():
    store = Store()
    for k in range(4):
        store.put(Square((3,)), k)
    results, errors = at_once(lambda: store.take(Square((3,))))
    assert not errors and sorted(r for r in results if r is not None) == [0, 1, 2, 3] and results.count(None) == 4


def test_threads_in_one_session_wait_for_each_other():
    session, opened, drawn = fresh(), [], []
    session.prepare([Compare((12,), 64, True, "dpf")] * 6)

    def work():
        x = session.share(X, 0)
        return session.open(session.run(watched(relu, opened, drawn), x))

    results, errors = at_once(lambda: [work() for _ in range(3)])
    assert not errors and all(torch.equal(y, X.relu()) for ys in results for y in ys) and len(results) == 8
    assert no_two_alike(opened[::2]) and no_two_alike(drawn)
    assert len(session.store) == 0 and session._serial == 24 and session._inputs == 24
