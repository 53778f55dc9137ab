"""The suite is a choice that the bill shows:

with mk.simulate(suite="fss") as session: …
plan(program, x, suite="auto", link=mk.WAN).report     # which one, why, and a line for each
"""

import pytest
import torch

import mpckit as mk
from mpckit.offline.plan import plan
from mpckit.protocols.bit_suite import BitSuite
from mpckit.protocols.fss_suite import FssSuite
from mpckit.runtime.report import Offer, Report


def program(x):
    return torch.softmax(mk.secret(x, owner=0).relu(), -1).reveal()


X = torch.randn(4, 10)
NEAR = mk.Link("near", rtt=1e-5, bandwidth=1e9)


def test_the_example():
    with mk.simulate(suite="fss") as session:
        assert torch.allclose(program(X), torch.softmax(X.relu(), -1), atol=1e-3)
        assert "suite fss · exact truncation" in str(session.report())
    report = plan(program, X, suite="auto", link=mk.WAN).report
    assert report.suite == "fss" and [offer.suite for offer in report.offers] == ["bits", "fss"]


# ---- by name -------------------------------------------------------------------------------------


def test_names_and_defaults():
    for suite, kind, truncation in (
        (None, BitSuite, "stochastic"),
        ("bits", BitSuite, "stochastic"),
        ("fss", FssSuite, "exact"),
    ):
        session = mk.simulate(suite=suite)
        assert type(session.suite) is kind and session.truncation == truncation == session.report().truncation
        assert session.report().why == ""
    assert mk.simulate(suite="fss", truncation="stochastic").truncation == "stochastic"
    assert mk.simulate(suite="fss", range_bits=40).suite.range_bits == 40
    own = FssSuite(relu="dcf")
    assert mk.simulate(suite=own).suite is own


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"suite": "gmw"}, "suite 'gmw' is none of 'bits', 'fss' or 'auto'"),
        ({"suite": "fss", "parties": 3}, "suite 'fss' is for 2 parties, not 3: take 'bits'"),
        ({"suite": FssSuite(), "parties": 4}, "is for 2 parties, not 4"),
        ({"truncation": "up"}, "truncation is"),
        ({"range_bits": 65}, "2 to 64 bits, not 65"),
        ({"suite": FssSuite(), "truncation": "exact"}, "to the suite itself: FssSuite"),
        ({"suite": FssSuite(), "range_bits": 40}, "to the suite itself: FssSuite"),
        ({"suite": "auto", "parties": 3, "range_bits": 1}, "2 to 64 bits, not 1"),
        ({"suite": "auto", "key_budget": -1}, "key_budget is a number of bytes, 0 for none, not -1"),
        ({"suite": "fss", "key_memory": -1}, "key_memory is a number of bytes, 0 for none, not -1"),
    ],
)
def test_what_does_not_exist(options, words):
    with pytest.raises(ValueError, match=words):
        mk.simulate(**options)
    with pytest.raises(ValueError, match="'dpf' \\(two rounds\\) or 'dcf' \\(one\\), not 'dnf'"):
        FssSuite(relu="dnf")


# ---- automatically -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parties", "link", "suite", "why"),
    [(3, mk.WAN, "bits", "3 parties"), (2, mk.WAN, "fss", "60 ms"), (2, mk.LAN, "bits", "0.5 ms costs less")],
)
def test_without_a_program_the_link_decides(parties, link, suite, why):
    session = mk.simulate(parties, suite="auto", link=link)
    assert session.suite.name == suite and why in session.report().why
    assert f"suite {suite}: " in str(session.report())


def test_without_a_program_the_bill_says_when_keys_go_beyond_their_budget():
    """What comes is not known when a session begins: only a plan can keep to a budget."""
    for budget, beyond in ((1000, True), (1 << 30, False)):
        with mk.simulate(suite="auto", link=mk.WAN, key_budget=budget) as session:
            program(X)
        why = session.report().why
        assert why.startswith("a round trip of 60 ms") and ("the budget is 1 kB: mk.plan" in why) is beyond
    with mk.simulate(suite="fss", key_budget=1000) as session:  # chosen by hand: no budget asked for
        program(X)
    assert session.report().why == ""


def test_with_a_program_its_bill_decides():
    plans = {name: plan(program, X, suite=name, link=mk.WAN) for name in ("bits", "fss")}
    chosen = plan(program, X, suite="auto", link=mk.WAN)
    assert chosen.draws == plans["fss"].draws and chosen.report.diff(plans["fss"].report).same
    assert chosen.report.offers == tuple(Offer.of(p.report) for p in plans.values())
    faster, slower = (plans[name].report for name in ("fss", "bits"))
    assert faster.rounds() < slower.rounds() and faster.key_bytes > 0 == slower.key_bytes
    assert "with bits" in chosen.report.why

    tight = plan(program, X, suite="auto", link=mk.WAN, key_budget=faster.key_bytes - 1).report
    assert tight.suite == "bits" and "the keys of fss take" in tight.why
    assert plan(program, X, suite="auto", link=mk.WAN, key_budget=faster.key_bytes).report.suite == "fss"

    alone = plan(program, X, suite="auto", parties=3).report
    assert alone.suite == "bits" and len(alone.offers) == 1 and "3 parties" in alone.why


