"""Gates: a comparison that picks, shares in and shares out.

session.open(session.run(relu, x))              # max(x, 0)
best, index = session.run(argmax, scores)       # of equal ones the first, as torch
"""

import pytest
import torch
from desk import ALL, FORMS, PAIRS, PARTIES, RELUS, Desk, edges, every_pair, numbers

from mpckit import kernels
from mpckit.protocols.gates import argmax, maximum, reduce_max, relu, relu_truncated, select
from mpckit.protocols.widths import truncate
from mpckit.runtime.round import HEADER_BYTES
from mpckit.runtime.session import Session

SHAPES = [(), (0,), (3, 0), (1,), (2, 3), (5, 1, 13), (64,), (65,)]
WIDE = [16, 32, 40, 64]
forms, relus = pytest.mark.parametrize("form, n", FORMS), pytest.mark.parametrize("form, n", RELUS)


def test_the_example():
    session = Session(parties=3)
    x = session.share(torch.tensor([[-1.5, 3.0, 2.0, 3.0]]), owner=0)
    decode = session.ring.decode
    assert decode(session.open(session.run(relu, x))).tolist() == [[0.0, 3.0, 2.0, 3.0]]
    best, index = session.run(argmax, x)
    assert decode(session.open(best)).tolist() == [3.0] and session.open(index).tolist() == [1]


# ---- relu ----------------------------------------------------------------------------------------


@relus
def test_relu_of_every_number_under_every_mask(form, n):
    x, r = PAIRS
    assert torch.equal(Desk(n).under(r, relu, x, None, form), x.relu())


@relus
@pytest.mark.parametrize("bits", range(2, 8))
def test_relu_at_a_declared_width_under_every_mask(form, n, bits):
    x, r = PAIRS
    inside = x.abs() < 1 << bits - 1
    assert torch.equal(Desk(n).under(r[inside], relu, x[inside], bits, form), x[inside].relu())


@pytest.mark.parametrize("form", ["dpf", "dcf"])
@pytest.mark.parametrize("bits", [9, 10])
def test_relu_of_every_number_of_a_10_bit_ring_under_every_mask(form, bits):
    """Beyond 7 bits a key is a tree, no table."""
    x, r = every_pair(10)
    inside = x.abs() < 1 << bits - 1 if bits < 10 else x == x
    assert torch.equal(Desk(2, 10).under(r[inside], relu, x[inside], bits, form), x[inside].relu())


@relus
@pytest.mark.parametrize("bits", range(2, 13))
def test_every_number_of_a_small_ring(form, n, bits):
    desk = Desk(n, bits)
    x = torch.arange(-(1 << bits >> 1), 1 << bits >> 1).repeat(max(1, 1024 >> bits))
    assert torch.equal(desk(relu, x, None, form), x.relu())


@relus
@pytest.mark.parametrize("bits", WIDE)
def test_edges_and_random_numbers(form, n, bits):
    torch.manual_seed(n)
    desk, x = Desk(n, bits), numbers(bits, 1000)
    assert torch.equal(desk(relu, x, None, form), x.relu())


@relus
@pytest.mark.parametrize("ring, bits", [(64, 16), (64, 40), (40, 17), (64, 63), (32, 9)])
def test_relu_at_a_declared_width_opens_the_ring_all_the_same(form, n, ring, bits):
    torch.manual_seed(bits)
    x = numbers(bits, 1000)
    x = x[x > -(1 << bits - 1)]  # the promise: |x| < 2^(bits - 1)
    sent = {}
    for declared in (bits, ring):
        desk = Desk(n, ring)
        shared = desk.secret(x)
        desk.meter.ledger.clear()
        out = desk.run(relu, shared, declared, form)
        sent[declared] = desk.meter.sent(), desk.dealer.keys
        assert torch.equal(desk.open(out), x.relu())
    words, flags = (kernels.packed_bytes(len(x), width) + HEADER_BYTES for width in (ring, 1))
    if form == "digits":
        assert sent[bits][0] <= sent[ring][0]
    else:
        assert sent[bits][0] == sent[ring][0] == (words if form == "dcf" else words + flags)
        assert sent[bits][1] < sent[ring][1], "the key shrinks"


