"""A product's truncation waits: for the ReLU that does it for nothing, for the maximum that leaves less to truncate.

with mk.simulate() as session:
    torch.relu(F.conv2d(x, w, b) + x)     # 3 rounds with keys: x, the sum for both gates, the chosen bits
"""

import copy
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from twin import agree, case

import mpckit as mk

SUITES = ("bits", "fss")
torch.manual_seed(5)
X, W, B = torch.randn(2, 4, 9, 8), torch.randn(4, 4, 3, 3) / 4, torch.randn(4)
LINEAR = torch.randn(8, 8) / 2


def run(f, *inputs, **options):
    """(f of secrets, revealed; the report)."""
    with torch.no_grad(), mk.simulate(2, insecure_seed=3, **options) as session:
        out = f(*(mk.secret(x, owner=0) for x in inputs))
        return [v.reveal() for v in out] if isinstance(out, tuple) else out.reveal(), session.report()


def conv(x, w, b=None):
    return F.conv2d(x, w, b, padding=1)


def in_place(x, w):
    out = conv(x, w)
    out += x
    return F.relu_(out)


def twice(x, w):
    out = conv(x, w)
    return torch.cat((out.relu(), out, out.relu()))


def both_of(x, w):
    out = conv(x, w).relu()
    return F.max_pool2d(out, 2).sum() + out


def late(x, w):
    """Pooled, then asked for itself, then pooled again."""
    out = conv(x, w)
    pooled = F.max_pool2d(out, 2)
    return torch.cat((pooled.relu().flatten(), out.flatten(), F.max_pool2d(out, 2).flatten()))


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize(
    "this",
    [
        case("relu", lambda x, w, b: conv(x, w, b).relu(), X, W, B),
        case("residual", lambda x, w, b: (conv(x, w, b) + x).relu(), X, W, B),
        case("residual first", lambda x, w, b: (x + conv(x, w, b)).relu(), X, W, B),
        case("a public residual", lambda x, w: (conv(x, w) + X).relu(), X, W),
        case("a number", lambda x, w: (conv(x, w) + 0.25).relu(), X, W),
        case("bits", lambda x, w: (conv(x, w) + (x > 0)).relu(), X, W),
        case("two products", lambda x, w, b: (conv(x, w, b) + conv(x, w.flip(0), b)).relu(), X, W, B),
        case("with itself", lambda x, w: (lambda y: (y + y).relu())(conv(x, w)), X, W),
        case("a product that broadcasts", lambda x, w: (x @ w + x[:, :1]).relu(), X, LINEAR),
        case("a product that is broadcast", lambda x, w: (x[:, :1] @ w + x).relu(), X, LINEAR),
        case("alpha", lambda x, w: torch.add(conv(x, w), x, alpha=3).relu(), X, W),
        case("in place", in_place, X, W),
        case("sum and ReLU", twice, X, W),
        case("ReLU, twice", lambda x, w: conv(x, w).relu().relu(), X, W),
        case("maximum, then ReLU", lambda x, w, b: F.max_pool2d(conv(x, w, b), 2).relu(), X, W, B),
        case("ReLU, then maximum", lambda x, w, b: F.max_pool2d(conv(x, w, b).relu(), 3, 2, 1), X, W, B),
        case("maximum alone", lambda x, w: F.max_pool2d(conv(x, w), 2), X, W),
        case("adaptive maximum", lambda x, w: F.adaptive_max_pool2d(conv(x, w) + x, 3).relu(), X, W),
        case("mean, then ReLU", lambda x, w, b: F.avg_pool2d(conv(x, w, b) + x, 2).relu(), X, W, B),
        case("mean of means", lambda x, w: F.adaptive_avg_pool2d(F.avg_pool2d(conv(x, w), (1, 2)), (9, 2)), X, W),
        case("mean of nine", lambda x, w: F.avg_pool2d(conv(x, w), 3, 2, 1, count_include_pad=False).relu(), X, W),
        case("mean of three", lambda x, w, b: F.avg_pool2d(conv(x, w, b), (3, 1)).relu(), X, W, B),
        case("a mean and a product", lambda x, w: (F.avg_pool2d(x @ w, (1, 2)) + x @ w[:, :4]).relu(), X, LINEAR),
        case("mean of a ReLU", lambda x, w: F.avg_pool2d(conv(x, w).relu(), 2), X, W),
        case("ReLU for two", both_of, X, W),
        case("asked late", late, X, W),
        case("Linear", lambda x, w: F.linear(x, w).relu(), X, LINEAR),
        case("without a batch", lambda x, w, b: F.max_pool2d(conv(x[0], w, b), 2).relu(), X, W, B),
        case("turned", lambda x, w: ((x @ w).mT.flatten(1) + x.mT.flatten(1)).relu(), X, LINEAR),
        case("turned with its bias", lambda x, w: F.linear(x, w, w[0]).mT.relu(), X, LINEAR),
        case("turned, and both", lambda x, w: (lambda y: y.mT.relu() - y.mT + y.mT.flatten()[0])(x @ w), X, LINEAR),
        case("turned, added and straight", lambda x, w: (lambda y: (y.mT + 1).relu() + y.mT)(x @ w), X, LINEAR),
        case("written into, then turned", lambda x, w: (x @ w).add_(1).mT.relu(), X, LINEAR),
        case("a part of what waits", lambda x, w: (x @ w)[:, 1:].relu(), X, LINEAR),
        case("a comparison of what waits", lambda x, w: torch.where(x @ w > 0, x, x @ w), X, LINEAR, tolerance=2e-3),
        case("a product of what waits", lambda x, w: (x @ w) @ w, X, LINEAR, tolerance=2e-3),
        case("integers", lambda x: (x @ x.mT).relu(), torch.arange(-4, 5).view(3, 3)),
        case("scores", lambda x, w: (x @ w + torch.full((8, 8), -torch.inf).triu(1)[:, :8]).softmax(-1), X[0, :1, :8],
             LINEAR, tolerance=2e-3),
    ],
    ids=lambda c: c.name,
)  # fmt: skip
def test_agrees_with_torch_and_with_its_plan(this, suite):
    agree(this, suite=suite)