def test_the_report_has_a_line_for_each_suite():
    report = plan(program, X, suite="auto", link=mk.WAN).report
    lines = str(report).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("suite  "))
    assert lines[start].split() == "suite truncation rounds sent keys dealt wire on WAN".split()
    for line, offer in zip(lines[start + 1 :], report.offers):
        assert line.split()[0] == offer.suite and f" {offer.rounds} " in line
    assert "fss *" in lines[start + 2] and "fss *" in report.to_html()
    assert Report.from_json(report.to_json()) == report


def test_a_run_costs_what_was_offered():
    for name in ("bits", "fss"):
        with mk.simulate(suite=name, insecure_seed=1) as session:
            program(X)
        (run,) = session.report().offers
        assert run == Offer.of(plan(program, X, suite=name).report)


# ---- declared ranges -----------------------------------------------------------------------------


@pytest.mark.parametrize("suite", ["bits", "fss"])
def test_a_promise_about_the_range_makes_comparisons_cheaper(suite):
    """|x| < 2^31 in 64-bit words with 16 fraction bits: 48 bits and a sign; differences take one more."""
    x = torch.tensor([-(2.0**30), -1.5, 0.0, 2.0**30, 3.0])
    bills = {}
    for bits in (None, 48):
        with mk.simulate(suite=suite, range_bits=bits) as session:
            secret = mk.secret(x, owner=0)
            assert torch.equal(secret.relu().reveal(), x.relu())
            assert torch.equal((secret > 1).reveal(), x > 1)
            assert torch.equal(secret.max().reveal(), x.max())
            assert torch.allclose(torch.sigmoid(secret).reveal(), torch.sigmoid(x), atol=3e-4)
            bills[bits] = session.report()
    assert bills[48].sent() < bills[None].sent() and bills[48].offline_bytes < bills[None].offline_bytes
    if suite == "fss":
        assert bills[48].key_bytes < 0.85 * bills[None].key_bytes


def test_widths():
    suite, x = FssSuite(range_bits=40), mk.simulate().share(torch.zeros(1), 0).shares[0]
    assert suite.width(x) == 40, "against 0 the sign decides"
    assert suite.width(x, (1,)) == 41, "x - 1 may need a bit more"
    assert suite.width(x, (1 << 50,)) == 53, "a threshold beyond the promise"
    assert suite.width(x, (-(1 << 62),)) == 64 and FssSuite().width(x) == 64


A, B = torch.tensor([-100.0, 100.0, 100.0, -100.0]), torch.tensor([100.0, -100.0, 100.0, -100.0])
WITHIN = {
    "x >= y": lambda x, y: x >= y,
    "x <= y": lambda x, y: x <= y,
    "x > y": lambda x, y: x > y,
    "x < y": lambda x, y: x < y,
    "x == y": lambda x, y: x == y,
    "x >= 100": lambda x, y: x >= 100.0,
    "x <= -100": lambda x, y: x <= -100.0,
    "x == 612, beyond the promise": lambda x, y: x == 612.0,
    "612 > x": lambda x, y: 612.0 > x,
    "clamp from below": lambda x, y: x.clamp(min=100),
    "clamp from above": lambda x, y: x.clamp(max=-100),
    "clamp beyond the promise": lambda x, y: x.clamp(min=-3000.0),
    "clamp": lambda x, y: x.clamp(-50, 50),
    "maximum": torch.maximum,
    "softmax": lambda x, y: torch.softmax(x / 50, -1),
    "softmax of sixty": lambda x, y: torch.softmax(torch.cat((x,) * 15) * 0, -1),
    "log_softmax of sixty": lambda x, y: torch.log_softmax(torch.cat((x,) * 15) * 0, -1),
    "masked softmax": lambda x, y: (x / 50).masked_fill(torch.tensor([1, 0, 0, 1]).bool(), -torch.inf).softmax(-1),
    "topk": lambda x, y: (x - torch.arange(4.0)).topk(3).values,
    "layer_norm": lambda x, y: torch.nn.functional.layer_norm(x / 50, (4,)),
}


@pytest.mark.parametrize("suite", ["bits", "fss"])
@pytest.mark.parametrize("name", WITHIN)
def test_all_that_is_compared_within_the_promise_is_right(name, suite):
    """|x| < 2^7 and 16 fraction bits: numbers of 24 bits, differences of 25, and sums of 60 of them of more."""
    with mk.simulate(suite=suite, range_bits=24):
        out = WITHIN[name](mk.secret(A, owner=0), mk.secret(B, owner=1)).reveal()
    assert torch.allclose(out.float(), WITHIN[name](A, B).float(), atol=2e-3), out
