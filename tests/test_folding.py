"""A batch norm that is folded into the layer before it costs nothing:

    mk.private(mk.fold(model), owner=1)
"""

import copy

import pytest
import torch
from torch import nn

import mpckit as mk
from mpckit.folding import Gone


class Block(nn.Module):
    """A norm after a convolution; one whose convolution others read too; one at the door; one after a matrix."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.door, self.conv, self.norm = nn.BatchNorm2d(2), nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.shared, self.after_shared = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.line, self.flat_norm = nn.Linear(4, 3), nn.BatchNorm1d(3)
        for m in self.modules():
            if isinstance(m, nn.modules.batchnorm._BatchNorm):
                for tensor in (m.weight, m.bias, m.running_mean, m.running_var):
                    nn.init.uniform_(tensor, 0.5, 2)

    def forward(self, x):
        y = self.norm(self.conv(self.door(x)))
        z = self.shared(y)
        return self.flat_norm(self.line((self.after_shared(z) + z).mean((-1, -2))))


X = torch.randn(3, 2, 5, 5, generator=torch.Generator().manual_seed(1))


def test_the_example():
    model = Block().eval()
    before = copy.deepcopy(model.state_dict())
    folded = mk.fold(model)
    with torch.no_grad():
        torch.testing.assert_close(folded(X), model(X))
        with mk.simulate() as session:
            got = mk.private(folded, owner=1)(mk.secret(X, owner=0)).reveal()
            torch.testing.assert_close(got, model(X), atol=2e-3, rtol=0)
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in before.items()), "the model itself has changed"
    assert not {"norm", "flat_norm"} & set(session.report().by_layer())


def test_only_what_nobody_else_reads_is_folded():
    folded = mk.fold(Block().eval())
    gone = [n for n, m in folded.named_modules() if isinstance(m, Gone)]
    assert gone == ["norm", "flat_norm"]
    assert folded.conv.bias is not None and type(folded) is Block


def test_the_bill_says_what_it_saves():
    """For each norm the opening of an activation and a truncation, in two rounds."""
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)).eval()

    def bill(model):
        return mk.plan(lambda m, x: mk.private(m, 1)(mk.secret(x, 0)), model, X).report

    plain, folded = bill(model), bill(mk.fold(model))
    opened = 8 * 3 * 4 * 3 * 3  # words of the activation [3, 4, 3, 3]
    assert plain.rounds() - folded.rounds() == 2
    assert plain.sent() - folded.sent() == 2 * opened + 8 * 4 + 2 * 24  # the factor too, and two headers


def test_one_dimension_too_and_shapes_alone():
    model = nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4, affine=False), nn.ReLU()).eval()
    nn.init.uniform_(model[1].running_mean)
    x = torch.randn(1, 2, 9)
    torch.testing.assert_close(mk.fold(model)(x), model(x))
    hollow = mk.fold(copy.deepcopy(model).to("meta"))
    assert isinstance(hollow[1], Gone) and hollow[0].bias.is_meta


def test_what_cannot_be_folded_stays():
    conv = nn.Conv2d(2, 2, 1)
    twice = nn.Sequential(conv, nn.BatchNorm2d(2), conv, nn.BatchNorm2d(2)).eval()  # one filter, two factors
    tied = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1)).eval()
    tied[2].weight = tied[0].weight
    per_batch = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2, track_running_stats=False)).eval()
    for model in (twice, tied, per_batch):
        assert [type(m) for m in mk.fold(model)] == [type(m) for m in model]
    assert type(mk.fold(nn.BatchNorm2d(2).eval())) is nn.BatchNorm2d
    assert type(mk.fold(nn.ReLU())) is nn.ReLU


def test_a_layer_whose_weights_the_forward_reads_stays():
    """Folded, they would be others there too, and nothing would say so."""

    class Reading(nn.Module):
        def __init__(self, what):
            super().__init__()
            self.what, self.conv, self.norm = what, nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)
            nn.init.uniform_(self.norm.running_var, 2, 3)

        def forward(self, x):
            x = self.norm(self.conv(x))
            if self.what == "filters":
                return nn.functional.conv2d(x, self.conv.weight)
            return x * self.norm.running_mean.mean() + self.norm.weight.sum()

    for what in ("filters", "statistics"):
        model = Reading(what).eval()
        torch.testing.assert_close(mk.fold(model)(X), model(X))


class Rectified(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x).relu()


class Named(nn.Module):
    """Its layers under two names, of which the forward uses one of each; in a plain list, `listed`."""

    def __init__(self, listed):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)
        layers = [self.conv, self.norm]
        self.block = layers if listed else nn.Sequential(*layers)

    def forward(self, x):
        return self.norm(self.block[0](x)) if len(self._modules) > 2 else self.block[1](self.conv(x))


def hooked(change, of, norm=nn.BatchNorm2d):
    model = nn.Sequential(nn.Conv2d(2, 4, 3), norm(4))
    if change:
        model[of].register_forward_hook(change)
    return model


@pytest.mark.parametrize(
    "model, folds",
    [
        (hooked(None, 0, Rectified), 0),
        (hooked(lambda _, inputs, out: 2 * out, 0), 0),
        (hooked(lambda _, inputs, out: out.relu(), 1), 0),
        (nn.Sequential(nn.utils.spectral_norm(nn.Conv2d(2, 4, 3)), nn.BatchNorm2d(4)), 0),
        (Named(listed=True), 0),
        (Named(listed=False), 1),
    ],
    ids=["subclass", "hook before", "hook behind", "weights made anew", "in a list", "two names"],
)
def test_what_does_more_than_its_class_stays_and_names_do_not_matter(model, folds):
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            for tensor in (m.weight, m.bias, m.running_mean, m.running_var):
                nn.init.uniform_(tensor, 0.5, 2)
    folded = mk.fold(model.eval())
    with torch.no_grad():
        torch.testing.assert_close(folded(X), model(X))
    assert sum(isinstance(m, Gone) for m in folded.modules()) == folds


def test_channels_on_another_axis_are_never_mixed_up():
    """[n, length, channels]: a norm over the length, which may be as long as there are channels."""
    longer = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(3)).eval()
    assert type(mk.fold(longer)[1]) is nn.BatchNorm1d
    equal = mk.fold(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).eval())
    assert equal(torch.zeros(5, 2)).shape == (5, 3)
    with pytest.raises(ValueError, match=r"folded for batches with 2 axes, .* \[5, 3, 3\].*leave out fold"):
        equal(torch.zeros(5, 3, 2))


def test_a_private_model_is_refused():
    with mk.simulate():
        secret_model = mk.private(nn.Sequential(nn.Conv1d(1, 1, 1), nn.BatchNorm1d(1)).eval(), owner=1)
        with pytest.raises(mk.SecretError, match=r"its owner folds it before, private\(fold\(model\), owner\)"):
            mk.fold(secret_model)


def test_training_mode_is_refused():
    with pytest.raises(ValueError, match=r"depends on its batch: fold\(model.eval\(\)\)"):
        mk.fold(Block())


def test_a_forward_that_branches_is_refused_with_a_way_out():
    class Branching(nn.Sequential):
        def forward(self, x):
            return super().forward(x if x.sum() > 0 else -x)

    with pytest.raises(ValueError, match="Branching.forward branches on its input.*leave out fold"):
        mk.fold(Branching(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)).eval())
