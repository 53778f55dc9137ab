"""A program and its plaintext twin: run it on secrets, as planned beforehand, and compare values and bill."""

from typing import NamedTuple

import torch

import mpckit as mk


class Case(NamedTuple):
    """`f` is a function or a module; inputs at the places in `public` stay public. A module's weights are secret."""

    name: str
    f: object
    inputs: tuple
    tolerance: float = 1e-3
    public: tuple = ()


def case(name, f, *inputs, tolerance=1e-3, public=()):
    return Case(name, f, inputs, tolerance, public)


def program(f, public, *inputs):
    last = mk.Session.current().parties - 1
    f = mk.private(f, owner=last) if isinstance(f, torch.nn.Module) else f
    inputs = [x if i in public else mk.secret(x, owner=i % (last + 1)) for i, x in enumerate(inputs)]
    return [told(x) if isinstance(x, mk.SecretTensor) else x for x in listed(f(*inputs))]


def told(x: mk.SecretTensor) -> torch.Tensor:
    """The value, which has the shape and the kind that torch was told."""
    value = x.reveal()
    assert (value.shape, value.dtype) == (x.shape, x.dtype)
    return value


def listed(result) -> list:
    return list(result) if isinstance(result, (list, tuple)) else [result]


def bill(report) -> dict:
    phases = {p: (report.rounds(p), report.sent(p)) for p in ("setup", "online")}
    return {**phases, "offline": report.offline_bytes}


def agree(case: Case, parties: int = 2, **options):
    """Secret results have the plaintext's shape, dtype and values; the plan foretold every round, byte and draw."""
    want = listed(case.f(*(x.clone() for x in case.inputs)))
    plan = mk.plan(program, case.f, case.public, *case.inputs, parties=parties, **options)
    assert plan.stopped is None
    with mk.simulate(parties, insecure_seed=1, **options) as session:
        session.prepare(plan.draws)
        got = program(case.f, case.public, *case.inputs)
    torch.testing.assert_close(got, want, atol=case.tolerance, rtol=4e-4)
    assert session.report().unplanned == {} and len(session.store) == 0
    assert bill(session.report()) == bill(plan.report)
    return session.report()
