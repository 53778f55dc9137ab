"""Moving elements: every view and index against plaintext torch, on numbers and on bits, and odd shapes everywhere."""

import pytest
import torch
import torch.nn.functional as F
from twin import agree, case

import mpckit as mk


def test_an_example():
    with mk.simulate(parties=2) as session:
        x = mk.secret(torch.arange(6.0).view(2, 3), owner=0)
        session.meter.ledger.clear()
        y = torch.cat([x.T.flip(0), x[:, :2] + 1.0])
        assert session.meter.total().rounds == 0  # shares move without a word
        assert y.reveal().tolist() == [[2, 5], [1, 4], [0, 3], [1, 2], [4, 5]]


torch.manual_seed(0)
X, Y = torch.randn(3, 4), torch.randn(3, 4)
B = X > 0
COLUMN = torch.tensor([[0], [1], [2]])
VIEWS = {
    "view": lambda a: a.view(4, 3),
    "reshape": lambda a: a.T.reshape(-1),
    "transpose": lambda a: a.transpose(0, 1),
    "permute": lambda a: a[None].permute(2, 0, 1),
    "unsqueeze, squeeze": lambda a: a.unsqueeze(1).squeeze(),
    "expand": lambda a: a[:1].expand(5, 3, 4),
    "slice": lambda a: a[1:, ::2],
    "number": lambda a: a[-1, 2],
    "new axes": lambda a: a[:, None, ..., None],
    "row list": lambda a: a[[0, 2, 2]],
    "two lists": lambda a: a[torch.tensor([0, 2]), torch.tensor([1, 3])],
    "mask": lambda a: a[B],
    "gather": lambda a: a.gather(1, torch.tensor([[0, 1], [2, 3], [1, 1]])),
    "index_select": lambda a: a.index_select(1, torch.tensor([0, 3])),
    "take": lambda a: a.take(torch.tensor([0, 5])),
    "take_along_dim": lambda a: a.take_along_dim(COLUMN, 1),
    "flip": lambda a: a.flip(0, 1),
    "roll": lambda a: a.roll(1, 0),
    "rot90": lambda a: a.rot90(),
    "tril": torch.tril,
    "triu": lambda a: a.triu(1),
    "diagonal": lambda a: a.diagonal(),
    "diag_embed": torch.diag_embed,
    "repeat": lambda a: a.repeat(2, 1),
    "tile": lambda a: a.tile(2),
    "repeat_interleave": lambda a: a.repeat_interleave(2, 0),
    "repeat each": lambda a: a.repeat_interleave(torch.tensor([1, 2, 0]), 0),
    "unfold": lambda a: a.unfold(1, 2, 1),
    "as_strided": lambda a: a.as_strided((2, 2), (1, 2)),
    "split": lambda a: a.split(2, 1),
    "chunk": lambda a: a.chunk(2, 1),
    "unbind": lambda a: a.unbind(0),
    "iterate": list,
    "cat": lambda a: torch.cat([a, a.flip(1)], 1),
    "stack": lambda a: torch.stack([a, a.flip(0)], -1),
    "hstack": lambda a: torch.hstack([a, a]),
    "pad": lambda a: F.pad(a, (1, 2, 0, 1)),
    "meshgrid": lambda a: torch.meshgrid(a[0], a[1, :2], indexing="ij"),
    "flatten": lambda a: a.flatten(),
    "unflatten": lambda a: a.unflatten(1, (2, 2)),
    "movedim": lambda a: a.movedim(0, 1),
    "narrow": lambda a: a.narrow(1, 1, 2),
    "clone": lambda a: a.clone(),
    "contiguous": lambda a: a.T.contiguous().view(-1),
    "as numbers": lambda a: a.float(),
    "atleast_3d": torch.atleast_3d,
    "block_diag": lambda a: torch.block_diag(a, a),
}
NUMBERS = [
    case("cat with public", lambda a, b: torch.cat([a, b]), X, Y, public=(1,)),
    case("stack integers and fractions", lambda a, b: torch.stack([a, b]), torch.arange(4), X[0]),
    case("pad with a value", lambda a: F.pad(a, (1, 2, 0, 1), value=2.5), X),
    case("pad, then a maximum", lambda a: F.max_pool1d(F.pad(a, (1, 2), value=-torch.inf), 2), X),
    case("pad by reflection", lambda a: F.pad(a[None], (1, 2), mode="reflect"), X),
    case("pad by the border", lambda a: F.pad(a[None], (1, 2, 1, 0), mode="replicate"), X),
    case("trace", torch.trace, X),
    case("index_add", lambda a, b: a.index_add(0, torch.tensor([0, 0]), b[:2]), X, Y),
    case("index_copy", lambda a, b: a.index_copy(0, torch.tensor([2, 0]), b[:2]), X, Y),
    case("index_put", lambda a, b: a.index_put((torch.tensor([0, 1]),), b[:2]), X, Y),
    case("index_put by a mask", lambda a, m: a.index_put((B,), torch.tensor(0.0)), X, B, public=(1,)),
    case("scatter", lambda a, b: a.scatter(1, COLUMN, b[:, :1]), X, Y),
    case("scatter a number", lambda a: a.scatter(1, COLUMN, 1.5), X),
    case("scatter_add", lambda a, b: a.scatter_add(1, COLUMN, b[:, :1]), X, Y),
    case("slice_scatter", lambda a, b: a.slice_scatter(b[:1], 0, 1, 2), X, Y),
    case("select_scatter", lambda a, b: a.select_scatter(b[0], 0, 1), X, Y),
    case("one-hot look-up", lambda i, t: (i[:, None] == torch.arange(3)).float() @ t, torch.tensor([0, 2, 1]), X),
    case("constants", lambda a: torch.ones_like(a) * a + torch.full_like(a, 2) - a.new_zeros(4), X),
    case("new from old", lambda a: torch.where(a > 0, torch.zeros_like(a), a), X),
]  # fmt: skip


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("x", [X, B], ids=["numbers", "bits"])
def test_view(name, x):
    report = agree(case(name, VIEWS[name], x))
    moves = [line for line in report.lines if not line.path.startswith(("secret", "reveal"))]
    assert not moves or name == "as numbers"  # all others are free


