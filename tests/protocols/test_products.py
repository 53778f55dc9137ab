"""Products, quotients and powers in fixed point:

session.run(functions.product, session.suite, x, y)        # x·y, with x's fraction bits
session.run(functions.scale, session.suite, x, 1 / 3)      # by a public number
session.run(functions.power, session.suite, x, -0.5)
"""

import pytest
import torch
from truth import ULP, WHOLE, evaluate, on_grid, positive, stated, wide

from mpckit.ring import RangeError

both = pytest.mark.parametrize("mode", WHOLE)
EXACT = {"bits": 0, "fss": 1}  # rounds more, where a truncation is exact


@both
def test_products(mode):
    x, y = (on_grid(torch.randn(50, 40, dtype=torch.float64) * 30) for _ in range(2))
    for name, inputs, truth in (("product", (x, y), x * y), ("product", (x, y[0]), x * y[0]), ("square", (x,), x * x)):
        out, rounds, _ = evaluate(name, *inputs, mode=mode)
        assert (out - truth).abs().max() <= (0.501 if EXACT[mode] else 1.01) * ULP and rounds == stated(name)[
            0
        ] + EXACT[mode]


@pytest.mark.parametrize(
    "factor, rounds",
    [(3, 0), (-1, 0), (0, 0), (2.0**20, 0), (0.5, 1), (-1 / 768, 1), (1e-9, 1), (1000.7, 1), (1e7 / 3, 1)],
)
@both
def test_scale(factor, rounds, mode):
    x = on_grid(torch.linspace(-300, 300, 2001, dtype=torch.float64))
    out, spent, _ = evaluate("scale", x, mode=mode, plain=(factor,))
    assert (
        spent == rounds * (1 + EXACT[mode])
        and ((out - factor * x).abs() <= 2.01 * ULP + 4e-6 * (factor * x).abs()).all()
    )


@both
@pytest.mark.parametrize("factor", [1 / 120_000, -1 / 120_000, 1 / 3, 0.7])
def test_the_error_of_scale_does_not_follow_the_sign(factor, mode):
    """A sum of squares would keep such an error: half a percent, where 400 ulps are squared."""
    x = on_grid(torch.randn(100_000, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 300)
    error = evaluate("scale", x, mode=mode, plain=(factor,))[0] - x * factor
    assert (error * x.sign()).mean().abs() < 0.05 * ULP


@both
def test_scale_by_a_tensor(mode):
    x, factor = on_grid(torch.randn(4, 6, dtype=torch.float64)), torch.rand(6)
    out, rounds, _ = evaluate("scale", x, mode=mode, plain=(factor,))
    assert (out - x * factor).abs().max() < 3e-5 and rounds == 1 + EXACT[mode]
    assert evaluate("scale", x, mode=mode, plain=(torch.ones(6),))[1] == rounds  # values do not decide what is drawn


@pytest.mark.parametrize(
    "exponent, rounds", [(0, 0), (1, 0), (2, 2), (3, 4), (4, 4), (5, 6), (7, 6), (9, 8), (-1, 4), (-2, 6)]
)
@both
def test_integer_powers(exponent, rounds, mode):
    x = on_grid(torch.cat((torch.linspace(-3, -0.5, 200), torch.linspace(0.5, 3, 200))).double())
    out, spent, _ = evaluate("power", x, mode=mode, plain=(exponent,))
    assert spent == rounds + EXACT[mode] * rounds // 2 - EXACT[mode] * (exponent < 0)  # 1/x has one truncation in four
    assert ((out - x**exponent).abs() <= (1e-3 if exponent < 0 else 1e-4) * (x**exponent).abs() + 5e-4).all()


@pytest.mark.parametrize("exponent", (0.5, -0.5, 1.5, 2.5, -1.5, 1 / 3, -0.1, -4.5))
@both
def test_fractional_powers(exponent, mode):
    x = positive(3000)
    out, rounds, _ = evaluate("power", x, mode=mode, plain=(exponent,))
    truth = (x**exponent).clamp(max=2.0**45)
    assert rounds == 4 + EXACT[mode] and ((out - truth).abs() <= wide(truth)).all()


@pytest.mark.parametrize("exponent", (0.1, 0.25, 0.5, 1.5))
@both
def test_a_power_of_nothing_is_nothing(exponent, mode):
    """As torch's, also where that of the smallest positive number is large: (2^-16)^0.25 is 1/16."""
    out, _, _ = evaluate("power", torch.tensor([0.0, -ULP, -3.0], dtype=torch.float64), mode=mode, plain=(exponent,))
    assert (out.abs() <= 4 * ULP).all()


@both
def test_division(mode):
    x, y = (on_grid(torch.randn(5000, dtype=torch.float64) * s) for s in (50, 10))
    y = on_grid(torch.where(y.abs() < 0.01, 0.01, y))
    out, rounds, _ = evaluate("division", x, y, mode=mode)
    assert (
        rounds == 6 + 2 * EXACT[mode]
        and ((out - x / y).abs() <= 4e-4 * (x / y).abs() + 4 * ULP + x.abs() * 2.0**-21).all()
    )
    out, rounds, _ = evaluate("division", x, mode=mode, plain=(7.0,))
    assert rounds == 1 + EXACT[mode] and (out - x / 7).abs().max() < 1e-3


@pytest.mark.parametrize("size", [2.0**20, 2.0**26, 2.0**30, 2.0**31 - 1, -(2.0**31) + 1])
@pytest.mark.parametrize("factor", [1 / 3, -0.7, 1 / 50_000, torch.tensor(1 / 3), torch.tensor([0.4999, -0.5])])
@both
def test_scale_has_room_for_the_whole_domain(size, factor, mode):
    x = torch.full((64, 2), size, dtype=torch.float64)
    out, _, _ = evaluate("scale", x, mode=mode, plain=(factor,))
    assert torch.allclose(out, x * factor, rtol=1e-5, atol=2 * ULP)


def test_scale_refuses_what_is_no_number():
    for factor in (float("inf"), torch.tensor([1.0, float("nan")])):
        with pytest.raises(RangeError):
            evaluate("scale", torch.ones(2, dtype=torch.float64), plain=(factor,))
