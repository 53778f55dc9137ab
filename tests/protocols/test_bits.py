"""Bits of shared numbers, and comparisons:

session.open(session.run(msb, x))           # x < 0
session.open(session.run(eq, x, y))         # x == y
session.open(session.run(at_least, x, (0, 10)))   # x >= 0 and x >= 10, from one opening of x
"""

import pytest
import torch
from desk import ALL, PAIRS, PARTIES, Desk, edges, numbers

from mpckit.protocols.bits import a2b, add, and_, at_least, b2a, bits_of, eq, msb
from mpckit.ring import Ring
from mpckit.runtime.session import Session

SHAPES = [(), (0,), (3, 0), (1,), (2, 3), (5, 1, 13), (64,), (65,)]
WIDE = [40, 63, 64]


def test_the_example():
    session = Session(parties=3)
    x, y = (
        session.share(torch.tensor([-1.5, 3.0, 12.0]), owner=0),
        session.share(torch.tensor([-1.5, 3.5, 12.0]), owner=1),
    )
    assert session.open(session.run(msb, x)).tolist() == [True, False, False]
    assert session.open(session.run(eq, x, y)).tolist() == [True, False, True]
    ten = session.ring.encode(10.0).item()
    assert session.open(session.run(at_least, x, (0, ten))).tolist() == [[False, True, True], [False, False, True]]


# ---- and, adders ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", PARTIES)
def test_and_and_add_on_all_pairs_of_8_bit_words(n):
    desk, (x, y) = Desk(n), PAIRS
    a, b = desk.words(x), desk.words(y)
    assert torch.equal(desk.open(desk.run(and_, a, b)), x & y)
    assert torch.equal(desk.open(desk.run(add, a, b)), desk.ring.reduce(x + y))


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize(
    ("a", "b"), [((), ()), ((4,), ()), ((0,), (0,)), ((3, 0), (1,)), ((2, 1), (4,)), ((65,), (65,)), ((2, 3), (2, 3))]
)
def test_and_of_single_bits_broadcasts(n, a, b):
    torch.manual_seed(1)
    desk, x, y = Desk(n), torch.randint(0, 2, a).bool(), torch.randint(0, 2, b).bool()
    assert torch.equal(desk.open(desk.run(and_, desk.words(x), desk.words(y))), x & y)
    v, w = torch.randint(-(2**63), 2**63 - 1, a), torch.randint(-(2**63), 2**63 - 1, b)
    assert torch.equal(desk.open(desk.run(and_, desk.words(v, 64), desk.words(w, 64))), v & w)


@pytest.mark.parametrize("n", PARTIES)
def test_and_of_all_four_pairs_of_bits(n):
    x, y = torch.tensor([False, False, True, True]), torch.tensor([False, True, False, True])
    desk = Desk(n)
    for _ in range(20):  # under other masks
        assert torch.equal(desk.open(desk.run(and_, desk.words(x), desk.words(y))), x & y)


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("bits", [2, 3, 21, *WIDE])
def test_add_is_modulo_2_to_the_bits(n, bits):
    torch.manual_seed(n)
    desk, e, v = Desk(n, bits), edges(bits), numbers(bits, 200)
    pairs = [t.reshape(-1) for t in torch.broadcast_tensors(e[:, None], e)]
    for x, y in (pairs, (v, v.flip(0)), (v, -v)):
        y = desk.ring.reduce(y)
        assert torch.equal(desk.open(desk.run(add, desk.words(x), desk.words(y))), desk.ring.reduce(x + y))


# ---- conversions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("bits", range(2, 11))
def test_conversions_on_every_value_of_a_small_ring(n, bits):
    desk = Desk(n, bits)
    x = torch.arange(-(1 << bits >> 1), 1 << bits >> 1).repeat(5)  # five masks each
    words = desk.run(a2b, desk.secret(x))
    assert words.shares[0].bits == bits and torch.equal(desk.open(words), x)
    back = desk.run(b2a, words, desk.ring)
    assert back.shares[0].ring == desk.ring and torch.equal(desk.open(back), x)
    wider = desk.run(b2a, words, Ring(64, 0))  # a word is a signed integer, also in a wider ring
    assert torch.equal(desk.open(wider), x)
    places = desk.open(desk.run(bits_of, words, desk.ring.at(0)))
    assert torch.equal(places & ((1 << bits) - 1), (x[:, None] >> torch.arange(bits)) & 1)


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("bits", WIDE)
def test_conversions_at_full_width(n, bits):
    torch.manual_seed(n)
    desk, x = Desk(n, bits), numbers(bits, 300)
    words = desk.run(a2b, desk.secret(x))
    assert torch.equal(desk.open(words), x)
    assert torch.equal(desk.open(desk.run(b2a, words, desk.ring)), x)
    places = desk.open(desk.run(bits_of, words, Ring(64, 0)))
    assert torch.equal(places, (x[:, None] >> torch.arange(bits)) & 1)


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("ring", [Ring(2, 0), Ring(8, 3), Ring(64, 16)])
def test_a_bit_becomes_0_or_1_in_any_ring(n, ring):
    desk, b = Desk(n), torch.tensor([False, True] * 40)
    shared = desk.run(b2a, desk.words(b), ring)
    assert shared.shares[0].ring == ring and torch.equal(desk.open(shared), b.long())


