"""The GPU's bodies without a GPU: their Python as it stands, their device code compiled by g++ and run on the host.

    kernels.matmul.bodies["cuda"](a, b)      # on CPU tensors, because `launch.runner` is the host's

This checks the logic, thread by thread; speed and the card's own compiler are for `test_cuda.py`.
"""

import itertools
import json
from pathlib import Path

import pytest
import torch
from host import build, kernels
from test_bodies import EXAMPLES, outputs, spread, words

from mpckit.kernels import KERNELS, cuda, ggm  # noqa: F401  (`cuda` registers its bodies)
from mpckit.kernels.cuda import launch, products

FROZEN = json.loads((Path(__file__).parents[1] / "vectors" / "fss.json").read_text())


@pytest.fixture(scope="session")
def host(tmp_path_factory):
    return build(tmp_path_factory.mktemp("device code"))


@pytest.fixture
def on_host(host, monkeypatch):
    """Launches run here; says which kernels ran."""
    ran = []

    def runner(device, name, blocks, values):
        ran.append(name)
        host(device, name, blocks, values)

    monkeypatch.setattr(launch, "runner", runner)
    return ran


def test_every_kernel_has_a_body_for_the_gpu():
    assert [k.name for k in KERNELS.values() if "cuda" not in k.bodies] == []


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_device_code_equals_the_definition_bit_for_bit(on_host, name):
    torch.manual_seed(1)
    kernel = KERNELS[name]
    for args in EXAMPLES[name]():
        expected = outputs(kernel.reference(*args))
        for layout in (lambda t: t, spread):
            given = list(map(layout, args))
            kept = [a.clone() for a in given if isinstance(a, torch.Tensor)]
            found = outputs(kernel.bodies["cuda"](*given))
            for e, f in zip(expected, found, strict=True):
                assert (e.shape, e.dtype) == (f.shape, f.dtype)
                assert torch.equal(e, f), (name, [a.shape if isinstance(a, torch.Tensor) else a for a in args])
            assert all(map(torch.equal, kept, (a for a in given if isinstance(a, torch.Tensor))))
    assert on_host or name == "conv", "nothing was launched, so nothing was checked"


def test_every_kernel_of_the_sources_is_launched_by_a_body(on_host):
    torch.manual_seed(2)
    for name, examples in EXAMPLES.items():
        for args in itertools.islice(examples(), 40):
            KERNELS[name].bodies["cuda"](*args)
    assert set(on_host) == set(kernels())


@pytest.mark.parametrize("case", FROZEN["prg"], ids=lambda case: f"tweak {case['tweak']}")
def test_frozen_hashes(on_host, case):
    def octets(number):
        return torch.tensor(list(int(number, 16).to_bytes(16, "little")), dtype=torch.uint8).view(torch.int64)

    found = ggm.prg.bodies["cuda"](torch.stack([octets(x) for x in case["blocks"]]), case["tweak"])
    assert torch.equal(found, torch.stack([octets(x) for x in case["hashes"]]))


@pytest.mark.parametrize("busy", [1, 40, 10**9])
def test_all_values_whatever_a_thread_spells_out(on_host, monkeypatch, busy):
    """From the root by one thread a key, to a leaf by each."""
    monkeypatch.setattr("mpckit.kernels.cuda.trees.BUSY", busy)
    torch.manual_seed(3)
    for bits in (7, 8, 9, 12, 13):
        root, cw = words(5, 2), words(bits - 6, 5, 2)
        assert torch.equal(ggm.dpf_all.bodies["cuda"](root, cw, bits), ggm.dpf_all.reference(root, cw, bits))
    assert on_host == ["dpf_all"] * 5


# ---- products by limbs, which are torch's own code on any device ---------------------------------


def hard(*shape):
    """Words whose limbs are as large as they get, of one sign or mixed."""
    worst = [
        sum(v << (22 * i) for i, v in enumerate(limbs))
        for limbs in ((-(2**21),) * 2 + (-(2**19),), (2**21 - 1,) * 2 + (2**19 - 1,), (-(2**21), 2**21 - 1, 2**19 - 1))
    ]
    choice = torch.tensor([(w + 2**63) % 2**64 - 2**63 for w in worst] + [-(2**63), 2**63 - 1, -1, 2**21, 0])
    return choice[torch.randint(0, len(choice), shape)]


@pytest.mark.parametrize("inner", [1, 1023, 1024, 1025, 2500])
def test_limbs_are_exact_at_their_largest(inner):
    torch.manual_seed(4)
    one = torch.tensor([[-(2**21) - (2**43)]])  # x0·y1 + x1·y0 is 2^43, the most there is
    for a, b in ((one.expand(3, inner), one.expand(inner, 5)), (hard(3, inner), hard(inner, 5))):
        assert torch.equal(products.by_limbs(a, b), a @ b)


def test_limbs_add_up_and_stay_in_their_range():
    torch.manual_seed(5)
    x = torch.cat((words(10_000), hard(1000)))
    x0, x1, x2 = products.limbs(x)
    assert torch.equal(x0.long() + (x1.long() << 22) + (x2.long() << 44), x)
    for limb, bound in ((x0, 2**21), (x1, 2**21)):
        assert limb.min() >= -bound and limb.max() < bound
    assert x2.abs().max() <= 2**19


