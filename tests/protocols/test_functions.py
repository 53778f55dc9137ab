"""Functions against torch: errors on the whole range, edges and shapes, and the rounds that the docstrings state.

session = Session(2)
x = session.share(torch.tensor([-1.0, 0.5]), owner=0)
y = session.run(functions.gelu, session.suite, x)
session.ring.decode(session.open(y))
"""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from truth import MODES, ULP, WHOLE, at_most, evaluate, on_grid, positive, signed, stated, wide, within

from mpckit.offline.plan import plan
from mpckit.protocols import functions
from mpckit.protocols.splines import tabulated
from mpckit.protocols.tables import fit
from mpckit.ring import Ring
from mpckit.runtime.session import Session

both = pytest.mark.parametrize("mode", WHOLE)

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

# Rounds where truncations are exact, and in the suite of keys, where a comparison takes none of its own. A truncation
# then takes the rounds of a comparison of the bits dropped (none by keys), and one more to turn the borrow to a number.
ROUNDS = {
    # name: (bits exact, fss, fss stochastic)
    "absolute": (4, 2, 2),  # no truncation; a comparison and a selection
    "clamp": (4, 2, 2),
    **dict.fromkeys(("sigmoid", "tanh", "erf", "gelu", "silu", "softplus", "exp_nonpositive"), (6, 5, 4)),
    **dict.fromkeys(("log", "reciprocal", "sqrt", "rsqrt"), (7, 5, 4)),  # slopes of more than 16 fraction bits
    "exp": (12, 8, 6),  # two truncations, one after the other, of more than 16 bits
}


@pytest.mark.parametrize("mode, parties", [("bits", 2), ("bits", 3), *((mode, 2) for mode in MODES if mode != "bits")])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name, mode, parties):
    torch_function, x, bound, plain = ELEMENTWISE[name]
    y, rounds, sent = evaluate(name, x, mode=mode, parties=parties, plain=plain)
    truth = torch_function(x)
    error = (y - truth).abs()
    worst = int((error / bound(truth).clamp(min=1e-30)).argmax())
    small, relative = error[truth.abs() < 1.5].max(), (error / truth.abs())[truth.abs() > 0.1].max()
    print(
        f"\n{name}: {rounds} rounds, {sent / 1e2 / len(x):.2f} MB per 1e4 elements; error {small:.1e} where |y| < 1.5, "
        f"relative {relative:.1e} where |y| > 0.1"
    )
    assert error[worst] <= bound(truth)[worst], f"{name}({x[worst]}) = {y[worst]}, not {truth[worst]}"
    known = dict(zip(MODES, (*stated(name), *ROUNDS[name]), strict=True))
    assert rounds == known[mode]


@both
@pytest.mark.parametrize(
    "name, plain, room", [("reciprocal", (), 2.0**18), ("reciprocal", (True,), 0), ("rsqrt", (), 0)]
)
def test_up_to_the_end_of_the_ring(name, plain, room, mode):
    """Beyond the common domain, 2^46, to 2^47: as long as x less a (negative) threshold still fits the ring."""
    x = on_grid(2.0 ** torch.linspace(45.9, 47, 2000, dtype=torch.float64).sub(1e-9))
    x = torch.cat((x[x < 2.0**47 - room], 2.0**47 - room - torch.tensor([1, 2, 3, 100, 1e5, 1e9]).double()))
    y, _, _ = evaluate(name, x, mode=mode, plain=plain)
    truth = getattr(torch, name)(x)
    assert ((y - truth).abs() <= within(5e-4, 4)(truth)).all()


@pytest.mark.parametrize(
    "name", ("sigmoid", "tanh", "erf", "gelu", "silu", "softplus", "log", "reciprocal", "sqrt", "rsqrt")
)
@both
def test_where_pieces_meet(name, mode):
    """On both sides of every threshold, where the index may be rounded to a node beyond the end of its piece."""
    table = {"gelu": ("none",), "reciprocal": (16, False), "log": (64,), "sqrt": (64,), "rsqrt": (64,)}.get(name, ())
    ends = torch.tensor(getattr(functions, f"_{name}")(16, *table).thresholds)
    x = (ends[:, None] + torch.tensor([-300, -2, -1, 0, 1, 2, 300])).flatten().repeat(40).double() * ULP
    torch_function, _, bound, _ = ELEMENTWISE[name]
    x = x[x != 0] if name == "reciprocal" else x[x > 0] if name in ("log", "sqrt", "rsqrt") else x
    truth = torch_function(x)
    assert ((evaluate(name, x, mode=mode)[0] - truth).abs() <= bound(truth)).all()


