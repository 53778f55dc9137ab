"""A secret in pieces, and algebra on the pieces:

    pieces = split(torch.tensor([7]), streams)          # n - 1 uniform ones, and one that makes the sum right
    x, y = (AShare(piece, party, ring) for …)
    join([x + y of party 0, x + y of party 1])          # the sum of the secrets; no message was needed
"""

import pytest
import torch

from mpckit.correlations import View
from mpckit.protocols.arithmetic import Fixed
from mpckit.ring import Ring
from mpckit.share import AShare, BShare, UnitError, join, split
from mpckit.stream import Stream

PARTIES = (2, 3, 4)
R8 = Ring(8, 0)
ALL = R8.reduce(torch.arange(256))


def streams(n, label="test"):
    return [Stream(b"seed", f"{label}/{p}") for p in range(n - 1)]


def arithmetic(value, n, ring=R8, label="test"):
    return [AShare(piece, p, ring) for p, piece in enumerate(split(value, streams(n, label)))]


def boolean(value, n, bits=None, label="test"):
    if value.dtype == torch.bool:
        return [BShare(piece, p) for p, piece in enumerate(split(value, streams(n, label)))]
    pieces = [s.words(value.shape) for s in streams(n, label)]
    for piece in pieces:
        value = value ^ piece
    return [BShare(piece, p, bits) for p, piece in enumerate([*pieces, value])]


def each(function, *shares):
    return [function(*row) for row in zip(*shares)]


def test_the_example():
    x, y = arithmetic(torch.tensor([7, -3]), 2), arithmetic(torch.tensor([1, 2]), 2, label="other")
    assert join(x).tolist() == [7, -3]
    assert join([x[0] + y[0], x[1] + y[1]]).tolist() == [8, -1]


# ---- additive ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", PARTIES)
def test_local_algebra_on_all_pairs_of_an_8_bit_ring(n):
    a, b = ALL.repeat_interleave(256), ALL.repeat(256)
    x, y = arithmetic(a, n), arithmetic(b, n, label="other")
    assert torch.equal(join(x), a)
    assert torch.equal(join(each(lambda x, y: x + y, x, y)), R8.reduce(a + b))
    assert torch.equal(join(each(lambda x, y: x - y, x, y)), R8.reduce(a - b))
    assert torch.equal(join(each(lambda x: x + b, x)), R8.reduce(a + b))
    assert torch.equal(join(each(lambda x: x - b, x)), R8.reduce(a - b))
    assert torch.equal(join(each(lambda x: x * b, x)), R8.reduce(a * b))
    assert torch.equal(join(each(lambda x: -x, x)), R8.reduce(-a))
    assert torch.equal(join(each(lambda x: 5 - x, x)), R8.reduce(5 - a))
    assert torch.equal(join(each(lambda x: 5 + 3 * x, x)), R8.reduce(5 + 3 * a))


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize(("own", "other"), [((), (3,)), ((3, 1), (4,)), ((0,), ()), ((2, 3), (2, 3)), ((1,), (0,))])
def test_broadcasting_is_torchs_for_every_party(n, own, other):
    a, b = torch.randint(-9, 9, own), torch.randint(-9, 9, other)
    for out in (each(lambda x: x + b, arithmetic(a, n)), each(lambda x: b + x, arithmetic(a, n))):
        assert all(s.shape == (a + b).shape for s in out)
        assert torch.equal(join(out), a + b)
    sums = each(lambda x, y: x + y, arithmetic(a, n), arithmetic(b, n, label="other"))
    assert torch.equal(join(sums), a + b)


def test_party_0_alone_adds_a_public_constant():
    x = arithmetic(torch.tensor([1, 2]), 3)
    assert [torch.equal((s + 10).data, s.data + (10 if s.party == 0 else 0)) for s in x] == [True] * 3


def test_units_do_not_mix():
    x, y = AShare(torch.tensor([1]), 0, Ring(64, 16)), AShare(torch.tensor([1]), 0, Ring(64, 8))
    for wrong in (lambda: x + y, lambda: x - y, lambda: x + AShare(torch.tensor([1]), 0, Ring(40, 16))):
        with pytest.raises(UnitError, match="truncate or shift"):
            wrong()
    mask = AShare(torch.tensor([5]), 0)  # a dealt mask takes the unit of what it hides
    assert (x + mask).ring == (mask + x).ring == x.ring
    assert x.like(x.data, 3).ring == Ring(64, 3)


