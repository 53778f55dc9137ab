"""A training step on secrets: gradients and weights as in plaintext, and nothing opened but masked values."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mpckit as mk
from mpckit.runtime import round as rounds
from mpckit.share import BShare

torch.manual_seed(1)
X, TARGET, LABELS = torch.randn(16, 6), torch.randn(16, 3), torch.randint(0, 3, (16,))
LOSSES = {
    "mse": (F.mse_loss, TARGET, True),
    "by hand": (lambda out, t: ((out - t) ** 2).mean(), TARGET, True),
    "huber": (F.huber_loss, TARGET, True),
    "cross entropy": (F.cross_entropy, LABELS, False),
    "soft labels": (F.cross_entropy, TARGET.softmax(1), True),
    "nll": (lambda out, t: F.nll_loss(out.log_softmax(1), t), LABELS, False),
    "binary": (lambda out, t: F.binary_cross_entropy_with_logits(out, t), TARGET.sigmoid(), True),
}
OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.5),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.9, nesterov=True, weight_decay=0.01),
    "averaged": lambda p: torch.optim.ASGD(p, lr=0.2),
}


def network(activation=nn.ReLU):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), activation(), nn.Linear(8, 3))


def train(model, optimizer, x, target, loss, steps=2):
    """An ordinary training loop."""
    optimizer = optimizer(model.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss(model(x), target)
        value.backward()
        optimizer.step()
    return value


def secretly(optimizer, loss, steps=2, activation=nn.ReLU):
    """The same on secrets: (loss, parameters, their gradients)."""
    f, target, is_secret = LOSSES[loss]
    model = mk.private(network(activation), owner=1)
    x, target = mk.secret(X, owner=0), mk.secret(target, owner=0) if is_secret else target
    return train(model, OPTIMIZERS[optimizer], x, target, f, steps), list(model.parameters())


@pytest.mark.parametrize(
    ("optimizer", "loss", "suite"),
    [
        *(("SGD", n, "bits") for n in LOSSES),
        *((n, "mse", "bits") for n in OPTIMIZERS),
        *(("SGD", n, "fss") for n in ("huber", "cross entropy", "soft labels", "binary")),
    ],
)
def test_two_steps_as_in_plaintext(optimizer, loss, suite):
    f, target, _ = LOSSES[loss]
    plain = network()
    want = train(plain, OPTIMIZERS[optimizer], X, target, f)
    with mk.simulate(parties=2, suite=suite):
        value, parameters = secretly(optimizer, loss)
        assert all(isinstance(t, mk.SecretTensor) for p in parameters for t in (p, p.grad))
        torch.testing.assert_close(value.detach().reveal(), want.detach(), atol=1e-3, rtol=0)
        for p, q in zip(parameters, plain.parameters()):
            torch.testing.assert_close(p.detach().reveal(), q.detach(), atol=1e-3, rtol=0)
            torch.testing.assert_close(p.grad.reveal(), q.grad, atol=1e-3, rtol=0)


@pytest.mark.parametrize("activation", [nn.Sigmoid, nn.Tanh, nn.GELU, nn.SiLU, nn.LeakyReLU, nn.Softplus, nn.Hardtanh])
def test_activations(activation):
    plain = network(activation)
    train(plain, OPTIMIZERS["SGD"], X, TARGET, F.mse_loss, 1)
    with mk.simulate(parties=2):
        _, parameters = secretly("SGD", "mse", 1, activation)
        for p, q in zip(parameters, plain.parameters()):
            torch.testing.assert_close(p.detach().reveal(), q.detach(), atol=1e-3, rtol=0)


PICTURES = torch.randn(4, 2, 8, 7)
LAYERS = {
    "Conv2d": lambda: nn.Conv2d(4, 6, 3),
    "Conv2d, all options": lambda: nn.Conv2d(4, 6, 3, stride=3, groups=2, dilation=2, padding=2),
    "Conv2d, oblong": lambda: nn.Conv2d(4, 2, (1, 2), stride=(2, 1)),
    "MaxPool2d": lambda: nn.MaxPool2d(2),
    "MaxPool2d, overlapping": lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "AvgPool2d": lambda: nn.AvgPool2d(3, 2, 1),
    "AvgPool2d, border not counted": lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "AdaptiveAvgPool2d": lambda: nn.AdaptiveAvgPool2d((3, 2)),
    "AdaptiveMaxPool2d": lambda: nn.AdaptiveMaxPool2d((3, 2)),
    "GroupNorm": lambda: nn.GroupNorm(2, 4),
    "Softmax": lambda: nn.Softmax(1),
    "Conv1d": lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(4, 3, 5, stride=2, padding=1), nn.MaxPool1d(3)),
    "LayerNorm": lambda: nn.Sequential(nn.Flatten(), nn.Linear(224, 6), nn.LayerNorm(6)),
    "BatchNorm1d": lambda: nn.Sequential(nn.Flatten(), nn.Linear(224, 6), nn.BatchNorm1d(6)),
    "ELU, PReLU": lambda: nn.Sequential(nn.ELU(), nn.PReLU()),
    "Hardswish, Mish": lambda: nn.Sequential(nn.Hardswish(), nn.Mish()),
}


def gradients(x, target, model):
    model = mk.private(model, owner=1)
    F.mse_loss(model(mk.secret(x, owner=0)), mk.secret(target, owner=0)).backward()
    return [p.grad.reveal() for p in model.parameters()]


@pytest.mark.parametrize(
    ("name", "suite"),
    [*((n, "bits") for n in LAYERS), *((n, "fss") for n in ("MaxPool2d", "AvgPool2d", "GroupNorm", "Softmax"))],
)
def test_gradients_through_layers_and_their_bill(name, suite):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), LAYERS[name](), nn.Flatten(), nn.LazyLinear(3))
    F.mse_loss(plain(PICTURES), TARGET[:4]).backward()
    plan = mk.plan(gradients, PICTURES, TARGET[:4], plain, suite=suite)
    with mk.simulate(parties=2, insecure_seed=1, suite=suite) as session:
        session.prepare(plan.draws)
        for got, p in zip(gradients(PICTURES, TARGET[:4], plain), plain.parameters()):
            torch.testing.assert_close(got, p.grad, atol=3e-3, rtol=0)
    assert session.report().unplanned == {} and len(session.store) == 0 and plan.stopped is None
    assert (session.report().rounds(), session.report().sent()) == (plan.report.rounds(), plan.report.sent())


def test_three_parties():
    plain = network()
    train(plain, OPTIMIZERS["SGD"], X, LABELS, F.cross_entropy)
    with mk.simulate(parties=3):
        _, parameters = secretly("SGD", "cross entropy")
        for p, q in zip(parameters, plain.parameters()):
            torch.testing.assert_close(p.detach().reveal(), q.detach(), atol=1e-3, rtol=0)


# ---- what is opened --------------------------------------------------------------------------------------------------


def openings(monkeypatch, seed):
    """All that is opened in a training run: (scope, opened bits as bool [n, width])."""
    seen, answer = [], rounds.joined

    def watch(asks, here):
        replies = answer(asks, here)
        for item, value in zip(rounds.items(asks[0]), replies[0]):
            if isinstance(item, mk.Open):
                for share, v in zip(item.shares, value if isinstance(value, tuple) else (value,)):
                    width = share.bits if not isinstance(share, BShare) or v.dtype != torch.bool else 1
                    bits = (v.to(torch.int64).reshape(-1, 1) >> torch.arange(width)) & 1
                    seen.append((session.meter.path, bits.bool()))
        return replies

    with monkeypatch.context() as patch, mk.simulate(parties=2, insecure_seed=seed) as session:
        patch.setattr(rounds, "joined", watch)
        value, _ = secretly("SGD", "cross entropy")
        value.detach().reveal()
    return seen


def test_nothing_is_opened_unmasked_but_the_answer(monkeypatch):
    """Two runs on the same inputs, other randomness: a masked value changes half its bits, an open one next to none."""
    first, second = openings(monkeypatch, 1), openings(monkeypatch, 2)
    assert [scope for scope, _ in first] == [scope for scope, _ in second] and len(first) > 100
    for (scope, a), (_, b) in zip(first, second):
        changed, n = int((a ^ b).sum()), a.numel()
        if scope.endswith("reveal"):
            assert changed < n / 4, "the control: this one is open"
        else:
            assert abs(changed - n / 2) < 3.5 * n**0.5, f"{scope} opened something in clear: {changed} of {n} bits"
    assert sum(scope.endswith("reveal") for scope, _ in first) == 1


def test_a_step_leaves_the_mask_behind():
    """A mask hides one value; the weight's next value must not meet it, or their difference would be seen."""
    with mk.simulate(parties=2) as session:
        model = mk.private(network(), owner=1)
        weight = model[0].weight
        before = weight.shared.shares[0].fixed
        assert before is not None and model[0].bias.shared.shares[0].fixed is None
        train(model, OPTIMIZERS["SGD"], mk.secret(X, owner=0), mk.secret(TARGET, owner=0), F.mse_loss, 1)
        assert all(s.fixed is None for p in model.parameters() for s in p.shared.shares)
        assert weight.t().shared.shares[0].fixed is None
        session.meter.ledger.clear()
        with torch.no_grad():
            model[0](mk.secret(X, owner=0)).reveal()
        opened = session.meter.ledger["online", "0/addmm"].sent[0]
        assert opened == 8 * (X.numel() + weight.numel() + 16 * 8) + 2 * 24  # the product opens the weight as well


