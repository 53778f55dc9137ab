"""Comparisons with a payload: the values under both keys add up to beta where x < alpha, and to 0 elsewhere.

left, right = dcf.gen(torch.tensor([40]), torch.tensor([7]), bits=8, streams=…)
dcf.eval(left, x) + dcf.eval(right, x)               7 * (x < 40)
"""

import pytest
import torch
from test_dpf import edges, streams, unsigned_less

from mpckit.fss import dcf, keys
from mpckit.kernels import aes
from mpckit.stream import MetaStream


def summed(pair, x):
    return dcf.signed(dcf.eval(pair[0], x) + dcf.eval(pair[1], x), pair[0].width)


@pytest.fixture(params=aes.ways())
def way(request, monkeypatch):
    monkeypatch.setattr(aes, "way", request.param)


def test_an_example():
    pair = dcf.gen(torch.tensor([40]), torch.tensor([7]), 8, streams())
    assert summed(pair, torch.tensor([[39], [40], [41]])).tolist() == [[[7]], [[0]], [[0]]]


def test_relu_in_one_round():
    """x̂·b - r·b with payload (1, -r): x̂ = x + r is public, b = [x ≥ 0] = [x̂ ⊖ r < 2^(n-1)] from two comparisons."""
    torch.manual_seed(3)
    x, r = torch.arange(-128, 128), torch.randint(0, 256, (256,))
    x_hat = (x + r) & 255
    top = (r + 128) & 255  # the first masked value that stands for a negative number
    payload = torch.stack((torch.ones_like(r), -r))
    below_r, below_top = (
        summed(dcf.gen(a, payload, 8, streams(label)), x_hat) for a, label in ((r, "r"), (top, "top"))
    )
    # x ≥ 0 just when x̂ lies in [r, r + 128) modulo 256; where r + 128 wraps the interval is all but [top, r).
    both = below_top - below_r + torch.where(top < r, 1, 0) * payload
    relu = dcf.signed(x_hat * both[0] + both[1], 8)
    assert torch.equal(relu, x.clamp(min=0))


@pytest.mark.parametrize("bits", range(1, 11))
def test_every_alpha_and_every_x(bits, way):
    size = 1 << bits
    torch.manual_seed(bits)
    alpha, x = torch.arange(size), torch.arange(size)[:, None].expand(size, size)
    beta = torch.randint(-(2**63), 2**63 - 1, (2, size))
    assert torch.equal(summed(dcf.gen(alpha, beta, bits, streams()), x), beta * (x < alpha)[:, None])


@pytest.mark.parametrize("bits", [16, 32, 40, 64])
@pytest.mark.parametrize(("words", "width"), [(1, 64), (2, 40), (3, 64)])
def test_edges_at_full_width(bits, words, width, way):
    torch.manual_seed(bits)
    alpha = torch.cat(
        (torch.tensor([0, 1, -1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1))]), torch.randint(-(2**63), 2**63 - 1, (32,)))
    )
    beta, x = torch.randint(-(2**63), 2**63 - 1, (words, 37)), edges(alpha, bits)
    expected = dcf.signed(beta, width) * unsigned_less(x, alpha, bits)[:, None]
    assert torch.equal(summed(dcf.gen(alpha, beta, bits, streams(), width), x), expected)


def test_points_slices_and_shapes():
    torch.manual_seed(5)
    alpha, beta, x = (torch.randint(-(2**63), 2**63 - 1, shape) for shape in ((50,), (3, 50), (2, 50)))
    for key in dcf.gen(alpha, beta, 20, streams()):
        whole = dcf.eval(key, x)
        assert whole.shape == (2, 3, 50)
        assert torch.equal(whole, torch.stack([dcf.eval(key, row) for row in x]))
        assert torch.equal(
            whole, torch.cat([dcf.eval(key[a : a + 16], x[:, a : a + 16]) for a in range(0, 50, 16)], -1)
        )
    empty = torch.empty(0, dtype=torch.int64)
    assert dcf.eval(dcf.gen(empty, empty, 9, streams())[0], empty).shape == (1, 0)
    meta = torch.empty(6, dtype=torch.int64, device="meta")
    assert dcf.eval(dcf.gen(meta, meta, 9, (MetaStream(), MetaStream()))[1], meta[None]).shape == (1, 1, 6)


# ---- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 2, 7, 8, 33, 64])
@pytest.mark.parametrize(("words", "width"), [(1, 64), (2, 64), (1, 1), (3, 21), (2, 8)])
def test_size_formula_and_bytes(bits, words, width):
    alpha, beta, x = torch.arange(11), torch.arange(11 * words).view(words, 11) - 9, torch.arange(11) * 3
    for party, key in enumerate(dcf.gen(alpha, beta, bits, streams(), width)):
        data = key.to_bytes()
        assert len(data) == key.nbytes == 16 + -(-11 * dcf.key_bits(bits, words, width) // 8)
        assert dcf.key_bits(bits, words, width) == 128 + 128 * bits + (bits + 1) * words * width
        back = dcf.Key.from_bytes(data, party=party, bits=bits, words=words, width=width, count=11)
        assert all(torch.equal(getattr(back, name), getattr(key, name)) for name in ("root", "cw", "vcw"))
        assert torch.equal(dcf.eval(back, x), dcf.eval(key, x))


def test_each_party_expands_its_own_root():
    alpha = torch.arange(20)
    for party, key in enumerate(dcf.gen(alpha, alpha, 12, streams())):
        assert torch.equal(key.root, keys.root(party, 20, streams()[party]))


def test_malformed_keys_are_refused_with_the_reason():
    left, _ = dcf.gen(torch.arange(5), torch.arange(5), 40, streams(), 32)
    data = left.to_bytes()
    for damaged, expected, reason in (
        (data[:-1], {}, "truncated: 5 keys of 40 bits take"),
        (data + b"\0", {}, "bytes left over"),
        (b"DPF1" + data[4:], {}, "these are no DCF1 keys"),
        (data, {"party": 1}, "keys with party 0, where party 1 is expected"),
        (data, {"width": 64}, "keys with width 32, where width 64 is expected"),
        (data, {"words": 2}, "keys with words 1, where words 2 is expected"),
        (data[:4] + b"\1" + data[5:], {}, "the other party's keys"),
        (data[:6] + b"\0" + data[7:], {}, "no such keys"),
        (data[:7] + b"\x41" + data[8:], {}, "no such keys"),
    ):
        with pytest.raises(ValueError, match=reason):
            dcf.Key.from_bytes(damaged, **expected)
    with pytest.raises(ValueError, match=r"beta must be int64 \[N\] or \[words, N\], N = 5, not torch.int64 \[4\]"):
        dcf.gen(torch.arange(5), torch.arange(4), 8, streams())
    with pytest.raises(ValueError, match="1 to 64 bits"):
        dcf.gen(torch.arange(5), torch.arange(5), 8, streams(), width=65)
