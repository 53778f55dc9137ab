"""Products of shared numbers:

session = Session(parties=3)
x, y = session.share(torch.tensor([7.0]), owner=0), session.share(torch.tensor([6.0]), owner=1)
session.open(session.run(mul, x, y))        # 42, with the unit of a product: 2^32
"""

import pytest
import torch
import torch.nn.functional as F
from desk import ALL, PAIRS, PARTIES, Desk, edges, numbers

from mpckit.once import ReuseError
from mpckit.protocols import arithmetic
from mpckit.protocols.arithmetic import conv, fix, matmul, mul, square, square_and_product
from mpckit.ring import Ring
from mpckit.runtime.session import Session

SHAPES = [
    ((), ()),
    ((), (3,)),
    ((0,), (0,)),
    ((3, 0), (1,)),
    ((3, 1), (4,)),
    ((2, 3), (2, 3)),
    ((1,), (5, 1, 2)),
    ((0,), ()),
]


def words(*shape):
    return torch.randint(-(2**63), 2**63 - 1, shape)


def test_the_example():
    session = Session(parties=3)
    x, y = session.share(torch.tensor([7.0]), owner=0), session.share(torch.tensor([6.0]), owner=1)
    product = session.run(mul, x, y)
    assert session.open(product).item() == 42 << 32
    assert product.shares[0].ring == Ring(64, 32)


# ---- elementwise ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", PARTIES)
def test_all_products_of_an_8_bit_ring(n):
    desk, (x, y) = Desk(n), PAIRS
    assert torch.equal(desk(mul, x, y), desk.ring.reduce(x * y))
    assert torch.equal(desk(square, ALL), desk.ring.reduce(ALL * ALL))


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("bits", [1, 5, 40, 64])
def test_products_of_edges_and_random_numbers(n, bits):
    torch.manual_seed(n)
    desk, x = Desk(n, bits), numbers(bits, 300)
    e = edges(bits)
    assert torch.equal(desk(mul, e[:, None], e), desk.ring.reduce(e[:, None] * e))
    assert torch.equal(desk(mul, x, x.flip(0)), desk.ring.reduce(x * x.flip(0)))
    assert torch.equal(desk(square, x), desk.ring.reduce(x * x))


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_shapes_broadcast_as_torchs(n, a, b):
    desk, x, y = Desk(n, 64), words(*a), words(*b)
    assert torch.equal(desk(mul, x, y), x * y)
    assert torch.equal(desk(mul, y, x), x * y)
    assert torch.equal(desk(square, x), x * x)


def test_what_is_not_contiguous_may_be_multiplied():
    desk, x = Desk(3, 64), words(6, 4)
    for view in (x.T, x[::2], x[:, 1:3].T, x[:1].expand(5, 4), x.T[::3, 1::2]):
        shared = desk.secret(x.clone())
        assert torch.equal(desk(mul, view, view), view * view)
        assert torch.equal(desk(square, view), view * view)
    turned = shared.map(torch.Tensor.t)  # the share itself, not only the value, is not contiguous
    assert torch.equal(desk.open(desk.run(mul, turned, turned)), (x * x).T)


@pytest.mark.parametrize("n", PARTIES)
def test_a_public_factor_needs_no_message_and_a_secret_by_itself_one_opening(n):
    desk, x = Desk(n, 64), words(5)
    shared = desk.secret(x)
    rounds = desk.meter.total().rounds
    assert all(torch.equal((s * 3).data, s.data * 3) for s in shared.shares)
    desk.run(square, shared)
    assert desk.meter.total().rounds == rounds + 1


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("bits", [8, 40, 64])
@pytest.mark.parametrize(("a", "b"), [((5,), (5,)), ((3, 5), (5,)), ((3, 1), (4,)), ((), ()), ((0, 2), (2,))], ids=str)
@pytest.mark.parametrize("fixed", [False, True])
def test_a_square_and_a_product_come_from_one_opening(n, bits, a, b, fixed):
    torch.manual_seed(n)
    desk = Desk(n, bits)
    x, y = (torch.randint(-(2**63), 2**63 - 1, shape) >> (64 - bits) for shape in (a, b))
    factor = desk.fix(desk.secret(y))[0] if fixed else desk.secret(y)
    given, rounds = desk.secret(x), desk.meter.total().rounds
    got = desk.run(square_and_product, given, factor)
    assert desk.meter.total().rounds == rounds + 1
    assert torch.equal(desk.open(got[0]), desk.ring.reduce(x * x))
    assert torch.equal(desk.open(got[1]), desk.ring.reduce(x * y))


