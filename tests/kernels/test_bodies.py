"""Every kernel has one definition and fast bodies that equal it bit for bit:

    kernels.matmul(a, b)             # the body for a's device
    kernels.matmul.reference(a, b)   # the definition

Kernels are found by themselves; one without examples fails here.
"""

import functools
import itertools

import pytest
import torch
import torch.nn.functional as F

from mpckit import kernels
from mpckit.kernels import KERNELS, tree

SIZES = (0, 1, 63, 64, 65, 1000)
WIDTHS = (1, 2, 7, 8, 21, 32, 40, 63, 64)
DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


def words(*shape):
    return torch.randint(-(2**63), 2**63 - 1, shape)


def bits(*shape):
    return torch.randint(0, 2, shape).bool()


# ---- examples: name → argument lists -------------------------------------------------------------


def matmul():
    for m, k, n in (
        (1, 70, 50),
        (5, 1, 1),
        (1, 1, 5000),
        (65, 3, 7),
        (64, 5, 3),
        (100, 64, 64),
        (3, 0, 4),
        (0, 3, 4),
        (3, 4, 0),
    ):
        yield words(m, k), words(k, n)
        yield words(m, k), words(n, k).mT  # a transposed weight, as in F.linear
        yield words(k, m).mT, words(k, n)
    yield words(7), words(7)
    yield words(7), words(7, 3)
    yield words(3, 7), words(7)
    yield words(2, 3, 5, 7), words(7, 4)
    yield words(2, 3, 5, 7), words(2, 1, 7, 4)
    yield words(5, 7), words(2, 7, 4)
    yield words(2, 5, 7)[:, ::2], words(8, 7)[::2].mT
    yield words(4, 6), words(1, 6).expand(6, 6)


def matmul_two():
    for a, b in matmul():
        yield a, b, words(*a.shape), words(*b.shape)
    yield words(70, 300), words(300, 90), words(300, 70).mT, words(90, 300).mT


GRID_1D = list(itertools.product((1, 2, 3), (0, 1, 2), (1, 2), (1, 2, 4)))
GRID_2D = [
    ((s1, s2), (p1, p2), (d1, d2), g)
    for (s1, s2), (p1, p2), (d1, d2), g in itertools.product(
        ((1, 1), (2, 1), (2, 3)), ((0, 0), (1, 2)), ((1, 1), (2, 1)), (1, 2, 4)
    )
]