# ---- relu of a product ---------------------------------------------------------------------------


def check_relu_truncated(got, x, by, exact):
    rectified, plain = got
    if exact:
        assert torch.equal(plain, x >> by)
    else:
        assert ((plain == x >> by) | (plain == (x >> by) + 1)).all()
    assert torch.equal(rectified, plain.relu()), "the ReLU of the same truncation"


@forms
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("by", range(1, 7))
def test_relu_truncated_of_every_number_under_every_mask(form, n, exact, by):
    x, r = PAIRS
    inside = x.abs() < 1 << 6
    x, r = x[inside], r[inside]
    got = Desk(n, 8, by).under(r, relu_truncated, x, by, exact, None, form, True)
    check_relu_truncated(got, x, by, exact)
    if not exact:
        assert torch.equal(got[1], Desk(n, 8, by).under(r, truncate, x, by)), "the same coin as a truncation"


@forms
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("bits", range(2, 6))
def test_relu_truncated_at_a_declared_width_under_every_mask(form, n, exact, bits):
    x, r = PAIRS
    inside = (x.abs() < 1 << 6) & ((x >> 2).abs() < 1 << bits - 1)
    x, r = x[inside], r[inside]
    check_relu_truncated(Desk(n, 8, 2).under(r, relu_truncated, x, 2, exact, bits, form, True), x, 2, exact)


@relus
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("bits, by", [(16, 4), (32, 8), (64, 16), (64, 22), (64, 32)])
def test_relu_truncated_at_edges_and_random_numbers(form, n, exact, bits, by):
    torch.manual_seed(n)
    desk, x = Desk(n, bits, by), numbers(bits, 1000, 1)
    check_relu_truncated(desk(relu_truncated, x, by, exact, None, form, True), x, by, exact)
    small = x[x.abs() < 1 << by + 8]
    rectified, plain = desk.run(relu_truncated, desk.secret(small), by, exact, 10, form)
    assert (desk.open(rectified) - (small >> by).relu()).abs().max() <= 1 - exact and plain is None


def test_relu_truncated_refuses_what_is_no_truncation():
    with pytest.raises(ValueError, match="8-bit ring can drop 1 to 6 bits, not 7"):
        Desk(2)(relu_truncated, ALL, 7)


# ---- select --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("bit", [False, True])
def test_select_of_every_number_under_every_mask(n, bit):
    x, r = PAIRS
    desk = Desk(n)
    b = desk.words(torch.full(x.shape, bit))
    assert torch.equal(desk.under(r, lambda s, b: select(b, s), x, b), x * bit)


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("bit", [0, 1])
def test_select_from_what_is_known_to_be_short_under_every_mask(n, bit):
    """Opened modulo 2^6: numbers below 2^4."""
    x, r = every_pair(6)
    keep = (x >= -16) & (x < 16)
    x, r = x[keep], r[keep]
    desk = Desk(n, 40)
    b = desk.words(torch.full(x.shape, bool(bit)))
    assert torch.equal(desk.under(r, lambda s, b: select(b, s, 6), x, b), x * bit)


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("bits", [8, 64])
def test_select_picks_for_both_bits(n, bits):
    desk, x = Desk(n, bits), ALL if bits == 8 else numbers(64, 300)
    for b in (torch.zeros(len(x)).bool(), torch.ones(len(x)).bool(), x % 3 == 0):
        for _ in range(5):  # under other masks
            assert torch.equal(desk.open(desk.run(select, desk.words(b), desk.secret(x))), x * b)


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize(
    ("bit", "shape"), [((), (3,)), ((3, 1), (3, 4)), ((4,), (3, 4)), ((0,), (2, 0)), ((2, 3), ()), ((5, 1), (4,))]
)
def test_select_broadcasts(n, bit, shape):
    torch.manual_seed(1)
    desk, b, x = Desk(n, 64), torch.randint(0, 2, bit).bool(), torch.randint(-99, 99, shape)
    assert torch.equal(desk.open(desk.run(select, desk.words(b), desk.secret(x))), x * b)


# ---- maxima --------------------------------------------------------------------------------------


