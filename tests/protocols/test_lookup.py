"""Tables and lines at a secret place:

square = torch.arange(16) ** 2
session.open(session.run(b2a, session.run(lut, x, square, 8), ring))          # square[x mod 16]
session.run(signed_lut, x, torch.stack((square, -square)), ring)              # both, two parties, one key
session.run(interval_lut, x, (0, 10), (-1, 0, 1))                             # -1 below 0, 1 from 10 on
"""

import pytest
import torch
from desk import ALL, FORMS, PAIRS, PARTIES, Desk, every_pair, numbers

from mpckit.ask import together
from mpckit.protocols.bits import b2a
from mpckit.protocols.lookup import interval_lut, lines, lut, one_hot, signed_lut
from mpckit.protocols.tables import Piece
from mpckit.ring import Ring
from mpckit.runtime.session import Session

SHAPES = [(), (0,), (3, 0), (1,), (2, 3), (5, 1, 13), (64,), (65,)]
forms = pytest.mark.parametrize("form, n", FORMS)


def words(count, width=64):
    return torch.randint(-(2**63), 2**63 - 1, count) >> 64 - width


def test_the_example():
    session, ring = Session(parties=2), Ring(64, 0)
    x, square = session.share(torch.tensor([3, 15, -1]), 0, ring), torch.arange(16) ** 2
    assert session.open(session.run(b2a, session.run(lut, x, square, 9), ring)).tolist() == [9, 225, 225]
    plus, minus = session.run(signed_lut, x, torch.stack((square, -square)), ring)
    assert session.open(plus).tolist() == [9, 225, 225] and session.open(minus).tolist() == [-9, -225, -225]
    assert session.open(session.run(interval_lut, x, (0, 10), (-1, 0, 1))).tolist() == [0, 1, -1]


# ---- tables --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("classes", [1, 2, 5, 64, 100, 256])
def test_a_one_hot_code_under_every_mask(n, classes):
    """Numbers that name no class have none."""
    x, r = every_pair(max(1, (classes - 1).bit_length()))
    found = Desk(n).under(r, lambda s: one_hot(s, classes), x)
    domain = 1 << max(1, (classes - 1).bit_length())
    assert torch.equal(found, (x[:, None] % domain == torch.arange(classes)).long())


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("k", range(1, 9))
def test_every_entry_is_found_under_every_mask(n, k):
    torch.manual_seed(k)
    x, r = PAIRS
    for width in (2, 8, 64):
        table = words((1 << k,), width)
        assert torch.equal(Desk(n).under(r, lambda s, t=table, w=width: lut(s, t, w), x), table[x & ((1 << k) - 1)])


@pytest.mark.parametrize("n", PARTIES)
def test_tables_of_a_thousand_words(n):
    torch.manual_seed(n)
    desk, x, table = Desk(n, 64), numbers(64, 500), words((1024,))
    assert torch.equal(desk(lambda s: lut(s, table), x), table[x & 1023])


@pytest.mark.parametrize("k", range(1, 9))
@pytest.mark.parametrize("ring", [Ring(8, 0), Ring(40, 0), Ring(64, 16)])
def test_every_entry_is_found_under_every_sign(k, ring):
    torch.manual_seed(k)
    x, r = PAIRS
    tables = ring.reduce(words((2, 1 << k)))
    found = Desk().under(r, lambda s: signed_lut(s, tables, ring), x)
    assert all(torch.equal(f, table[x & ((1 << k) - 1)]) for f, table in zip(found, tables, strict=True))


def test_every_entry_of_a_tree_under_every_mask():
    """Beyond 7 bits a key is a tree, no table."""
    (x, r), tables = every_pair(10), words((1, 1 << 10))
    (found,) = Desk(2, 10).under(r, lambda s: signed_lut(s, tables, Ring(64, 0)), x)
    assert torch.equal(found, tables[0, x & 1023])


def test_tables_of_four_thousand_numbers():
    desk, x, tables = Desk(2, 64), numbers(64, 3000), words((3, 1 << 12))
    for found, table in zip(desk(lambda s: signed_lut(s, tables, Ring(64, 0)), x), tables, strict=True):
        assert torch.equal(found, table[x & 4095])


@pytest.mark.parametrize("shape", SHAPES)
def test_tables_for_any_shape(shape):
    x, table = torch.randint(-9, 9, shape), torch.arange(32)
    assert torch.equal(Desk(3, 64)(lambda s: lut(s, table, 6), x), table[x & 31])
    (found,) = Desk(2, 64)(lambda s: signed_lut(s, table[None], Ring(64, 0)), x)
    assert torch.equal(found, table[x & 31])


# ---- intervals -----------------------------------------------------------------------------------


@forms
def test_intervals_of_every_number_under_every_mask(form, n):
    x, r = PAIRS
    for thresholds, values in (
        ((0,), (-5, 7)),
        ((-60, -3, -2, 40), (100, -128, 127, 0, 3)),
        ((-128, 1), (1, 2, 3)),
        (range(-10, 10), [37 * k % 256 - 128 for k in range(21)]),
    ):
        found = Desk(n).under(r, lambda s, c=thresholds, v=values: interval_lut(s, c, v, None, form), x)
        inside = torch.stack([(x - c).abs() < 128 for c in thresholds]).all(0)  # the stated domain
        truth = torch.tensor(values)[torch.bucketize(x, torch.tensor(thresholds), right=True)]
        assert torch.equal(found[inside], truth[inside])


