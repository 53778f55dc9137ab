"""The last lines of a protocol's docstring are its price, and the meter agrees:

mul: "Price: 1 · w * (x + y) / n"      1,024 products of 64 bits each: 1 round, 2 · 1,024 · 64 bits to each peer
"""

import inspect
import re
from collections.abc import Generator
from math import ceil, log2
from typing import get_origin

import pytest
import torch

from mpckit.ask import Draw
from mpckit.correlations import Compare, Cut, Lines, Wrap
from mpckit.protocols import arithmetic, bits, compare, gates, lookup, widths
from mpckit.protocols.arithmetic import MUL
from mpckit.protocols.tables import Piece
from mpckit.ring import Ring
from mpckit.runtime.round import HEADER_BYTES
from mpckit.runtime.session import Session
from mpckit.share import BShare

# ---- the words that prices are written in --------------------------------------------------------


def tree(b):
    """(inputs, groups, last?) for each round of the radix-4 tree that joins the 4-bit digits of a b-bit number."""
    digits = ceil(b / 4)
    while digits > 1:
        radix = min(4, digits)
        digits = ceil(digits / radix)
        yield radix, digits, digits == 1


def levels(b):
    return len(list(tree(b)))


def node_bits(b):
    """Opened for "less": of each group all p but the lowest in the last round, and all g but the highest."""
    return sum(groups * (radix - 1 + (radix - 1 if last else radix)) for radix, groups, last in tree(b))


def equal_bits(b):
    return sum(groups * radix for radix, groups, _ in tree(b))


WORDS = {
    "levels": levels,
    "node_bits": node_bits,
    "equal_bits": equal_bits,
    "log2": lambda v: ceil(log2(v)),
    "max": max,
}
LINE = re.compile(r"Price(?: \((?P<case>[^)]+)\))?: (?P<rounds>[^·]+) · (?P<bits>[^·]+?)(?:   \[.+\])?$")


def test_the_words():
    assert (levels(7), levels(8), levels(16), levels(39), levels(63), levels(64)) == (1, 1, 1, 2, 2, 2)
    assert node_bits(7) == 1 + 1 and equal_bits(7) == 2  # two digits: the upper p and the lower g
    assert node_bits(63) == 4 * (4 + 3) + (3 + 3) and equal_bits(64) == 4 * 4 + 4
    assert node_bits(4) == 0 == levels(4)


# ---- every protocol states one -------------------------------------------------------------------


def protocols():
    for module in (arithmetic, bits, compare, widths, gates, lookup):
        for name, f in vars(module).items():
            if inspect.isfunction(f) and f.__module__ == module.__name__:
                says_so = get_origin(f.__annotations__.get("return")) is Generator  # -> Protocol[…]
                assert says_so or not inspect.isgeneratorfunction(f), f"{name} is a generator: say -> Protocol[…]"
                if says_so:
                    yield name, f


def prices(f) -> dict[str, tuple[str, str]]:
    """Case → (rounds, bits) as written on the last lines; the plain case is ""."""
    lines = [line.strip() for line in (inspect.getdoc(f) or "").splitlines()]
    out = {}
    while lines and (found := LINE.match(lines.pop())):
        out[found["case"] or ""] = (found["rounds"], found["bits"])
    return out


PROTOCOLS = dict(protocols())


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_docstring_ends_in_a_price_and_each_price_is_measured(name):
    found = prices(PROTOCOLS[name])
    assert found, f"{name}: the last line of its docstring states no price"
    assert set(found) == {case for case, *_ in MEASURED.get(name, ())}, (
        "one measurement for each price, and the other way round"
    )


# ---- measuring -----------------------------------------------------------------------------------

N = 128  # a multiple of 64, so that packed bits fill their words


