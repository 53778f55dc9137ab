"""Comparisons, dealt as digits or as keys:

session.open(session.run(msb, x))           # x < 0
session.open(session.run(eq, x, y))         # x == y
session.open(session.run(at_least, x, (0, 10)))   # x >= 0 and x >= 10, from one opening of x
"""

import pytest
import torch
from desk import ALL, FORMS, PAIRS, Desk, edges, every_pair, numbers

from mpckit import kernels
from mpckit.correlations import Equal, Ramp, Reduce, TruncPair, Wrap
from mpckit.protocols.compare import at_least, drelu, eq, msb
from mpckit.ring import Ring
from mpckit.runtime.round import HEADER_BYTES
from mpckit.runtime.session import Session

SHAPES = [(), (0,), (3, 0), (1,), (2, 3), (5, 1, 13), (64,), (65,)]
WIDE = [16, 32, 40, 63, 64]
forms = pytest.mark.parametrize("form, n", FORMS)


@pytest.mark.parametrize("form", ["digits", "dpf"])
def test_the_example(form):
    session = Session(parties=2)
    x, y = (
        session.share(torch.tensor([-1.5, 3.0, 12.0]), owner=0),
        session.share(torch.tensor([-1.5, 3.5, 12.0]), owner=1),
    )
    assert session.open(session.run(msb, x, None, form)).tolist() == [True, False, False]
    assert session.open(session.run(eq, x, y, None, form)).tolist() == [True, False, True]
    ten = session.ring.encode(10.0).item()
    above = session.open(session.run(at_least, x, (0, ten), None, form))
    assert above.tolist() == [[False, True, True], [False, False, True]]


# ---- every number under every mask ---------------------------------------------------------------


@forms
def test_signs_of_every_number_under_every_mask(form, n):
    x, r = PAIRS
    assert torch.equal(Desk(n).under(r, drelu, x, None, form), x >= 0)
    assert torch.equal(Desk(n).under(r, msb, x, None, form), x < 0)


@forms
def test_equality_of_every_number_under_every_mask(form, n):
    x, r = PAIRS
    for c in (0, 1, -1, 77, 127, -128):
        found = Desk(n).under(r, lambda s, c=c: eq(s, c, None, form), x)
        assert torch.equal(found, (x - c) & 255 == 0)


@forms
def test_thresholds_under_every_mask(form, n):
    x, r = PAIRS
    thresholds = (0, 1, -1, 5, -64, 64, 127, -128)
    found = Desk(n).under(r, at_least, x, thresholds, None, form)
    for above, c in zip(found, thresholds):
        inside = (x - c).abs() < 128  # the stated domain
        assert torch.equal(above[inside], (x >= c)[inside])


@forms
@pytest.mark.parametrize("bits", range(2, 8))
def test_a_declared_width_under_every_mask(form, n, bits):
    """Only the low bits are compared: right for every number that they hold, whatever the mask has above them."""
    x, r = PAIRS
    inside = x.abs() < 1 << bits - 1
    x, r = x[inside], r[inside]
    assert torch.equal(Desk(n).under(r, drelu, x, bits, form), x >= 0)
    assert torch.equal(Desk(n).under(r, lambda s: eq(s, 1, bits, form), x), x == 1)
    found = Desk(n).under(r, at_least, x, (0, 1, -1), bits, form)
    assert torch.equal(found[0], x >= 0)
    near = (x.abs() + 1) < 1 << bits - 1
    assert torch.equal(found[1:, near], torch.stack((x >= 1, x >= -1))[:, near])


def test_every_number_of_a_10_bit_ring_under_every_mask():
    """Beyond 7 bits a key is a tree, no table."""
    x, r = every_pair(10)
    assert torch.equal(Desk(2, 10).under(r, drelu, x, None, "dpf"), x >= 0)
    assert torch.equal(Desk(2, 10).under(r, lambda s: eq(s, -3, None, "dpf"), x), x == -3)


@forms
def test_all_pairs_of_an_8_bit_ring_are_compared_for_equality(form, n):
    x, y = PAIRS
    assert torch.equal(Desk(n)(eq, x, y, None, form), x == y)


@forms
def test_every_number_of_an_8_bit_ring_against_every_threshold(form, n):
    found = Desk(n)(at_least, ALL, tuple(ALL.tolist()), None, form)
    inside = (ALL - ALL[:, None]).abs() < 128  # the stated domain
    assert torch.equal(found[inside], (ALL >= ALL[:, None])[inside])


# ---- other widths --------------------------------------------------------------------------------


@forms
@pytest.mark.parametrize("bits", range(2, 17))
def test_signs_and_equality_at_every_small_width(form, n, bits):
    desk = Desk(n, bits)
    x = torch.arange(-(1 << bits >> 1), 1 << bits >> 1).repeat(max(1, 256 >> bits))
    assert torch.equal(desk(msb, x, None, form), x < 0)
    assert torch.equal(desk(eq, x, x.flip(0), None, form), x == x.flip(0))
    assert desk(eq, x, x.clone(), None, form).all()


@forms
@pytest.mark.parametrize("bits", WIDE)
def test_comparisons_at_full_width(form, n, bits):
    torch.manual_seed(n)
    desk, x = Desk(n, bits), numbers(bits, 500)
    assert torch.equal(desk(msb, x, None, form), x < 0)
    e = edges(bits)
    assert torch.equal(desk(eq, e[:, None], e, None, form), e[:, None] == e)
    near = numbers(bits, 300, slack=1)  # so that |x - c| < 2^(bits - 1)
    thresholds = [*edges(bits, slack=1)[::7].tolist(), 0, 1, -1]
    assert torch.equal(desk(at_least, near, thresholds, None, form), torch.stack([near >= c for c in thresholds]))