@forms
@pytest.mark.parametrize("bits, declared", [(16, None), (32, 20), (40, None), (64, None), (64, 20)])
def test_intervals_of_other_widths(form, n, bits, declared):
    torch.manual_seed(bits)
    x = numbers(declared or bits, 300, slack=1)
    thresholds = sorted({*numbers(declared or bits, 20, slack=1)[:20].tolist(), 0, 1})
    x = torch.cat((x, *(torch.tensor(thresholds) + d for d in (-1, 0))))
    values = words((len(thresholds) + 1,), bits)
    found = Desk(n, bits)(lambda s: interval_lut(s, thresholds, values.tolist(), declared, form), x)
    assert torch.equal(found, values[torch.bucketize(x, torch.tensor(thresholds), right=True)])


# ---- lines ---------------------------------------------------------------------------------------


def piece(by, entries, value_bits, slope_bits, value_unit=0, value_low=0, slope_low=0):
    """Random values and slopes of so many bits."""
    table = words((1 << entries,)) & ((1 << value_bits + slope_bits) - 1)
    return Piece(((None, None),), by, table, value_bits, value_unit, value_low, slope_bits, 3, slope_low)


def found_lines(x, pieces, thresholds, bits, form):
    """(comparisons, [(rest, value, slope·rest), …])"""
    above, found = yield from lines(x, pieces, thresholds, bits, form)
    asks = [line for _, line in found] + ([above] if thresholds else [])
    done = yield from together(*asks)
    numbers = [(rest, *values) for (rest, _), values in zip(found, done)]
    return (done[-1] if thresholds else x), numbers


def check(desk, x, piece, rest, value, rise):
    """x = i·2^by + rest, and what is found is that of node i."""
    ring, entries = desk.ring, piece.table.numel()
    assert (rest.abs() < 1 << piece.by).all() and ((x - rest) & ((1 << piece.by) - 1) == 0).all()
    word = piece.table[(x - rest >> piece.by) & entries - 1]
    values, slopes = word & ((1 << piece.value_bits) - 1), word >> piece.value_bits
    assert torch.equal(value, ring.reduce((values << piece.value_unit) + piece.value_low))
    assert torch.equal(rise, ring.reduce((slopes + piece.slope_low) * rest))


@forms
@pytest.mark.parametrize("by", range(6))
def test_lines_of_every_number_under_every_mask(form, n, by):
    torch.manual_seed(by)
    x, r = PAIRS
    for entries in {8 - by, max(1, 3 - by)}:
        for value_bits, slope_bits, options in (
            (5, 4, {}),
            (6, 0, {"value_unit": 2, "value_low": -3}),
            (0, 5, {"slope_low": -7}),
            (3, 7, {"value_unit": 1, "value_low": 9, "slope_low": -11}),
            (0, 0, {"value_low": 5, "slope_low": 2}),
        ):
            if by == 0 and slope_bits:
                continue  # a plain table has nothing between its nodes
            one, desk = piece(by, entries, value_bits, slope_bits, **options), Desk(n)
            _, [found] = desk.under(r, lambda s, p=one: found_lines(s, [p], (), None, form), x)
            check(desk, x, one, *found)


@forms
def test_several_lines_and_comparisons_from_one_opening(form, n):
    torch.manual_seed(n)
    x, r = PAIRS
    pieces = [piece(0, 8, 6, 0), piece(2, 6, 4, 3, slope_low=-3), piece(5, 3, 8, 4, value_low=-100), piece(3, 2, 0, 0)]
    desk, thresholds = Desk(n), (0, -20, 31)
    above, found = desk.under(r, lambda s: found_lines(s, pieces, thresholds, None, form), x)
    for one, numbers_ in zip(pieces, found, strict=True):
        check(desk, x, one, *numbers_)
    for bits, c in zip(above, thresholds, strict=True):
        inside = (x - c).abs() < 128
        assert torch.equal(bits[inside], (x >= c)[inside])


@forms
@pytest.mark.parametrize("bits, by, entries", [(16, 4, 10), (32, 20, 10), (40, 30, 10), (64, 16, 8), (64, 54, 10)])
def test_lines_of_other_widths(form, n, bits, by, entries):
    torch.manual_seed(bits)
    one, desk, x = piece(by, entries, 20, 12, value_unit=1, slope_low=-2000), Desk(n, bits), numbers(bits, 500)
    _, [found] = desk(lambda s: found_lines(s, [one], (), None, form), x)
    check(desk, x, one, *found)


@forms
def test_a_table_that_reaches_beyond_the_ring_is_refused(form, n):
    with pytest.raises(ValueError, match="reaches beyond the 8 bits"):
        Desk(n)(lambda s: found_lines(s, [piece(3, 6, 4, 4)], (), None, form), ALL)


@pytest.mark.parametrize("entries", [3, 12, 1 << 11])
def test_a_table_of_another_size_is_refused(entries):
    desk, table = Desk(2, 16), torch.arange(entries)
    with pytest.raises(ValueError, match=f"2\\^k entries, k at most 10, not {entries}"):
        desk(lambda s: lut(s, table), torch.arange(4))
    with pytest.raises(ValueError, match="k at most 12"):
        desk(lambda s: signed_lut(s, torch.ones(1, 3, dtype=torch.int64), s.ring), torch.arange(4))


def test_a_form_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="'digits' or 'dpf', not as 'dfp'"):
        Desk(2, 16)(lambda s: interval_lut(s, (0,), (1, 2), None, "dfp"), torch.arange(4))