class Bench:
    """Shares to try a protocol on; each method returns what the session holds."""

    def __init__(self, session, w):
        self.session, self.w = session, w

    def number(self, *shape, width=None):
        ring = Ring(width, 0) if width else None
        return self.session.share(torch.randint(-4, 4, shape or (N,)), 0, ring)

    def public(self):
        return torch.randint(-4, 4, (N,))

    def fixed(self, *shape):
        return self.session.fix(self.number(*shape))[0]

    def room(self, places):
        return self.session.run(arithmetic.room, self.session.masks(1)[0], (places,), 0)

    def words(self, *shape, width=None):
        return self.session.run(
            lambda x: _as_words(x, width or self.w),
            self.session.share(torch.randint(-4, 4, shape or (N,)), 0, Ring(64, 0)),
        )

    def bit(self, *shape):
        return self.session.run(_as_bits, self.number(*shape))


def _as_words(x, width):
    """Some xor-shared words; a protocol that says nothing."""
    return BShare(x.data & ((1 << width) - 1) if width < 64 else x.data, x.party, width)
    yield


def _as_bits(x):
    return BShare((x.data & 1).bool(), x.party)
    yield


def case_conv(b):
    return arithmetic.conv, b.number(2, 4, 8, 8), b.number(8, 4, 3, 3), (1, 1), (1, 1), (1, 1), 1


FORMS = {"": "digits", "dpf": "dpf"}
PIECE = Piece(((None, None),), 2, torch.arange(16) * 5, 3, 1, 0, 4, 2, 1)


def forms(arguments, *more, **letters):
    """A case for each form in which comparisons are dealt."""
    every = FORMS | {form: form for form in more}
    return [(case, lambda b, form=form: arguments(b, form), letters) for case, form in every.items()]


def drawn(correlation, protocol):
    """The protocol with what is dealt as further arguments: drawing costs nothing."""

    def run(x):
        return (yield from protocol(x, *(yield Draw(correlation))))

    return run


def second(protocol):
    return (yield from protocol)[2]


def first_rest(x, form):
    return (yield from lookup.lines(x, (PIECE,), (), None, form))[1][0][0]


def a_choice(x, b):
    _, *dealt = yield Draw(Lines(tuple(x.shape), (), 0, "digits", True))
    return (yield from lookup._choose(x, x.data, dealt, b))


def a_line(protocol, form):
    """One line's protocol, from an opened value that is not x: the price is the same."""
    cut = Cut(PIECE.by, 4, PIECE.value_bits, PIECE.slope_bits)

    def run(x):
        _, low, *dealt = yield Draw(Lines(tuple(x.shape), (cut,), 0, form))
        x_hat, r_low = torch.arange(N) - 5, x.like(low.data)
        arguments = (dealt, form) if protocol is lookup._line else dealt
        return (yield from protocol(x_hat, x_hat & 3, r_low, PIECE, *arguments))

    return run


