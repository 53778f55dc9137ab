"""Functions against torch: errors on the whole range, edges and shapes, and the rounds that the docstrings state.

session = Session(2)
x = session.share(torch.tensor([-1.0, 0.5]), owner=0)
y = session.run(functions.gelu, session.suite, x)
session.ring.decode(session.open(y))
"""

import math
import re
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from mpckit.protocols import functions
from mpckit.protocols.tables import fit
from mpckit.ring import RangeError, Ring
from mpckit.runtime.session import Session

ULP = 2.0**-16


def evaluate(name, *inputs, parties=2, ring=None, plain=(), truncation="stochastic"):
    """The function's value in float64 and its rounds; `plain` are public arguments after the shares."""
    ring = ring or Ring()
    session = Session(parties, ring=ring, insecure_seed=1, truncation=truncation)
    shares = [session.share(x, k % parties) for k, x in enumerate(inputs)]
    session.meter.ledger.clear()
    out = session.run(getattr(functions, name), session.suite, *shares, *plain)
    rounds, sent = session.meter.total().rounds, session.meter.sent()
    assert out.shares[0].ring == ring
    return ring.decode(session.open(out), torch.float64), rounds, sent


def stated(name) -> list[int]:
    """The constant numbers of rounds in a docstring's price."""
    price = getattr(functions, name).__doc__.split("Price:")[1]
    return [int(n) for n in re.findall(r"(?:^|; )\s*(\d+) rounds?", price)]


# ---- where to look -------------------------------------------------------------------------------------------------


def signed(reach=40.0, n=8000):
    """A dense grid, and numbers of every size up to the end of the domain, with both signs."""
    sizes = 2.0 ** torch.linspace(-16, 45.9, 500, dtype=torch.float64)
    edges = torch.tensor([0.0, ULP, -ULP, 2.0**46 - 1, -(2.0**46) + 1], dtype=torch.float64)
    return on_grid(torch.cat((torch.linspace(-reach, reach, n, dtype=torch.float64), sizes, -sizes, edges)))


def positive(n=8000):
    """All small ring elements, then every size up to 2^46, with the neighbours of the powers of two."""
    sizes = 2.0 ** torch.linspace(-16, 45.99, n, dtype=torch.float64)
    powers = 2.0 ** torch.arange(-15, 46, dtype=torch.float64)
    return on_grid(torch.cat((torch.arange(1, 1300) * ULP, sizes, powers, powers - ULP, powers + ULP)))


def on_grid(x):
    return torch.round(x / ULP) * ULP


def within(relative, ulps):
    return lambda y: (relative * y.abs()).clamp(min=ulps * ULP)


def at_most(bound):
    return lambda y: torch.full_like(y, bound)


wide = within(3e-4, 4)
below = signed()[signed() <= 0]
ELEMENTWISE = {
    # name: (torch, points, bound, public arguments)
    "absolute": (torch.abs, signed(), at_most(0.0), ()),
    "clamp": (partial(torch.clamp, min=-1.5, max=3.25), signed(), at_most(0.0), (-1.5, 3.25)),
    "sigmoid": (torch.sigmoid, signed(), at_most(1.5e-4), ()),
    "tanh": (torch.tanh, signed(), at_most(1e-4), ()),
    "erf": (torch.erf, signed(), at_most(1.2e-4), ()),
    "gelu": (F.gelu, signed(), at_most(1e-4), ()),
    "silu": (F.silu, signed(), at_most(2e-4), ()),
    "softplus": (F.softplus, signed(), at_most(2e-4), ()),
    "exp": (lambda x: x.exp().clamp(max=0.999 * 2.0**29), signed(), within(3.5e-5, 2), ()),
    "exp_nonpositive": (torch.exp, below, at_most(1e-4), ()),
    "log": (torch.log, positive(), wide, ()),
    "reciprocal": (torch.reciprocal, torch.cat((positive(), -positive())), wide, ()),
    "sqrt": (torch.sqrt, positive(), wide, ()),
    "rsqrt": (torch.rsqrt, positive(), wide, ()),
}


@pytest.mark.parametrize("parties", (2, 3))
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name, parties):
    torch_function, x, bound, plain = ELEMENTWISE[name]
    y, rounds, sent = evaluate(name, x, parties=parties, plain=plain)
    truth = torch_function(x)
    error = (y - truth).abs()
    worst = int((error / bound(truth).clamp(min=1e-30)).argmax())
    small, relative = error[truth.abs() < 1.5].max(), (error / truth.abs())[truth.abs() > 0.1].max()
    print(
        f"\n{name}: {rounds} rounds, {sent / 1e2 / len(x):.2f} MB per 1e4 elements; error {small:.1e} where |y| < 1.5, "
        f"relative {relative:.1e} where |y| > 0.1"
    )
    assert error[worst] <= bound(truth)[worst], f"{name}({x[worst]}) = {y[worst]}, not {truth[worst]}"
    assert [rounds] == stated(name)


