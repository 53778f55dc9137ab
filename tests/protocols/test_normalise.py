"""Along dimensions: softmax, normalisation, mean and variance, largest and smallest:

session.run(functions.softmax, session.suite, scores, -1)
session.run(functions.normalise, session.suite, x, (1, 2))      # (x - mean) / deviation, over two dimensions
"""

import pytest
import torch
from truth import MODES, ULP, WHOLE, evaluate, on_grid, stated

from mpckit.protocols import functions
from mpckit.runtime.session import Session

both = pytest.mark.parametrize("mode", WHOLE)


def logits(spread, size=128):
    generator = torch.Generator().manual_seed(spread)
    return on_grid(torch.randn(size, size, dtype=torch.float64, generator=generator) * spread)


# ---- softmax -------------------------------------------------------------------------------------

# A tournament of 7 levels, then lines, a reciprocal, a product: three truncations, one after the other. Those of a
# softmax drop 16 bits (one more round and one for the borrow), up to 32 and 31 (two and one).
SOFTMAX = {"bits": 4 * 7 + 10, "bits exact": 4 * 7 + 16, "fss": 2 * 7 + 13, "fss stochastic": 2 * 7 + 10}
LOG_SOFTMAX = {"bits": 4 * 7 + 8, "bits exact": 4 * 7 + 12, "fss": 2 * 7 + 10, "fss stochastic": 2 * 7 + 8}


@pytest.mark.parametrize("spread", [1, 3, 8])
@pytest.mark.parametrize("mode, parties", [("bits", 2), ("bits", 3), *((mode, 2) for mode in MODES if mode != "bits")])
def test_softmax(mode, parties, spread):
    x = logits(spread)
    out, rounds, sent = evaluate("softmax", x, mode=mode, parties=parties)
    truth = x.softmax(-1)
    print(f"\nsoftmax: {rounds} rounds, {sent / 1e2 / x.numel():.3f} MB per 1e4, error {(out - truth).abs().max():.2e}")
    assert (out - truth).abs().max() < 3e-4 and rounds == SOFTMAX[mode]
    assert torch.equal(out.argmax(-1), truth.argmax(-1))
    assert (out.sum(-1) - 1).abs().max() < 2e-3
    if mode.startswith("fss"):
        assert rounds <= 34 and sent <= 1.6e6
    out, rounds, _ = evaluate("log_softmax", x, mode=mode, parties=parties)
    assert (out - x.log_softmax(-1)).abs().max() < 4e-4 and rounds == LOG_SOFTMAX[mode]


@pytest.mark.parametrize(
    "shape, dim",
    [((5,), 0), ((3, 1), 1), ((3, 4, 5), 1), ((2, 7), -2), ((1000,), -1), ((0, 4), 1), ((4, 0), 1), ((), 0)],
)
@pytest.mark.parametrize("name", ("softmax", "log_softmax"))
@both
def test_softmax_shapes(name, shape, dim, mode):
    x = on_grid(torch.randn(shape, dtype=torch.float64) * 20)
    out, _, _ = evaluate(name, x, mode=mode, plain=(dim,))
    assert out.shape == x.shape and ((out - getattr(torch, name)(x, dim)).abs() < 5e-4).all()


@both
def test_softmax_of_masked_logits(mode):
    """A large negative number in place of -∞, as in a causal mask."""
    x = on_grid(torch.randn(16, 16, dtype=torch.float64)).masked_fill(torch.ones(16, 16).triu(1).bool(), -(2.0**20))
    out, _, _ = evaluate("softmax", x, mode=mode)
    assert (out - x.softmax(-1)).abs().max() < 3e-4


