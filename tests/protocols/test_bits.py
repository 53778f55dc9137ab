"""Bits: products and sums of xor-shared words, and the way from numbers to their bits and back:

words = session.run(a2b, x)                      # xor shares of the 64 bits
session.run(b2a, words, session.ring)            # x again
"""

import pytest
import torch
from desk import PAIRS, PARTIES, Desk, edges, numbers

from mpckit.protocols.bits import a2b, add, and_, b2a, bits_of
from mpckit.ring import Ring

SHAPES = [(), (0,), (3, 0), (1,), (2, 3), (5, 1, 13), (64,), (65,)]
WIDE = [40, 63, 64]


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


def test_conversions_take_views():
    desk, wide = Desk(3, 64), torch.randint(-3, 3, (6, 8))
    turned = desk.secret(wide).map(torch.Tensor.t)
    assert torch.equal(desk.open(desk.run(a2b, turned)), wide.T)