@pytest.mark.parametrize("options", [{"truncation": "exact"}, {"truncation": "local"}, {"range_bits": 30}], ids=str)
@pytest.mark.parametrize("suite", SUITES)
def test_in_every_mode(suite, options):
    got, _ = run(lambda x, w, b: F.max_pool2d(conv(x, w, b) + x, 2).relu(), X, W, B, suite=suite, **options)
    assert torch.allclose(got, F.max_pool2d(conv(X, W, B) + X, 2).relu(), atol=2e-3)


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("f", [lambda y: y, torch.relu, lambda y: F.max_pool2d(y[None], (1, 2)).relu()[0]],
                         ids=["product", "relu", "maximum"])  # fmt: skip
def test_exact_means_the_nearest_wherever_the_truncation_waits(suite, f):
    """Halves go up: of all ulps times 1/2, and times 3/4."""
    ulp = 2.0**-16
    x = torch.arange(-12, 12).view(-1, 1) * ulp
    got, _ = run(lambda x, w: f(x @ w), x, torch.tensor([[0.5, 0.75]]), suite=suite, truncation="exact")
    nearest = torch.floor(x / ulp * torch.tensor([[0.5, 0.75]]) + 0.5)
    assert torch.equal(got / ulp, f(nearest))


def test_in_a_narrow_ring_and_among_three():
    small = X / 4
    for options in ({"ring": mk.Ring(32, 10)}, {"ring": mk.Ring(64, 24)}):
        got, _ = run(lambda x, w: conv(x, w).relu(), small, W, **options)
        assert torch.allclose(got, conv(small, W).relu(), atol=2e-2)
    with torch.no_grad(), mk.simulate(3):
        got = F.max_pool2d(conv(mk.secret(X, owner=2), mk.secret(W, owner=1)), 2).relu().reveal()
    assert torch.allclose(got, F.max_pool2d(conv(X, W), 2).relu(), atol=2e-3)


def online(f, *inputs, **options):
    """(rounds, bytes without headers) besides inputs and result."""
    report, n = run(f, *inputs, **options)[1], len(inputs)
    words = sum(x.numel() for x in inputs) + f(*inputs).numel()
    return report.rounds("online") - n - 1, report.sent("online") - 24 * report.rounds("online") - 8 * words