# ---- matrices and convolutions -------------------------------------------------------------------


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("bits", [8, 40, 64])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((2, 3), (3, 4)),
        ((1, 1), (1, 1)),
        ((70, 5), (5, 3)),
        ((3,), (3,)),
        ((3,), (3, 2)),
        ((2, 3), (3,)),
        ((2, 5, 3), (3, 4)),
        ((2, 5, 3), (2, 3, 4)),
        ((2, 1, 5, 3), (4, 3, 2)),
        ((0, 3), (3, 4)),
        ((2, 0), (0, 4)),
        ((2, 3), (3, 0)),
    ],
)
def test_matmul_is_torchs(n, bits, a, b):
    desk = Desk(n, bits)
    x, y = desk.ring.reduce(words(*a)), desk.ring.reduce(words(*b))
    assert torch.equal(desk(matmul, x, y), desk.ring.reduce(torch.matmul(x, y)))


def test_matmul_of_views():
    desk, x, y = Desk(3, 64), words(6, 4), words(6, 4)
    assert torch.equal(desk(matmul, x, y.T), x @ y.T)
    assert torch.equal(desk(matmul, x.T[::2], y[:, ::3]), x.T[::2] @ y[:, ::3])
    turned = desk.secret(y).map(torch.Tensor.t)
    assert torch.equal(desk.open(desk.run(matmul, desk.secret(x), turned)), x @ y.T)


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"),
    [
        ((1,), (0,), (1,), 1),
        ((2,), (1,), (1,), 2),
        ((1,), (2,), (2,), 4),
        ((3,), (2,), (2,), 1),
        ((1, 1), (0, 0), (1, 1), 1),
        ((2, 1), (1, 2), (1, 2), 2),
        ((1, 2), (1, 0), (2, 1), 4),
    ],
)
def test_conv_is_torchs(n, stride, padding, dilation, groups):
    torch.manual_seed(1)
    x, w = (
        torch.randint(-9, 9, s)
        for s in (((2, 4, 9, 7), (8, 4 // groups, 3, 2)) if len(stride) == 2 else ((2, 4, 9), (8, 4 // groups, 3)))
    )
    expected = (F.conv2d if len(stride) == 2 else F.conv1d)(
        x.double(), w.double(), None, stride, padding, dilation, groups
    ).long()
    for bits in (8, 64):
        desk = Desk(n, bits)
        assert torch.equal(desk(conv, x, w, stride, padding, dilation, groups), desk.ring.reduce(expected))
    desk = Desk(n, 64)  # a batch of none
    assert desk(conv, x[:0], w, stride, padding, dilation, groups).shape == (0, *expected.shape[1:])


# ---- persistent masks ----------------------------------------------------------------------------

aten = torch.ops.aten


@pytest.mark.parametrize("n", PARTIES)
def test_a_fixed_operand_is_opened_once_for_all_products(n):
    desk, w = Desk(n, 64), words(3, 4)
    fixed = desk.fix(desk.secret(w))[0]
    assert torch.equal(desk.open(fixed), w)
    for k in (1, 2, 3):
        x = words(k, 3)
        before = desk.meter.total().sent[0]
        assert torch.equal(desk.opened(product := desk.run(matmul, desk.secret(x), fixed)), x @ w)
        opened = k * 3 * 8 + 24  # x alone; besides, sharing x and revealing the product
        assert desk.meter.total().sent[0] - before == (n - 1) * (opened + k * 3 * 8 + 24 + k * 4 * 8 + 24)
        assert product.shares[0].fixed is None


@pytest.mark.parametrize("n", PARTIES)
def test_either_side_or_both_may_be_fixed(n):
    desk, x, w = Desk(n, 64), words(4, 4), words(4, 4)
    (fx, fw), (px, pw) = desk.fix(desk.secret(x), desk.secret(w)), (desk.secret(x), desk.secret(w))
    for a, b in ((px, fw), (fx, pw), (fx, fw)):
        assert torch.equal(desk.open(desk.run(mul, a, b)), x * w)
        assert torch.equal(desk.open(desk.run(matmul, a, b)), x @ w)
    assert torch.equal(desk.open(desk.run(mul, fx, fx)), x * x)
    kernel = desk.fix(desk.secret(words(2, 3, 2)))[0]
    signal = words(2, 3, 5)
    geometry = (1,), (1,), (1,), 1
    expected = desk(conv, signal, desk.open(kernel), *geometry)
    assert torch.equal(desk.open(desk.run(conv, desk.secret(signal), kernel, *geometry)), expected)


REARRANGEMENTS = [
    [(aten.t.default,)],
    [(aten.view.default, [6])],
    [(aten.t.default,), (aten.unsqueeze.default, 0), (aten.expand.default, [5, 3, 2])],
    [(aten.transpose.int, 0, 1), (aten.slice.Tensor, 0, 1, 3)],
    [(aten.select.int, 0, 1), (aten.unsqueeze.default, -1)],
    [(aten.permute.default, [1, 0]), (aten.expand.default, [3, 2])],
    [(aten.flip.default, [0, 1]), (aten.constant_pad_nd.default, [1, 0, -1, 2])],
]


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("steps", REARRANGEMENTS, ids=lambda steps: "-".join(s[0].name().split("::")[1] for s in steps))
def test_a_rearranged_operand_stays_fixed(n, steps):
    desk, w = Desk(n, 64), words(2, 3)
    fixed, plain = desk.fix(desk.secret(w))[0], w
    for operator, *args in steps:
        fixed, plain = fixed.map(operator, *args), operator(plain, *args)
    assert all(s.fixed is not None for s in fixed.shares)
    x = words(*plain.shape)
    rounds = desk.meter.total().rounds
    product = desk.run(mul, desk.secret(x), fixed)
    assert desk.meter.total().rounds == rounds + 2  # x shared, x opened
    assert torch.equal(desk.open(product), x * plain)
    if plain.dim() == 2:
        y = words(4, plain.shape[1])
        assert torch.equal(desk.open(desk.run(matmul, desk.secret(y), fixed.map(aten.t.default))), y @ plain.T)


def test_a_mask_hides_one_value_only():
    desk, x = Desk(2, 64), words(3)
    desk.run(fix, desk.secret(x), 5)
    for again in (x, words(3)):
        with pytest.raises(ReuseError, match="mask 5 already hides a value"):
            desk.run(fix, desk.secret(again), 5)
    desk.run(fix, desk.secret(x), 6)
    with pytest.raises(ReuseError):
        desk.run(fix, desk.secret(words(4)), 6)  # another shape is another correlation, and the same mask


def test_masks_of_one_session_are_never_given_out_twice():
    desk = Desk(2, 64)
    shares = [*desk.fix(desk.secret(words(3)), desk.secret(words(3))), *desk.fix(desk.secret(words(3)))]
    assert [s.shares[0].fixed.view.number for s in shares] == [0, 1, 2]
    masks = {tuple(s.shares[0].fixed.mask.tolist()) for s in shares}
    assert len(masks) == 3


# ---- in and out ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("bits", [8, 40, 64])
def test_every_owner_can_share_and_every_party_can_learn(n, bits):
    desk, x = Desk(n, bits), numbers(bits, 50)
    for owner in range(n):
        shared = desk.share(x, owner)
        assert torch.equal(desk.open(shared), x)
        for to in range(n):
            values = [arithmetic.reveal(s, to) for s in shared.shares]
            learned = desk._drive(values, gather=False)
            assert [not v.is_meta for v in learned] == [p == to for p in range(n)]
            assert torch.equal(learned[to], x) and learned[to - 1].shape == x.shape
            assert torch.equal(desk.open(shared, to), x)


def test_units_add_under_multiplication():
    session = Session(2, ring=Ring(64, 16), insecure_seed=1)
    x, y = torch.tensor([1.5, -2.25]), torch.tensor([0.5, 4.0])
    a, b = session.share(x, 0), session.share(y, 1, Ring(64, 8))
    out = session.run(mul, a, b)
    assert out.shares[0].ring == Ring(64, 24)
    assert torch.equal(out.shares[0].ring.decode(session.open(out)), x * y)
    assert session.run(square, a).shares[0].ring == Ring(64, 32)