SHAPES = ((17, 1, 1), (20, 7, 9), (64, 100, 65), (70, 1500, 33), (18, 17_000, 3), (17, 0, 4), (17, 5, 0))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_digits_are_exact_on_odd_shapes(shape):
    torch.manual_seed(8)
    rows, inner, columns = shape
    a, b, turned = words(rows, inner), words(inner, columns), words(columns, inner).mT
    assert torch.equal(products.by_digits((a, b)), a @ b) and torch.equal(products.by_digits((a, turned)), a @ turned)
    wide = words(rows, 2 * inner)[:, ::2]
    assert torch.equal(products.by_digits((wide, b)), wide @ b)


@pytest.mark.parametrize("inner", [1, products.TERMS - 1, products.TERMS, products.TERMS + 1, 1 << 14, 40_000])
def test_digits_are_exact_at_their_largest(inner):
    """All digits -128, or all 127: their sums are the largest there are, of either sign."""
    low, high = (sum(v << (8 * i) for i in range(8)) for v in (-128, 127))
    low, high = ((v + 2**63) % 2**64 - 2**63 for v in (low, high))
    for x, y in itertools.product((low, high, -1, -(2**63), 2**63 - 1), (low, high)):
        a, b = torch.full((17, inner), x), torch.full((inner, 3), y)
        assert torch.equal(products.by_digits((a, b)), a @ b)


def test_digits_are_bytes_from_minus_128_on_that_add_up():
    torch.manual_seed(9)
    x = torch.cat((words(1000, 3), hard(100, 3)))
    split = products.digits([x]).view(len(x), 8, 16).long()
    assert torch.equal(sum(split[:, i, :3] << (8 * i) for i in range(8)), x) and not split[..., 3:].any()
    assert torch.equal(products.digits([x], turned=True).view(len(x), 8, 16), split.flip(1).to(torch.int8))
    most = 8 * products.TERMS * 128 * 128
    assert most < 2**31, "a sum of digits fits int32"


def taken(monkeypatch):
    """Which of the ways a product took."""
    ways = []
    for name in ("by_digits", "by_limbs"):
        way = getattr(products, name)
        monkeypatch.setattr(products, name, lambda *args, name=name, way=way: ways.append(name) or way(*args))
    return ways


def test_large_products_and_convolutions_take_digits_or_limbs(on_host, monkeypatch):
    ways = taken(monkeypatch)
    torch.manual_seed(6)
    matmul, conv = KERNELS["matmul"].bodies["cuda"], KERNELS["conv"].bodies["cuda"]
    for a, b, way in (
        (words(70, 1500), words(1500, 65), ["by_digits"]),
        (words(3, 64, 640), words(640, 104), ["by_digits"]),
        (words(2, 3, 64, 66), words(3, 66, 64), ["by_limbs"]),
        (words(2, 200, 150), words(150, 200), ["by_digits"]),
        (words(2, 200, 150), words(2, 150, 200), ["by_digits"] * 2),
        (words(64, 70).mT, words(64, 99), ["by_limbs"]),
    ):
        ways.clear()
        assert torch.equal(matmul(a, b), torch.matmul(a, b)) and ways == way
    x, w = words(2, 12, 14, 13), words(64, 12, 3, 3)
    args = (2, 1), (1, 2), (1, 2), 1
    assert torch.equal(conv(x, w, *args), KERNELS["conv"].reference(x, w, *args))
    assert on_host == []


@pytest.mark.parametrize("inner", [70, products.TERMS // 2, products.TERMS // 2 + 1, products.TERMS + 5])
def test_two_products_are_one(on_host, monkeypatch, inner):
    ways = taken(monkeypatch)
    torch.manual_seed(10)
    two = KERNELS["matmul_two"].bodies["cuda"]
    a, b, c, d = words(3, 30, inner), words(inner, 700), words(3, 30, inner), words(700, inner).mT
    assert torch.equal(two(a, b, c, d), a @ b + c @ d) and ways == ["by_digits"]
    low = torch.full((90, inner), products.BIAS ^ 0)  # all digits -128, two products of them: the largest sum
    assert torch.equal(products.by_digits((low, low.mT), (low, low.mT)), 2 * (low @ low.mT))


def test_a_card_is_asked_once_whether_it_takes_digits(monkeypatch):
    asked, ask = [], products._multiplies_digits.__wrapped__
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert not ask(torch.device("cuda:0"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    arange = torch.arange
    monkeypatch.setattr(torch, "arange", lambda *args, device: asked.append(device) or arange(*args))
    assert ask(torch.device("cuda:0")) and len(asked) == 2

    def refused(*_):
        raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED")

    monkeypatch.setattr(torch, "_int_mm", refused)
    assert not ask(torch.device("cuda:0")), "limbs serve"


def test_a_batch_that_would_not_fit_is_unfolded_in_parts(on_host, monkeypatch):
    monkeypatch.setattr(products, "COLUMNS", 200)
    torch.manual_seed(7)
    x, w = words(5, 4, 9), words(6, 2, 3)
    args = (1,), (1,), (1,), 2
    assert torch.equal(KERNELS["conv"].bodies["cuda"](x, w, *args), KERNELS["conv"].reference(x, w, *args))
    assert len(on_host) == 5


def test_shapes_that_do_not_fit_are_refused_before_a_launch(on_host):
    for name, args in {
        "matmul": (words(3, 4), words(5, 6)),
        "lookup": (words(9), words(9, 3), words(256)),
        "signed_lookup": (words(9), words(8, 4), words(1, 256), True),
        "unpack": (torch.zeros(9, dtype=torch.uint8), 40, 2),
    }.items():
        with pytest.raises((RuntimeError, ValueError, IndexError)):
            KERNELS[name].bodies["cuda"](*args)
    assert on_host == []