@pytest.mark.parametrize("shape", SHAPES)
def test_conversions_of_any_shape(shape):
    desk, x = Desk(3, 16), torch.randint(-99, 99, shape)
    words = desk.run(a2b, desk.secret(x))
    assert torch.equal(desk.open(words), x)
    assert torch.equal(desk.open(desk.run(b2a, words, desk.ring)), x)
    assert desk.open(desk.run(bits_of, words, desk.ring)).shape == (*shape, 16)
    bit = desk.words(x > 0)
    assert torch.equal(desk.open(desk.run(b2a, bit, desk.ring)), (x > 0).long())


# ---- comparisons ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", PARTIES)
def test_all_pairs_of_an_8_bit_ring_are_compared_for_equality(n):
    desk, (x, y) = Desk(n), PAIRS
    assert torch.equal(desk(eq, x, y), x == y)


@pytest.mark.parametrize("n", PARTIES)
def test_every_number_of_an_8_bit_ring_against_every_threshold(n):
    desk, thresholds = Desk(n), tuple(ALL.tolist())
    found = desk(at_least, ALL, thresholds)
    inside = (ALL - ALL[:, None]).abs() < 128  # the stated domain
    assert torch.equal(found[inside], (ALL >= ALL[:, None])[inside])
    assert torch.equal(desk(msb, ALL.repeat(20)), (ALL < 0).repeat(20))


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("bits", range(2, 17))
def test_signs_and_equality_at_every_small_width(n, bits):
    desk = Desk(n, bits)
    x = torch.arange(-(1 << bits >> 1), 1 << bits >> 1).repeat(max(1, 256 >> bits))
    assert torch.equal(desk(msb, x), x < 0)
    assert torch.equal(desk(eq, x, x.flip(0)), x == x.flip(0))
    assert desk(eq, x, x.clone()).all()


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("bits", WIDE)
def test_comparisons_at_full_width(n, bits):
    torch.manual_seed(n)
    desk, x = Desk(n, bits), numbers(bits, 500)
    assert torch.equal(desk(msb, x), x < 0)
    e = edges(bits)
    assert torch.equal(desk(eq, e[:, None], e), e[:, None] == e)
    near = numbers(bits, 300, slack=1)  # so that |x - c| < 2^(bits - 1)
    thresholds = [*edges(bits, slack=1)[::7].tolist(), 0, 1, -1]
    assert torch.equal(desk(at_least, near, thresholds), torch.stack([near >= c for c in thresholds]))


@pytest.mark.parametrize("n", PARTIES)
def test_equality_with_public_numbers(n):
    desk, x = Desk(n, 16), torch.arange(-20, 20)
    shared = desk.secret(x)
    assert torch.equal(desk.open(desk.run(eq, shared, 7)), x == 7)
    assert torch.equal(desk.open(desk.run(lambda s, y: eq(s, y), shared, 7)), x == 7)
    public = x.flip(0)
    assert torch.equal(desk.open(desk.run(lambda s: eq(s, public), shared)), x == public)


@pytest.mark.parametrize("bits", [8, 64])
@pytest.mark.parametrize("shape", SHAPES)
def test_comparisons_of_any_shape(bits, shape):
    desk, x, y = Desk(3, bits), torch.randint(-3, 3, shape), torch.randint(-3, 3, shape)
    assert torch.equal(desk(msb, x), x < 0)
    assert torch.equal(desk(eq, x, y), x == y)
    assert torch.equal(desk(at_least, x, (0, 2)), torch.stack((x >= 0, x >= 2)))


def test_comparisons_broadcast_and_take_views():
    desk, x, y = Desk(3, 64), torch.randint(-3, 3, (6, 1)), torch.randint(-3, 3, (4,))
    assert torch.equal(desk(eq, x, y), x == y)
    wide = torch.randint(-3, 3, (6, 8))
    turned = desk.secret(wide).map(torch.Tensor.t)
    assert torch.equal(desk.open(desk.run(msb, turned)), wide.T < 0)
    assert torch.equal(desk.open(desk.run(a2b, turned)), wide.T)
    strided = desk.secret(wide).map(lambda v: v[::2, 1::3])
    assert torch.equal(desk.open(desk.run(eq, strided, strided)), torch.ones(3, 3, dtype=torch.bool))