@pytest.mark.parametrize("this", NUMBERS, ids=lambda c: c.name)
def test_numbers(this):
    agree(this)


# ---- odd shapes ------------------------------------------------------------------------------------------------------

BINARY = {
    "add": torch.add, "mul": torch.mul, "div": torch.div, "maximum": torch.maximum, "gt": torch.gt, "eq": torch.eq,
    "where": lambda a, b: torch.where(a > b, a, b),
}  # fmt: skip
SHAPES = [((), ()), ((0,), (0,)), ((3, 0), (1, 1)), ((2, 1, 3), (4, 1)), ((), (2, 3)), ((1,), (3, 1))]
UNARY = {
    "relu": torch.relu, "sigmoid": torch.sigmoid, "exp": torch.exp, "square": torch.square, "sum": torch.sum,
    "sum of the last": lambda a: a.sum(-1), "clamp": lambda a: a.clamp(0, 1),
    "softmax": lambda a: a.softmax(-1) if a.dim() else a, "floor": torch.floor, "scaled": lambda a: a * 0.3,
}  # fmt: skip


def numbers(shape, seed):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 4 + 0.5


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("name", BINARY)
def test_two_shapes(name, shapes):
    a, b = (numbers(s, i) for i, s in enumerate(shapes))
    agree(case(name, BINARY[name], a, b, tolerance=3e-3))
    agree(case(name, BINARY[name], a, b, tolerance=3e-3, public=(1,)))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0, 3), (65,)], ids=str)
@pytest.mark.parametrize("name", UNARY)
def test_one_shape(name, shape):
    agree(case(name, UNARY[name], numbers(shape, 0), tolerance=3e-3))


@pytest.mark.parametrize("name", [*BINARY, "matmul"])
def test_gaps_and_transposes(name):
    f = BINARY.get(name, lambda a, b: a @ b.mT)
    a, b = numbers((6, 5, 4), 0), numbers((6, 10, 4), 1)
    agree(case(name, lambda a, b: f(a[::2], b[::2, 1::2]), a, b, tolerance=3e-3))
    agree(case(name, lambda a, b: f(a.mT[1:3], b.transpose(1, 2)[:2, :, ::2]), a, b, tolerance=3e-3))
    agree(case(name, lambda a, b: (f(a.mT.mT, b[:, :5]) * 1).reshape(-1), a, b, tolerance=3e-3))


def test_empty_products():
    agree(case("no inner dimension", torch.matmul, torch.zeros(2, 0), torch.zeros(0, 3)))
    agree(case("no rows", torch.matmul, torch.zeros(0, 2), torch.randn(2, 3)))
    agree(case("no pictures", torch.nn.Conv2d(1, 2, 3), torch.zeros(0, 1, 5, 5)))
