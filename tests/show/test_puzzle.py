"""`check`: who solved a puzzle hears so, who did not hears why, and a leak is seen however right the answer is."""

import pytest
import torch
from verdicts import verdict

import mpckit as mk
from mpckit.correlations import Mask
from mpckit.show import check
from mpckit.show.puzzle import PUZZLES, leaks, run_protocol


def test_a_right_answer_is_praised(capsys):
    def only_the_sum(x, y):
        return (yield mk.Open(x + y))

    assert verdict(capsys, only_the_sum) == [
        "✓ right    100 + 20 = 120",
        "✓ private  100 + 20 against 70 + 50: nobody can tell them apart",
        "✓ rounds   1; the reference has 1",
        "✓ words    1 sent by a party for each sum; the reference has 1",
        "only_the_sum is solved",
    ]


def test_hints_come_in_steps(capsys):
    def reconstruct(pieces): ...

    hints = PUZZLES["reconstruct"].hints
    for step in range(len(hints) + 1):
        lines = verdict(capsys, reconstruct, hint=step)
        assert lines[0] == "✗ right    from 2 pieces of [1.0, 0.5] it made None"
        assert [line.split(": ", 1)[1] for line in lines if line.startswith("hint ")] == list(hints[:step])
        assert any("not yet; check(reconstruct, hint=" in line for line in lines) == (step < len(hints))


def test_an_unknown_puzzle_names_the_known():
    with pytest.raises(ValueError, match="no puzzle is called 'foo'; there are .*reconstruct"):
        check(foo)


def foo(): ...


def test_an_answer_that_raises_says_what(capsys):
    def chi_square(words):
        return 1 / 0

    assert verdict(capsys, chi_square)[0] == "✗ right    it raised ZeroDivisionError: division by zero"


@pytest.mark.parametrize("scale", [0.5, 1.01])
def test_a_statistic_that_is_off_is_not_right(capsys, scale):
    def chi_square(words):
        counts, e = torch.bincount(words.reshape(-1) & 15, minlength=16), words.numel() / 16
        return scale * ((counts - e) ** 2 / e).sum()

    assert verdict(capsys, chi_square)[0].startswith("✗ right    for the plain numbers it says")


# Right, and yet not private


def opens_both(x, y):
    a, b = yield mk.Open(x, y)
    return a + b


def opens_one(x, y):
    a = yield mk.Open(x)
    total = yield mk.Open(x + y)
    return total + 0 * a


def opens_bits_of_one(x, y):
    yield mk.Open(x * 2)
    return (yield mk.Open(x + y))


def one_mask_for_both(x, y):
    """Each opening alone is uniform; their difference is x - y."""
    (r,) = yield mk.Draw(Mask(77, tuple(x.shape)))
    yield mk.Open(x - r)
    yield mk.Open(y - r)
    return (yield mk.Open(x + y))


@pytest.mark.parametrize("protocol", [opens_both, opens_one, opens_bits_of_one, one_mask_for_both])
def test_leaks_are_seen(capsys, protocol):
    def only_the_sum(x, y):
        return (yield from protocol(x, y))

    lines = verdict(capsys, only_the_sum)
    assert lines[0].startswith("✓ right") and lines[1].startswith("✗ private")
    assert "apart" in lines[1] and "solved" not in lines[-1]


def test_a_leak_of_two_messages_together_is_named_so():
    first, second = (run_protocol(one_mask_for_both, *pair, seed=k) for k, pair in enumerate(((100, 20), (70, 50))))
    assert leaks(first[1], second[1]) == "messages 1 and 2 together tell them apart"


def test_what_costs_too_much_is_right_and_private_but_not_solved(capsys):
    def only_the_sum(x, y):
        yield mk.Open(x + y)
        return (yield mk.Open(x + y))

    lines = verdict(capsys, only_the_sum)
    assert lines[2] == "✗ rounds   2; the reference has 1" and "not yet" in lines[3]


def test_a_wrong_sum_is_wrong(capsys):
    def only_the_sum(x, y):
        return (yield mk.Open(x - y))

    assert verdict(capsys, only_the_sum)[0] == "✗ right    for 100 and 20 every party should return 120, not 80"


def test_a_protocol_that_says_nothing_is_told_how_to_speak(capsys):
    def only_the_sum(x, y):
        return x + y

    assert "a protocol speaks with `yield`" in verdict(capsys, only_the_sum)[0]


def test_rounds_and_words_are_those_of_the_meter():
    def twice(x, y):
        yield mk.Open(x + y)
        return (yield mk.Open(x, y))

    assert run_protocol(twice, 1, 2, seed=0)[2:] == (2, 3.0)
