"""The puzzles of notebook 06: answers that are right but slow, leaky, wordy or off by a term are told apart."""

import math

import pytest
from verdicts import last, verdict

import mpckit as mk
from mpckit.protocols.arithmetic import mul, square

# six squares, one round


def test_squares_in_turn_are_right_and_slow(capsys):
    def spread(*x):
        total = 0
        for v in x:
            total = (yield from square(v)) + total
        return 5 * total - (yield from square(sum(x[1:], x[0])))

    assert last(capsys, spread) == "✗ rounds   6; the reference has 1"


def test_a_spread_without_its_factor_is_wrong(capsys):
    def spread(*x):
        *squares, whole = yield from mk.together(*map(square, x), square(sum(x[1:], x[0])))
        return sum(squares[1:], squares[0]) - whole

    assert last(capsys, spread).startswith("✗ right    the shares of the spread of (3, 1, 4, 1, 5) should add up to 64")


def test_readings_that_are_opened_are_noticed(capsys):
    def spread(*x):
        yield mk.Open(*x)
        *squares, whole = yield from mk.together(*map(square, x), square(sum(x[1:], x[0])))
        return 5 * sum(squares[1:], squares[0]) - whole

    assert last(capsys, spread).startswith("✗ private  one sample against another: message 1 tells")


def test_more_words_than_needed_are_on_the_bill(capsys):
    def spread(*x):
        whole = sum(x[1:], x[0])
        *squares, all_ = yield from mk.together(*(mul(v, v) for v in x), mul(whole, whole))
        return 5 * sum(squares[1:], squares[0]) - all_

    assert last(capsys, spread) == "✗ words    12 sent by a party for each spread; the reference has 6"


# forty rounds into six


def in_turn(*x):
    product = x[0]
    for factor in x[1:]:
        product = yield from mul(product, factor)
    return product


def test_the_forty_rounds_of_the_notebook_are_forty(capsys):
    def product_of_all(*x):
        return (yield from in_turn(*x))

    assert last(capsys, product_of_all) == "✗ rounds   40; the reference has 6"


def test_two_halves_side_by_side_are_twenty_one(capsys):
    def product_of_all(*x):
        halves = yield from mk.together(in_turn(*x[:21]), in_turn(*x[21:]))
        return (yield from mul(*halves))

    assert last(capsys, product_of_all) == "✗ rounds   21; the reference has 6"


def test_who_is_left_over_must_not_be_forgotten(capsys):
    def product_of_all(*x):
        while len(x) > 1:
            x = yield from mk.together(*(mul(a, b) for a, b in zip(x[::2], x[1::2])))
        return x[0]

    assert last(capsys, product_of_all).startswith("✗ right    the shares should add up to ")


def test_no_rounds_by_opening_all_is_a_leak(capsys):
    def product_of_all(*x):
        product = 1
        for value in (yield mk.Open(*x)):
            product = product * value
        return x[0].like(product * int(x[0].first))

    assert last(capsys, product_of_all).startswith("✗ private  one list against the other: message 1 tells")


# break-even


def even(bits, fss, bandwidth, dealt=True, roots=True, half=2):
    """The answer, with something left out."""
    if fss.rounds >= bits.rounds:
        return math.inf
    more = fss.sent - bits.sent
    if dealt:
        more += (fss.offline_bytes if roots else fss.key_bytes) - bits.offline_bytes
    return half * more / bandwidth / (bits.rounds - fss.rounds)


@pytest.mark.parametrize("forgotten", [dict(half=1), dict(roots=False), dict(half=4)])
def test_a_term_that_is_left_out_is_noticed(capsys, forgotten):
    def break_even(bits, fss, bandwidth):
        return even(bits, fss, bandwidth, **forgotten)

    assert "✗ right    1,000,000 ReLUs at 10 Mbit/s: at your " in last(capsys, break_even)


def test_keys_that_are_forgotten_make_a_negative_time(capsys):
    def break_even(bits, fss, bandwidth):
        return even(bits, fss, bandwidth, dealt=False)

    assert "a round trip in seconds, not -" in last(capsys, break_even)


def test_never_is_an_answer_where_no_round_is_saved_and_only_there(capsys):
    def always_never():
        def break_even(bits, fss, bandwidth):
            return math.inf

        return break_even

    def break_even(bits, fss, bandwidth):
        return abs(even(bits, fss, bandwidth)) if fss.rounds < bits.rounds else 1.0

    assert "1,000,000 ReLUs at 10 Mbit/s: not never" in last(capsys, always_never())
    assert "1,000 products at 10 Mbit/s: never (math.inf)" in last(capsys, break_even)


def test_the_right_answer_is_praised(capsys):
    def break_even(bits, fss, bandwidth):
        return even(bits, fss, bandwidth)

    assert verdict(capsys, break_even)[1:] == [
        "✓ answer   a million ReLUs at 1 Gbit/s: fss from a round trip of 6.9 s on",
        "break_even is solved",
    ]
