"""One party's key says nothing of alpha: what it holds is distributed alike for any two of them.

A real proof is in `dpf`'s header; what this can find is a slip, such as a control bit in a leaf correction. Seeds are
fixed, so the verdict repeats; a fair generator fails at this significance once in a million seeds.
"""

import pytest
import torch
from test_dpf import streams

from mpckit.fss import dcf, dpf

COUNT = 4000
Z = 4.9  # standard deviations: one in a million, on either side


def octets(tensor):
    """[..., words] → bytes by position."""
    return tensor.contiguous().view(torch.uint8).long()


def chi_square(seen, other):
    """Two-sample chi-square over 256 byte values, in standard deviations."""
    a, b = (
        torch.bincount(seen.flatten(), minlength=256).double(),
        torch.bincount(other.flatten(), minlength=256).double(),
    )
    value, freedom = ((a - b) ** 2 / (a + b)).nan_to_num().sum(), ((a + b) > 0).sum() - 1
    return 0.0 if freedom < 1 else float((value - freedom) / (2 * freedom) ** 0.5)


def views(key):
    """Bytes by place in the key, each over COUNT keys."""
    yield from octets(key.root).movedim(-1, 0)
    for row in key.cw:
        yield from octets(row).movedim(-1, 0)
    for row in getattr(key, "vcw", torch.empty(0)).flatten(0, 1) if hasattr(key, "vcw") else ():
        yield from octets(row).movedim(-1, 0)


def bits_set(key):
    """How often each bit of the corrections is 1, by place, as standard deviations from one half."""
    rows = octets(key.cw)
    ones = ((rows[..., None] >> torch.arange(8)) & 1).double().sum(1)
    return ((ones - COUNT / 2) / (COUNT / 4) ** 0.5).abs().max()


PAIRS = [(0, 2**11 - 1), (0, 1), (127, 128), (1024, 1023), (128, 129)]


@pytest.mark.parametrize(("alpha", "other"), PAIRS)
@pytest.mark.parametrize("party", [0, 1])
def test_a_point_function_key(alpha, other, party):
    seen = [dpf.gen(torch.full((COUNT,), a), 11, streams(f"alpha {a}"))[party] for a in (alpha, other)]
    assert max(chi_square(*pair) for pair in zip(*map(views, seen))) < 7  # of 96 places; the chi-square's tail is wider
    assert max(map(bits_set, seen)) < Z + 0.6  # of 640 bits


@pytest.mark.parametrize(("alpha", "other"), PAIRS[:3])
@pytest.mark.parametrize("party", [0, 1])
def test_a_comparison_key(alpha, other, party):
    """Also for different payloads."""
    seen = []
    for a, beta in ((alpha, 0), (other, -5)):
        payload = torch.tensor([[beta], [beta * 3]]).expand(2, COUNT)
        seen.append(dcf.gen(torch.full((COUNT,), a), payload, 11, streams(f"alpha {a}"))[party])
    assert max(chi_square(*pair) for pair in zip(*map(views, seen))) < 7
    assert max(map(bits_set, seen)) < Z + 0.6


@pytest.mark.parametrize("party", [0, 1])
def test_a_table_of_few_bits(party):
    seen = [dpf.gen(torch.full((COUNT,), a), 7, streams(f"alpha {a}"))[party] for a in (3, 100)]
    assert max(chi_square(*pair) for pair in zip(*map(views, seen))) < 7


@pytest.mark.parametrize("party", [0, 1])
def test_one_partys_values_are_balanced_wherever_alpha_is(party):
    """Under one key alone, each x is as often 1 as 0."""
    for alpha in (0, 127, 128, 2047):
        key = dpf.gen(torch.full((COUNT,), alpha), 11, streams(f"alpha {alpha}"))[party]
        x = torch.tensor([0, 1, 126, 127, 128, 129, 2046, 2047])[:, None].expand(8, COUNT)
        for function in (dpf.eval, dpf.less_than):
            ones = function(key, x).double().sum(1)
            ones = ones[:-1] if function is dpf.less_than else ones  # the parity of all leaves is the root's, t = party
            assert float(((ones - COUNT / 2) / (COUNT / 4) ** 0.5).abs().max()) < Z


def test_a_leaf_correction_from_the_block_itself_would_be_seen():
    """With a block as its own table, bit 0 of the leaf correction would be 1 ⊕ [alpha mod 128 = 0] in every key."""
    pair = dpf.gen(torch.full((COUNT,), 0), 11, streams())
    low = pair[0].cw[-1, :, 0] & 1
    assert 0.4 < float(low.double().mean()) < 0.6
