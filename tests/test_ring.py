"""Numbers in, integers modulo 2^bits, numbers out:

    ring = Ring(bits=64, frac=16)
    ring.decode(ring.encode(-1.5)) == -1.5
"""

import math
import random

import pytest
import torch

from mpckit.ring import RangeError, Ring, lsr, signed
from mpckit.stream import Stream

WORDS = [0, 1, 2, 3, 127, 128, 255, 2**31, 2**32 - 1, 2**62, 2**63 - 1, -1, -2, -128, -(2**62), -(2**63)]
WORDS += [random.Random(7).getrandbits(64) - 2**63 for _ in range(200)]


def test_the_example():
    ring = Ring(bits=64, frac=16)
    assert ring.encode(-1.5) == -98304
    assert ring.decode(ring.encode(-1.5)) == -1.5


# ---- the fixed-point code ------------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(1, 17))
def test_every_value_of_a_small_ring_round_trips(bits):
    for frac in range(bits + 3):
        ring = Ring(bits, frac)
        v = torch.arange(-(1 << bits >> 1), 1 << bits >> 1)
        numbers = ring.decode(v, torch.float64)
        assert torch.equal(numbers, v.double() / 2**frac)
        assert torch.equal(ring.encode(numbers), v)


def test_negative_numbers_just_above_an_integer_decode_right():
    ring, step = Ring(64, 16), 2.0**-16
    integers = torch.tensor([0.0, -1, -2, -3, -1000, -(2.0**20), 5, 2.0**36], dtype=torch.float64)
    for offset in (-step, 0.0, step):
        x = integers + offset
        assert torch.equal(ring.decode(ring.encode(x), torch.float64), x)
    assert ring.encode(torch.tensor(-1 - step, dtype=torch.float64)) == -65537
    assert ring.encode(torch.tensor(-1 + step, dtype=torch.float64)) == -65535


def test_encoding_rounds_to_the_nearest_and_ties_to_even():
    assert Ring(8, 0).encode(torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, 0.4999, -2.51])).tolist() == [
        0,
        2,
        2,
        0,
        -2,
        0,
        -3,
    ]
    assert Ring(16, 4).encode(torch.tensor([1 / 32, 3 / 32, -3 / 32])).tolist() == [0, 2, -2]


@pytest.mark.parametrize(
    ("ring", "low", "high"),
    [
        (Ring(64, 16), -(2.0**47), 2.0**47 - 2.0**-6),  # the largest double below 2^47
        (Ring(40, 8), -(2.0**31), 2.0**31 - 2.0**-8),
        (Ring(8, 0), -128.0, 127.0),
        (Ring(8, 7), -1.0, 1 - 2.0**-7),
        (Ring(8, 10), -(2.0**-3), 2.0**-3 - 2.0**-10),
        (Ring(1, 0), -1.0, 0.0),
    ],
)
def test_the_range_ends_where_it_says(ring, low, high):
    ends = torch.tensor([low, high], dtype=torch.float64)
    assert torch.equal(ring.decode(ring.encode(ends), torch.float64), ends)
    step = 2.0**-ring.frac
    if ring.bits < 64:
        outsides = [low - step, low - 0.51 * step, high + 0.51 * step, high + step, 2 * low]
    else:  # a double has no steps as fine as the ring's there
        outsides = [math.nextafter(low, -math.inf), math.nextafter(high, math.inf), 2 * low]
    for outside in outsides:
        with pytest.raises(RangeError):
            ring.encode(torch.tensor(outside, dtype=torch.float64))


def test_rounding_over_the_top_is_overflow():
    with pytest.raises(RangeError):
        Ring(8, 0).encode(127.5)
    assert Ring(8, 0).encode(127.49) == 127


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_raise(dtype, bad):
    for ring in (Ring(), Ring(8, 0), Ring(64, 62)):
        for x in (torch.tensor(bad, dtype=dtype), torch.tensor([0, bad, 1], dtype=dtype)):
            with pytest.raises(RangeError, match="nan" if math.isnan(bad) else "inf"):
                ring.encode(x)


def test_the_error_names_the_first_bad_value_and_the_range():
    x = torch.tensor([[1.0, 2.0], [-300.5, math.nan]])
    with pytest.raises(
        RangeError, match=r"^-300\.5 does not fit a 16-bit ring with 8 fraction bits: .*\[-2\^7, 2\^7 - 2\^-8\]"
    ):
        Ring(16, 8).encode(x)
    with pytest.raises(RangeError, match=r"^128 does not fit"):
        Ring(16, 8).encode(torch.tensor([127, 128, 129]))
    assert issubclass(RangeError, OverflowError)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.bool])
