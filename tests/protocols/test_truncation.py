"""After a product the unit is 2^32; truncation brings it home:

    y = session.run(truncate, session.run(mul, x, x), 16)      # x² with 16 fraction bits again

Exactly (floor), or right on average (floor or floor + 1), and never wrong by more, where the local lesson mode is.
"""

import pytest
import torch
from desk import PARTIES, Desk, numbers

from mpckit.protocols.arithmetic import mul, truncate
from mpckit.ring import Ring
from mpckit.runtime.session import Session

FRAC = 16
SAMPLES = 1 << 20


def cut(desk, x, by, mode):
    return desk.open(desk.run(truncate, desk.secret(x), by, mode))


def test_the_example():
    session = Session(parties=3)
    x = session.share(torch.tensor([1.5, -2.0]), owner=0)
    y = session.run(truncate, session.run(mul, x, x), 16)
    assert y.shares[0].ring == Ring(64, 16)
    assert (session.ring.decode(session.open(y)) - torch.tensor([2.25, 4.0])).abs().max() <= 2.0**-16


# ---- the whole domain of an 8-bit ring -----------------------------------------------------------


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("by", range(1, 7))
def test_every_number_in_the_domain_under_many_masks(n, by):
    desk, x = Desk(n, 8, frac=7), torch.arange(-64, 64).repeat(200)
    assert torch.equal(cut(desk, x, by, "exact"), x >> by)
    above = cut(desk, x, by, "stochastic") - (x >> by)
    low = x & ((1 << by) - 1)
    assert set(above.unique().tolist()) == {0, 1}
    assert (above[low == 0] == 0).all(), "a multiple of 2^by is cut without any error"
    for cut_off in range(1, 1 << by):  # rounded up as often as what is cut off says
        coins = above[low == cut_off].double()
        p = cut_off / (1 << by)
        assert (coins.mean() - p).abs() < 5 * (p * (1 - p) / len(coins)) ** 0.5


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("bits", [40, 64])
@pytest.mark.parametrize("by", [1, 4, 16, 30, 38])
def test_edges_and_random_numbers(n, bits, by):
    torch.manual_seed(by)
    desk, x = Desk(n, bits, frac=by), numbers(bits, 1000, slack=1)
    assert torch.equal(cut(desk, x, by, "exact"), x >> by)
    above = cut(desk, x, by, "stochastic") - (x >> by)
    assert above.min() >= 0 and above.max() <= 1


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (2, 3), (65,)])
@pytest.mark.parametrize("mode", ["stochastic", "exact", "local"])
def test_any_shape(shape, mode):
    x = torch.randint(-99, 99, shape) << 4
    assert torch.equal(cut(Desk(2, 64, frac=8), x, 4, mode), x >> 4)


def test_views():
    desk, x = Desk(3, 64, frac=8), torch.randint(-999, 999, (6, 4))
    turned = desk.secret(x).map(torch.Tensor.t)
    assert torch.equal(desk.open(desk.run(truncate, turned, 3, "exact")), x.T >> 3)
    assert torch.equal(desk.open(desk.run(truncate, turned.map(lambda v: v[::2]), 3, "exact")), x.T[::2] >> 3)


def test_the_unit_falls_by_what_was_dropped():
    desk = Desk(2, 64, frac=40)
    for mode in ("stochastic", "exact", "local"):
        assert desk.run(truncate, desk.secret(torch.tensor([5])), 24, mode).shares[1].ring == Ring(64, 16)


def test_what_cannot_be_dropped_raises():
    for bits, by in ((8, 0), (8, 7), (8, -1), (64, 63), (64, 64)):
        desk = Desk(2, bits, frac=5)
        for mode in ("stochastic", "exact", "local"):
            with pytest.raises(ValueError, match=f"a {bits}-bit ring can drop"):
                desk.run(truncate, desk.secret(torch.tensor([1])), by, mode)
    with pytest.raises(ValueError, match="two parties"):
        Session(3, truncation="local")


# ---- a million products of a million -------------------------------------------------------------


def products(desk, mode):
    """(x·y exactly, its truncation in ulps) for 2^20 products of magnitude 10^6 with 16 fraction bits."""
    torch.manual_seed(5)
    x, y = (
        (1000 + 100 * torch.rand(SAMPLES, dtype=torch.float64)) * torch.randint(0, 2, (SAMPLES,)).mul(2).sub(1)
        for _ in "xy"
    )
    x, y = desk.ring.encode(x), desk.ring.encode(y)
    out = desk.run(truncate, desk.run(mul, desk.secret(x), desk.secret(y)), FRAC, mode)
    assert 1e6 <= ((x * y).abs() / 2.0**32).min() and ((x * y).abs() / 2.0**32).max() <= 1.3e6
    return x * y, desk.open(out)


@pytest.mark.parametrize("n", PARTIES)
def test_exact_has_no_error_against_floor(n):
    exact, out = products(Desk(n, 64, FRAC), "exact")
    assert torch.equal(out, exact >> FRAC)


@pytest.mark.parametrize("n", PARTIES)
def test_stochastic_never_fails_grossly_and_has_no_bias(n):
    exact, out = products(Desk(n, 64, FRAC), "stochastic")
    error = out - (exact >> FRAC)
    assert error.min() == 0 and error.max() == 1
    p = (exact & ((1 << FRAC) - 1)).double() / (1 << FRAC)  # rounded up with this probability
    sigma = (p * (1 - p)).sum().sqrt() / SAMPLES
    assert (error - p).mean().abs() < 4 * sigma, "mean error in ulps"


def test_local_fails_as_often_as_its_docstring_says():
    """About |x| / 2^w of all: some 270 among 2^20 products of 1.1 million, each wrong by 2^48 ulps."""
    exact, out = products(Desk(2, 64, FRAC), "local")
    error = out - (exact >> FRAC)
    gross = error.abs() > 1
    p = exact.abs().double() / 2.0**64
    expected, sigma = p.sum().item(), (p * (1 - p)).sum().sqrt().item()
    assert abs(gross.sum().item() - expected) < 4 * sigma and expected > 200
    assert ((error[gross].abs() - 2**48).abs() <= 1).all()


def test_floor_of_a_negative_number_lies_below_it():
    desk, x = Desk(3, 64, FRAC), torch.tensor([-1, -(1 << 16), -(1 << 16) - 1, 1, (1 << 16) - 1])
    assert cut(desk, x, FRAC, "exact").tolist() == [-1, -1, -2, 0, 0]
