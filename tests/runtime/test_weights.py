"""Weights of which only what is public is kept, and which wait in host memory:

    with mk.simulate(weight_memory=8 << 30):       # bytes that stay on the GPU
        model = mk.private(net, owner=1)

That results and transcripts are those of a CPU is tested with the stand-in for a GPU (`test_device.py`).
"""

import contextlib
import gc
from types import SimpleNamespace

import pytest
import torch

import mpckit as mk
from mpckit import nn
from mpckit.once import ReuseError
from mpckit.protocols.kept import KeptShare
from mpckit.runtime.weights import Weights


def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 40), torch.nn.ReLU(), torch.nn.Linear(40, 3))


X = torch.linspace(-1, 1, 12).reshape(2, 6)


def words(session) -> int:
    """Elements of all distinct int64 memory alive, that of weights above all."""
    gc.collect()
    found = [t for t in gc.get_objects() if type(t) is torch.Tensor and t.dtype == torch.int64 and not t.is_meta]
    return sum(s.nbytes() for s in {t.untyped_storage()._cdata: t.untyped_storage() for t in found}.values()) // 8


@pytest.mark.parametrize(("parties", "suite"), [(2, "fss"), (2, "bits"), (3, "bits")])
def test_an_inference_with_one_word_a_weight(parties, suite, monkeypatch):
    monkeypatch.setattr(nn, "AT_ONCE", 200)
    before, held, answers = words(None), {}, {}
    for memory in (None, 0):
        with mk.simulate(parties=parties, suite=suite, insecure_seed=1, weight_memory=memory) as session:
            model = mk.private(net(), owner=1)
            held[memory] = words(session) - before
            answers[memory] = model(mk.secret(X, owner=0)).reveal()
            session.report()
        del model, session
    assert torch.equal(answers[None], answers[0]) and (answers[0] - net()(X)).abs().max() < 1e-3
    weights, biases = 6 * 40 + 40 * 3, 43
    assert held[0] <= weights + parties * biases + 200 < held[None] - parties * weights


def test_rounds_of_a_plan_are_those_of_the_run(monkeypatch):
    monkeypatch.setattr(nn, "AT_ONCE", 200)

    def program(x):
        return mk.private(net(), owner=1)(mk.secret(x, owner=0)).reveal()

    planned = mk.plan(program, X, weight_memory=0).report
    with mk.simulate(weight_memory=0) as session:
        program(X)
    found = session.report()
    assert [found.rounds(p) for p in ("setup", "online")] == [planned.rounds(p) for p in ("setup", "online")]
    assert found.rounds("setup") == 5 and found.sent() == planned.sent()  # what has no mask, and each matrix by itself


def test_rearrangements_load_nothing_and_other_operators_do():
    with mk.simulate(weight_memory=0, insecure_seed=2) as session:
        layer = mk.private(torch.nn.Linear(4, 3), owner=1)
        weight = layer.weight
        assert all(isinstance(s, KeptShare) for s in weight.mT.reshape(2, 6).shared.shares)
        expected = weight.reveal()
        assert torch.equal(weight.mT[1:].flip(0).reveal(), expected.mT[1:].flip(0))
        assert torch.equal((weight + weight).sum(0).reveal(), 2 * expected.sum(0))
        shares = weight.shared.shares
        assert torch.equal(session.ring.decode(shares[0].data + shares[1].data), expected)


def test_a_fork_expands_no_mask():
    session = mk.simulate(weight_memory=0)
    session.dealer._home = -1
    with pytest.raises(ReuseError):
        session.dealer.mask(0, 0, (3,))


def test_the_next_layer_is_on_its_way_and_no_more_than_two_are_there():
    """On a device without values, so that every fetch is a copy."""
    weights = Weights(80, torch.device("meta"))
    loads = [weights.hold(torch.full((5,), i)) for i in range(6)]
    assert weights.held == 80, "the first two stay"
    order = [2, 2, 5, 3, 4]
    came = []
    for _ in range(3):
        for i in order:
            assert loads[i]().is_meta
            assert len(weights._there) <= 2 and i - 2 in weights._there
        came.append(weights.fetched // 40 - sum(came))
    # Guessed by their numbers, two in vain; then the order is known: each comes once, while the one before is in use.
    assert came == [6, 5, 4]
    assert loads[0]().tolist() == [0] * 5 and weights.fetched == 40 * 15


def test_a_weight_that_nobody_holds_does_not_come():
    weights = Weights(0, torch.device("meta"))
    loads = [weights.hold(torch.zeros(5)) for _ in range(2)]
    del loads[1]
    loads[0]()
    assert weights.fetched == 20


def test_no_room_on_the_host_says_which_budget(monkeypatch):
    def full(*_, **__):
        raise RuntimeError("CUDA error: out of memory\nmore")

    monkeypatch.setattr(torch, "empty", full)
    tensor = torch.zeros(200, dtype=torch.int64)
    with pytest.raises(MemoryError, match=r"weights of 1.6 kB \(CUDA error: out of memory\).*higher weight_memory"):
        Weights(0, torch.device("meta")).hold(tensor)


def test_the_host_is_one_layer_before_the_device_at_most(monkeypatch):
    """A stream whose events say when they were waited for."""
    log = []

    class Stream:
        def record_event(self):
            number = sum(entry[0] == "asked" for entry in log)
            log.append(("asked", number))
            return SimpleNamespace(synchronize=lambda: log.append(("waited", number)))

        def wait_event(self, event):
            log.append(("queued",))

    copies, computing = SimpleNamespace(record_event=object), Stream()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: computing)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: None)
    weights = Weights(0, torch.device("meta"))
    loads = [weights.hold(torch.ones(3, device="cpu")) for _ in range(4)]
    weights._copies = copies
    for load in loads:
        load()
        load()  # the other party's turn
    assert [entry for entry in log if entry[0] != "queued"] == [
        ("asked", 0), ("asked", 1), ("waited", 0), ("asked", 2), ("waited", 1), ("asked", 3), ("waited", 2),
    ]  # fmt: skip
    assert len(log) == 7 + 2 * len(loads), "and the device waits for each copy, whoever asks"
