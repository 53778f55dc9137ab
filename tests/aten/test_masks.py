"""A factor is opened once, however many products it meets:

q, k, v = x @ wq, x @ wk, x @ wv     # x - a once, in the first of them
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from twin import agree, case

import mpckit as mk

torch.manual_seed(6)
X, W = torch.randn(2, 3, 8), torch.randn(8, 8) / 3
PICTURES, FILTERS = torch.randn(2, 4, 8, 8), torch.randn(4, 4, 3, 3) / 4


def opened(session, program):
    """(words that are put under masks while it runs, its value)."""
    fixed, fix = [], session.fix
    session.fix = lambda *values: (fixed.extend(v.shape.numel() for v in values), fix(*values))[1]
    out = program()
    del session.fix
    return sum(fixed), out


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x):
        return self.q(x) + self.k(x) * 2 + self.v(x) * 3


class Block(nn.Module):
    """A shortcut with weights of its own."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 6, 3, 2, 1), nn.Conv2d(4, 6, 1, 2)

    def forward(self, x):
        return torch.relu(self.a(x) + self.b(x))


@pytest.mark.parametrize("model, x", [(Heads(), X), (Block(), PICTURES)], ids=["heads", "block"])
def test_the_input_of_several_layers_is_opened_once(model, x):
    with torch.no_grad(), mk.simulate(2) as session:
        secret_model, y = mk.private(model, owner=1), mk.secret(x, owner=0)
        count, out = opened(session, lambda: secret_model(y))
        assert count == x.numel()
        assert torch.allclose(out.reveal(), model(x), atol=2e-3)
        assert opened(session, lambda: secret_model(y))[0] == 0, "the same input again"


def moved(x, w):
    return x @ w + (x.flatten(0, 1) @ w).view(x.shape) + (w.t() @ x.mT).mT + (x.unsqueeze(1) @ w).squeeze(1)


@pytest.mark.parametrize("suite", ["bits", "fss"])
def test_views_lend_and_borrow_a_mask(suite):
    agree(case("moved", moved, X, W), suite=suite)
    with torch.no_grad(), mk.simulate(2) as session:
        x, w = mk.secret(X, owner=0), mk.secret(W, owner=1)
        assert opened(session, lambda: moved(x, w))[0] == X.numel() + W.numel()
        assert opened(session, lambda: x.mT @ x)[0] == 0
        assert opened(session, lambda: x[:1] @ w.t())[0] == 0, "a part of what is fixed follows"
        y = mk.secret(X, owner=0)
        assert opened(session, lambda: (y[:1] @ w, y @ w))[0] == X[:1].numel() + X.numel(), "but does not lead"


def test_a_mask_does_not_follow_where_memory_is_counted():
    """x[:, 1:3] begins at its second element; its mask is a tensor of its own, and begins at its first."""
    with torch.no_grad(), mk.simulate(2) as session:
        part, w = mk.secret(X[0], owner=0)[:, 1:3], mk.secret(W[:2], owner=1)
        _ = part @ w
        crooked = part.as_strided((2, 2), (1, 2))
        count, out = opened(session, lambda: crooked @ w)
        assert count == crooked.numel(), "opened under a mask of its own"
        assert torch.allclose(out.reveal(), X[0][:, 1:3].as_strided((2, 2), (1, 2)) @ W[:2], atol=2e-3)


def test_a_factor_that_meets_itself():
    with torch.no_grad(), mk.simulate(2) as session:
        w = mk.secret(W, owner=1)
        count, out = opened(session, lambda: w @ w)
        assert count == W.numel() and torch.allclose(out.reveal(), W @ W, atol=2e-3)


def test_another_value_has_another_mask():
    """In place, as an optimizer writes; also where a view of the old value had led to the mask."""
    with torch.no_grad(), mk.simulate(2) as session:
        x, w = mk.secret(X, owner=0), mk.secret(W, owner=1)
        for step in range(3):
            got = opened(session, lambda: x @ w.t())
            assert got[0] == W.numel() + (X.numel() if step == 0 else 0)
            assert torch.allclose(got[1].reveal(), X @ (W + 0.5 * step).t(), atol=3e-3)
            w.add_(0.5)
        assert len(session.store._numbers) == 4


def test_a_step_of_training_opens_each_tensor_once():
    """Pictures, filters, and the gradient; not again for the gradients by pictures and by filters."""
    with mk.simulate(2) as session:
        x, w = (mk.secret(t, owner=0).requires_grad_() for t in (PICTURES, FILTERS))
        plain = [t.clone().requires_grad_() for t in (PICTURES, FILTERS)]
        F.conv2d(*plain, padding=1).square().sum().backward()
        count, _ = opened(session, lambda: F.conv2d(x, w, padding=1).square().sum().backward())
        assert count == PICTURES.numel() + FILTERS.numel() + PICTURES.numel()
        for got, want in zip((x, w), plain):
            assert torch.allclose(got.grad.reveal(), want.grad, atol=2e-2)
        x, w = (mk.secret(t, owner=0).requires_grad_() for t in (X, W))
        count, _ = opened(session, lambda: F.linear(x, w).sigmoid().sum().backward())
        assert count == X.numel() + W.numel() + X.numel()