@pytest.mark.parametrize(
    "name", ("sigmoid", "tanh", "erf", "gelu", "silu", "softplus", "log", "reciprocal", "sqrt", "rsqrt")
)
def test_where_pieces_meet(name):
    """On both sides of every threshold, where the index may be rounded to a node beyond the end of its piece."""
    table = {"gelu": ("none",), "reciprocal": (16, False), "log": (64,), "sqrt": (64,), "rsqrt": (64,)}.get(name, ())
    ends = torch.tensor(getattr(functions, f"_{name}")(16, *table).thresholds)
    x = (ends[:, None] + torch.tensor([-300, -2, -1, 0, 1, 2, 300])).flatten().repeat(40).double() * ULP
    torch_function, _, bound, _ = ELEMENTWISE[name]
    x = x[x != 0] if name == "reciprocal" else x[x > 0] if name in ("log", "sqrt", "rsqrt") else x
    truth = torch_function(x)
    assert ((evaluate(name, x)[0] - truth).abs() <= bound(truth)).all()


def test_gelu_tanh_form():
    x = signed()
    y, _, _ = evaluate("gelu", x, plain=("tanh",))
    assert (y - F.gelu(x, approximate="tanh")).abs().max() < 1e-4


@pytest.mark.parametrize("frac", (12, 20))
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_other_units(name, frac):
    """As many ulps at other units, where an ulp is larger than what the table misses."""
    ring, ulp = Ring(64, frac), 2.0**-frac
    torch_function, x, bound, plain = ELEMENTWISE[name]
    x = torch.round(x[x.abs() < 2.0 ** (61 - frac)] / ulp) * ulp
    x = x[x != 0] if name in ("reciprocal", "rsqrt", "log") else x
    highest = math.floor(((45 - frac) * math.log(2) - 1e-3) / ulp) * ulp
    truth = torch_function(x) if name != "exp" else x.clamp(max=highest).exp()
    y, _, _ = evaluate(name, x, ring=ring, plain=plain)
    assert ((y - truth).abs() <= torch.maximum(bound(truth), torch.tensor(4 * ulp))).all()


@pytest.mark.parametrize("name", ("gelu", "exp", "reciprocal", "normalise", "softmax"))
def test_exact_truncation(name):
    """A suite that truncates exactly costs more rounds, not other results."""
    x = on_grid(torch.linspace(0.5, 6, 120, dtype=torch.float64)).reshape(6, 20)
    plain = {"normalise": (1,), "softmax": (1,)}.get(name, ())
    exact, stochastic = (evaluate(name, x, plain=plain, truncation=mode)[0] for mode in ("exact", "stochastic"))
    assert (exact - stochastic).abs().max() < (3e-2 if name == "exp" else 4e-4)


# ---- what lies outside ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, x, expected",
    [
        ("reciprocal", [0.0], 2.0**16),
        ("log", [0.0, -ULP, -3.0, -(2.0**45)], -16 * math.log(2)),
        ("sqrt", [0.0, -ULP, -3.0, -(2.0**45)], 0.0),
        ("rsqrt", [0.0, -ULP, -3.0, -(2.0**45)], 256.0),
        ("exp", [20.2, 1000.0, 2.0**45], 0.999 * 2.0**29),
        ("exp", [-12.0, -1000.0, -(2.0**45)], 0.0),
        ("exp_nonpositive", [0.0, ULP, 5.0, 2.0**45], 1.0),
    ],
)
def test_ends(name, x, expected):
    y, _, _ = evaluate(name, torch.tensor(x, dtype=torch.float64))
    assert ((y - expected).abs() <= max(2 * ULP, 5e-5 * abs(expected))).all(), y


def test_reciprocal_of_what_is_known_to_be_positive():
    x = torch.cat((positive(), torch.tensor([0.0, -1.0])))
    y, rounds, _ = evaluate("reciprocal", x, plain=(True,))
    truth = torch.where(x > 0, 1 / x, 2.0**16)
    assert ((y - truth).abs() <= wide(truth)).all() and rounds == 4


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_shapes(name):
    """No dimension, no element, several dimensions."""
    torch_function, _, bound, plain = ELEMENTWISE[name]
    for shape in ((), (0,), (3, 0, 2), (1,), (2, 3, 5)):
        x = on_grid(-0.5 - torch.rand(shape, dtype=torch.float64))
        x = -x if name in ("log", "sqrt", "rsqrt") else x
        y, _, _ = evaluate(name, x, plain=plain)
        assert y.shape == x.shape and ((y - torch_function(x)).abs() <= bound(torch_function(x))).all()


