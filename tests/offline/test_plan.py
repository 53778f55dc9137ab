"""A plan knows every round, byte and draw beforehand, from shapes alone."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mpckit as mk


def infer(x, model):
    with torch.no_grad():
        return mk.private(model, owner=1)(mk.secret(x, owner=0)).reveal(to=0)


def test_the_example():
    model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(3, 4)
    plan = mk.plan(infer, x, model)
    with mk.simulate(parties=2) as session:
        session.prepare(plan.draws)  # offline: nobody has an input yet
        infer(x, model)
    assert session.report().rounds() == plan.report.rounds() == 9
    assert str(plan).endswith("from the dealer")


def train(x, target, model, epochs=2):
    """Ordinary torch, with momentum, and labels that everybody knows."""
    model, x = mk.private(model, owner=1), mk.secret(x, owner=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(epochs):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
    return loss.detach().reveal()


def evaluate(x, labels):
    """Integers, bits, choices: the accuracy of a secret classifier on secret labels."""
    scores, labels = mk.secret(x, owner=0), mk.secret(labels, owner=1)
    right = scores.argmax(1) == labels
    return right.float().mean().reveal(), torch.where(right, scores.amax(1), -1.0).reveal(to=1)


MLP = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
CNN = nn.Sequential(
    nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.AdaptiveAvgPool2d((3, 2)),
    nn.Flatten(), nn.Linear(24, 5), nn.Softmax(-1),
).eval()  # fmt: skip
PROGRAMS = {
    "a CNN": (infer, torch.randn(2, 1, 9, 9), CNN),
    "an empty batch": (infer, torch.randn(0, 6), MLP),
    "a training loop": (train, torch.randn(7, 6), torch.randint(0, 3, (7,)), MLP),
    "statistics": (evaluate, torch.randn(9, 4), torch.randint(0, 4, (9,))),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize(("parties", "truncation"), [(2, "stochastic"), (3, "exact"), (2, "local")])
def test_plan_equals_run(name, parties, truncation):
    program, *args = PROGRAMS[name]
    plan = mk.plan(program, *args, parties=parties, truncation=truncation)
    assert plan.stopped is None
    with mk.simulate(parties, truncation=truncation) as session:
        session.prepare(plan.draws)
        program(*args)
    report = session.report()
    assert report.unplanned == {} and len(session.store) == 0
    for phase in ("setup", "online"):
        lines = [
            [(e.path, e.calls, e.rounds, e.sent) for e in r.lines if e.phase == phase] for r in (report, plan.report)
        ]
        assert lines[0] == lines[1]
    assert report.offline_bytes == plan.report.offline_bytes


def of_everything(x):
    x = mk.secret(x, owner=0)
    pooled = F.max_pool2d(F.relu(x)[:, None], 2).flatten(1)
    return F.softmax(F.layer_norm(F.gelu(pooled), pooled.shape[1:]), -1).reveal(to=0)


@pytest.mark.parametrize("truncation", ["stochastic", "exact"])
@pytest.mark.parametrize("suite", ["bits", "fss"])
def test_a_plan_has_the_keys_of_a_suite_too(suite, truncation):
    x = torch.randn(3, 6, 4)
    planned = mk.plan(of_everything, x, suite=suite, truncation=truncation)
    with mk.simulate(2, suite=suite, truncation=truncation) as session:
        session.prepare(planned.draws)
        session.drawn, take = [], session.store.take
        session.store.take = lambda correlation: (session.drawn.append(correlation), take(correlation))[1]
        of_everything(x)
    report = session.report()
    assert session.drawn == list(planned.draws) and report.unplanned == {} and len(session.store) == 0
    for figure in ("offline_bytes", "key_bytes"):
        assert getattr(report, figure) == getattr(planned.report, figure)
    assert (report.key_bytes > 0) == (suite == "fss")
    assert report.rounds() == planned.report.rounds() and report.sent() == planned.report.sent()


def test_shapes_are_enough():
    """Values make no difference, not even those of public arguments."""
    x, labels, model = PROGRAMS["a training loop"][1:]
    plans = [mk.plan(train, x * scale, labels * 0, model) for scale in (1.0, 0.0, torch.inf)]
    assert plans[0].draws == plans[1].draws == plans[2].draws
    hollow = mk.plan(train, x.to("meta"), labels.to("meta"), nn.Sequential(*MLP).to("meta"))
    assert hollow.draws == plans[0].draws


def test_planning_leaves_no_trace():
    model, x = nn.Sequential(nn.Linear(4, 2)), torch.ones(1, 4)
    weights, random_state = model[0].weight.clone(), torch.get_rng_state()
    mk.plan(infer, x, model)
    assert torch.equal(weights, model[0].weight) and torch.equal(random_state, torch.get_rng_state())
    assert type(model[0].weight) is nn.Parameter and model[0].weight.device.type == "cpu"


def branching(x):
    x = mk.secret(x, owner=0)
    if x.sum().reveal() > 0:
        return (x * x).reveal()
    return x.reveal()


def test_a_branch_on_something_revealed():
    """Planned up to there; the rest is dealt on demand, and named in the report."""
    plan = mk.plan(branching, torch.ones(3))
    assert plan.stopped is not None and "planned only up to a branch on a revealed value" in str(plan)
    assert plan.report.rounds() == 2
    with mk.simulate(parties=2) as session:
        session.prepare(plan.draws)
        assert branching(torch.ones(3)).tolist() == [1, 1, 1]
    assert session.report().unplanned == {"Square": 1, "TruncPair": 1}


def test_a_mistake_is_a_mistake_in_planning_too():
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        mk.plan(lambda x: mk.secret(x, owner=0) @ torch.ones(5, 2), torch.ones(3, 4))
    with pytest.raises(mk.SecretError, match="truth value"):
        mk.plan(lambda x: bool(mk.secret(x, owner=0).sum() > 0), torch.ones(3))


def test_public_tensors_of_the_program_meet_its_arguments_as_shapes():
    def program(x, labels):
        chosen = (labels[:, None] == torch.arange(4)).float()
        return (mk.secret(x, owner=0) * chosen).sum().reveal()

    args = torch.randn(3, 4), torch.tensor([0, 3, 1])
    planned = mk.plan(program, *args)
    with mk.simulate(2) as session:
        assert (program(*args) - args[0].gather(1, args[1][:, None]).sum()).abs() < 1e-3
    assert planned.stopped is None and planned.report.sent() == session.report().sent()


@pytest.mark.parametrize("read", [lambda v: f"{v:.3f}", lambda v: v.numpy(), lambda v: v.item(), lambda v: float(v)])
def test_a_program_that_reads_a_revealed_value_is_planned_up_to_there(read):
    def program(x):
        y = mk.secret(x, owner=0).sum().reveal()
        read(y)
        return mk.secret(x, owner=0) * mk.secret(x, owner=0)

    planned = mk.plan(program, torch.ones(3))
    assert planned.stopped and planned.draws == ()


def test_other_errors_of_a_program_are_its_own():
    with pytest.raises(TypeError, match="unsupported operand"):
        mk.plan(lambda x: x + "a", torch.ones(2))
