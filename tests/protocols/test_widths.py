"""From one width to another. After a product the unit is 2^32; truncation brings it home:

    y = session.run(truncate, session.run(mul, x, x), 16)      # x² with 16 fraction bits again

Exactly (floor), or right on average (floor or floor + 1), and never wrong by more, where the local lesson mode is.

    session.run(truncate_reduce, x, 16)                        # floor(x / 2^16), in a ring of 16 bits less
    session.run(extend, x, Ring(64, 16))                       # the same number in a larger ring
"""

import pytest
import torch
from desk import ALL, FORMS, PAIRS, PARTIES, Desk, edges, every_pair, numbers

from mpckit.protocols.arithmetic import mul
from mpckit.protocols.bit_suite import BitSuite
from mpckit.protocols.fss_suite import FssSuite
from mpckit.protocols.gates import relu_truncated
from mpckit.protocols.widths import extend, truncate, truncate_reduce, wrap
from mpckit.ring import Ring, ones
from mpckit.runtime.session import Session
from mpckit.share import AShare

FRAC = 16
SAMPLES = 1 << 20
forms = pytest.mark.parametrize("form, n", FORMS)


def cut(desk, x, by, mode, form="digits"):
    return desk.open(desk.run(truncate, desk.secret(x), by, mode, form))


def wrapped(x, form):
    """`wrap`, with all that it gives as shares."""
    x_hat, r, over = yield from wrap(x, form)
    return AShare(x_hat if x.first else torch.zeros_like(x_hat), x.party, Ring(64, 0)), _in(Ring(64, 0), r), over


def _in(ring, share):
    return AShare(share.data, share.party, ring)


def test_the_example():
    session = Session(parties=3)
    x = session.share(torch.tensor([1.5, -2.0]), owner=0)
    y = session.run(truncate, session.run(mul, x, x), 16)
    assert y.shares[0].ring == Ring(64, 16)
    assert (session.ring.decode(session.open(y)) - torch.tensor([2.25, 4.0])).abs().max() <= 2.0**-16


# ---- every number under every mask ---------------------------------------------------------------


@pytest.mark.parametrize("suite", [BitSuite("exact"), FssSuite()], ids=["bits", "fss"])
@pytest.mark.parametrize(("bits", "by"), [(None, 1), (None, 4), (6, 2), (6, 4), (5, 1), (4, 3), (4, 5), (3, 2)])
def test_a_suite_s_exact_truncation_takes_the_nearest_of_every_number_under_every_mask(suite, bits, by):
    """Halves go up, and what is added for that finds room beside a number of the width that is declared."""
    x, r = PAIRS
    inside = (x >= -(1 << (bits or 8) - 2)) & (x < 1 << (bits or 8) - 2)
    inside &= x < 64 - (1 << by - 1 if bits is None else 0)  # there is no more room than the ring
    x, r = x[inside], r[inside]
    got = Desk(2, 8, frac=7).under(r, lambda s: suite.truncate(s, by, bits), x)
    assert torch.equal(got, x + (1 << by - 1) >> by)


@forms
@pytest.mark.parametrize("by", range(1, 7))
def test_exact_truncation_of_every_number_under_every_mask(form, n, by):
    x, r = PAIRS
    inside = (x >= -64) & (x < 64)  # the stated domain
    x, r = x[inside], r[inside]
    assert torch.equal(Desk(n, 8, frac=7).under(r, truncate, x, by, "exact", form), x >> by)


@forms
@pytest.mark.parametrize("by", [1, 5])
def test_truncation_of_what_is_known_to_be_short(form, n, by):
    """8 bits are opened of a number of 40, under every mask of those."""
    x, r = PAIRS
    inside = (x >= -64) & (x < 64)
    x, r = x[inside], r[inside]
    assert torch.equal(Desk(n, 40, frac=7).under(r, truncate, x, by, "exact", form, 8), x >> by)


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("by", range(1, 7))
def test_stochastic_truncation_of_every_number_under_every_mask(n, by):
    """Over all masks the mean is x / 2^by, for every x of the domain."""
    x, r = PAIRS
    inside = (x >= -64) & (x < 64)
    x, r = x[inside], r[inside]
    out = Desk(n, 8, frac=7).under(r, truncate, x, by, "stochastic")
    assert set((out - (x >> by)).unique().tolist()) == {0, 1}
    assert torch.equal(out.view(128, 256).sum(1) << by, 256 * torch.arange(-64, 64))