# ---- products, powers, quotients -----------------------------------------------------------------------------------


def test_products():
    x, y = (on_grid(torch.randn(50, 40, dtype=torch.float64) * 30) for _ in range(2))
    for name, inputs, truth in (("product", (x, y), x * y), ("product", (x, y[0]), x * y[0]), ("square", (x,), x * x)):
        out, rounds, _ = evaluate(name, *inputs)
        assert (out - truth).abs().max() <= 1.01 * ULP and [rounds] == stated(name)


@pytest.mark.parametrize(
    "factor, rounds",
    [(3, 0), (-1, 0), (0, 0), (2.0**20, 0), (0.5, 1), (-1 / 768, 1), (1e-9, 1), (1000.7, 1), (1e7 / 3, 1)],
)
def test_scale(factor, rounds):
    x = on_grid(torch.linspace(-300, 300, 2001, dtype=torch.float64))
    out, spent, _ = evaluate("scale", x, plain=(factor,))
    assert spent == rounds and ((out - factor * x).abs() <= 2.01 * ULP + 4e-6 * (factor * x).abs()).all()


def test_scale_by_a_tensor():
    x, factor = on_grid(torch.randn(4, 6, dtype=torch.float64)), torch.rand(6)
    out, _, _ = evaluate("scale", x, plain=(factor,))
    assert (out - x * factor).abs().max() < 3e-5
    assert evaluate("scale", x, plain=(torch.ones(6),))[1] == 1  # values do not decide what is drawn


@pytest.mark.parametrize(
    "exponent, rounds", [(0, 0), (1, 0), (2, 2), (3, 4), (4, 4), (5, 6), (7, 6), (9, 8), (-1, 4), (-2, 6)]
)
def test_integer_powers(exponent, rounds):
    x = on_grid(torch.cat((torch.linspace(-3, -0.5, 200), torch.linspace(0.5, 3, 200))).double())
    out, spent, _ = evaluate("power", x, plain=(exponent,))
    assert spent == rounds
    assert ((out - x**exponent).abs() <= (1e-3 if exponent < 0 else 1e-4) * (x**exponent).abs() + 5e-4).all()


@pytest.mark.parametrize("exponent", (0.5, -0.5, 1.5, 2.5, -1.5, 1 / 3, -0.1, -4.5))
def test_fractional_powers(exponent):
    x = positive(3000)
    out, rounds, _ = evaluate("power", x, plain=(exponent,))
    truth = (x**exponent).clamp(max=2.0**45)
    assert rounds == 4 and ((out - truth).abs() <= wide(truth)).all()


def test_division():
    x, y = (on_grid(torch.randn(5000, dtype=torch.float64) * s) for s in (50, 10))
    y = torch.where(y.abs() < 0.01, 0.01, y)
    y = on_grid(y)
    out, rounds, _ = evaluate("division", x, y)
    assert rounds == 6 and ((out - x / y).abs() <= 4e-4 * (x / y).abs() + 4 * ULP + x.abs() * 2.0**-21).all()
    out, rounds, _ = evaluate("division", x, plain=(7.0,))
    assert rounds == 1 and (out - x / 7).abs().max() < 1e-3


# ---- over dimensions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parties, spread", [(2, 1), (2, 3), (3, 8)])
def test_softmax(parties, spread):
    x = on_grid(torch.randn(128, 128, dtype=torch.float64, generator=torch.Generator().manual_seed(spread)) * spread)
    out, rounds, sent = evaluate("softmax", x, parties=parties)
    truth = x.softmax(-1)
    print(f"\nsoftmax: {rounds} rounds, {sent / 1e2 / x.numel():.3f} MB per 1e4, error {(out - truth).abs().max():.2e}")
    assert (out - truth).abs().max() < 3e-4 and rounds == 4 * 7 + 10
    assert torch.equal(out.argmax(-1), truth.argmax(-1))
    assert (out.sum(-1) - 1).abs().max() < 2e-3
    out, rounds, _ = evaluate("log_softmax", x)
    assert (out - x.log_softmax(-1)).abs().max() < 4e-4 and rounds == 4 * 7 + 8


@pytest.mark.parametrize(
    "shape, dim",
    [((5,), 0), ((3, 1), 1), ((3, 4, 5), 1), ((2, 7), -2), ((1000,), -1), ((0, 4), 1), ((4, 0), 1), ((), 0)],
)
@pytest.mark.parametrize("name", ("softmax", "log_softmax"))
def test_softmax_shapes(name, shape, dim):
    x = on_grid(torch.randn(shape, dtype=torch.float64) * 20)
    out, _, _ = evaluate(name, x, plain=(dim,))
    assert out.shape == x.shape and ((out - getattr(torch, name)(x, dim)).abs() < 5e-4).all()


