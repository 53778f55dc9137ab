"""A protocol is a generator; whoever drives it answers what it says. By hand, with `next()` and `send`:

    party 0: Draw(Triple) ← (a, b, c)     party 1: Draw(Triple) ← (a, b, c)
    party 0: Open(x - a, y - b)           party 1: the same; both get the sums of their pieces
    party 0: returns a piece of x·y       party 1: returns the other
"""

import pytest
import torch

from mpckit.ask import Draw, Open, Round, Send, together
from mpckit.correlations import Square, Triple
from mpckit.protocols import arithmetic
from mpckit.ring import Ring
from mpckit.share import AShare, join

RING = Ring(64, 0)


def share(*pieces):
    return [AShare(torch.tensor(piece), party, RING) for party, piece in enumerate(pieces)]


def test_the_example():
    x, y = share([100], [-93]), share([5], [1])  # 7 and 6
    a, b, c = share([11], [2]), share([20], [3]), share([1000], [13 * 23 - 1000])
    parties = [arithmetic.mul(x[p], y[p]) for p in (0, 1)]

    asks = [next(party) for party in parties]
    assert all(isinstance(ask, Draw) and isinstance(ask.correlation, Triple) for ask in asks)

    asks = [party.send((a[p], b[p], c[p])) for p, party in enumerate(parties)]
    assert all(isinstance(ask, Open) for ask in asks)
    opened = tuple(join(column) for column in zip(*(ask.shares for ask in asks)))
    assert [v.item() for v in opened] == [7 - 13, 6 - 23]

    pieces = []
    for party in parties:
        with pytest.raises(StopIteration) as stop:
            party.send(opened)
        pieces.append(stop.value.value)
    assert join(pieces).item() == 42


# ---- together: what several protocols say shares rounds ------------------------------------------


def script(*asks):
    """A protocol that says these things and returns the replies."""
    replies = []
    for ask in asks:
        replies.append((yield ask))
    return replies


def drive(protocol):
    """(result, what was said round by round); every ask is answered with its own number."""
    said, reply = [], None
    while True:
        try:
            ask = protocol.send(reply)
        except StopIteration as stop:
            return stop.value, said
        said.append(ask)
        reply = [id(a) for a in ask.asks] if isinstance(ask, Round) else id(ask)


def opens(count):
    return [Open() for _ in range(count)]


def test_two_protocols_share_their_rounds():
    first, second = opens(3), opens(3)
    results, said = drive(together(script(*first), script(*second)))
    assert results == [[id(a) for a in first], [id(a) for a in second]]
    assert [said_now.asks for said_now in said] == [list(pair) for pair in zip(first, second)]


def test_a_shorter_one_leaves_early_and_the_last_speaks_plainly():
    long, short, silent = opens(3), opens(1), []
    results, said = drive(together(script(*short), script(*long), script(*silent)))
    assert results == [[id(a) for a in short], [id(a) for a in long], []]
    assert said[0].asks == [short[0], long[0]] and said[1:] == long[1:]


def test_draws_pass_at_once_and_do_not_wait_for_others_to_open():
    draws, first, second = [Draw(Square((k,))) for k in range(4)], opens(2), opens(2)
    a = [draws[0], first[0], draws[1], draws[2], first[1]]
    b = [second[0], draws[3], second[1]]
    results, said = drive(together(script(*a), script(*b)))
    assert results == [[id(v) for v in a], [id(v) for v in b]]
    assert said[0] is draws[0] and said[1].asks == [first[0], second[0]]
    assert said[2:5] == [draws[1], draws[2], draws[3]] and said[5].asks == [first[1], second[1]]


def test_sends_and_opens_share_a_round_too():
    a, b = Send({1: torch.tensor([1])}), Open()
    results, said = drive(together(script(a), script(b)))
    assert len(said) == 1 and said[0].asks == [a, b] and results == [[id(a)], [id(b)]]


def test_together_inside_together_still_shares_rounds():
    w, x, y, z = opens(2), opens(2), opens(1), opens(3)
    inner = together(script(*x), together(script(*y), script(*z)))
    results, said = drive(together(script(*w), inner))
    ids = [[id(v) for v in asks] for asks in (w, x, y, z)]
    assert results == [ids[0], [ids[1], [ids[2], ids[3]]]]
    assert [r.asks for r in said[:2]] == [[w[0], x[0], y[0], z[0]], [w[1], x[1], z[1]]] and said[2:] == [z[2]]


def test_one_or_none_needs_no_round_of_its_own():
    asks = opens(2)
    assert drive(together(script(*asks))) == ([[id(a) for a in asks]], asks)
    assert drive(together()) == ([], [])


def test_an_error_inside_comes_out():
    def fails():
        yield Open()
        raise ZeroDivisionError("inside")

    with pytest.raises(ZeroDivisionError, match="inside"):
        drive(together(script(*opens(3)), fails()))
