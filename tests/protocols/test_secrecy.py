"""What a party receives does not depend on the secrets:

    everything that party 1 sees of relu(0, 0, 0 …)  and of  relu(-77, -77, …)  has the same distribution

Chi-square over bytes, place by place, of the messages, of the opened values, and of the differences of two opened
values (which would show a mask used twice). Seeds are fixed: a test passes always, or never.
"""

from statistics import NormalDist

import pytest
import torch
from desk import Desk
from watching import watched

from mpckit.ask import Draw, Open
from mpckit.correlations import Mask, Square
from mpckit.protocols import arithmetic, bits, compare, functions, gates, lookup, widths
from mpckit.protocols.suites import suite_of
from mpckit.ring import Ring
from mpckit.runtime.meter import LAN

N = 1 << 12
SIGNIFICANCE = 1e-7  # there are some thousand comparisons


def critical(freedom):
    """The chi-square value exceeded with that probability, by Wilson and Hilferty."""
    z = NormalDist().inv_cdf(1 - SIGNIFICANCE)
    return freedom * (1 - 2 / (9 * freedom) + z * (2 / (9 * freedom)) ** 0.5) ** 3


def view(program, value, parties, width, seed):
    """(messages to each party in order, values that were opened), from one run on a secret full of `value`."""
    desk = Desk(parties, width, frac=5, seed=seed, record=True)
    args = program(desk, torch.full((N,), value))
    start, seen = len(desk.transcript), []
    desk.run(watched(args[0], seen), *args[1:])
    messages = [(sender, receiver, data) for sender, receiver, data in desk.transcript[start:]]
    return messages, seen[::parties]  # all parties are told the same


def places(data):
    """Columns that should be uniform and equal in law: bytes by place in a word, or bits."""
    if isinstance(data, bytes):
        data = torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
        return [data.int()]
    if data.dtype == torch.bool:
        return [data.reshape(-1).int()]
    return list(data.contiguous().view(torch.uint8).reshape(-1, 8).T.int())


def distance(a, b):
    """(chi-square of two samples of bytes, degrees of freedom)."""
    first, second = torch.bincount(a, minlength=256).double(), torch.bincount(b, minlength=256).double()
    total = first + second
    hit = total > 0
    ratio = (second.sum() / first.sum()) ** 0.5
    statistic = ((first * ratio - second / ratio) ** 2 / total)[hit].sum().item()
    return statistic, max(1, int(hit.sum()) - 1)


def pairs(values):
    """Differences (or xors) of opened values of one kind and shape: uniform too, unless a mask was used twice."""
    for i, x in enumerate(values):
        for y in values[i + 1 :]:
            if x.shape == y.shape and x.dtype == y.dtype:
                yield x ^ y
                if x.dtype != torch.bool:
                    yield x - y


def leaks(program, x0, x1, parties=2, width=64):
    """What tells a run on x0 from a run on x1: a list of reasons."""
    (messages0, opened0), (messages1, opened1) = (
        view(program, x, parties, width, seed) for x, seed in ((x0, 11), (x1, 12))
    )
    found = []
    if [(s, r, len(d)) for s, r, d in messages0] != [(s, r, len(d)) for s, r, d in messages1]:
        return ["the messages differ in number or size"]
    reduce = Ring(width, 0).reduce if width < 64 else lambda v: v
    samples = [
        (f"message {k} from {s} to {r}", a, b) for k, ((s, r, a), (_, _, b)) in enumerate(zip(messages0, messages1))
    ]
    samples += [(f"opened value {k}", a, b) for k, (a, b) in enumerate(zip(opened0, opened1))]
    samples += [
        (f"difference {k}", reduce(a), reduce(b)) for k, (a, b) in enumerate(zip(pairs(opened0), pairs(opened1)))
    ]
    for what, a, b in samples:
        for place, (left, right) in enumerate(zip(places(a), places(b))):
            if left.numel():
                statistic, freedom = distance(left, right)
                if statistic > critical(freedom):
                    found.append(f"{what}, place {place}: {statistic:.0f} > {critical(freedom):.0f}")
    return found


def one(protocol, *more):
    return lambda desk, x: (lambda s: protocol(s, *more), desk.secret(x))


def two(protocol, *more):
    return lambda desk, x: (lambda s, t: protocol(s, t, *more), desk.secret(x), desk.secret(x.flip(0) + 1, owner=1))


