"""Point functions: neither key says where the point is, both together do.

left, right = dpf.gen(torch.tensor([40]), bits=8, streams=(Stream(seed0, "roots"), Stream(seed1, "roots")))
dpf.eval(left, x) ^ dpf.eval(right, x)               x == 40
dpf.less_than(left, x) ^ dpf.less_than(right, x)     x < 40
"""

import pytest
import torch

from mpckit import kernels
from mpckit.fss import dpf, keys
from mpckit.kernels import aes
from mpckit.ring import lsr
from mpckit.stream import MetaStream, Stream

WIDE = (16, 32, 40, 64)


def streams(label="roots"):
    return Stream(b"party 0's own seed, 32 bytes long"[:32], label), Stream(
        b"party 1's own seed, 32 bytes long"[:32], label
    )


def xored(function, pair, *args):
    return function(pair[0], *args) ^ function(pair[1], *args)


def unsigned_less(x, y, bits):
    """x < y on the low bits, as unsigned numbers."""
    up = 64 - bits
    return ((x << up) ^ -(2**63)) < ((y << up) ^ -(2**63))


def edges(alpha, bits):
    """Points [K, N] around alpha and at the ends of the domain."""
    ends = [0, 1, -1, -2, 2 ** (bits - 1) - 1, -(2 ** (bits - 1)), 127, 128, 2**63 - 1, -(2**63)]
    near = [alpha, alpha + 1, alpha - 1, alpha ^ 127, alpha ^ 128, alpha ^ (1 << (bits - 1))]
    return torch.stack(
        [*near, *(torch.full_like(alpha, e) for e in ends), torch.randint(-(2**63), 2**63 - 1, alpha.shape)]
    )


@pytest.fixture(params=aes.ways())
def way(request, monkeypatch):
    monkeypatch.setattr(aes, "way", request.param)


def test_an_example():
    pair, x = dpf.gen(torch.tensor([40]), 8, streams()), torch.tensor([[39], [40], [41]])
    assert xored(dpf.eval, pair, x).tolist() == [[False], [True], [False]]
    assert xored(dpf.less_than, pair, x).tolist() == [[True], [False], [False]]


@pytest.mark.parametrize("bits", range(1, 11))
def test_every_alpha_and_every_x(bits, way):
    size = 1 << bits
    alpha, x = torch.arange(size), torch.arange(size)[:, None].expand(size, size)
    pair = dpf.gen(alpha, bits, streams())
    assert torch.equal(xored(dpf.eval, pair, x), x == alpha)
    assert torch.equal(xored(dpf.less_than, pair, x), x < alpha)
    words = xored(dpf.eval_all, pair)
    assert words.shape == (size, max(1, size // 64))
    assert torch.equal(
        kernels.unpack(words.view(torch.uint8).reshape(-1), 1, 64 * words.numel()).view(size, -1)[:, :size], x == alpha
    )


@pytest.mark.parametrize("bits", WIDE)
def test_edges_at_full_width(bits, way):
    torch.manual_seed(bits)
    alpha = torch.cat(
        (
            torch.tensor([0, 1, -1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1)), 127, 128]),
            torch.randint(-(2**63), 2**63 - 1, (94,)),
        )
    )
    pair, x = dpf.gen(alpha, bits, streams()), edges(alpha, bits)
    assert torch.equal(xored(dpf.eval, pair, x), (x ^ alpha) << (64 - bits) == 0)
    assert torch.equal(xored(dpf.less_than, pair, x), unsigned_less(x, alpha, bits))


@pytest.mark.parametrize("bits", [3, 7, 8, 12])
def test_signs_of_shifted_sums(bits, way):
    """1{z ≥ c} for z + r = (x̂ mod 2^(bits + 6)) >> 5: for every r of bits + 1 bits, and z within half of the range."""
    r = torch.arange(2 << bits)
    z = torch.randint(-(1 << bits - 1), 1 << bits - 1, r.shape)
    pair, above = dpf.gen(r, bits, streams()), (r >> bits & 1).bool()
    x_hat = (z + r << 5) + torch.randint(0, 32, r.shape) + (torch.randint(0, 9, r.shape) << bits + 6)
    mine = torch.randint(0, 2, r.shape).bool()
    thresholds = (0, 1, 3 - (1 << bits - 1))
    shares = [dpf.at_least(k, x_hat, s, thresholds, bits + 6, 5) for k, s in zip(pair, (mine, mine ^ above))]
    assert torch.equal(shares[0] ^ shares[1], torch.stack([z >= c for c in thresholds]))


@pytest.mark.parametrize("bits", [3, 6, 7, 8, 10])
def test_look_ups_under_the_keys_sign(bits, way):
    r, x = torch.arange(1 << bits), torch.randint(0, 1 << bits, (1 << bits,))
    pair, tables = dpf.gen(r, bits, streams()), torch.randint(-(2**63), 2**63 - 1, (2, 1 << bits))
    found = dpf.look_up(pair[0], x + r, tables) + dpf.look_up(pair[1], x + r, tables)
    u = 2 * dpf.eval(pair[0], r).long() - 1
    assert torch.equal(found * u, tables[:, x])


