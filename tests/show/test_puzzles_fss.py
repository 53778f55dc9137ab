"""The puzzles of notebook 08: near misses are told apart from answers, and a gate that is right but leaks is caught."""

import pytest
import torch
from verdicts import verdict

import mpckit as mk
from mpckit.correlations import Select
from mpckit.fss import dpf
from mpckit.kernels import ggm

# the word of a level


def test_both_statements_are_swapped_where_delta_is_multiplied_by_the_wrong_bit(capsys):
    """The misprint that `fss/dpf.py` warns of."""

    def correction(s0, s1, right):
        return ggm.prg(s0, ggm.CHILD) ^ ggm.prg(s1, ggm.CHILD) ^ ((s0 ^ s1) & right)

    line = verdict(capsys, correction)[0]
    assert line == "✗ right    the child off the path is the same for both in 0 of 256 nodes"


def test_a_word_that_forgets_delta_is_right_for_half_the_nodes(capsys):
    def correction(s0, s1, right):
        return ggm.prg(s0, ggm.CHILD) ^ ggm.prg(s1, ggm.CHILD)

    assert "in 128 of 256 nodes" in verdict(capsys, correction)[0]


# a comparison by walking


def walk(key, x, turns=True, side=True, flip=True):
    s, total, before = key.root, 0, torch.zeros_like(x)[:, None]
    for level in range(key.bits - 7):
        right = ggm.path(x, level, key.bits)
        total = total ^ ((right ^ before if turns else right) & ggm.control(s))
        s, before = ggm.descend(s, right, key.cw[level]), right
    leaf = ggm.prg(s, ggm.LEAF) ^ (key.cw[-1] & ggm.control(s))
    cells = ggm.up_to(x) ^ before if side else ggm.up_to(x)
    return ((total[:, 0] & 1) ^ ggm.parity(leaf & cells) ^ (key.party if flip else 0)).bool()


@pytest.mark.parametrize("forgotten", ["turns", "side", "flip"])
def test_a_walk_that_forgets_something_is_last(capsys, forgotten):
    def below(key, x):
        return walk(key, x, **{forgotten: False})

    (told, *_) = verdict(capsys, below)
    assert told.startswith("✗ right    ") and "are wrong, first x = " in told


def test_who_walks_for_oneself_is_praised_and_calls_are_counted(capsys):
    def below(key, x):
        return walk(key, x)

    assert verdict(capsys, below)[-2:] == ["✓ calls    10 of H for 16 bits; the reference has 10", "below is solved"]


def test_who_hashes_twice_pays(capsys):
    def below(key, x):
        walk(key, x)
        return walk(key, x)

    assert verdict(capsys, below)[1] == "✗ calls    20 of H for 16 bits; the reference has 10"


def test_who_asks_the_library_has_not_walked(capsys):
    def below(key, x):
        return dpf.less_than(key, x)

    assert verdict(capsys, below)[0].startswith("✗ walked")


def test_counting_leaves_no_trace(capsys):
    before, seen = ggm.prg, []

    def below(key, x):
        seen.append(ggm.prg)
        return walk(key, x)

    verdict(capsys, below)
    assert ggm.prg is before and before not in seen


# a gate


def select(b, x):
    r, s, s_sum, rs = yield mk.Draw(Select(tuple(b.shape), tuple(x.shape)))
    x_hat, b_hat = yield mk.Open(x + r, b ^ s)
    sx = s_sum.data * x_hat - rs.data
    return x.like(torch.where(b_hat, x.data - sx, sx))


def test_a_gate_that_opens_the_bit_is_right_and_leaks(capsys):
    def relu_gate(b, x):
        sign = yield mk.Open(b)
        return x * sign.long()

    right, private, *_ = verdict(capsys, relu_gate)
    assert right.startswith("✓ right") and private.startswith("✗ private  37 against -91: message 1 tells them apart")


def test_a_gate_that_says_too_much_pays(capsys):
    def relu_gate(b, x):
        yield from select(b, x)
        return (yield from select(b, x))

    lines = verdict(capsys, relu_gate)
    assert lines[1].startswith("✓ private") and lines[2] == "✗ rounds   2; the reference has 1"


def test_the_other_branch_is_wrong(capsys):
    def relu_gate(b, x):
        return (yield from select(~b, x))

    assert verdict(capsys, relu_gate)[0] == "✗ right    the shares of relu(37) should add up to 37, not 0"


def test_what_is_no_share_is_shown(capsys):
    def relu_gate(b, x):
        return (yield from select(b, x)).data

    assert verdict(capsys, relu_gate)[0].startswith("✗ right    the shares of relu(37) should add up to 37")