def test_integers_and_bools_are_exact(dtype):
    low, high = (0, 1) if dtype == torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
    for value in (low, high, 0, 1):
        assert Ring(64, 0).encode(torch.tensor(value, dtype=dtype)).item() == value
    assert Ring(64, 16).encode(torch.tensor([1, 0], dtype=dtype)).tolist() == [65536, 0]
    assert Ring(64, 16).encode(True) == 65536 and Ring(64, 16).encode(-3) == -3 * 65536


def test_integers_outside_the_range_raise():
    for ring, good, bad in [
        (Ring(64, 16), [2**47 - 1, -(2**47)], [2**47, -(2**47) - 1, 2**63 - 1]),
        (Ring(8, 0), [127, -128], [128, -129, 2**63 - 1, -(2**63)]),
        (Ring(8, 8), [0], [1, -1]),
        (Ring(1, 0), [0, -1], [1, -2]),
    ]:
        assert torch.equal(ring.decode(ring.encode(torch.tensor(good)), torch.float64), torch.tensor(good).double())
        for value in bad:
            with pytest.raises(RangeError, match=f"^{value} does not fit"):
                ring.encode(torch.tensor([good[0], value]))
    with pytest.raises(RangeError):
        Ring(64, 0).encode(torch.tensor([2**63], dtype=torch.uint64))


def test_shapes_and_kinds_pass_through():
    ring = Ring()
    for shape in ((), (0,), (3, 0), (2, 3)):
        assert ring.encode(torch.zeros(shape)).shape == shape
        meta = ring.encode(torch.zeros(shape, device="meta"))
        assert meta.is_meta and meta.shape == shape and meta.dtype == torch.int64
    x = torch.arange(12.0).reshape(3, 4)
    assert torch.equal(ring.decode(ring.encode(x.T)), x.T)
    with pytest.raises(TypeError, match="complex"):
        ring.encode(torch.tensor(1j))


def test_decoding_takes_the_dtype_asked_for():
    ring = Ring(16, 4)
    v = torch.tensor([24, -24, 2**16 + 24])  # the last is another representative of the first
    assert ring.decode(v).dtype == torch.get_default_dtype()
    assert ring.decode(v, torch.float64).tolist() == [1.5, -1.5, 1.5]
    assert Ring(16, 0).decode(torch.tensor([1, 0, 2**16]), torch.bool).tolist() == [True, False, False]
    assert Ring(16, 0).decode(torch.tensor([-1, 2**15]), torch.int32).tolist() == [-1, -(2**15)]


def test_rings_outside_the_limits_do_not_exist():
    for bits, frac in ((0, 0), (65, 0), (-1, 0), (64, -1), (64, 63)):
        with pytest.raises(ValueError, match="a ring has"):
            Ring(bits, frac)


# ---- integers modulo 2^bits ----------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(1, 65))
def test_reduce_and_split_msb_agree_with_integers(bits):
    ring, v = Ring(bits, 0), torch.tensor(WORDS)
    expected = [(w + (1 << bits >> 1)) % (1 << bits) - (1 << bits >> 1) for w in WORDS]
    assert ring.reduce(v).tolist() == expected
    assert [signed(w, bits) for w in WORDS] == expected
    sign, low = ring.split_msb(v)
    assert sign.dtype == torch.bool and sign.tolist() == [e < 0 for e in expected]
    assert low.tolist() == [e % (1 << (bits - 1)) for e in expected]


@pytest.mark.parametrize("bits", [1, 8, 40, 63, 64])
def test_int64_arithmetic_is_arithmetic_of_the_ring(bits):
    ring, v = Ring(bits, 0), torch.tensor(WORDS)
    products = ring.reduce(v[:, None] * v + v)
    expected = [[signed(a * b + b, bits) for b in WORDS] for a in WORDS]
    assert products.tolist() == expected


@pytest.mark.parametrize("k", [0, 1, 8, 31, 62, 63])
def test_lsr_is_a_logical_shift(k):
    assert lsr(torch.tensor(WORDS), k).tolist() == [signed((w % 2**64) >> k) for w in WORDS]


def test_random_elements_fill_the_ring():
    v = Ring(8, 0).random((50_000,), Stream(b"seed", "ring"))
    assert v.min() == -128 and v.max() == 127 and len(v.unique()) == 256
    assert (v.double().mean() + 0.5).abs() < 5 * 73.9 / 50_000**0.5


def test_the_unit_changes_without_the_ring():
    assert Ring(40, 8).at(16) == Ring(40, 16) and Ring(40, 8).at(8) is not None
    assert str(Ring(40, 8)) == "a 40-bit ring with 8 fraction bits"
