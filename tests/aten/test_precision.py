"""Means of squares keep twice the fraction bits for the table that reads them, and nothing else is changed by that."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from twin import agree, case

import mpckit as mk

SUITES = ("bits", "fss")


class LlamaNorm(nn.Module):
    """As in Hugging Face's Llama: a mean of `pow(2)`, its inverse root, a product."""

    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        dtype = x.dtype
        x = x.to(torch.float32)
        variance = x.pow(2).mean(-1, keepdim=True)
        return self.weight * (x * torch.rsqrt(variance + self.eps)).to(dtype)


def rows(width, low=1e-3, high=1e4, count=40):
    """Normal numbers on the ring whose mean squares are spread over low … high, both ends included."""
    generator = torch.Generator().manual_seed(width)
    x = torch.randn(count, width, generator=generator, dtype=torch.float64)
    sizes = low * (high / low) ** torch.linspace(0, 1, count, dtype=torch.float64)[:, None]
    x = x * (sizes / x.square().mean(-1, keepdim=True)).sqrt()
    return ((x * 2**16).round() / 2**16).float()


def run(f, *inputs, **options):
    """(f of secrets, revealed; the report; how often a truncation was asked for)."""
    with mk.simulate(2, insecure_seed=3, **options) as session:
        cut, truncate = [], session.suite.truncate
        session.suite.truncate = lambda x, *args: (cut.append(x.data.numel()), truncate(x, *args))[1]
        f = mk.private(f, owner=1) if isinstance(f, nn.Module) else f
        out = f(*(mk.secret(x, owner=0) for x in inputs))
        values = [v.reveal() for v in out] if isinstance(out, tuple) else out.reveal()
    return values, session.report(), sum(cut) // 2


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("width", [3, 16, 100, 768, 4096])
@pytest.mark.parametrize("kind", [F.rms_norm, LlamaNorm])
def test_rms_norm_of_every_size(kind, width, suite):
    x = rows(width)
    f = LlamaNorm(width) if kind is LlamaNorm else lambda v: F.rms_norm(v, (width,), eps=1e-5)
    got, _, _ = run(f, x, suite=suite)
    want = f(x.double()) if kind is F.rms_norm else f(x).double()
    assert (got - want).abs().max() <= 3e-3


@pytest.mark.parametrize("suite", SUITES)
def test_what_else_reads_a_mean_of_squares(suite):
    """Small deviations and norms, where 16 fraction bits of a square say nothing: relative 3e-4, or 4 ulp."""
    x = rows(100, low=1e-4, high=1e-2)
    for f in (
        lambda v: v.std(-1),
        lambda v: torch.linalg.vector_norm(v, dim=-1),
        lambda v: v.square().mean(-1).sqrt(),
        lambda v: v.var(-1, keepdim=True, correction=0) ** 0.5,
        lambda v: (v * v).mean(-1).log(),
        lambda v: 1 / (v.pow(2).mean(-1) + 1e-3),
        lambda v: torch.pow(v.pow(2).mean(-1) + 1e-5, -0.5),
    ):
        got, want = run(f, x, suite=suite)[0], f(x.double())
        # n squares, each cut to 32 - ⌈log2 n⌉ bits before the sum, may lose that much of a norm.
        assert ((got - want).abs() <= (3e-4 * want.abs()).clamp(min=6 * 2.0**-16)).all()


def test_a_norm_has_the_room_that_it_had():
    """Each square below 2^30, the sum far above."""
    x = torch.full((2, 1000), 30000.0)
    for suite in SUITES:
        assert torch.allclose(run(lambda v: v.norm(dim=-1), x, suite=suite)[0], x.norm(dim=-1), rtol=3e-4)
        total = run(lambda v: v.square().sum(-1) * 2**-10, x, suite=suite)[0]
        assert torch.allclose(total, x.double().square().sum(-1).float() / 1024, rtol=1e-6)


def test_more_fraction_bits_leave_less_room_but_not_half_of_it():
    """24 fraction bits: a mean of squares had a sum of 2^23 at most; it has 2^22."""
    x = torch.full((2, 512), 85.0)  # 3.7e6 < 2^22
    got, _, _ = run(lambda v: F.rms_norm(v, (512,), eps=1e-5), x, ring=mk.Ring(64, 24))
    assert (got - 1).abs().max() < 1e-3