# name → (case of the price, b → (protocol, *arguments), letters that the shapes do not say)
MEASURED = {
    "input_share": [("", None)],
    "reveal": [("", lambda b: (arithmetic.reveal, b.number()))],
    "fix": [("", lambda b: (arithmetic.fix, b.number(), 99))],
    "room": [("", lambda b: (arithmetic.room, 99, (N,), 0))],
    "fill": [("", lambda b: (arithmetic.fill, b.number(), b.room(N)))],
    "fill_all": [("", lambda b: (arithmetic.fill_all, [b.number()], [b.room(N)]))],
    "product": [
        ("", lambda b: (arithmetic.product, MUL, b.number(8, 16), b.number(8, 16))),
        ("y fixed", lambda b: (arithmetic.product, MUL, b.number(8, 16), b.fixed(16))),
        ("both fixed", lambda b: (arithmetic.product, MUL, b.fixed(8, 16), b.fixed(16))),
    ],
    "mul": [("", lambda b: (arithmetic.mul, b.number(64, 8), b.number(1, 8)))],
    "square": [("", lambda b: (arithmetic.square, b.number()))],
    "square_and_product": [
        ("", lambda b: (arithmetic.square_and_product, b.number(64, 8), b.number(8))),
        ("y fixed", lambda b: (arithmetic.square_and_product, b.number(64, 8), b.fixed(8))),
    ],
    "matmul": [("", lambda b: (arithmetic.matmul, b.number(8, 24), b.number(24, 16)))],
    "conv": [("", case_conv)],
    "truncate": [
        ("", lambda b: (widths.truncate, b.number(), 3)),
        ("exact", lambda b: (widths.truncate, b.number(), 5, "exact")),
        ("exact dpf", lambda b: (widths.truncate, b.number(), 5, "exact", "dpf")),
        ("local", lambda b: (widths.truncate, b.number(), 3, "local")),
        ("", lambda b: (widths.truncate, b.number(), 3, "stochastic", "digits", 7), {"b": 7}),
        ("exact", lambda b: (widths.truncate, b.number(), 5, "exact", "digits", 8), {"b": 8}),
        ("exact dpf", lambda b: (widths.truncate, b.number(), 5, "exact", "dpf", 8), {"b": 8}),
    ],
    "truncate_reduce": forms(lambda b, form: (widths.truncate_reduce, b.number(), 5, form)),
    "_borrowed": forms(
        lambda b, form: (
            drawn(Wrap((N,), b.w, form), lambda x, r, low, dealt: widths._borrowed(b.public(), dealt, 5, x.ring)),
            b.number(),
        )
    ),
    "wrap": [
        (case, lambda b, form=form: (lambda x: second(widths.wrap(x, form)), b.number()))
        for case, form in FORMS.items()
    ],
    "extend": forms(lambda b, form: (widths.extend, b.number(width=b.w - 3), Ring(b.w, 0), form)),
    "and_": [
        ("", lambda b: (bits.and_, b.words(width=b.w), b.words(width=b.w))),
        ("", lambda b: (bits.and_, b.bit(), b.bit())),
    ],
    "carries": [("", lambda b: (bits.carries, b.words(), b.words()))],
    "add": [("", lambda b: (bits.add, b.words(), b.words()))],
    "a2b": [("", lambda b: (bits.a2b, b.number()))],
    "b2a": [
        ("", lambda b: (bits.b2a, b.words(), Ring(b.w, 0))),
        ("", lambda b: (bits.b2a, b.bit(), Ring(b.w, 0))),
    ],
    "bits_of": [("", lambda b: (bits.bits_of, b.words(), Ring(b.w, 0)))],
    "at_least": forms(lambda b, form: (compare.at_least, b.number(), (0, 1, -2), None, form))
    + forms(lambda b, form: (compare.at_least, b.number(), (0, 1, -2), 6, form), b=6),
    "at_least_opened": forms(
        lambda b, form: (
            drawn(
                Compare((N,), b.w, form=form),
                lambda x, r, dealt, top: compare.at_least_opened(b.public(), (0, 1), b.w, dealt, top),
            ),
            b.number(),
        )
    ),
    "below": forms(
        lambda b, form: (
            drawn(Wrap((N,), b.w, form), lambda x, r, low, dealt: compare.below(b.public()[None], dealt, b.w)),
            b.number(),
        )
    ),
    "tree_reduce": [
        ("g", lambda b: (compare.tree_reduce, b.words(9, 2, width=64), b.words(9, 2, width=64), "g")),
        ("p", lambda b: (compare.tree_reduce, b.words(9, 2, width=64), b.words(9, 2, width=64), "p")),
    ],
    "msb": forms(lambda b, form: (compare.msb, b.number(), None, form)),
    "eq": forms(lambda b, form: (compare.eq, b.number(), b.number(), None, form)),
    "drelu": forms(lambda b, form: (compare.drelu, b.number(), None, form))
    + forms(lambda b, form: (compare.drelu, b.number(), 6, form), b=6),
    "select": [
        ("", lambda b: (gates.select, b.bit(), b.number())),
        ("narrow", lambda b: (gates.select, b.bit(), b.number(), 6), {"b": 6}),
    ],
    "relu": forms(lambda b, form: (gates.relu, b.number(), None, form), "dcf")
    + forms(lambda b, form: (gates.relu, b.number(), 6, form), "dcf", b=6),
    "relu_truncated": [
        (
            " ".join(["exact"] * exact + [case] * bool(case)),
            lambda b, form=form, exact=exact: (gates.relu_truncated, b.number(), 5, exact, None, form),
        )
        for case, form in FORMS.items()
        for exact in (False, True)
    ],
    "relu_at_once": [("", lambda b: (gates.relu_at_once, b.number(), b.w))],
    "maximum": forms(lambda b, form: (gates.maximum, b.number(), b.number(), None, form), "dcf"),
    "reduce_max": forms(lambda b, form: (gates.reduce_max, b.number(N, 5), None, form)),
    "argmax": forms(lambda b, form: (gates.argmax, b.number(N, 5), None, form))
    + forms(lambda b, form: (gates.argmax, b.number(N, 5), 6, form), b=6),
    "lut": [("", lambda b: (lookup.lut, b.number(), torch.arange(16), 8))],
    "one_hot": [("", lambda b: (lookup.one_hot, b.number(), 16), {"k": 4, "c": 16})],
    "signed_lut": [("", lambda b: (lookup.signed_lut, b.number(), torch.arange(32).view(2, 16), Ring(b.w, 0)))],
    "interval_lut": forms(lambda b, form: (lookup.interval_lut, b.number(), (-1, 0, 2), (5, 6, 7, 8), None, form)),
    "lines": [("", lambda b: (first_rest, b.number(), "digits"))],
    "_choose": [("", lambda b: (a_choice, b.number(), b.bit()))],
    "_line": [(case, lambda b, form=form: (a_line(lookup._line, form), b.number())) for case, form in FORMS.items()],
    "_from_bits": [("", lambda b: (a_line(lookup._from_bits, "digits"), b.number()))],
    "_from_keys": [("", lambda b: (a_line(lookup._from_keys, "dpf"), b.number()))],
}
NEEDS_TWO = {"dpf", "dcf", "relu_at_once", "signed_lut", "_from_keys"}
K = {
    "relu_truncated": 5,
    "truncate": 5,
    "truncate_reduce": 5,
    "_borrowed": 5,
    "tree_reduce": 36,
    "reduce_max": 5,
    "argmax": 5,
}
K |= {"lut": 4, "signed_lut": 4}
T = {"at_least": 3, "at_least_opened": 2, "interval_lut": 3, "signed_lut": 2}
EVERY = [(name, case, i) for name, cases in MEASURED.items() for i, (case, *_) in enumerate(cases)]


