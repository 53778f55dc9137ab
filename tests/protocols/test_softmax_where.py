"""Softmax of what a public mask keeps, and of nothing else:

session.run(softmax_where, session.suite, scores, torch.ones(5, 5).tril().bool())
"""

import pytest
import torch
import torch.nn.functional as F

import mpckit as mk
from mpckit.offline.plan import plan
from mpckit.protocols.softmax import softmax_where
from mpckit.runtime.session import Session


def evaluate(x, keep, suite="bits", parties=2):
    session = Session(parties, suite=suite, insecure_seed=1)
    shared = session.share(x, 0)
    session.meter.ledger.clear()
    out = session.run(softmax_where, session.suite, shared, keep)
    report = session.report()
    return session.ring.decode(session.open(out)), report


def expected(x, keep):
    return x.masked_fill(~keep, -torch.inf).softmax(-1)


CAUSAL = torch.ones(7, 7).tril().bool()
torch.manual_seed(0)
RAGGED = (torch.rand(9, 13) < 0.4) | (torch.arange(13) == torch.arange(9)[:, None])


@pytest.mark.parametrize(("suite", "parties"), [("bits", 2), ("bits", 3), ("fss", 2)])
@pytest.mark.parametrize("keep", [CAUSAL, RAGGED, torch.ones(4, 6).bool(), torch.eye(5).bool()], ids=len)
@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_the_kept_entries_are_a_distribution(keep, scale, suite, parties):
    x = torch.randn(2, 3, *keep.shape) * scale
    out, _ = evaluate(x, keep, suite, parties)
    assert (out - expected(x, keep)).abs().max() < 3e-4
    assert bool((out[..., ~keep] == 0).all()), "exactly"
    assert torch.equal(out.argmax(-1), expected(x, keep).argmax(-1))


def test_a_row_of_nothing_is_refused():
    with pytest.raises(ValueError, match="the mask keeps nothing"):
        evaluate(torch.randn(2, 2), torch.tensor([[True, False], [False, False]]))


def test_no_rows():
    assert evaluate(torch.randn(0, 7, 7), CAUSAL)[0].shape == (0, 7, 7)


@pytest.mark.parametrize("suite", ["bits", "fss"])
def test_a_causal_softmax_costs_half(suite):
    keep = torch.ones(64, 64).tril().bool()
    x = torch.randn(64, 64)
    _, packed = evaluate(x, keep, suite)
    session = Session(2, suite=suite, insecure_seed=1)
    shared = session.share(x, 0)
    session.meter.ledger.clear()
    session.run(mk.aten.table.functions.softmax, session.suite, shared)
    whole = session.report()
    assert packed.rounds() == whole.rounds()
    assert packed.sent() < 0.6 * whole.sent() and packed.key_bytes <= 0.56 * whole.key_bytes


@pytest.mark.parametrize("suite", ["bits", "fss"])
def test_attention_is_causal_and_planned(suite):
    q, k, v = torch.randn(3, 2, 4, 6, 8)

    def program(q, k, v):
        q, k, v = (mk.secret(t, owner=0) for t in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).reveal()

    with mk.simulate(suite=suite) as session:
        out = program(q, k, v)
    assert (out - F.scaled_dot_product_attention(q, k, v, is_causal=True)).abs().max() < 2e-3
    planned = plan(program, q, k, v, suite=suite).report
    assert planned.diff(session.report()).same