def test_rounds_and_truncations():
    x = rows(16)
    online = [
        (lambda v: v * v, 2, x.numel()),
        (lambda v: v.square() + 1, 2, x.numel()),
        (lambda v: v.pow(2).sum(-1), 2, x.numel()),
        (lambda v: v.pow(2).mean(-1), 3, x.numel() + len(x)),
        (lambda v: v.pow(2)[:, :1] * 1, 2, x.numel()),
        (lambda v: torch.linalg.vector_norm(v, dim=-1), 6, None),
        (lambda v: (v.pow(2).mean(-1) + 1e-5).rsqrt(), 6, None),  # without waiting 7
        (lambda v: v * (v.pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt(), 7, None),  # 9
        (lambda v: v.std(-1), 6, None),  # 8
    ]
    for f, rounds, truncated in online:
        _, report, cut = run(f, x)
        assert report.rounds("online") - 1 - 1 == rounds  # input and reveal
        assert truncated is None or cut == truncated


def test_a_square_is_truncated_once():
    """Whatever asks first, views and means included, and in whatever order."""

    def several(v):
        square = v.square()
        mean = square.mean(-1)
        more = mean + 1
        return square[0], square[1] + more[0], square * 3, mean, more.rsqrt(), mean.rsqrt()

    x = rows(16, low=0.5, high=4.0)
    got, _, cut = run(several, x)
    for a, b in zip(got, several(x), strict=True):
        assert torch.allclose(a, b, atol=1e-3, rtol=4e-4)
    once, _, again = run(lambda v: (lambda s: (s.mean(-1).rsqrt(), s.mean(-1)))(v.square()), x)
    assert cut - again < x.numel()


def test_in_place_does_not_reach_what_waits():
    """The mean waits for the square, which then is another value; and a waiting square is overwritten."""

    def f(v):
        square = v.square()
        mean = square.mean(-1)
        square.add_(100)
        halves = v * v
        halves.zero_()
        mean += 1
        return mean, square, mean.rsqrt(), halves

    x = rows(8, low=0.5, high=4.0)
    for a, b in zip(run(f, x)[0], f(x.clone()), strict=True):
        assert torch.allclose(a, b, atol=1e-3, rtol=4e-4)


SMALL = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))


def trained(norm):
    """Gradients by input and weight, of a loss that reads the norm."""

    def f(x):
        x = x.detach().requires_grad_()
        loss = (norm(x) * torch.arange(6.0)).square().mean()
        loss.backward()
        return loss.detach(), x.grad

    return f


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize(
    "this",
    [
        case("rms_norm", lambda x: F.rms_norm(x, (6,), eps=1e-5), SMALL, tolerance=2e-3),
        case("Llama", LlamaNorm(6), SMALL, tolerance=2e-3),
        case("gradient of rms_norm", trained(lambda x: F.rms_norm(x, (6,), eps=1e-5)), SMALL, tolerance=2e-2),
        case("gradient of std", trained(lambda x: x / x.std(-1, keepdim=True)), SMALL, tolerance=2e-2),
        case("gradient of norm", trained(lambda x: F.normalize(x, dim=-1)), SMALL, tolerance=2e-2),
        case("comparison", lambda x: torch.where(x.square().mean(-1) > 0.5, x.square().mean(-1), x.pow(2).sum(-1)),
             SMALL),
        case("matrix", lambda x: x.square() @ x.square().mT, SMALL, tolerance=2e-3),
        case("a view of a mean", lambda x: x.square().mean(-1).unsqueeze(-1) * x, SMALL),
        case("square by a float", lambda x: x**2.0, SMALL),
        case("an integer's square by a float", lambda x: x**2.0, torch.arange(-3, 4)),
        case("a mean of everything", lambda x: x.square().mean().log(), SMALL),
        case("a mean of one", lambda x: x[0, 0].square().mean().sqrt(), SMALL),
        case("two means", lambda x: x.square().mean(0).mean().rsqrt(), SMALL),
        case("a negative number", lambda x: (x.square().mean() + -0.25).sqrt(), SMALL),
    ],
    ids=lambda c: c.name,
)  # fmt: skip
def test_agrees_with_torch_and_with_its_plan(this, suite):
    agree(this, suite=suite)


def test_nothing_waits_forever():
    """A copy and the shares themselves are those of the value."""
    import copy

    with mk.simulate(2, insecure_seed=1):
        y = mk.secret(torch.tensor([1.5, -2.0]), owner=0).square()
        assert copy.deepcopy(y).reveal().tolist() == [2.25, 4.0]
        mean = y.mean()
        assert mean.dtype == torch.float32 and mean.shape == ()
        assert math.isclose(mean.detach().reveal().item(), 3.125, abs_tol=1e-4)
