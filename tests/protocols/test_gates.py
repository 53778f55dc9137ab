"""Gates: a comparison that picks, shares in and shares out.

session.open(session.run(relu, x))              # max(x, 0)
best, index = session.run(argmax, scores)       # of equal ones the first, as torch
"""

import pytest
import torch
from desk import ALL, PAIRS, PARTIES, Desk, edges, numbers

from mpckit.protocols.gates import argmax, drelu, lut, maximum, reduce_max, relu, select, split_lut
from mpckit.runtime.session import Session

SHAPES = [(), (0,), (3, 0), (1,), (2, 3), (5, 1, 13), (64,), (65,)]
WIDE = [16, 40, 64]


def test_the_example():
    session = Session(parties=3)
    x = session.share(torch.tensor([[-1.5, 3.0, 2.0, 3.0]]), owner=0)
    decode = session.ring.decode
    assert decode(session.open(session.run(relu, x))).tolist() == [[0.0, 3.0, 2.0, 3.0]]
    best, index = session.run(argmax, x)
    assert decode(session.open(best)).tolist() == [3.0] and session.open(index).tolist() == [1]


# ---- relu and select -----------------------------------------------------------------------------


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("bits", range(2, 13))
def test_every_number_of_a_small_ring(n, bits):
    desk = Desk(n, bits)
    x = torch.arange(-(1 << bits >> 1), 1 << bits >> 1).repeat(max(1, 1024 >> bits))
    assert torch.equal(desk(relu, x), x.relu())
    assert torch.equal(desk(drelu, x), x >= 0)


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("bits", WIDE)
def test_edges_and_random_numbers(n, bits):
    torch.manual_seed(n)
    desk, x = Desk(n, bits), numbers(bits, 1000)
    assert torch.equal(desk(relu, x), x.relu())
    assert torch.equal(desk(drelu, x), x >= 0)


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


@pytest.mark.parametrize("n", PARTIES)
def test_maxima_of_all_pairs_of_an_8_bit_ring(n):
    x, y = PAIRS
    inside = (x - y).abs() < 128  # the stated domain
    x, y = x[inside], y[inside]
    desk, pairs = Desk(n), torch.stack((x, y), -1)
    assert torch.equal(desk(maximum, x, y), x.maximum(y))
    assert torch.equal(desk(reduce_max, pairs), x.maximum(y))
    best, index = desk(argmax, pairs)
    assert torch.equal(best, x.maximum(y)) and torch.equal(index, (y > x).long())


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("bits", WIDE)
def test_maxima_at_full_width(n, bits):
    torch.manual_seed(n)
    e = edges(bits, slack=1)
    x, y = (t.reshape(-1) for t in torch.broadcast_tensors(e[:, None], e))
    inside = (x.double() - y.double()).abs() < 2.0 ** (bits - 1)
    desk = Desk(n, bits)
    assert torch.equal(desk(maximum, x[inside], y[inside]), x.maximum(y)[inside])
    v = numbers(bits, 700, slack=1)[:700].reshape(100, 7)
    assert torch.equal(desk(reduce_max, v), v.amax(-1))
    best, index = desk(argmax, v)
    assert torch.equal(best, v.amax(-1)) and torch.equal(index, (v == v.amax(-1, keepdim=True)).int().argmax(-1))


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("k", range(1, 12))
def test_of_equal_ones_the_first(n, k):
    torch.manual_seed(k)
    desk, v = Desk(n, 16), torch.randint(-2, 2, (200, k))
    best, index = desk(argmax, v)
    first = (v == v.amax(-1, keepdim=True)).int().argmax(-1)
    assert torch.equal(best, v.amax(-1)) and torch.equal(index, first)
    assert torch.equal(desk(reduce_max, v), v.amax(-1))


def test_the_index_is_an_integer_whatever_the_unit():
    desk = Desk(2, 64, frac=16)
    _, index = desk.run(argmax, desk.secret(torch.tensor([[1 << 16, 5 << 16, 3 << 16]])))
    assert index.shares[0].frac == 0 and desk.open(index).tolist() == [1]