@both
def test_gelu_tanh_form(mode):
    x = signed()
    y, _, _ = evaluate("gelu", x, mode=mode, plain=("tanh",))
    assert (y - F.gelu(x, approximate="tanh")).abs().max() < 1e-4


@pytest.mark.parametrize("frac", (12, 20))
@pytest.mark.parametrize("name", ELEMENTWISE)
@both
def test_other_units(name, frac, mode):
    """As many ulps at other units, where an ulp is larger than what the table misses."""
    ring, ulp = Ring(64, frac), 2.0**-frac
    torch_function, x, bound, plain = ELEMENTWISE[name]
    x = torch.round(x[x.abs() < 2.0 ** (61 - frac)] / ulp) * ulp
    x = x[x != 0] if name in ("reciprocal", "rsqrt", "log") else x
    highest = math.floor(((45 - frac) * math.log(2) - 1e-3) / ulp) * ulp
    truth = torch_function(x) if name != "exp" else x.clamp(max=highest).exp()
    y, _, _ = evaluate(name, x, mode=mode, ring=ring, plain=plain)
    assert ((y - truth).abs() <= torch.maximum(bound(truth), torch.tensor(4 * ulp))).all()


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
@both
def test_ends(name, x, expected, mode):
    y, _, _ = evaluate(name, torch.tensor(x, dtype=torch.float64), mode=mode)
    assert ((y - expected).abs() <= max(2 * ULP, 5e-5 * abs(expected))).all(), y


@both
def test_reciprocal_of_what_is_known_to_be_positive(mode):
    x = torch.cat((positive(), torch.tensor([0.0, -1.0])))
    y, rounds, _ = evaluate("reciprocal", x, mode=mode, plain=(True,))
    truth = torch.where(x > 0, 1 / x, 2.0**16)
    assert ((y - truth).abs() <= wide(truth)).all() and rounds == {"bits": 4, "fss": 5}[mode]


@both
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_shapes(name, mode):
    """No dimension, no element, several dimensions."""
    torch_function, _, bound, plain = ELEMENTWISE[name]
    for shape in ((), (0,), (3, 0, 2), (1,), (2, 3, 5)):
        x = on_grid(-0.5 - torch.rand(shape, dtype=torch.float64))
        x = -x if name in ("log", "sqrt", "rsqrt") else x
        y, _, _ = evaluate(name, x, mode=mode, plain=plain)
        assert y.shape == x.shape and ((y - torch_function(x)).abs() <= bound(torch_function(x))).all()


# ---- tables of one's own -------------------------------------------------------------------------------------------


@both
def test_any_function_of_one_variable(mode):
    session, x = Session(2, insecure_seed=1, **MODES[mode]), on_grid(torch.linspace(-7, 7, 4001, dtype=torch.float64))
    bump = fit(lambda v: torch.cos(3 * v) * torch.exp(-v * v), 16, 16, -4, 4, absolute=3e-4)
    y = session.run(tabulated, session.suite, session.share(x, 0), bump)
    truth = torch.cos(3 * x) * torch.exp(-x * x)
    assert (session.ring.decode(session.open(y), torch.float64) - truth).abs().max() < 3.3e-4


def test_a_tolerance_that_no_table_meets():
    with pytest.raises(ValueError, match="no table of 2\\^4 lines"):
        fit(lambda v: torch.where(v < 0.3, 0.0, 100.0), 16, 16, 0, 1, absolute=1e-4, entries=4)


@both
def test_planning_needs_no_values(mode):
    """The dry run on shapes draws and costs the same."""
    x, session = torch.randn(3, 8), Session(2, insecure_seed=1, **MODES[mode])
    session.run(functions.softmax, session.suite, session.share(x, 0))

    def program(x):
        planned = Session.current()
        planned.run(functions.softmax, planned.suite, planned.share(x, 0))

    planned, spent = plan(program, x, **MODES[mode]).report, session.report()
    for bill in ("rounds", "sent"):
        assert getattr(planned, bill)() == getattr(spent, bill)()
    assert (planned.offline_bytes, planned.key_bytes) == (spent.offline_bytes, spent.key_bytes)