@relus
def test_maxima_of_all_pairs_of_an_8_bit_ring(form, n):
    x, y = PAIRS
    inside = (x - y).abs() < 128  # the stated domain
    x, y = x[inside], y[inside]
    desk, pairs = Desk(n), torch.stack((x, y), -1)
    assert torch.equal(desk(maximum, x, y, None, form), x.maximum(y))
    assert torch.equal(desk(reduce_max, pairs, None, form), x.maximum(y))
    best, index = desk(argmax, pairs, None, form)
    assert torch.equal(best, x.maximum(y)) and torch.equal(index, (y > x).long())


@relus
@pytest.mark.parametrize("bits", WIDE)
def test_maxima_at_full_width(form, n, bits):
    torch.manual_seed(n)
    e = edges(bits, slack=1)
    x, y = (t.reshape(-1) for t in torch.broadcast_tensors(e[:, None], e))
    inside = (x.double() - y.double()).abs() < 2.0 ** (bits - 1)
    desk = Desk(n, bits)
    assert torch.equal(desk(maximum, x[inside], y[inside], None, form), x.maximum(y)[inside])
    v = numbers(bits, 700, slack=1)[:700].reshape(100, 7)
    assert torch.equal(desk(reduce_max, v, None, form), v.amax(-1))
    best, index = desk(argmax, v, None, form)
    assert torch.equal(best, v.amax(-1)) and torch.equal(index, (v == v.amax(-1, keepdim=True)).int().argmax(-1))


@relus
@pytest.mark.parametrize("k", range(1, 12))
def test_of_equal_ones_the_first(form, n, k):
    torch.manual_seed(k)
    desk, v = Desk(n, 16), torch.randint(-2, 2, (200, k))
    best, index = desk(argmax, v, None, form)
    first = (v == v.amax(-1, keepdim=True)).int().argmax(-1)
    assert torch.equal(best, v.amax(-1)) and torch.equal(index, first)
    assert torch.equal(desk(reduce_max, v, None, form), v.amax(-1))


def test_the_index_is_an_integer_whatever_the_unit():
    desk = Desk(2, 64, frac=16)
    _, index = desk.run(argmax, desk.secret(torch.tensor([[1 << 16, 5 << 16, 3 << 16]])))
    assert index.shares[0].frac == 0 and desk.open(index).tolist() == [1]


@pytest.mark.parametrize("form, n", [("digits", 3), ("dpf", 2), ("dcf", 2)])
@pytest.mark.parametrize("shape", SHAPES)
def test_any_shape(form, n, shape):
    desk, x, y = Desk(n, 64), torch.randint(-9, 9, shape), torch.randint(-9, 9, shape)
    assert torch.equal(desk(relu, x, None, form), x.relu())
    assert torch.equal(desk(maximum, x, y, None, form), x.maximum(y))
    assert torch.equal(desk.open(desk.run(select, desk.words(x > 0), desk.secret(y))), y * (x > 0))
    wide = torch.randint(-9, 9, (*shape, 3))
    assert torch.equal(desk(reduce_max, wide, None, form), wide.amax(-1))
    assert torch.equal(desk(argmax, wide, None, form)[0], wide.amax(-1))


@pytest.mark.parametrize("form, n", [("digits", 3), ("dpf", 2), ("dcf", 2)])
def test_views_and_broadcasting(form, n):
    desk, x, y = Desk(n, 64), torch.randint(-9, 9, (6, 8)), torch.randint(-9, 9, (8,))
    assert torch.equal(desk(maximum, x, y, None, form), x.maximum(y))
    turned = desk.secret(x).map(torch.Tensor.t)
    assert torch.equal(desk.open(desk.run(relu, turned, None, form)), x.T.relu())
    assert torch.equal(desk.open(desk.run(reduce_max, turned, None, form)), x.T.amax(-1))
    strided = desk.secret(x).map(lambda v: v[1::2, ::3])
    best, index = desk.run(argmax, strided, None, form)
    first = (x[1::2, ::3] == x[1::2, ::3].amax(-1, keepdim=True)).int().argmax(-1)
    assert torch.equal(desk.open(best), x[1::2, ::3].amax(-1)) and torch.equal(desk.open(index), first)