@pytest.mark.parametrize("parties", [2, 3])
@pytest.mark.parametrize("w", [8, 16, 40, 64])
@pytest.mark.parametrize(("name", "case", "index"), EVERY, ids=[f"{n}-{c or 'plain'}-{i}" for n, c, i in EVERY])
def test_the_meter_agrees_with_the_docstring(name, case, index, w, parties):
    _, arguments, *more = MEASURED[name][index]
    if parties > 2 and ("local" in case or NEEDS_TWO & {name, *case.split()}):
        with pytest.raises(ValueError, match="two parties"):
            Session(parties, truncation="local")
            Session(parties).run(*arguments(Bench(Session(parties), w)))
        return
    torch.manual_seed(0)
    session = Session(parties, ring=Ring(w, 5 if name in ("truncate", "relu_truncated") else 0), insecure_seed=3)
    bench = Bench(session, w)
    if name == "input_share":
        before = session.meter.total()
        result, operands, width = bench.number(), [], w
    else:
        protocol, *args = arguments(bench)
        before = session.meter.total()
        result = session.run(protocol, *args)
        shared = [a for a in args if hasattr(a, "shares")]
        operands = [a.shape.numel() for a in shared]
        width = shared[0].shares[0].bits if shared else w
    after = session.meter.total()

    result = result[0] if isinstance(result, (tuple, list)) and not hasattr(result, "shares") else result
    n = result.shape.numel()
    letters = {**WORDS, "w": w, "b": width, "n": n, "k": K.get(name), "t": T.get(name)}
    letters |= dict(zip("xy", operands)) | {"piece": PIECE} | dict(*more)
    rounds, expected = (eval(text, {"__builtins__": {}}, letters) for text in prices(PROTOCOLS[name])[case])

    measured = after.rounds - before.rounds
    assert measured == rounds
    sent = after.sent.get(0, 0) - before.sent.get(0, 0)
    peers = parties - 1
    assert sent == peers * (round(expected * n) // 8 + HEADER_BYTES * measured), "bytes to all peers"
    assert round(expected * n) == pytest.approx(expected * n) and round(expected * n) % 8 == 0
