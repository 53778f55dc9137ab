"""`private` hides a model's weights, once; `check` says beforehand whether a model will run, and what it will cost."""

import copy

import pytest
import torch
from torch import nn

import mpckit as mk
from mpckit.nn import check
from mpckit.zoo import lenet


class Net(nn.Module):
    """Tied weights, a list of layers, buffers of all kinds, and a norm."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)])
        self.layers[2].weight = self.layers[0].weight
        self.register_buffer("shift", torch.randn(4))
        self.register_buffer("mask", torch.tensor([True, False, True, True]))
        self.register_buffer("places", torch.tensor([3, 1, 2, 0]), persistent=False)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return torch.where(self.mask, (x + self.shift)[:, self.places], 0.0)


@pytest.fixture
def net():
    return Net().eval()


X = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))


def test_the_example(net):
    with mk.simulate(parties=2) as session, torch.no_grad():
        y = mk.private(net, owner=1)(mk.secret(X, owner=0))
        torch.testing.assert_close(y.reveal(), net(X), atol=1e-3, rtol=0)
    assert session.report().rounds("setup") == 3  # shares, integer buffers in clear, masked matrices


def test_a_copy_that_keeps_its_ties(net):
    before = copy.deepcopy(net.state_dict())
    with mk.simulate(parties=2):
        model = mk.private(net, owner=0)
        assert type(model) is Net and model.layers[0].weight is model.layers[2].weight
        assert all(isinstance(p, nn.Parameter) and isinstance(p, mk.SecretTensor) for p in model.parameters())
        assert [n for n, _ in model.named_parameters()] == [n for n, _ in net.named_parameters()]
        assert isinstance(model.shift, mk.SecretTensor) and not isinstance(model.shift, nn.Parameter)
        assert torch.equal(model.mask, net.mask) and torch.equal(model.places, net.places)
        assert model.layers[1].num_batches_tracked.dtype == torch.int64 and not model.training
        with pytest.raises(mk.SecretError, match="private already"):
            mk.private(model, owner=0)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), net.state_dict().values()))
    assert not any(isinstance(p, mk.SecretTensor) for p in net.parameters()) and not net.layers[0]._forward_hooks


def test_frozen_weights_stay_frozen(net):
    net.layers[2].bias.requires_grad_(False)
    with mk.simulate(parties=2):
        model = mk.private(net, owner=1)
        assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in net.parameters()]


def test_masks_are_set_up_once_and_follow_views(net):
    """A product with a weight opens the other factor only, whatever view of the weight it meets."""
    with mk.simulate(parties=2) as session, torch.no_grad():
        model = mk.private(net, owner=1)
        w = model.layers[0].weight
        assert w.shared.shares[0].fixed is not None and model.layers[0].bias.shared.shares[0].fixed is None
        plain = net.layers[0].weight
        for view, want in [
            (w, plain),
            (w.t(), plain.t()),
            (w.view(2, 8).view(4, 4).transpose(0, 1), plain.T),
            (w[None].expand(3, 4, 4)[1], plain),
            (w.clone(), plain),
        ]:
            session.meter.ledger.clear()
            torch.testing.assert_close((mk.secret(X, owner=0) @ view).reveal(), X @ want, atol=1e-3, rtol=0)
            assert session.meter.ledger["online", "mm"].sent[0] == 8 * (12 + 12) + 2 * 24
        session.meter.ledger.clear()
        (mk.secret(X, owner=0) @ (w * 1.0)).reveal()  # a new value, under no mask
        assert session.meter.ledger["online", "mm"].sent[0] == 8 * (12 + 16 + 12) + 2 * 24


def test_a_batch_norm_is_folded_by_its_owner(net):
    """The inverse root is taken in plaintext: at run time a factor and a summand; until the statistics change."""
    norm = net.layers[1]
    norm.running_var.uniform_(0.5, 2)
    with mk.simulate(parties=2) as session, torch.no_grad():
        secret_norm = mk.private(norm, owner=1)
        x = mk.secret(X, owner=0)
        session.meter.ledger.clear()
        torch.testing.assert_close(secret_norm(x).reveal(), norm(X), atol=1e-3, rtol=0)
        assert session.meter.total().rounds == 2 + 1
        norm.weight.mul_(2.0)
        secret_norm.weight.mul_(2.0)
        torch.testing.assert_close(secret_norm(x).reveal(), norm(X), atol=2e-3, rtol=0)


def test_batch_norm_in_training():
    norm = nn.BatchNorm1d(4).train()
    with mk.simulate(parties=2):
        secret_norm = mk.private(norm, owner=1)
        y = secret_norm(mk.secret(X, owner=0))
        torch.testing.assert_close(y.detach().reveal(), norm(X).detach(), atol=2e-3, rtol=0)
        for name in ("running_mean", "running_var"):
            got, want = (getattr(m, name) for m in (secret_norm, norm))
            torch.testing.assert_close(got.reveal(), want, atol=1e-3, rtol=0)


def test_costs_are_booked_on_layers(net):
    with mk.simulate(parties=2) as session, torch.no_grad():
        mk.private(net, owner=1)(mk.secret(X, owner=0))
    layers = session.report().by_layer()
    assert [n for n in layers if n.startswith("layers")] == ["layers.0", "layers.1", "layers.2"]
    assert session.report().by_layer("setup").keys() == {"private"}


def test_a_shared_layer_has_one_name():
    relu = nn.ReLU()
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), relu), nn.Sequential(nn.Linear(4, 4), relu))
    with mk.simulate(parties=2) as session, torch.no_grad():
        mk.private(model, owner=1)(mk.secret(X, owner=0))
    assert list(session.report().by_layer()) == ["secret", "0/0", "0/1", "1/0", "1/1"]


def test_a_layer_that_fails_leaves_the_path_as_it_was(net):
    with mk.simulate(parties=2) as session:
        model = mk.private(net, owner=1)
        with pytest.raises(RuntimeError, match="cannot be multiplied"):
            model(mk.secret(torch.ones(3, 5), owner=0))
        assert session.meter.path == ""


def test_whose_model_it_is(net):
    hollow = copy.deepcopy(net).to("meta")
    with mk.simulate(parties=2):
        with pytest.raises(ValueError, match="party 1 owns this value of shape .* only its shape is here"):
            mk.private(hollow, owner=1)
        with pytest.raises(ValueError, match="owner 2 is none of the parties 0 to 1"):
            mk.private(net, owner=2)


BROKEN = {
    "layers.0.bias: nan does not fit": lambda net: net.layers[0].bias.fill_(float("nan")),
    "layers.0.weight: -inf does not fit": lambda net: net.layers[0].weight[1, 2].fill_(-float("inf")),
    "layers.2.bias: 99999.* does not fit": lambda net: net.layers[2].bias[3].fill_(1e15),
    "shift: nan does not fit": lambda net: net.shift[0].fill_(float("nan")),
    "layers.1, its variance and mean folded: nan does not fit": lambda net: net.layers[1].running_var[1].fill_(-1),
}


@pytest.mark.parametrize("message", BROKEN)
@pytest.mark.parametrize("options", [{}, {"weight_memory": 1}], ids=["at once", "in groups"])
def test_weights_that_do_not_fit_are_named_before_anything_is_sent(message, options, net):
    with torch.no_grad():
        BROKEN[message](net)
    with mk.simulate(parties=2, **options) as session, pytest.raises(mk.RangeError, match=message):
        mk.private(net, owner=1)
    assert session.report().sent("setup") == session.report().rounds("setup") == 0


def test_half_precision_and_masks_of_infinity_fit():
    """A mask that follows from the architecture becomes public as it is, and 16-bit weights are weights."""

    class Masked(nn.Linear):
        def __init__(self):
            super().__init__(4, 4, dtype=torch.bfloat16)
            self.register_buffer("hidden", torch.full((4,), -float("inf")), persistent=False)

    with mk.simulate(parties=2):
        assert torch.equal(mk.private(Masked(), owner=0).hidden, torch.full((4,), -float("inf")))


def test_without_weights():
    with mk.simulate(parties=2):
        assert mk.private(nn.ReLU(), owner=0)(mk.secret([-1.0, 2.0], owner=0)).reveal().tolist() == [0, 2]


# ---- check -----------------------------------------------------------------------------------------------------------


def test_check_foretells_the_bill():
    found = check(lenet(), torch.zeros(1, 1, 28, 28))
    assert found and found.missing == {} and found.plan.report.rounds() == 34  # and one to reveal
    assert str(found).startswith("every operator has a row\none inference: 34 rounds, 94 kB")


def test_check_lists_all_that_is_missing():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.line = nn.ConvTranspose2d(1, 1, 2), nn.Linear(5, 2)

        def forward(self, x):
            x = torch.sin(self.up(x))
            return torch.cos(self.line(torch.sin(x)))

    found = check(Odd(), torch.zeros(1, 1, 4, 4))
    assert not found and found.plan.stopped is None
    assert list(found.missing) == ["aten.convolution.default", "aten.sin.default", "aten.cos.default"]
    assert found.missing["aten.sin.default"] == ["secret [1, 1, 5, 5]"]
    assert "3 operators have no row" in str(found) and "not counting what is missing" in str(found)


def test_check_takes_token_numbers_as_public():
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2))
    assert check(model, torch.tensor([[1, 2, 3]]), parties=3)


class NewGELUActivation(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(3 * x)


class RMSNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.randn(4, generator=torch.Generator().manual_seed(2))), 1e-6

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * (1 + self.weight)


def test_a_class_of_ones_own_computes_what_it_says_whatever_its_name():
    """Those of torch and transformers with these names are one protocol each; these are others."""
    model = nn.Sequential(RMSNorm(), NewGELUActivation())
    with mk.simulate(insecure_seed=1), torch.no_grad():
        got = mk.private(model, owner=1)(mk.secret(X, owner=0)).reveal()
    torch.testing.assert_close(got, model(X).detach(), atol=2e-3, rtol=0)


class Unlisted(nn.Module):
    def __init__(self, weights):
        super().__init__()
        self.weights = weights

    def forward(self, x):
        return x @ self.weights[0]


@pytest.mark.parametrize("weights", [[nn.Parameter(torch.ones(4, 4))], {0: nn.Linear(4, 4)}])
def test_parameters_in_a_plain_list_are_not_left_in_clear(weights):
    with mk.simulate(), pytest.raises(ValueError, match="1.weights is a (list|dict) .* clear.*nn.ParameterList"):
        mk.private(nn.Sequential(nn.ReLU(), Unlisted(weights)), owner=1)
    with mk.simulate(insecure_seed=1), torch.no_grad():
        listed = mk.private(Unlisted(nn.ParameterList([torch.eye(4)])), owner=1)
        torch.testing.assert_close(listed(mk.secret(X, owner=0)).reveal(), X, atol=1e-3, rtol=0)


@pytest.mark.parametrize("f", [torch.mul, torch.add, torch.gt, lambda x, y: torch.where(y > 0, x, 0.0)])
def test_a_public_tensor_without_values_is_named(f):
    """As the other parties have of a model that keeps one as a plain attribute."""
    with mk.simulate(), pytest.raises(mk.SecretError, match=r"public tensor of shape \(4,\) .* register_buffer"):
        f(mk.secret(X, owner=0), torch.empty(4, device="meta"))
