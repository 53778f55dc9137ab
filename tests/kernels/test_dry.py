"""Shapes without torch's compiler: what `Dry` answers is what torch would, shape, type and strides."""

import subprocess
import sys
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from mpckit.kernels.dry import Dry, answered
from mpckit.kernels.reference import conv

aten = torch.ops.aten


def layouts(*shape, dtype=torch.int64):
    """Meta tensors of a shape, as they may lie in memory: in order, transposed, expanded, every second one."""
    plain = torch.empty(shape, dtype=dtype, device="meta")
    yield plain
    if len(shape) > 1:
        yield torch.empty((*shape[:-2], shape[-1], shape[-2]), dtype=dtype, device="meta").mT
        yield torch.empty(shape[::-1], dtype=dtype, device="meta").permute(*range(len(shape))[::-1])
    if shape:
        yield torch.empty((*shape[:-1], 2 * shape[-1]), dtype=dtype, device="meta")[..., ::2]
        yield torch.empty((*shape[:-1], 1), dtype=dtype, device="meta").expand(shape)


def same(operator, *args, **kwargs):
    want = operator(*args, **kwargs)
    got = answered(operator, args, kwargs)
    if got is None:
        return False
    assert got.is_meta and (got.shape, got.dtype) == (want.shape, want.dtype), (operator, args)
    steps = [[s for n, s in zip(t.shape, t.stride()) if n > 1] for t in (got, want)]
    assert steps[0] == steps[1], (operator, args)
    return True


PAIRS = [
    ((3, 4), (3, 4)), ((2, 3, 4), (3, 4)), ((2, 3, 4), (2, 1, 4)), ((3, 1), (1, 4)), ((), (3, 4)), ((5,), ()),
    ((1, 4, 6, 2), (1, 4, 6, 2)), ((2, 4, 1, 2), (1, 4, 6, 1)), ((1, 1, 1, 5), (1, 1, 1, 1)), ((0, 3), (3,)),
    ((6, 1, 4, 5), (1, 1, 4, 5)), ((2, 3, 4, 5, 2), (3, 4, 5, 2)),
]  # fmt: skip


@pytest.mark.parametrize("operator", [aten.add.Tensor, aten.mul.Tensor, aten.bitwise_and.Tensor, aten.lt.Tensor])
def test_two_operands_in_every_layout(operator):
    known = [same(operator, x, y) for a, b in PAIRS for x in layouts(*a) for y in layouts(*b)]
    assert sum(known) > 0.95 * len(known) > 150


def test_one_operand_and_numbers():
    for shape in [(), (5,), (3, 4), (2, 3, 4), (1, 4, 6, 2)]:
        for x in layouts(*shape):
            assert same(aten.neg.default, x) and same(aten.__rshift__.Scalar, x, 3) and same(aten.rsub.Scalar, x, 1)
            assert same(aten.where.ScalarOther, x.bool(), x, -1) and same(aten.where.self, x.bool(), x, x)
            for operator in (aten.clone, aten.zeros_like, aten.ones_like, aten.empty_like):
                assert same(operator.default, x)
            assert same(aten.full_like.default, x, 2)
    assert same(aten._to_copy.default, torch.empty(2, 3, dtype=torch.bool, device="meta"), dtype=torch.int64)
    assert same(aten.arange.default, 7, device=torch.device("meta"), pin_memory=False)


def test_what_joins_reduces_and_multiplies():
    for x in layouts(3, 4):
        assert same(aten.mm.default, x, x.mT) and same(aten.stack.default, [x, x], -1)
        assert same(aten.cat.default, [x, x], 1) and same(aten.cat.default, [x, x])
    rows = torch.empty(2, 3, 4, dtype=torch.int64, device="meta")
    assert same(aten.sum.dim_IntList, rows, [0, -1]) and same(aten.sum.dim_IntList, rows[..., :2], [-1], True)
    assert same(aten.matmul.default, rows[None], rows[None].mT) and same(aten.bmm.default, rows, rows.mT)
    index = torch.empty(5, dtype=torch.int64, device="meta")
    assert same(aten.index_add.default, rows, 1, index, torch.empty(2, 5, 4, dtype=torch.int64, device="meta"))
    assert same(aten.flip.default, rows, [1])


def test_what_does_not_fit_and_what_has_values_is_for_torch_to_say():
    x, y = torch.empty(3, 4, device="meta"), torch.empty(5, device="meta")
    for operator, args in [(aten.add.Tensor, (x, y)), (aten.mm.default, (x, x)), (aten.stack.default, ([x, y],)),
                           (aten.cat.default, ([x, x[:, :2]],))]:  # fmt: skip
        assert answered(operator, args, {}) is None
        with Dry(), pytest.raises(RuntimeError):
            operator(*args)
    with Dry():
        assert (torch.ones(2) + torch.ones(2)).tolist() == [2, 2] and torch.arange(3).tolist() == [0, 1, 2]


PROGRAM = """
import sys, torch, mpckit as mk
from mpckit.kernels.dry import Dry
from mpckit.offline.dealer import Expanding
from mpckit.zoo.language import gpt

def write(model, prompt):
    for _ in mk.generate(mk.private(model, owner=1), prompt, 2):
        pass

for suite in ("bits", "fss"):
    plan = mk.plan(write, gpt(), torch.zeros(1, 4).long(), suite=suite)
    with Dry():
        for i, draw in enumerate(set(plan.draws)):
            for part in draw.parts():
                part.deal(Expanding(0, 2, bytes(32), str(i), lambda n: torch.zeros(n, dtype=torch.uint8)))
print("torch._dynamo" in sys.modules)
"""


def test_neither_a_plan_nor_a_party_imports_a_compiler():
    """A second and 50 MB in each process, or the small GPT would not fit where Binder gives 2 GB."""
    out = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert out.stdout.strip() == "False", out.stdout + out.stderr


CONVOLUTION = """
import sys, torch
from mpckit.kernels import reference
x, w = (torch.empty(shape, dtype=torch.int64, device="meta") for shape in ((2, 4, 7, 9), (6, 2, 3, 2)))
print(*reference.conv(x, w, (2, 1), (1, 0), (1, 2), 2).shape, "sympy" in sys.modules)
"""


def test_the_shape_of_a_convolution_needs_no_algebra_system():
    """Torch's own rule imports one: 0.4 s, in a dealer too."""
    out = subprocess.run([sys.executable, "-c", CONVOLUTION], capture_output=True, text=True)
    assert out.stdout.split() == ["2", "6", "4", "7", "False"], out.stdout + out.stderr


def shape_or_error(run, *args):
    try:
        return run(*args).shape
    except RuntimeError as error:
        return type(error)


@pytest.mark.parametrize("kernel", [(3,), (1, 4), (2, 3)])
def test_the_shape_of_a_convolution_is_torchs_and_so_is_its_refusal(kernel):
    convolve, refused = (F.conv1d if len(kernel) == 1 else F.conv2d), set()
    sizes = [(5,), (8,)] if len(kernel) == 1 else [(5, 8), (2, 3)]
    for size, stride, padding, dilation, groups in product(sizes, (1, 2, 3), (0, 1, 2), (1, 2), (1, 2, 3)):
        x, w = torch.zeros(2, 4, *size, dtype=torch.int64), torch.zeros(6, 4 // groups, *kernel, dtype=torch.int64)
        options = *((n,) * len(kernel) for n in (stride, padding, dilation)), groups
        want = shape_or_error(convolve, x, w, None, *options)
        assert shape_or_error(conv, x.to("meta"), w.to("meta"), *options) == want, (size, options)
        refused.add(want is RuntimeError)
    assert refused == {True, False}