def squares(v):
    return v.map(torch.reshape, (64, 64))


def rows(v):
    return v.map(torch.reshape, (N // 8, 8))


def in_pieces(x, room, count):
    """The same value in every piece, so that two places under one mask would show."""
    for part in x.data.split(len(x.data) // count):
        yield from arithmetic.fill(x.like(part), room)


PROGRAMS = {
    "mul": two(arithmetic.mul),
    "mul_fixed": lambda desk, x: (arithmetic.mul, desk.secret(x), desk.fix(desk.secret(x))[0]),
    "fix": lambda desk, x: (arithmetic.fix, desk.secret(x), 0),
    "square": one(arithmetic.square),
    "square_and_product": two(arithmetic.square_and_product),
    "square_and_product, fixed": lambda desk, x: (
        arithmetic.square_and_product,
        desk.secret(x),
        desk.fix(desk.secret(x))[0],
    ),
    "fill": lambda desk, x: (
        lambda s, room: in_pieces(s, room, 8),
        desk.secret(x),
        desk.run(arithmetic.room, desk.masks(1)[0], (N,), 0),
    ),
    "matmul": lambda desk, x: (arithmetic.matmul, squares(desk.secret(x)), squares(desk.secret(x, owner=1))),
    "conv": lambda desk, x: (
        lambda s, w: arithmetic.conv(s, w, (1, 1), (0, 0), (1, 1), 1),
        desk.secret(x).map(torch.reshape, (1, 1, 64, 64)),
        desk.secret(x).map(torch.reshape, (64, 1, 8, 8)),
    ),
    "stochastic": one(widths.truncate, 3),
    "exact": one(widths.truncate, 5, "exact"),
    "and": lambda desk, x: (bits.and_, desk.words(x), desk.words(x)),
    "add": lambda desk, x: (bits.add, desk.words(x), desk.words(x)),
    "a2b": one(bits.a2b),
    "b2a": lambda desk, x: (lambda v: bits.b2a(v, desk.ring), desk.words(x)),
    "b2a_bits": lambda desk, x: (lambda v: bits.b2a(v, desk.ring), desk.words(x < 0)),
    "eq": two(compare.eq),
    "eq_itself": lambda desk, x: (compare.eq, desk.secret(x), desk.secret(x)),
    "msb": one(compare.msb),
    "at_least": one(compare.at_least, (0, 5)),
    "relu": one(gates.relu),
    "relu_truncated": one(gates.relu_truncated, 3),
    "relu_truncated exact": one(gates.relu_truncated, 5, True),
    "select": lambda desk, x: (gates.select, desk.words(x < 0), desk.secret(x)),
    "maximum": two(gates.maximum),
    "reduce_max": lambda desk, x: (gates.reduce_max, rows(desk.secret(x))),
    "argmax": lambda desk, x: (gates.argmax, rows(desk.secret(x))),
    "lut": one(lookup.lut, torch.arange(256), 8),
}


@pytest.mark.parametrize(("parties", "width"), [(2, 8), (2, 64), (3, 64)])
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_parties_see_does_not_depend_on_the_secret(name, parties, width):
    x1 = -21 if width == 8 else -(2**61) + 12345
    assert leaks(PROGRAMS[name], 0, x1, parties, width) == []


KEYED = {
    "at_least": one(compare.at_least, (0, 5), None, "dpf"),
    "eq": two(compare.eq, None, "dpf"),
    "eq_itself": lambda desk, x: (lambda s, t: compare.eq(s, t, None, "dpf"), desk.secret(x), desk.secret(x)),
    "relu": one(gates.relu, None, "dpf"),
    "relu of a product": one(gates.relu_truncated, 5, True, None, "dpf"),
    "relu at once": one(gates.relu, None, "dcf"),
    "maximum": two(gates.maximum, None, "dpf"),
    "reduce_max": lambda desk, x: (lambda s: gates.reduce_max(s, None, "dpf"), rows(desk.secret(x))),
    "reduce_max at once": lambda desk, x: (lambda s: gates.reduce_max(s, None, "dcf"), rows(desk.secret(x))),
    "argmax": lambda desk, x: (lambda s: gates.argmax(s, None, "dpf"), rows(desk.secret(x))),
    "exact": one(widths.truncate, 5, "exact", "dpf"),
    "truncate_reduce": one(widths.truncate_reduce, 3, "dpf"),
    "extend": lambda desk, x: (
        lambda s: widths.extend(s.narrow(7), Ring(40, 5), "dpf"),
        desk.secret(x),
    ),
    "signed_lut": lambda desk, x: (
        lambda s: lookup.signed_lut(s, torch.stack((torch.arange(256), -(torch.arange(256) ** 2))), desk.ring),
        desk.secret(x),
    ),
    "interval_lut": one(lookup.interval_lut, (-20, 0, 30), (7, -1, 0, 3), None, "dpf"),
}


@pytest.mark.parametrize("width", [8, 64])
@pytest.mark.parametrize("name", KEYED)
def test_what_parties_see_with_keys_does_not_depend_on_the_secret(name, width):
    x1 = -21 if width == 8 else -(2**61) + 12345
    assert leaks(KEYED[name], 0, x1, 2, width) == []


@pytest.mark.parametrize("name", ["gelu", "sigmoid", "exp"])
@pytest.mark.parametrize("suite", ["bits", "fss"])
def test_what_parties_see_of_a_tabulated_function(name, suite):
    """Values on both sides of a table's end."""
    function, chosen = getattr(functions, name), suite_of(suite, 2, LAN)[0]
    for other in (-3, 200):
        assert leaks(one(lambda s: function(chosen, s)), 0, other, 2, 64) == []


@pytest.mark.parametrize("parties", [2, 3])
def test_a_shared_input_reaches_the_others_as_noise(parties):
    runs = []
    for value, seed in ((0, 1), (-(2**61), 2)):
        desk = Desk(parties, 64, seed=seed, record=True)
        desk.secret(torch.full((N,), value))
        runs.append(desk.transcript)
    assert [(s, r, len(d)) for s, r, d in runs[0]] == [(s, r, len(d)) for s, r, d in runs[1]]
    assert {r for s, r, d in runs[0] if d} == set(range(1, parties)), "only the owner speaks"
    for (_, _, a), (_, _, b) in zip(*runs):
        for left, right in zip(
            *(places(torch.frombuffer(bytearray(d), dtype=torch.int64)) if d else [] for d in (a, b))
        ):
            statistic, freedom = distance(left, right)
            assert statistic < critical(freedom)


# ---- and the test is seen to fail ----------------------------------------------------------------


def opens_in_clear(x):
    yield Open(x)


def opens_with_a_short_mask(x):
    """Masks the low half only."""
    a, _ = yield Draw(Square(tuple(x.shape)))
    yield Open(x.like(x.data + (a.data & 0xFFFF)))


def opens_twice_under_one_mask(x):
    a, _ = yield Draw(Square(tuple(x.shape)))
    yield Open(x - a)
    yield Open(2 * x - a)


def opens_one_bit_of_64(x):
    """Every piece of the mask is even, and so is the mask."""
    a, _ = yield Draw(Square(tuple(x.shape)))
    yield Open(x.like(x.data + (a.data & -2)))


def speaks_longer_about_some_secrets(x):
    clear = yield Open(x)
    if int(clear[0]):
        a, _ = yield Draw(Square(tuple(x.shape)))
        yield Open(x - a)


BROKEN = [
    (opens_in_clear, "opened value 0"),
    (opens_with_a_short_mask, "opened value 0, place 7"),
    (opens_twice_under_one_mask, "difference"),
    (opens_one_bit_of_64, "opened value 0, place 0"),
    (speaks_longer_about_some_secrets, "number or size"),
]


@pytest.mark.parametrize(("broken", "reason"), BROKEN)
@pytest.mark.parametrize("parties", [2, 3])
def test_a_broken_protocol_is_noticed(broken, reason, parties):
    assert any(reason in found for found in leaks(one(broken), 0, -(2**61) + 12345, parties))


def test_a_persistent_mask_on_two_values_would_be_noticed():
    """Why `fix` refuses it: the difference of both opened values is public."""

    def fix_both(x):
        b = (yield Draw(Mask(7, tuple(x.shape))))[0]
        yield Open(x - b)
        yield Open(x * 3 - b)

    assert any("difference" in reason for reason in leaks(one(fix_both), 0, 99))
