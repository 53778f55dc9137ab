"""Products with public numbers wait, and of a sum of them only the sum is truncated:

x * cos + y * sin        # the price of one product
"""

import pytest
import torch

import mpckit as mk

ULP = 2.0**-16
SUITES = pytest.mark.parametrize(("suite", "parties"), [("bits", 2), ("bits", 3), ("fss", 2)])
X, Y, COS, SIN = torch.randn(4, 3, 6, generator=torch.Generator().manual_seed(4)).unbind()


def run(f, *inputs, parties=2, **options):
    """(f of secrets, revealed; rounds; bytes), as planned."""

    def program(*inputs):
        return f(*(mk.secret(x, owner=0) for x in inputs))

    plan = mk.plan(lambda *inputs: program(*inputs).reveal(), *inputs, parties=parties, **options)
    with torch.no_grad(), mk.simulate(parties, insecure_seed=3, **options) as session:
        session.prepare(plan.draws)
        out = program(*inputs).reveal()
        report = session.report()
    assert report.unplanned == {} and len(session.store) == 0
    assert (report.rounds(), report.sent()) == (plan.report.rounds(), plan.report.sent())
    return out, report.rounds(), report.sent()


def rotary(x, y):
    return x * COS + y * SIN


@SUITES
def test_a_sum_of_products_costs_what_one_does(suite, parties):
    options = {"suite": suite, "parties": parties}
    (one, *price), (two, *more) = run(lambda x, y: x * COS, X, Y, **options), run(rotary, X, Y, **options)
    assert (one - X * COS).abs().max() <= 3 * ULP and (two - rotary(X, Y)).abs().max() <= 4 * ULP
    assert more == price


def test_one_bill_line_has_it():
    with mk.simulate() as session:
        rotary(mk.secret(X, owner=0), mk.secret(Y, owner=0)).reveal()
    lines = {line.path: line.rounds for line in session.report().lines if line.phase == "online"}
    assert lines["mul"] > 0 and lines.get("add", 0) == 0


CASES = {
    "three of them": lambda x, y: x * COS + y * SIN + x * SIN,
    "beside something else": lambda x, y: x * COS + y + 1,
    "of two shapes": lambda x, y: x * COS + y[:1] * SIN[:1],
    "twice": lambda x, y: (x * COS) + (x * COS).sum() + x * COS,
    "one asked for before it is added": lambda x, y: (lambda a: a.relu() + (a + y * SIN))(x * COS),
    "subtracted": lambda x, y: x * COS - y * SIN,
    "times a secret": lambda x, y: (x * COS + y * SIN) * x,
    "a root of it": lambda x, y: (x.abs() * COS.abs() + 1) ** 0.5,
    "a view": lambda x, y: (x * COS + y * SIN).mT.reshape(-1)[3:7],
    "whole numbers": lambda x, y: x * (10 * COS).round() + y * torch.ones(3, 6),
    "large and small": lambda x, y: x * 1000 * COS * 1e-3 + y * (SIN * 1e-4),
    "nothing": lambda x, y: x[:0] * COS[:0] + y[:0] * SIN[:0],
}


@pytest.mark.parametrize("suite", ["bits", "fss"])
@pytest.mark.parametrize("name", CASES)
def test_values(name, suite):
    f = CASES[name]
    out, _, _ = run(f, X, Y, suite=suite)
    torch.testing.assert_close(out, f(X, Y), atol=40 * ULP, rtol=3e-4)


def test_what_is_written_later_is_not_added():
    def f(x, y):
        product = x * COS
        x += 100
        y *= SIN
        return product + y

    out, _, _ = run(f, X, Y)
    assert (out - (X * COS + Y * SIN)).abs().max() <= 6 * ULP


def test_gradients():
    with mk.simulate(insecure_seed=1):
        x = mk.secret(X, owner=0).requires_grad_()
        rotary(x, x).sum().backward()
        assert (x.grad.reveal() - COS - SIN).abs().max() <= 4 * ULP


def test_the_domain():
    """As far as one product goes, but for a factor of two; whole parts are exact."""
    far = torch.full((2,), 2.0**29)
    out, _, _ = run(lambda x: x * torch.tensor([0.75, 2.0]) + x * torch.tensor([0.75, 1.0]), far)
    assert torch.equal(out, far * torch.tensor([1.5, 3.0]))