@forms
@pytest.mark.parametrize("by", range(1, 8))
def test_truncate_reduce_of_every_number_under_every_mask(form, n, by):
    (x, r), desk = PAIRS, Desk(n, 8, frac=5)
    assert torch.equal(desk.under(r, truncate_reduce, x, by, form), x >> by)
    shorter = desk.run(truncate_reduce, desk.secret(ALL), by, form).shares[1]
    assert shorter.ring == Ring(8 - by, max(0, 5 - by))


@forms
def test_wrap_of_every_number_under_every_mask(form, n):
    x, r = PAIRS
    x_hat, mask, over = Desk(n).under(r, wrapped, x, form)
    assert torch.equal(x_hat, x + r & 255), "the test has chosen the mask"
    assert torch.equal(mask, r & 255)
    assert torch.equal(over, (x & 255) + (r & 255) >= 256)


@forms
@pytest.mark.parametrize("bits", [9, 16, 64])
def test_extension_of_every_number_under_every_mask(form, n, bits):
    (x, r), ring = PAIRS, Ring(bits, 0)
    assert torch.equal(Desk(n).under(r, lambda s: extend(s, ring, form), x), x)


def test_every_number_of_a_10_bit_ring_under_every_mask():
    """Beyond 7 bits a key is a tree, no table."""
    x, r = every_pair(10)
    _, _, over = Desk(2, 10).under(r, wrapped, x, "dpf")
    assert torch.equal(over, (x & 1023) + (r & 1023) >= 1024)
    inside = (x >= -256) & (x < 256)
    x, r = x[inside], r[inside]
    assert torch.equal(Desk(2, 10, frac=8).under(r, truncate, x, 8, "exact", "dpf"), x >> 8)


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("by", range(1, 7))
def test_the_coin_of_a_stochastic_truncation_under_many_masks(n, by):
    desk, x = Desk(n, 8, frac=7), torch.arange(-64, 64).repeat(200)
    above = cut(desk, x, by, "stochastic") - (x >> by)
    low = x & ((1 << by) - 1)
    assert set(above.unique().tolist()) == {0, 1}
    assert (above[low == 0] == 0).all(), "a multiple of 2^by is cut without any error"
    for cut_off in range(1, 1 << by):  # rounded up as often as what is cut off says
        coins = above[low == cut_off].double()
        p = cut_off / (1 << by)
        assert (coins.mean() - p).abs() < 5 * (p * (1 - p) / len(coins)) ** 0.5


# ---- other widths --------------------------------------------------------------------------------


@forms
@pytest.mark.parametrize("bits, by", [(b, by) for b in (16, 32, 40, 64) for by in (1, 4, 14, 16, 30, 38) if by < b - 1])
def test_truncation_of_edges_and_random_numbers(form, n, bits, by):
    torch.manual_seed(by)
    desk, x = Desk(n, bits, frac=by), numbers(bits, 1000, slack=1)
    assert torch.equal(cut(desk, x, by, "exact", form), x >> by)
    above = cut(desk, x, by, "stochastic") - (x >> by)
    assert above.min() >= 0 and above.max() <= 1
    x = numbers(bits, 1000)  # here the whole ring is the domain
    assert torch.equal(desk(truncate_reduce, x, by, form), x >> by)


@forms
@pytest.mark.parametrize("bits", [16, 32, 40, 63])
def test_extension_of_edges_and_random_numbers(form, n, bits):
    torch.manual_seed(bits)
    desk, x = Desk(n, bits), numbers(bits, 1000)
    for ring in (Ring(bits + 1, 0), Ring(64, 0)):
        assert torch.equal(desk(lambda s, ring=ring: extend(s, ring, form), x), x)
    with pytest.raises(ValueError, match=f"{bits} bits extend to more, not to {bits}"):
        desk(lambda s: extend(s, Ring(bits, 0), form), x)