def conv():
    for stride, padding, dilation, groups in GRID_1D:
        yield words(2, 4, 11), words(8, 4 // groups, 3), (stride,), (padding,), (dilation,), groups
    for stride, padding, dilation, groups in GRID_2D:
        yield words(2, 4, 9, 8), words(4, 4 // groups, 3, 2), stride, padding, dilation, groups
    yield words(0, 4, 9), words(2, 4, 3), (1,), (0,), (1,), 1
    yield words(1, 3, 4, 4), words(5, 3, 1, 1), (1, 1), (0, 0), (1, 1), 1
    yield words(2, 9, 4)[:, ::3], words(2, 3, 1).expand(2, 3, 3)[:, :, ::2], (1,), (0,), (1,), 1


def beaver():
    for n, first in itertools.product(SIZES, (True, False)):
        yield *(words(n) for _ in range(5)), first
    yield *(words() for _ in range(5)), True
    yield words(3, 4), words(3, 4), words(4), words(3, 4), words(4), True
    yield words(3, 4), words(3, 1), words(4), words(3, 1), words(4), False
    yield *(words(4, 3).T for _ in range(5)), True


def select():
    for n in SIZES:
        yield words(n), words(n), bits(n), words(n), words(n)
    yield words(), words(), bits(), words(), words()
    yield words(3, 4), words(3, 4), bits(3, 1), words(3, 1), words(3, 4)
    yield words(4, 3).T, words(4, 3).T, bits(4, 3).T, words(4, 3).T, words(3, 4)


def to_planes():
    for n, width in itertools.product(SIZES, WIDTHS):
        yield words(n), width
    for n in SIZES:
        yield bits(n), 1
        yield words(2, 3, n), 5
        yield bits(2, n), 1
    yield bits(70), 4
    yield words(0, 70), 3
    yield words(70, 3).T, 64


def from_planes():
    for n, width in itertools.product(SIZES, WIDTHS):
        yield words(width, -(-n // 64)), n
    yield words(5, 2, 3, 2), 100
    yield words(2, 5, 7).movedim(0, 2), 100
    yield words(3, 0, 2), 70


def pack():
    for n, width in itertools.product(SIZES, WIDTHS):
        yield words(n), width
    for n in SIZES:
        yield bits(n), 1
    yield words(), 40
    yield bits(), 1
    for width in WIDTHS:
        yield words(9, 5).T, width
        yield words(90)[::2], width
    yield bits(9, 5).T, 1


def unpack():
    for n, width in itertools.product(SIZES, WIDTHS):
        yield torch.randint(0, 256, (-(-n * width // 8),), dtype=torch.uint8), width, n
    for width in WIDTHS:
        yield torch.randint(0, 256, (8 * 50 + 3,), dtype=torch.uint8)[3:], width, 50
        yield torch.randint(0, 256, (2 * 8 * 50,), dtype=torch.uint8)[::2], width, 50


def digit_tables():
    for digits, w in itertools.product((1, 2, 16), (0, 1, 63, 64, 65)):
        yield (words(4 * digits, w),)
    yield (words(5, 8).T,)


def digit_compare():
    for digits, thresholds, w in itertools.product((1, 3, 16), (1, 2, 5), (0, 1, 64, 65)):
        yield words(4 * digits, thresholds, w), words(digits, 16, w)
    yield words(2, 5, 8).movedim(2, 0), words(16, 5, 2).movedim(2, 0)


def tree_node():
    for radix, want, first, shape in itertools.product(
        (2, 3, 4), tree.WANT, (True, False), ((0,), (1,), (65,), (3, 64), (2, 3, 5))
    ):
        inputs = tree.monomials(radix, want)[0]
        yield words(inputs, *shape), words(inputs + len(tree.mask_products(radix, want)), *shape), radix, want, first
    yield words(70, 2).T, words(70, 3).T, 2, "p", True


def lookup():
    for n, k in itertools.product(SIZES, (0, 1, 3, 6, 7, 10)):
        yield words(n), words(n, max(1, 2**k // 64)), words(2**k)
    yield words(20)[::2], words(4, 10).T, words(512)[::2]
    yield words(70), words(70, 128), words(8192)  # beyond the length of sums of bytes


def signed_lookup():
    for n, k, count, first in itertools.product(SIZES, (0, 1, 3, 5, 6, 7, 8, 10), (1, 2), (True, False)):
        yield words(n), words(n, max(1, 2**k // 64)), words(count, 2**k), first
    yield words(3), words(3, 64), words(2, 4096), True
    yield words(70), words(70, 64), words(1, 4096), False
    yield words(70), words(70, 128), words(1, 8192), True  # beyond the length of sums of bytes
    yield words(70), words(70, 4), words(0, 256), True
    yield words(140)[::2], words(4, 70).T, words(256, 2).T, False


def keystream():
    for blocks, first in itertools.product((0, 1, 2, 63, 500), (0, 5, 2**32 - 1, 2**63)):
        yield torch.randint(0, 256, (16,), dtype=torch.uint8), first, blocks
    yield torch.randint(0, 256, (16,), dtype=torch.uint8), 2**64 - 1, 3  # the counter carries into its upper half
    yield torch.randint(0, 256, (16,), dtype=torch.uint8), 2**128 - 1, 3
    yield torch.randint(0, 256, (32,), dtype=torch.uint8)[::2], 1, 3
    for keys, blocks in itertools.product((0, 1, 5), (0, 1, 300)):  # several at once
        yield torch.randint(0, 256, (keys, 16), dtype=torch.uint8), 2**64 - 2, blocks


def prg():
    for n, tweak in itertools.product((0, 1, 15, 16, 17, 100), (0, 2, 4, 8)):
        yield words(n, 2), tweak
    yield words(3, 5, 2), 0
    yield words(2), 4


def roots(n):
    """Party 0's have control bit 0, party 1's have 1."""
    r = words(2, n, 2)
    return r ^ torch.stack(((r[..., 0] ^ torch.tensor([[0], [1]])) & 1, torch.zeros(2, n, dtype=torch.int64)), -1)


TREES = list(itertools.product((0, 1, 15, 16, 17, 33), (7, 8, 11, 40, 64)))


def dpf_gen():
    for n, bits in TREES:
        yield words(n), *roots(n), bits


def dpf_eval():
    for n, bits in TREES:
        yield words(1, n), words(n, 2), words(bits - 6, n, 2), bits
        yield words(3, n), words(n, 2), words(bits - 6, n, 2), bits
    yield words(0, 5), words(5, 2), words(4, 5, 2), 10


def dpf_all():
    for n, bits in itertools.product((0, 1, 16, 33), (7, 8, 11)):
        yield words(n, 2), words(bits - 6, n, 2), bits


def dcf_gen():
    for (n, bits), blocks in itertools.product(TREES, (1, 2)):
        yield words(n), words(blocks, n, 2), *roots(n), bits
    yield words(5), words(2, 5, 2), *roots(5), 1


def dcf_eval():
    for (n, bits), blocks, points in itertools.product(TREES, (1, 2), (1, 2)):
        yield words(points, n), words(n, 2), words(bits, n, 2), words(bits + 1, blocks, n, 2)
    yield words(1, 5), words(5, 2), words(1, 5, 2), words(2, 1, 5, 2)


def join_packed():
    for (data, width, n), is_xor in itertools.product(unpack(), (False, True)):
        yield words(n), data, width, is_xor
        if width == 1:
            yield bits(n), data, 1, is_xor
    yield words(5, 7).T, torch.randint(0, 256, (5 * 35,), dtype=torch.uint8), 40, False
    yield words(), torch.randint(0, 256, (3,), dtype=torch.uint8), 21, False


def at_least():
    for (n, size), first in itertools.product(TREES, (True, False)):
        if size < 64:
            yield words(n), bits(n), words(n, 2), words(size - 6, n, 2), size, (0,), 64, 0, first
    for thresholds in ((3,), (5, -1, -(2**63), 2**63 - 1)):
        yield words(18), bits(18), words(18, 2), words(34, 18, 2), 40, thresholds, 64, 0, True
    for width, by in ((64, 16), (64, 1), (50, 3), (48, 7)):
        yield words(35), bits(35), words(35, 2), words(25, 35, 2), 31, (1, 1 + (1 << width - 2 - by)), width, by, True


def dpf_look_up():
    for n, k, count in itertools.product((0, 1, 16, 33, 70), (7, 8, 9, 10), (1, 2)):
        yield words(n), words(n, 2), words(k - 6, n, 2), words(count, 1 << k), k, n % 2 == 0
    for k in (12, 14, 15):  # beyond what a warp spells out
        yield words(5), words(5, 2), words(k - 6, 5, 2), words(1, 1 << k), k, False
    yield words(40)[::2], words(20, 2), words(3, 20, 2), words(512, 2).T, 9, True


WIDTHS_BY = ((64, 16), (64, 1), (64, 62), (40, 16), (18, 16))


def truncated():
    for n, (width, by), first in itertools.product(SIZES, WIDTHS_BY, (True, False)):
        yield words(n), words(n), words(n), width, by, first
    yield words(3, 4), words(4), words(3, 1), 64, 16, True
    yield *(words(4, 3).T for _ in range(3)), 64, 16, False


def select_truncated():
    for n, (width, by), first in itertools.product(SIZES, WIDTHS_BY, (True, False)):
        given = words(n), bits(n), *(words(n) for _ in range(5)), width, by, first
        yield given
        yield *given, bits(n), words(n), words(n)
    yield words(3, 4), bits(3, 4), *(words(3, 1) for _ in range(5)), 64, 16, True
    yield words(4, 3).T, bits(4, 3).T, *(words(4, 3).T for _ in range(5)), 64, 16, True


EXAMPLES = {
    f.__name__: f
    for f in (
        matmul,
        matmul_two,
        conv,
        beaver,
        select,
        to_planes,
        from_planes,
        pack,
        unpack,
        digit_tables,
        digit_compare,
        tree_node,
        lookup,
        signed_lookup,
        keystream,
        prg,
        dpf_gen,
        dpf_eval,
        dpf_all,
        dcf_gen,
        dcf_eval,
        join_packed,
        at_least,
        dpf_look_up,
        truncated,
        select_truncated,
    )
} | {"dpf_parity": dpf_eval}


def outputs(result):
    return result if isinstance(result, tuple) else (result,)


def moved(args, device):
    return [a.to(device) if isinstance(a, torch.Tensor) else a for a in args]


def spread(t):
    """Equal values on every other place in memory."""
    if not isinstance(t, torch.Tensor) or t.dim() == 0:
        return t
    return t.repeat_interleave(2, -1)[..., ::2]


# ---- laws ----------------------------------------------------------------------------------------


def test_every_kernel_has_examples():
    assert set(EXAMPLES) == set(KERNELS), "write examples for every kernel, under its name"


def test_every_kernel_has_a_fast_cpu_body():
    kernels.load("cpu")
    assert [k.name for k in KERNELS.values() if "cpu" not in k.bodies] == []


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_bodies_equal_the_definition_bit_for_bit(name, device):
    torch.manual_seed(1)
    kernel = KERNELS[name]
    for args in EXAMPLES[name]():
        expected = outputs(kernel.reference(*args))
        for layout in (lambda t: t, spread):
            given = moved(map(layout, args), device)
            kept = [a.clone() for a in given if isinstance(a, torch.Tensor)]
            found = outputs(kernel(*given))
            assert len(found) == len(expected)
            for e, f in zip(expected, found):
                assert (e.shape, e.dtype) == (f.shape, f.dtype) and f.device.type == device
                assert torch.equal(e, f.cpu()), (name, [a.shape if isinstance(a, torch.Tensor) else a for a in args])
            assert all(map(torch.equal, kept, (a for a in given if isinstance(a, torch.Tensor)))), (
                "a kernel changes no argument"
            )


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_on_meta_tensors_shapes_and_dtypes_are_the_same(name):
    torch.manual_seed(1)
    for args in EXAMPLES[name]():
        expected = outputs(KERNELS[name].reference(*args))
        found = outputs(KERNELS[name](*moved(args, "meta")))
        assert all(f.is_meta for f in found)
        assert [(e.shape, e.dtype) for e in expected] == [(f.shape, f.dtype) for f in found]


# ---- what the definitions mean -------------------------------------------------------------------


@pytest.mark.parametrize("torch_conv", [F.conv1d, F.conv2d])
def test_convolution_is_torchs(torch_conv):
    torch.manual_seed(2)
    for stride, padding, dilation, groups in GRID_1D if torch_conv is F.conv1d else GRID_2D:
        shape = (2, 4, 11) if torch_conv is F.conv1d else (2, 4, 9, 8)
        x, w = torch.randint(-9, 9, shape), torch.randint(-9, 9, (8, 4 // groups, 3, 2)[: len(shape)])
        expected = torch_conv(x.double(), w.double(), None, stride, padding, dilation, groups)
        geometry = [v if isinstance(v, tuple) else (v,) for v in (stride, padding, dilation)]
        for body in (kernels.conv, kernels.conv.reference):
            assert torch.equal(body(x, w, *geometry, groups).double(), expected)


def test_matmul_is_modulo_2_to_the_64():
    torch.manual_seed(3)
    for m, k, n in ((3, 4, 5), (70, 4, 5)):
        a, b = words(m, k), words(k, n)
        exact = [[sum(x * y for x, y in zip(row, column)) for column in zip(*b.tolist())] for row in a.tolist()]
        wrapped = [[(v + 2**63) % 2**64 - 2**63 for v in row] for row in exact]
        assert kernels.matmul(a, b).tolist() == wrapped
        assert kernels.matmul(a, b.T.contiguous().T).tolist() == wrapped


def test_planes_and_packed_bytes_come_back():
    torch.manual_seed(4)
    for n, width in itertools.product(SIZES, WIDTHS):
        v = words(n)
        low = v if width == 64 else v & ((1 << width) - 1)
        assert torch.equal(kernels.from_planes(kernels.to_planes(v, width), n), low)
        data = kernels.pack(v, width)
        assert data.dtype == torch.uint8 and data.numel() == -(-n * width // 8)
        back = kernels.unpack(data, width, n)
        expected = low.bool() if width == 1 else (v << (64 - width)) >> (64 - width)
        assert torch.equal(back, expected)
    assert kernels.pack(torch.tensor([1, 2, 3]), 4).tolist() == [0x21, 0x03]  # least significant bits first
    assert kernels.to_planes(torch.tensor([1, 2, 3]), 2).tolist() == [[0b101], [0b110]]


def test_digits_are_compared_with_every_table():
    """All 256 pairs of a public and a dealt digit at once."""
    v, r = torch.arange(16).repeat_interleave(16), torch.arange(16).repeat(16)
    tables = kernels.digit_tables(kernels.to_planes(r, 4))
    assert torch.equal(kernels.from_planes(tables[0], 256), 1 << r)
    for body in (kernels.digit_compare, kernels.digit_compare.reference):
        less, equal = body(kernels.to_planes(v, 4)[:, None], tables)
        assert torch.equal(kernels.from_planes(less, 256)[0].bool(), v < r)
        assert torch.equal(kernels.from_planes(equal, 256)[0].bool(), v == r)


def test_a_lookup_with_all_shares_gives_the_entry():
    torch.manual_seed(5)
    for k in (0, 1, 3, 6, 7, 10):
        table, x, r = words(2**k), words(300), words(300)
        hot = torch.zeros(300, max(1, 2**k // 64), dtype=torch.int64)
        index = r & (2**k - 1)
        hot[torch.arange(300), index >> 6] = 1 << (index & 63)
        mine = words(*hot.shape)
        shares = [kernels.lookup(x + r, piece, table) for piece in (mine, mine ^ hot)]
        assert torch.equal(shares[0] ^ shares[1], table[x & (2**k - 1)])


@pytest.mark.parametrize("radix", [2, 3, 4])
@pytest.mark.parametrize("want", tree.WANT)
def test_a_tree_node_joins_digits(radix, want):
    """All inputs at once, a bit column each, most significant digit first: G = g_top ⊕ p_top·g_next ⊕ …, P = all p."""
    torch.manual_seed(6)
    inputs, _, for_p = tree.monomials(radix, want)
    rows = (torch.arange(1 << inputs)[None] >> torch.arange(inputs)[:, None]) & 1
    clear = kernels.to_planes(rows, 1)[0]
    masks = words(*clear.shape)
    dealt = torch.stack(
        [*masks, *(functools.reduce(torch.bitwise_and, [masks[i] for i in t]) for t in tree.mask_products(radix, want))]
    )
    mine = words(*dealt.shape)
    shares = [
        kernels.tree_node(clear ^ masks, piece, radix, want, first)
        for piece, first in ((mine, True), (mine ^ dealt, False))
    ]
    out = kernels.from_planes((shares[0] ^ shares[1])[None], 1 << inputs)
    p = rows[:radix] if "p" in want else rows[: radix - 1]
    if "g" in want:
        g = rows[len(p) :]
        expected = sum(p[: j + 1].prod(0) * g[j] for j in range(radix - 1)) & 1
        assert torch.equal(out[0], expected)
    if "p" in want:
        assert torch.equal(out[-1], p.prod(0)) and for_p
    assert len(out) == len(want)