@pytest.mark.parametrize("bits", [1, 5, 6, 7, 8, 20, 64])
def test_points_on_one_key_and_slices_of_keys(bits):
    torch.manual_seed(1)
    alpha, x = torch.randint(-(2**63), 2**63 - 1, (50,)), torch.randint(-(2**63), 2**63 - 1, (3, 50))
    for key in dpf.gen(alpha, bits, streams()):
        for function in (dpf.eval, dpf.less_than):
            whole = function(key, x)
            assert torch.equal(whole, torch.stack([function(key, row) for row in x]))
            parts = [function(key[a : a + 16], x[:, a : a + 16]) for a in range(0, 50, 16)]
            assert torch.equal(whole, torch.cat(parts, 1))


def test_no_keys_and_shapes_without_values():
    for bits in (5, 7, 9, 40):
        for alpha, pair in (
            (torch.empty(0, dtype=torch.int64), streams()),
            (torch.empty(6, dtype=torch.int64, device="meta"), (MetaStream(), MetaStream())),
        ):
            for key in dpf.gen(alpha, bits, pair):
                assert dpf.eval(key, alpha).shape == dpf.less_than(key, alpha).shape == alpha.shape
                assert dpf.eval(key, alpha).dtype == torch.bool
                assert bits == 40 or dpf.eval_all(key).shape == (len(alpha), max(1, 2**bits // 64))


# ---- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(1, 65))
def test_size_formula_and_bytes(bits):
    alpha = torch.arange(-4, 7)
    for party, key in enumerate(dpf.gen(alpha, bits, streams())):
        data = key.to_bytes()
        assert len(data) == key.nbytes == 16 + -(-11 * dpf.key_bits(bits) // 8)
        back = dpf.Key.from_bytes(data, party=party, bits=bits, count=11)
        assert torch.equal(back.root, key.root) and torch.equal(back.cw, key.cw)
        assert (back.party, back.bits) == (party, bits)
    assert dpf.key_bits(bits) == (2**bits if bits <= 7 else (bits - 7) * 128 + 256)


def test_keys_for_39_bits_stay_below_620_bytes():
    assert dpf.key_bits(39) / 8 == 544


def test_each_party_expands_its_own_root():
    alpha = torch.arange(20)
    pair = dpf.gen(alpha, 12, streams())
    for party, key in enumerate(pair):
        assert torch.equal(key.root, keys.root(party, 20, streams()[party]))
    assert torch.equal(pair[0].cw, pair[1].cw)
    assert torch.equal(pair[0].root[:, 0] & 1, torch.zeros(20, dtype=torch.int64))
    assert not torch.equal(lsr(pair[0].root[:, 0], 1), lsr(pair[1].root[:, 0], 1))


def test_malformed_keys_are_refused_with_the_reason():
    left, right = dpf.gen(torch.arange(5), 40, streams())
    data = left.to_bytes()
    for damaged, expected, reason in (
        (data[:7], {}, "truncated: keys begin with 16 bytes, and these are 7"),
        (data[:-1], {}, r"truncated: 5 keys of 40 bits take 2816 bytes, not 2815"),
        (data + b"\0", {}, "bytes left over: 5 keys of 40 bits take 2816 bytes, not 2817"),
        (b"DCF1" + data[4:], {}, "these are no DPF1 keys: they begin with b'DCF1'"),
        (data, {"party": 1}, "keys with party 0, where party 1 is expected"),
        (data, {"bits": 32}, "keys with bits 40, where bits 32 is expected"),
        (data, {"count": 6}, "keys with count 5, where count 6 is expected"),
        (data[:4] + b"\1" + data[5:], {}, "control bit is not 1: these are the other party's keys"),
        (data[:4] + b"\2" + data[5:], {}, "no such keys: party 2"),
        (data[:5] + b"\0" + data[6:], {}, "no such keys: party 0, bits 0"),
        (data[:5] + b"\x41" + data[6:], {}, "no such keys: party 0, bits 65"),
        (data[:5] + b"\x27" + data[6:], {}, "bytes left over: 5 keys of 39 bits"),
    ):
        with pytest.raises(ValueError, match=reason):
            dpf.Key.from_bytes(damaged, **expected)
    with pytest.raises(ValueError, match="the other party's keys"):
        dpf.Key(1, 40, left.root, left.cw)
    with pytest.raises(ValueError, match=r"cw must be int64 \[33, 5, 2\], not torch.int64 \[34, 5, 2\]"):
        dpf.Key(0, 39, left.root, left.cw)
    with pytest.raises(ValueError, match=r"\[5\] or \[points, 5\] for 5 keys, not \[6\]"):
        dpf.eval(right, torch.arange(6))
    with pytest.raises(ValueError, match="int64 words, not torch.float32"):
        dpf.less_than(right, torch.zeros(5))
    with pytest.raises(ValueError, match="at most 30 bits"):
        dpf.eval_all(right)
    for bits in (0, 65):
        with pytest.raises(ValueError, match="1 to 64 bits"):
            dpf.gen(torch.arange(5), bits, streams())
    with pytest.raises(ValueError, match="flatten it first"):
        dpf.gen(torch.zeros(2, 3, dtype=torch.int64), 8, streams())