def test_a_share_in_a_log_shows_no_data():
    assert "12345" not in repr(AShare(torch.tensor([12345]), 1, R8)) + repr(BShare(torch.tensor([12345]), 1))


def test_a_persistent_mask_follows_rearrangements_and_nothing_else():
    data = torch.arange(6).reshape(2, 3)
    x = AShare(data, 0, R8, Fixed(View(4, (2, 3)), data + 1, data + 2))
    turned = x.map(torch.ops.aten.t.default)
    assert torch.equal(turned.fixed.mask, (data + 1).T) and torch.equal(turned.fixed.opened, (data + 2).T)
    assert turned.fixed.view == View(4, (2, 3), (("t.default", ()),))
    deeper = turned.map(torch.ops.aten.unsqueeze.default, 0)
    assert deeper.fixed.view.steps == (("t.default", ()), ("unsqueeze.default", (0,)))
    assert torch.equal(deeper.fixed.mask, deeper.data + 1)
    for changed in (x + 1, x + x, -x, x * 2, x.like(data), x.map(torch.neg)):
        assert changed.fixed is None


# ---- xor -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", PARTIES)
def test_bits(n):
    a, b = torch.tensor([False, False, True, True]), torch.tensor([False, True, False, True])
    x, y = boolean(a, n), boolean(b, n, label="other")
    assert all(s.bits == 1 for s in x) and torch.equal(join(x), a)
    assert torch.equal(join(each(lambda x, y: x ^ y, x, y)), a ^ b)
    assert torch.equal(join(each(lambda x: x ^ b, x)), a ^ b)
    assert torch.equal(join(each(lambda x: b ^ x, x)), a ^ b)
    assert torch.equal(join(each(lambda x: x ^ True, x)), ~a)
    assert torch.equal(join(each(lambda x: ~x, x)), ~a)
    assert torch.equal(join(each(lambda x: x & b, x)), a & b)
    public = torch.tensor([[True], [False]])
    assert torch.equal(join(each(lambda x: x ^ public, x)), a ^ public)


@pytest.mark.parametrize("n", PARTIES)
def test_words(n):
    a, b = ALL.repeat_interleave(256), ALL.repeat(256)
    x, y = boolean(a, n, 8), boolean(b, n, 8, label="other")
    assert torch.equal(join(x), a)
    assert torch.equal(join(each(lambda x, y: x ^ y, x, y)), a ^ b)
    assert torch.equal(join(each(lambda x: x ^ b, x)), a ^ b)
    assert torch.equal(join(each(lambda x: x & b, x)), a & b)
    assert torch.equal(join(each(lambda x: ~x, x)), ~a)
    assert torch.equal(join(each(lambda x: x << 3, x)), R8.reduce(a << 3))


def test_a_narrow_word_joins_to_what_its_bits_say():
    """Only the low bits travel, so that each party has something else above them."""
    pieces = [BShare(torch.tensor([0x7F00 + 0x81]), 0, 8), BShare(torch.tensor([-1 << 8]), 1, 8)]
    assert join(pieces).tolist() == [0x81 - 256]


# ---- splitting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", PARTIES)
def test_pieces_are_as_many_as_parties_and_uniform_but_for_one(n):
    value = torch.full((1 << 16,), 42)
    pieces = split(value, streams(n))
    assert len(pieces) == n and torch.equal(sum(pieces[1:], pieces[0]), value)
    for piece in pieces:  # each by itself, also the last, which is the value minus uniform ones
        counts = torch.bincount(piece.view(torch.uint8).int(), minlength=256).double()
        expected = counts.sum() / 256
        assert ((counts - expected) ** 2 / expected).sum() < 380  # chi-square, 255 degrees of freedom: 1e-6


def test_any_shape_can_be_split():
    for shape in ((), (0,), (3, 0), (2, 3)):
        for value in (torch.randint(-9, 9, shape), torch.randint(0, 2, shape).bool()):
            shares = arithmetic(value, 3) if value.dtype != torch.bool else boolean(value, 3)
            assert torch.equal(join(shares), value) and all(s.shape == shape for s in shares)
    turned = torch.arange(6).reshape(2, 3).T
    assert torch.equal(join(arithmetic(turned, 2)), turned)