def test_softmax_of_masked_logits():
    """A large negative number in place of -∞, as in a causal mask."""
    x = on_grid(torch.randn(16, 16, dtype=torch.float64)).masked_fill(torch.ones(16, 16).triu(1).bool(), -(2.0**20))
    out, _, _ = evaluate("softmax", x)
    assert (out - x.softmax(-1)).abs().max() < 3e-4


@pytest.mark.parametrize(
    "shape, dims", [((7, 768), 1), ((4, 6, 5, 5), (0, 2, 3)), ((3, 1), 1), ((2, 3), (0, 1)), ((30000, 2), 0)]
)
@pytest.mark.parametrize("spread", (0.02, 1.0, 60.0))
def test_normalise(shape, dims, spread):
    x = on_grid(torch.randn(shape, dtype=torch.float64) * spread + 3 * spread)
    centred, deviation = x - x.mean(dims, True), x.var(dims, unbiased=False, keepdim=True) + 1e-5
    out, rounds, sent = evaluate("normalise", x, plain=(dims,))
    truth = centred / deviation.sqrt()
    error = (out - truth).abs()
    print(f"\nnormalise: {rounds} rounds, {sent / 1e2 / x.numel():.3f} MB per 1e4, error {error.max():.2e}")
    assert (error <= 3e-4 * truth.abs() + 2 * ULP / deviation.sqrt() + 2 * ULP).all() and rounds <= 8
    mean, _, _ = evaluate("mean", x, plain=(dims,))
    assert (mean - x.mean(dims)).abs().max() < 2 * ULP + 1e-5 * spread
    variance, _, _ = evaluate("variance", x, plain=(dims, 0, True))
    assert ((variance + 1e-5 - deviation).abs() <= 3 * ULP + 2e-3 * deviation).all()


def test_largest_and_smallest():
    x = on_grid(torch.randn(4, 9, 3, dtype=torch.float64))
    assert torch.equal(evaluate("maximum_over", x, plain=(1,))[0], x.amax(1))
    assert torch.equal(evaluate("minimum_over", x, plain=(-1, True))[0], x.amin(-1, True))


# ---- tables of one's own -------------------------------------------------------------------------------------------


def test_any_function_of_one_variable():
    from mpckit.protocols.splines import tabulated

    session, x = Session(2, insecure_seed=1), on_grid(torch.linspace(-7, 7, 4001, dtype=torch.float64))
    bump = fit(lambda v: torch.cos(3 * v) * torch.exp(-v * v), 16, 16, -4, 4, absolute=3e-4)
    y = session.run(tabulated, session.suite, session.share(x, 0), bump)
    truth = torch.cos(3 * x) * torch.exp(-x * x)
    assert (session.ring.decode(session.open(y), torch.float64) - truth).abs().max() < 3.3e-4


def test_a_tolerance_that_no_table_meets():
    with pytest.raises(ValueError, match="no table of 2\\^4 lines"):
        fit(lambda v: torch.where(v < 0.3, 0.0, 100.0), 16, 16, 0, 1, absolute=1e-4, entries=4)


def test_planning_needs_no_values():
    """The dry run on shapes draws and costs the same."""
    from mpckit.offline.plan import plan

    x, session = torch.randn(3, 8), Session(2, insecure_seed=1)
    session.run(functions.softmax, session.suite, session.share(x, 0))

    def program(x):
        planned = Session.current()
        planned.run(functions.softmax, planned.suite, planned.share(x, 0))

    assert plan(program, x).report.rounds() == session.report().rounds()


@pytest.mark.parametrize("size", [2.0**20, 2.0**26, 2.0**30, 2.0**31 - 1, -(2.0**31) + 1])
@pytest.mark.parametrize("factor", [1 / 3, -0.7, 1 / 50_000, torch.tensor(1 / 3), torch.tensor([0.4999, -0.5])])
def test_scale_has_room_for_the_whole_domain(size, factor):
    x = torch.full((64, 2), size, dtype=torch.float64)
    out, _, _ = evaluate("scale", x, plain=(factor,))
    assert torch.allclose(out, x * factor, rtol=1e-5, atol=2 * ULP)


def test_scale_refuses_what_is_no_number():
    for factor in (float("inf"), torch.tensor([1.0, float("nan")])):
        with pytest.raises(RangeError):
            evaluate("scale", torch.ones(2, dtype=torch.float64), plain=(factor,))