@pytest.mark.parametrize("shape", SHAPES)
def test_any_shape(shape):
    desk, x, y = Desk(3, 64), torch.randint(-9, 9, shape), torch.randint(-9, 9, shape)
    assert torch.equal(desk(relu, x), x.relu())
    assert torch.equal(desk(maximum, x, y), x.maximum(y))
    assert torch.equal(desk.open(desk.run(select, desk.words(x > 0), desk.secret(y))), y * (x > 0))
    wide = torch.randint(-9, 9, (*shape, 3))
    assert torch.equal(desk(reduce_max, wide), wide.amax(-1))
    assert torch.equal(desk(argmax, wide)[0], wide.amax(-1))
    table = torch.arange(32)
    assert torch.equal(desk(lambda s: lut(s, table, 6), x), table[x & 31])


def test_views_and_broadcasting():
    desk, x, y = Desk(3, 64), torch.randint(-9, 9, (6, 8)), torch.randint(-9, 9, (8,))
    assert torch.equal(desk(maximum, x, y), x.maximum(y))
    turned = desk.secret(x).map(torch.Tensor.t)
    assert torch.equal(desk.open(desk.run(relu, turned)), x.T.relu())
    assert torch.equal(desk.open(desk.run(reduce_max, turned)), x.T.amax(-1))
    strided = desk.secret(x).map(lambda v: v[1::2, ::3])
    best, index = desk.run(argmax, strided)
    first = (x[1::2, ::3] == x[1::2, ::3].amax(-1, keepdim=True)).int().argmax(-1)
    assert torch.equal(desk.open(best), x[1::2, ::3].amax(-1)) and torch.equal(desk.open(index), first)


# ---- tables --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("k", range(1, 9))
def test_every_entry_is_found_from_every_number(n, k):
    torch.manual_seed(k)
    desk = Desk(n)
    for width in (2, 8, 40, 64):
        table = torch.randint(-(2**63), 2**63 - 1, (1 << k,)) >> (64 - width)
        for _ in range(3):
            found = desk(lambda s, t=table, w=width: lut(s, t, w), ALL)
            assert torch.equal(found, table[ALL & ((1 << k) - 1)])


@pytest.mark.parametrize("n", PARTIES)
def test_tables_of_a_thousand_words(n):
    torch.manual_seed(n)
    desk, x, table = Desk(n, 64), numbers(64, 500), torch.randint(-(2**63), 2**63 - 1, (1024,))
    assert torch.equal(desk(lambda s: lut(s, table), x), table[x & 1023])


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("by", range(1, 6))
def test_a_number_is_cut_into_an_index_and_a_rest(n, by):
    """|x| < 2^(w-2), all of it, under ten masks each; the index is the floor or one more."""
    desk, k = Desk(n), 8 - by
    x = torch.arange(-63, 64).repeat(10)
    table = torch.arange(1 << k)  # an entry tells which index was looked up
    word, rest = desk(lambda s: split_lut(s, by, table, k + 1), x)
    index = (x - rest) >> by
    assert torch.equal((index << by) + rest, x)
    assert torch.equal(word & ((1 << k) - 1), index & ((1 << k) - 1))
    above = index - (x >> by)
    assert set(above.unique().tolist()) == {0, 1}
    assert (above[x & ((1 << by) - 1) == 0] == 0).all(), "where nothing is cut off, nothing is rounded up"


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize(("bits", "by", "k"), [(64, 10, 9), (64, 40, 5), (40, 12, 10), (64, 1, 6)])
def test_cuts_at_full_width(n, bits, by, k):
    torch.manual_seed(n)
    desk, x = Desk(n, bits), numbers(bits, 500, slack=1)
    x = x[x.abs() < 1 << (bits - 2)]
    table = torch.randint(-(2**31), 2**31, (1 << k,))
    word, rest = desk(lambda s: split_lut(s, by, table, 40), x)
    index = (x - rest) >> by
    assert torch.equal((index << by) + rest, x) and set((index - (x >> by)).unique().tolist()) <= {0, 1}
    assert torch.equal(word, table[index & ((1 << k) - 1)])