@pytest.mark.parametrize(("suite", "gate", "more"), [("bits", 4, 0), ("fss", 2, 1)])
def test_the_relu_of_a_product_opens_one_word(suite, gate, more):
    """x and w in a round, the sum in another, and the bits; a floor opens its borrow beside the comparison's bit."""
    n, conv_ = X.numel(), 8 * (X.numel() + W.numel())
    rounds, sent = online(lambda x, w: conv(x, w).relu(), X, W, suite=suite)
    assert rounds == 1 + gate
    tree = {"bits": 8 * -(-n // 64) * (3 * (4 + 3) + (2 + 3) - 1 + 3 - 3), "fss": 0}[suite]
    if suite == "fss":
        assert sent == conv_ + 8 * n + -(-n // 8) * (1 + more)
    else:
        assert conv_ + 8 * n < sent <= conv_ + 8 * n + tree + n
    residual = online(lambda x, w: (conv(x, w) + x).relu(), X, W, suite=suite)
    assert residual == (rounds, sent)


def test_a_maximum_leaves_less_to_truncate():
    rounds, sent = online(lambda x, w: F.max_pool2d(conv(x, w), 2).relu(), X[..., :8, :], W, suite="fss")
    compared, won = X[..., :8, :].numel() * 3 // 4, X[..., :8, :].numel() // 4
    assert rounds == 1 + 2 * 2 + 2
    least = 8 * (X[..., :8, :].numel() + W.numel() + compared + won)
    assert least < sent <= least + (compared + 2 * won) // 8 + 3


def test_a_mean_of_four_costs_nothing():
    plain = online(lambda x, w: conv(x, w)[..., ::2, ::2].relu(), X[..., :8, :], W, suite="fss")
    few = X[..., :8, :].numel() // 4
    rounds, sent = online(lambda x, w: F.avg_pool2d(conv(x, w), 2).relu(), X[..., :8, :], W, suite="fss")
    assert rounds == 1 + 2 < plain[0] and sent == 8 * (X[..., :8, :].numel() + W.numel() + few) + 2 * few // 8


def test_what_nobody_takes_costs_nothing_and_is_let_go():
    with torch.no_grad(), mk.simulate(2) as session:
        x, w = mk.secret(X, owner=0), mk.secret(W, owner=1)
        before = session.meter.total().rounds
        y = conv(x, w)
        assert session.meter.total().rounds == before + 1
        z = y.relu()
        product = weakref.ref(y.cell.pending)
        assert session.meter.total().rounds == before + 1
        del y
        assert product() is None
        z.shared  # noqa: B018
        assert session.meter.total().rounds == before + 1 + 4 and z.cell.pending is None


def test_the_sum_comes_with_its_relu_where_it_is_still_wanted():
    one = online(lambda x, w: conv(x, w).relu(), X, W, suite="fss")

    def residual(x, w):
        out = conv(x, w)
        return out.relu() - out

    assert online(residual, X, W, suite="fss") == one


def test_each_layer_pays_for_what_it_asked():
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 1))
    with torch.no_grad(), mk.simulate(2) as session:
        secret_model = mk.private(model, owner=1)
        got = secret_model(mk.secret(X, owner=0))
        layers = session.report().by_layer()
        assert list(layers) == ["secret", "0", "1", "2", "3"]
        assert [layers[name].rounds for name in "0123"] == [1, 4, 8, 2]
        assert torch.allclose(got.reveal(), model(X), atol=1e-3)


def test_a_view_of_what_waits_and_the_whole_are_one_memory():
    """Coins of a truncation are tossed once; and neither can be written into while the other is there."""
    with torch.no_grad(), mk.simulate(2) as session:
        y = mk.secret(X, owner=0) @ mk.secret(LINEAR, owner=1)
        turned = y.mT
        before = session.meter.total().rounds
        assert torch.equal(turned.reveal(), y.reveal().mT) and session.meter.total().rounds == before + 1 + 2
        y = mk.secret(X, owner=0) @ mk.secret(LINEAR, owner=1)
        turned = y.mT
        with pytest.raises(mk.tensor.SecretError, match="is a view, or has views"):
            y.add_(1)
        with pytest.raises(mk.tensor.SecretError, match="is a view, or has views"):
            turned.relu_()


@pytest.mark.parametrize("first", [lambda y, turned: y, lambda y, turned: turned], ids=["whole", "view"])
def test_they_are_one_memory_also_when_one_of_them_waits_no_more(first):
    """torch would change both; here the other one would go on with the old value, and nobody would be told."""
    with torch.no_grad(), mk.simulate(2):
        y = mk.secret(X, owner=0) @ mk.secret(LINEAR, owner=1)
        turned = y.mT
        assert first(y, turned).reveal() is not None
        with pytest.raises(mk.tensor.SecretError, match="is a view, or has views"):
            y.mul_(2)
        with pytest.raises(mk.tensor.SecretError, match="is a view, or has views"):
            turned.mul_(2)
        del turned
        assert torch.allclose(y.mul_(2).reveal(), 2 * (X @ LINEAR), atol=2e-3), "alone, it may be written into"


def turned_sum(x, w):
    return (x @ w).mT + x.mT


@pytest.mark.parametrize(
    "f",
    [
        turned_sum, lambda x, w: F.avg_pool2d(x @ w, (1, 2)), lambda x, w: (x @ w).mT + (x @ w).mT, lambda x, w: x @ w,
        lambda x, w: x @ w + w[0], lambda x, w: x[..., :8, :] @ w + x[..., :8, :].mT,
    ],
    ids=["turned sum", "mean", "two turned", "product", "row", "turned summand"],
)  # fmt: skip
@pytest.mark.parametrize("then", [lambda y: y, torch.relu], ids=["plain", "relu"])
def test_strides_that_torch_was_told_still_hold_when_it_has_waited(f, then):
    """An `as_strided` counts in memory: of what waits as of what does not."""
    with torch.no_grad(), mk.simulate(2):
        x, w = mk.secret(X, owner=0), mk.secret(LINEAR, owner=1)
        y, want = then(f(x, w)), then(f(X, LINEAR))
        same = y.as_strided(y.shape, y.stride())
        for got, more in ((same + 1, 1), (same, 0)):
            assert torch.allclose(got.reveal(), want + more, atol=2e-3)
        assert y.shared.shares[0].data.stride() == y.stride()


def test_shapes_and_copies_of_what_waits():
    with torch.no_grad(), mk.simulate(2):
        y = mk.secret(X, owner=0) @ mk.secret(LINEAR, owner=1)
        assert y.dtype == torch.float32 and y.shape == X.shape and y.stride() == X.stride()
        z = y.relu()
        assert z.shape == X.shape and z.requires_grad is False
        for v in (copy.deepcopy(z), z.detach(), z):
            assert torch.allclose(v.reveal(), (X @ LINEAR).relu(), atol=1e-3)


@pytest.mark.parametrize("suite", SUITES)
def test_gradients_go_through(suite):
    plain = [t.clone().requires_grad_() for t in (X, W, B)]
    F.max_pool2d((conv(*plain) + plain[0]).relu(), 2).square().mean().backward()
    with mk.simulate(2, suite=suite):
        secrets = [mk.secret(t.detach(), owner=0).requires_grad_() for t in plain]
        F.max_pool2d((conv(*secrets) + secrets[0]).relu(), 2).square().mean().backward()
        for got, want in zip(secrets, plain):
            assert torch.allclose(got.grad.reveal(), want.grad, atol=8e-3)


def test_a_summand_counts_as_it_was_when_it_was_added():
    """Momentum adds a gradient that waits to a buffer in place, and goes on writing into the buffer."""
    with torch.no_grad(), mk.simulate(2):
        x, w, buffer = (mk.secret(t, owner=0) for t in (X, LINEAR, X))
        out = x @ w + buffer
        buffer.zero_()
        assert torch.allclose(out.reveal(), X @ LINEAR + X, atol=1e-3)
        buffer = mk.secret(X, owner=0)
        buffer.add_(x @ w)
        buffer.add_(x @ w)
        assert torch.allclose(buffer.reveal(), X + 2 * (X @ LINEAR), atol=2e-3)