@forms
@pytest.mark.parametrize("bits", WIDE)
def test_beside_a_threshold(form, n, bits):
    torch.manual_seed(n)
    top = 1 << bits - 2
    thresholds = [0, 1, -1, top - 2, 1 - top, *(numbers(bits, 20, slack=1)[:20] // 2).tolist()]
    x = torch.tensor([c + d for c in thresholds for d in (-1, 0, 1)])
    found = Desk(n, bits)(at_least, x, thresholds, None, form)
    assert torch.equal(found, torch.stack([x >= c for c in thresholds]))


@forms
@pytest.mark.parametrize("ring, bits", [(64, 16), (64, 40), (40, 17), (64, 63), (32, 31), (16, 9)])
def test_a_declared_width_is_all_that_is_opened(form, n, ring, bits):
    torch.manual_seed(bits)
    x = numbers(bits, 400)
    x = x[x > -(1 << bits - 1)]  # the promise: |x| < 2^(bits - 1)
    desk = Desk(n, ring)
    shared, other = desk.secret(x), desk.secret(x.roll(1) >> 1)
    packed = kernels.packed_bytes(len(x), bits) + HEADER_BYTES
    for protocol, truth in (
        (lambda s, t: drelu(s, bits, form), x >= 0),
        (lambda s, t: at_least(s, (0,), bits, form), (x >= 0)[None]),
        (lambda s, t: eq(s, t, bits, form), x == x.roll(1) >> 1),
        (lambda s, t: eq(s, s, bits, form), torch.ones(len(x), dtype=torch.bool)),
    ):
        desk.meter.ledger.clear()
        found = desk.run(protocol, shared, other)
        total = desk.meter.total()
        if form == "dpf":
            assert (total.rounds, desk.meter.sent()) == (1, packed)
        else:
            tree = sum(kernels.packed_bytes(len(x), 1) * 2 * -(-bits // 4) for _ in range(total.rounds - 1))
            assert packed * (n - 1) < desk.meter.sent() <= (n - 1) * (packed + tree + HEADER_BYTES * total.rounds)
        assert torch.equal(desk.open(found), truth)


# ---- shapes --------------------------------------------------------------------------------------


@forms
def test_equality_with_public_numbers(form, n):
    desk, x = Desk(n, 16), torch.arange(-20, 20)
    shared = desk.secret(x)
    assert torch.equal(desk.open(desk.run(eq, shared, 7, None, form)), x == 7)
    assert torch.equal(desk.open(desk.run(lambda s, y: eq(s, y, None, form), shared, 7)), x == 7)
    public = x.flip(0)
    assert torch.equal(desk.open(desk.run(lambda s: eq(s, public, None, form), shared)), x == public)


@pytest.mark.parametrize("form, n", [("digits", 3), ("dpf", 2)])
@pytest.mark.parametrize("bits", [8, 64])
@pytest.mark.parametrize("shape", SHAPES)
def test_comparisons_of_any_shape(form, n, bits, shape):
    desk, x, y = Desk(n, bits), torch.randint(-3, 3, shape), torch.randint(-3, 3, shape)
    assert torch.equal(desk(msb, x, None, form), x < 0)
    assert torch.equal(desk(eq, x, y, None, form), x == y)
    assert torch.equal(desk(at_least, x, (0, 2), None, form), torch.stack((x >= 0, x >= 2)))


@pytest.mark.parametrize("form, n", [("digits", 3), ("dpf", 2)])
def test_comparisons_broadcast_and_take_views(form, n):
    desk, x, y = Desk(n, 64), torch.randint(-3, 3, (6, 1)), torch.randint(-3, 3, (4,))
    assert torch.equal(desk(eq, x, y, None, form), x == y)
    wide = torch.randint(-3, 3, (6, 8))
    turned = desk.secret(wide).map(torch.Tensor.t)
    assert torch.equal(desk.open(desk.run(msb, turned, None, form)), wide.T < 0)
    strided = desk.secret(wide).map(lambda v: v[::2, 1::3])
    found = desk.open(desk.run(eq, strided, strided, None, form))
    assert torch.equal(found, torch.ones(3, 3, dtype=torch.bool))


@pytest.mark.parametrize("form", ["digits", "dpf"])
def test_a_ring_of_one_bit_has_no_sign_to_compare_by(form):
    """Said before anything is sent. What asks for no sign, whether two bits are equal, can still be asked."""
    session = Session(2, ring=Ring(1, 0), insecure_seed=1)
    x = session.share(torch.tensor([0, -1]), owner=0)
    before = session.meter.sent()
    with pytest.raises(ValueError, match="a comparison needs a ring of 2 bits or more: one for the sign"):
        session.run(drelu, x, None, form)
    assert session.meter.sent() == before
    for signed in (lambda: Ramp((2,), 1, 64), lambda: TruncPair((2,), 1, 0), lambda: Reduce((2,), 1, 1, form)):
        with pytest.raises(ValueError, match="2 bits or more"):
            signed()
    assert Equal((2,), 1, form).bits == Wrap((2,), 1, form).bits == 1