# ---- mean and variance ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape, dims", [((7, 768), 1), ((4, 6, 5, 5), (0, 2, 3)), ((3, 1), 1), ((2, 3), (0, 1)), ((30000, 2), 0)]
)
@pytest.mark.parametrize("spread", (0.02, 1.0, 60.0))
@both
def test_normalise(shape, dims, spread, mode):
    x = on_grid(torch.randn(shape, dtype=torch.float64) * spread + 3 * spread)
    centred, deviation = x - x.mean(dims, True), x.var(dims, unbiased=False, keepdim=True) + 1e-5
    out, rounds, sent = evaluate("normalise", x, mode=mode, plain=(dims,))
    truth = centred / deviation.sqrt()
    error = (out - truth).abs()
    print(f"\nnormalise: {rounds} rounds, {sent / 1e2 / x.numel():.3f} MB per 1e4, error {error.max():.2e}")
    assert (error <= 3e-4 * truth.abs() + 2 * ULP / deviation.sqrt() + 2 * ULP).all()
    assert rounds <= {"bits": 8, "fss": 11}[mode]  # three truncations, one after the other
    mean, _, _ = evaluate("mean", x, mode=mode, plain=(dims,))
    assert (mean - x.mean(dims)).abs().max() < 2 * ULP + 1e-5 * spread
    variance, _, _ = evaluate("variance", x, mode=mode, plain=(dims, 0, True))
    assert ((variance + 1e-5 - deviation).abs() <= 3 * ULP + 2e-3 * deviation).all()


@pytest.mark.parametrize("mode", MODES)
def test_layer_norm_where_the_variance_spans_seven_decades(mode):
    variance = 10.0 ** torch.linspace(-3, 4, 71, dtype=torch.float64)
    x = torch.randn(71, 768, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    x = on_grid(x / x.std(1, unbiased=False, keepdim=True) * variance.sqrt()[:, None])
    out, _, _ = evaluate("normalise", x, mode=mode, plain=(1,))
    assert (out - torch.nn.functional.layer_norm(x, (768,))).abs().max() <= 3e-3


@pytest.mark.parametrize("shape, dims", [((7, 768), 1), ((4, 6, 5), (1, 2)), ((3, 1), 1), ((3, 4096), 1), ((0, 5), 1)])
@pytest.mark.parametrize("spread", (0.03, 1.0, 100.0))
@both
def test_rms_norm(shape, dims, spread, mode):
    """One opening of x serves its squares and the weights; then a table, a product, a truncation."""
    x, weight = (
        on_grid(torch.randn(shape, dtype=torch.float64) * spread),
        on_grid(torch.rand(shape[1:]).double() * 4 - 2),
    )
    root = (x.square().mean(dims, True) + 1e-5).sqrt()
    out, rounds, sent = evaluate("rms_norm", x, mode=mode, plain=(dims,))
    assert ((out - x / root).abs() <= 3e-4 * (x / root).abs() + 2 * ULP / root + 2 * ULP).all()
    assert rounds <= {"bits": stated("rms_norm")[0], "fss": 9}[mode]

    def weighed(mpc, x, weight):
        return functions.rms_norm(mpc, x, dims, 1e-5, weight)

    session = Session(2, insecure_seed=1, **MODES[mode])
    shares = session.share(x, 0), session.share(weight, 1)
    before = session.meter.total().rounds
    got = session.ring.decode(session.open(session.run(weighed, session.suite, *shares)), torch.float64)
    truth = weight * x / root
    assert ((got - truth).abs() <= 4e-4 * truth.abs() + 4 * ULP / root + 4 * ULP).all()
    assert session.meter.total().rounds - before - 1 <= {"bits": stated("rms_norm")[0], "fss": 9}[mode]


@both
def test_largest_and_smallest(mode):
    x = on_grid(torch.randn(4, 9, 3, dtype=torch.float64))
    level = {"bits": 4, "fss": 2}[mode]
    for name, plain, truth, levels in (
        ("maximum_over", (1,), x.amax(1), 4),
        ("minimum_over", (-1, True), x.amin(-1, True), 2),
    ):
        out, rounds, _ = evaluate(name, x, mode=mode, plain=plain)
        assert torch.equal(out, truth) and rounds == level * levels
