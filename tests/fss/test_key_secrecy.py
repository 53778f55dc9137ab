"""One party's key says nothing of alpha: what it holds is distributed alike for any two of them.

A real proof is in `dpf`'s header; what this can find is a slip, such as a control bit in a leaf correction. Seeds are
fixed, so the verdict repeats; a fair generator fails at this significance once in a million seeds.
"""

import pytest
import torch
from test_dpf import streams

from mpckit.correlations import Compare, Cut, Lines, Ramp, Select, SignedTable, TruncPair, TruncRelu, Wrap
from mpckit.fss import dcf, dpf, keys
from mpckit.offline.dealer import Dealing, Dealt

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


@pytest.mark.parametrize("bits", [1, 3, 5, 6, 7, 8, 16, 40, 64])
@pytest.mark.parametrize("party", [0, 1])
def test_keys_of_every_width(bits, party):
    top = (1 << bits) - 1 - (1 << 64 if bits == 64 else 0)
    for make in (
        lambda a: dpf.gen(torch.full((COUNT,), a), bits, streams(f"alpha {a}")),
        lambda a: dcf.gen(torch.full((COUNT,), a), torch.full((COUNT,), a), bits, streams(f"alpha {a}"), 40),
    ):
        seen = [make(a)[party] for a in (0, top)]
        assert max(chi_square(*pair) for pair in zip(*map(views, seen))) < 8  # up to a thousand places


# ---- what the dealer sends -----------------------------------------------------------------------


class Forced(Dealing):
    """Deals with a mask of one's choice, split as ever."""

    def __init__(self, r, serial):
        super().__init__({p: bytes([p + 1]) * 32 for p in (0, 1)}, serial)
        self.r = r

    def mask(self, shape):
        if self.r is None:  # the mask is the first that a correlation takes
            return super().mask(shape)
        value, self.r = torch.full(shape, self.r), None
        first = self._stream(0, "draw/first").words(shape)
        return Dealt(value, [first, value - first])


def received(correlation, r, party, serial):
    """Bytes by place: what travels to this party, and its piece of the mask."""
    d = Forced(r, serial)
    mask, *_ = correlation.deal(d)
    columns = [c.words for c in d.corrections if c.goes_to(party, 2)] + [mask.pieces[party]]
    for words in columns:
        if words.dtype == torch.bool:
            yield words.long()
        else:  # the elements' dimension is the one of length COUNT
            at = list(words.shape).index(COUNT) if COUNT in words.shape else 0
            yield from octets(words.movedim(at, -1)[..., None]).movedim(-1, 0).flatten(0, -2)


SHAPE = (COUNT,)
DEALT = [
    Compare(SHAPE, 64, True, "dpf"), Compare(SHAPE, 8, True, "dpf"), Ramp(SHAPE, 40, 64),
    TruncPair(SHAPE, 64, 16, True, "dpf"), TruncRelu(SHAPE, 64, 16, 48, True, "dpf"),
    Wrap(SHAPE, 7, "dpf"), SignedTable(SHAPE, 9, 2), Select(SHAPE, SHAPE),
    Lines(SHAPE, (Cut(10, 9, 7, 8), Cut(0, 4, 5, 0)), 64, "dpf"),
]  # fmt: skip


@pytest.mark.parametrize("correlation", DEALT, ids=repr)
@pytest.mark.parametrize("party", [0, 1])
def test_what_a_dealer_sends_does_not_depend_on_the_mask(correlation, party):
    for r in (-1, 1 << 63 - 1, 12345):
        pairs = zip(received(correlation, 0, party, 1), received(correlation, r, party, 2), strict=True)
        assert max(chi_square(*pair) for pair in pairs) < 8


# ---- and the tests are seen to fail --------------------------------------------------------------


def test_a_dealer_that_sends_the_value_would_be_seen(monkeypatch):
    monkeypatch.setattr(Dealing, "_corrected", lambda self, pieces, value, is_xor: self._sends(pieces, value, is_xor))

    def sends(self, pieces, value, is_xor):
        from mpckit.offline.dealer import Correction

        self.corrections.append(Correction(value, 64 if value.dtype == torch.int64 else 1))
        return Dealt(value, pieces, is_xor)

    monkeypatch.setattr(Dealing, "_sends", sends, raising=False)
    seen = (list(received(Compare(SHAPE, 64, True, "dpf"), r, 1, 1 + (r < 0))) for r in (0, -1))
    assert max(chi_square(*pair) for pair in zip(*seen)) > 100


@pytest.mark.parametrize("party", [0, 1])
def test_both_roots_from_one_seed_would_be_seen(party):
    """Δ is known then: every key at one point has one and the same Δ, and alpha's bit shows in H(s0) ⊕ H(s1)."""
    pair = dpf.gen(torch.full((COUNT,), 5), 11, [streams()[0], streams()[0]])
    delta = pair[0].root ^ pair[1].root
    assert delta.unique(dim=0).tolist() == [[1, 0]]
    honest = dpf.gen(torch.full((COUNT,), 5), 11, streams())
    assert len((honest[0].root ^ honest[1].root).unique(dim=0)) == COUNT
    assert honest[party].root.unique(dim=0).shape[0] == COUNT


def test_roots_that_do_not_change_would_be_seen(monkeypatch):
    """One root for all keys: the corrections of one point repeat, and those of two points differ."""
    fixed = keys.root
    monkeypatch.setattr(keys, "root", lambda p, n, stream: fixed(p, 1, stream).expand(n, 2).contiguous())
    seen = [dpf.gen(torch.full((COUNT,), a), 11, streams())[0] for a in (3, 1800)]
    assert max(chi_square(*pair) for pair in zip(*map(views, seen))) > 100