# ---- gradients, in place writes --------------------------------------------------------------------------------------


def test_gradients_add_up_until_they_are_cleared():
    with mk.simulate(parties=2):
        w = torch.nn.Parameter(mk.secret(torch.ones(3, 2), owner=0))
        x = mk.secret(torch.full((4, 3), 0.5), owner=1)
        for _ in range(2):
            (x @ w).sum().backward()
        torch.testing.assert_close(w.grad.reveal(), torch.full((3, 2), 4.0), atol=1e-3, rtol=0)
        torch.optim.SGD([w], lr=1).zero_grad(set_to_none=False)
        assert w.grad.reveal().abs().max() == 0
        assert isinstance(w.grad, mk.SecretTensor) and not w.grad.requires_grad


def test_gradients_of_gradients_stay_secret():
    with mk.simulate(parties=2):
        x = mk.secret(torch.tensor([1.0, 2.0]), owner=0).requires_grad_()
        (slope,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), x)
        torch.testing.assert_close(bend.reveal(), torch.tensor([6.0, 12.0]), atol=5e-3, rtol=0)


def test_clipping():
    plain = network()
    F.mse_loss(plain(X), TARGET).backward()
    torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.1)
    with mk.simulate(parties=2):
        model = mk.private(network(), owner=1)
        F.mse_loss(model(mk.secret(X, owner=0)), mk.secret(TARGET, owner=0)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        for p, q in zip(model.parameters(), plain.parameters()):
            torch.testing.assert_close(p.grad.reveal(), q.grad, atol=1e-3, rtol=0)


def test_an_eps_below_the_unit_is_named():
    with (
        mk.simulate(parties=2),
        pytest.warns(UserWarning, match="1e-08 has no effect on a secret whose unit is 2\\^-16"),
    ):
        mk.secret(torch.ones(2), owner=0).add_(1e-8)


ALONE = {
    "linear": (nn.Linear(4, 3), (2, 4)),
    "conv": (nn.Conv2d(2, 3, 2), (1, 2, 4, 4)),
    "groups": (nn.Conv1d(2, 4, 2, groups=2), (1, 2, 5)),
    "layer norm": (nn.LayerNorm(4), (2, 4)),
    "group norm": (nn.GroupNorm(2, 4), (2, 4, 3)),
    "batch norm": (nn.BatchNorm1d(4), (5, 4)),
    "batch norm at rest": (nn.BatchNorm1d(4).eval(), (5, 4)),
    "prelu": (nn.PReLU(), (3, 4)),
}


@pytest.mark.parametrize("name", ALONE)
def test_a_gradient_that_nobody_needs_to_hide_can_be_revealed_as_the_others(name):
    """That of a sum by a bias, say, is public: 1 for each output."""
    layer, shape = ALONE[name]
    layer, x = copy.deepcopy(layer), torch.randn(shape, requires_grad=True)
    layer(x).sum().backward()
    with mk.simulate(truncation="exact"):
        secret_layer = mk.private(layer, owner=1)
        secret_x = mk.secret(x.detach(), owner=0).requires_grad_()
        secret_layer(secret_x).sum().backward()
        for got, want in zip((secret_x, *secret_layer.parameters()), (x, *layer.parameters()), strict=True):
            assert isinstance(got.grad, mk.SecretTensor)
            assert torch.allclose(got.grad.reveal(), want.grad, atol=5e-3)


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("secretly", [False, True], ids=["public", "secret"])
def test_the_first_layer_learns_from_numbers_that_have_no_gradient(name, secretly):
    layer, shape = ALONE[name]
    layer, x, aim = copy.deepcopy(layer), torch.randn(shape), torch.randn(())
    (layer(x) - aim).square().sum().backward()
    with mk.simulate(truncation="exact"):
        secret_layer = mk.private(layer, owner=1)
        out = secret_layer(mk.secret(x, owner=0) if secretly else x)
        (out - aim).square().sum().backward()
        for got, want in zip(secret_layer.parameters(), layer.parameters(), strict=True):
            assert torch.allclose(got.grad.reveal(), want.grad, atol=2e-2)


@pytest.mark.parametrize("name", ALONE)
def test_a_private_layer_takes_public_numbers(name):
    layer, shape = ALONE[name]
    x = torch.randn(shape)
    with torch.no_grad(), mk.simulate(truncation="exact"):
        assert torch.allclose(mk.private(layer, owner=1)(x).reveal(), copy.deepcopy(layer)(x), atol=2e-3)
