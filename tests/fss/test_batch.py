"""Keys of a whole tensor, in chunks, for one use: what comes out is what each key says for itself.

keys = Keys.join([Keys.of(key[:3]), Keys.of(key[3:])])
keys.equal(x)      # as dpf.eval(key, x)
keys.equal(x)      # ReuseError
"""

import pytest
import torch
from test_dpf import streams

from mpckit import kernels
from mpckit.fss import Keys, batch, dcf, dpf
from mpckit.once import ReuseError

N, BITS = 11, 9
ALPHA = torch.arange(N) * 37
X = torch.stack((ALPHA, ALPHA + 1, ALPHA * 0)) & 511
TABLES = torch.arange(2 << BITS).reshape(2, -1) ** 2
PAIR = dpf.gen(ALPHA, BITS, streams("batch"))
RAMP = dcf.gen(ALPHA, torch.stack((ALPHA, -ALPHA, ALPHA + 5)), BITS, streams("batch"), 40)
CALLS = {
    "less_than": (PAIR, lambda keys: keys.less_than(X), lambda key: dpf.less_than(key, X)),
    "equal": (PAIR, lambda keys: keys.equal(X), lambda key: dpf.eval(key, X)),
    "payload": (RAMP, lambda keys: keys.payload(X[1]), lambda key: dcf.eval(key, X[1])),
    "look_up": (
        PAIR,
        lambda keys: keys.look_up(X[1], TABLES),
        lambda key: kernels.signed_lookup(X[1], dpf.eval_all(key), TABLES, key.party == 0),
    ),
}


def chunked(key, *ends):
    return Keys.join([Keys.of(key[a:b]) for a, b in zip((0, *ends), (*ends, len(key)))])


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("ends", [(), (3,), (1, 2, 10), (0, 5, 5)])
@pytest.mark.parametrize("party", [0, 1])
def test_chunks_are_evaluated_where_they_belong(name, ends, party):
    pair, call, expected = CALLS[name]
    keys = chunked(pair[party], *ends)
    assert len(keys) == N and keys.party == party
    out, truth = call(keys), expected(pair[party])
    assert out.dtype == truth.dtype and torch.equal(out, truth)


@pytest.mark.parametrize("first", CALLS)
def test_one_use_of_any_kind(first):
    keys = chunked(PAIR[0] if first != "payload" else RAMP[0], 4)
    CALLS[first][1](keys)
    assert len(keys) == 0
    for _, call, _ in CALLS.values():
        with pytest.raises(ReuseError, match="these keys have been used"):
            call(keys)
    with pytest.raises(ReuseError):
        Keys.join([keys])


def test_parts_are_spent_by_their_union():
    parts = [Keys.of(PAIR[0][:3]), Keys.of(PAIR[0][3:])]
    whole = Keys.join(parts)
    for part in parts:
        with pytest.raises(ReuseError):
            part.equal(X[:, :3])
    assert torch.equal(whole.equal(X), dpf.eval(PAIR[0], X))


def test_an_error_on_the_way_spends_all_chunks():
    def lost():
        raise OSError("the disk is gone")

    loads = []
    chunks = [(3, lambda: loads.append(0) or PAIR[0][:3]), (4, lost), (4, lambda: loads.append(2) or PAIR[0][7:])]
    keys = Keys(0, chunks)
    with pytest.raises(OSError, match="gone"):
        keys.equal(X)
    with pytest.raises(ReuseError):
        keys.equal(X)
    assert loads == [0], "no chunk is fetched again"
    for wrong in (X.double(), X[:, :5]):  # points that do not fit spend the keys too: nobody knows what has been said
        keys = chunked(PAIR[0], 4)
        with pytest.raises((ValueError, RuntimeError)):
            keys.equal(wrong)
        with pytest.raises(ReuseError):
            keys.equal(X)


def test_no_keys_at_all():
    for party in (0, 1):
        keys = Keys.of(PAIR[party][:0])
        assert len(keys) == 0 and keys.equal(X[:, :0]).shape == (3, 0)
        with pytest.raises(ReuseError):
            keys.equal(X[:, :0])


@pytest.mark.parametrize("bits", [5, 7, 12, 40])
def test_keys_side_by_side_are_the_same_functions(bits):
    torch.manual_seed(bits)
    alpha, x = torch.randint(-(2**63), 2**63 - 1, (2, 50))
    points = dpf.gen(alpha, bits, streams("points"))
    ramps = dcf.gen(alpha, torch.stack((alpha, x, x)), bits, streams("ramps"))
    for one, two, evaluate in ((*points, dpf.less_than), (*ramps, dcf.eval)):
        for key in (one, two):
            parts = [key[:20], key[20:21], key[21:]]
            assert torch.equal(evaluate(batch.joined(parts), x), evaluate(key, x))


def test_on_a_gpu_chunks_are_evaluated_together_up_to_a_bound(monkeypatch):
    class Elsewhere:  # a key that is not on the CPU
        def __init__(self, count):
            self.count, self.root = count, torch.empty(0, device="meta")

        def __len__(self):
            return self.count

    monkeypatch.setattr(batch, "AT_ONCE", 10)
    monkeypatch.setattr(batch, "joined", lambda keys: Elsewhere(sum(map(len, keys))))
    seen, chunks = [], [(n, lambda n=n: Elsewhere(n)) for n in (4, 4, 4, 20, 1, 9, 1)]
    x = torch.arange(43)
    found = batch.Keys(0, chunks)._evaluate(lambda key, x: seen.append(len(key)) or x, x)
    assert seen == [8, 4, 20, 10, 1] and torch.equal(found, x)