@forms
@pytest.mark.parametrize("bits", [16, 40, 64])
def test_wrap_at_full_width(form, n, bits):
    """x̂ - r + 2^w·1{x̂ < r} is x, in a ring where 2^w does not vanish; and at the edges of both."""
    torch.manual_seed(bits)
    e = edges(bits)
    x, r = (v.reshape(-1) for v in torch.broadcast_tensors(e[:, None], e))
    x_hat, mask, over = Desk(n, bits).under(r, wrapped, x, form)
    assert torch.equal(x_hat, x + r & ones(bits)) and torch.equal(mask, r & ones(bits))
    top = -(1 << 63)  # compares as unsigned
    assert torch.equal(over, (x_hat ^ top) < (mask ^ top))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (2, 3), (65,)])
@pytest.mark.parametrize("form", ["digits", "dpf"])
def test_any_shape(shape, form):
    x = torch.randint(-99, 99, shape) << 4
    for mode in ("stochastic", "exact", "local"):
        assert torch.equal(cut(Desk(2, 64, frac=8), x, 4, mode, form), x >> 4)
    assert torch.equal(Desk(2, 40, frac=8)(truncate_reduce, x, 5, form), x >> 5)
    assert torch.equal(Desk(2, 40)(lambda s: extend(s, Ring(64, 0), form), x), x)


@pytest.mark.parametrize("form, n", [("digits", 3), ("dpf", 2)])
def test_views(form, n):
    desk, x = Desk(n, 40, frac=8), torch.randint(-999, 999, (6, 4))
    turned = desk.secret(x).map(torch.Tensor.t)
    for view in (turned, turned.map(lambda v: v[::2])):
        truth = desk.open(view)
        assert torch.equal(desk.open(desk.run(truncate, view, 3, "exact", form)), truth >> 3)
        assert torch.equal(desk.open(desk.run(truncate_reduce, view, 3, form)), truth >> 3)
        assert torch.equal(desk.open(desk.run(extend, view, Ring(64, 8), form)), truth)


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


@pytest.mark.parametrize("protocol", [truncate, relu_truncated])
def test_fraction_bits_that_are_not_there_are_not_dropped(protocol):
    desk = Desk(2, 64, frac=5)
    x = desk.secret(torch.tensor([1]))
    rounds = desk.meter.total().rounds
    with pytest.raises(ValueError, match="a number with 5 fraction bits cannot drop 6 of them"):
        desk.run(protocol, x, 6)
    assert desk.meter.total().rounds == rounds, "before anything is sent"


# ---- millions of samples -------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["digits", "dpf"])
def test_exact_has_no_error_in_four_million_samples(form):
    """Of the whole domain, and its edges under a mask at an edge."""
    torch.manual_seed(4)
    bits, e = 64, edges(64, slack=1)
    x, r = (v.reshape(-1) for v in torch.broadcast_tensors(e[:, None], edges(64)))
    assert torch.equal(Desk(2, bits, FRAC).under(r, truncate, x, FRAC, "exact", form), x >> FRAC)
    x = torch.randint(-(2**62), 2**62, (4 * SAMPLES,)) >> torch.randint(0, 62, (4 * SAMPLES,))  # of every size
    assert torch.equal(cut(Desk(2, bits, FRAC), x, FRAC, "exact", form), x >> FRAC)


def products(desk, mode, form="digits"):
    """(x·y exactly, its truncation in ulps) for 2^20 products of magnitude 10^6 with 16 fraction bits."""
    torch.manual_seed(5)
    x, y = (
        (1000 + 100 * torch.rand(SAMPLES, dtype=torch.float64)) * torch.randint(0, 2, (SAMPLES,)).mul(2).sub(1)
        for _ in "xy"
    )
    x, y = desk.ring.encode(x), desk.ring.encode(y)
    out = desk.run(truncate, desk.run(mul, desk.secret(x), desk.secret(y)), FRAC, mode, form)
    assert 1e6 <= ((x * y).abs() / 2.0**32).min() and ((x * y).abs() / 2.0**32).max() <= 1.3e6
    return x * y, desk.open(out)


@forms
def test_exact_has_no_error_against_floor(form, n):
    exact, out = products(Desk(n, 64, FRAC), "exact", form)
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


@forms
def test_floor_of_a_negative_number_lies_below_it(form, n):
    desk, x = Desk(n, 64, FRAC), torch.tensor([-1, -(1 << 16), -(1 << 16) - 1, 1, (1 << 16) - 1])
    assert cut(desk, x, FRAC, "exact", form).tolist() == [-1, -1, -2, 0, 0]
