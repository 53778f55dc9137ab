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
from mpckit.correlations import Compare, TruncPair
from mpckit.protocols import arithmetic, bits, gates
from mpckit.protocols.arithmetic import MUL
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


WORDS = {"levels": levels, "node_bits": node_bits, "equal_bits": equal_bits, "log2": lambda v: ceil(log2(v))}
LINE = re.compile(r"Price(?: \((?P<case>[^)]+)\))?: (?P<rounds>[^·]+) · (?P<bits>[^·]+?)(?:   \[.+\])?$")


def test_the_words():
    assert (levels(7), levels(8), levels(16), levels(39), levels(63), levels(64)) == (1, 1, 1, 2, 2, 2)
    assert node_bits(7) == 1 + 1 and equal_bits(7) == 2  # two digits: the upper p and the lower g
    assert node_bits(63) == 4 * (4 + 3) + (3 + 3) and equal_bits(64) == 4 * 4 + 4
    assert node_bits(4) == 0 == levels(4)


# ---- every protocol states one -------------------------------------------------------------------


def protocols():
    for module in (arithmetic, bits, gates):
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
    assert set(found) == {case for case, _ in MEASURED.get(name, ())}, (
        "one measurement for each price, and the other way round"
    )


# ---- measuring -----------------------------------------------------------------------------------

N = 128  # a multiple of 64, so that packed bits fill their words


class Bench:
    """Shares to try a protocol on; each method returns what the session holds."""

    def __init__(self, session, w):
        self.session, self.w = session, w

    def number(self, *shape):
        return self.session.share(torch.randint(-4, 4, shape or (N,)), 0)

    def fixed(self, *shape):
        return self.session.fix(self.number(*shape))[0]

    def words(self, *shape, width=None):
        return self.session.run(
            lambda x: _as_words(x, width or self.w),
            self.session.share(torch.randint(-4, 4, shape or (N,)), 0, Ring(64, 0)),
        )

    def bit(self, *shape):
        return self.session.run(_as_bits, self.number(*shape))

    def tables(self, correlation):
        """A dealt table of digits and what it stands beside."""

        def draw(x):
            return (yield Draw(correlation))

        return self.session.run(draw, self.number(1))


def _as_words(x, width):
    """Some xor-shared words; a protocol that says nothing."""
    return BShare(x.data & ((1 << width) - 1) if width < 64 else x.data, x.party, width)
    yield


def _as_bits(x):
    return BShare((x.data & 1).bool(), x.party)
    yield


def case_conv(b):
    return arithmetic.conv, b.number(2, 4, 8, 8), b.number(8, 4, 3, 3), (1, 1), (1, 1), (1, 1), 1


# name → (case of the price, b → (protocol, *arguments), the letters that the shapes do not say)
MEASURED = {
    "input_share": [("", None)],
    "reveal": [("", lambda b: (arithmetic.reveal, b.number()))],
    "fix": [("", lambda b: (arithmetic.fix, b.number(), 99))],
    "product": [
        ("", lambda b: (arithmetic.product, MUL, b.number(8, 16), b.number(8, 16))),
        ("y fixed", lambda b: (arithmetic.product, MUL, b.number(8, 16), b.fixed(16))),
        ("both fixed", lambda b: (arithmetic.product, MUL, b.fixed(8, 16), b.fixed(16))),
    ],
    "mul": [("", lambda b: (arithmetic.mul, b.number(64, 8), b.number(1, 8)))],
    "square": [("", lambda b: (arithmetic.square, b.number()))],
    "matmul": [("", lambda b: (arithmetic.matmul, b.number(8, 24), b.number(24, 16)))],
    "conv": [("", case_conv)],
    "truncate": [
        ("", lambda b: (arithmetic.truncate, b.number(), 3)),
        ("exact", lambda b: (arithmetic.truncate, b.number(), 5, "exact")),
        ("local", lambda b: (arithmetic.truncate, b.number(), 3, "local")),
    ],
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
    "at_least": [("", lambda b: (bits.at_least, b.number(), (0, 1, -2)))],
    "at_least_opened": [
        (
            "",
            lambda b: (
                bits.at_least_opened,
                torch.randint(-4, 4, (N,)),
                (0, 1),
                b.w,
                *b.tables(Compare((N,), b.w))[1:],
            ),
        ),
    ],
    "low_borrow": [
        ("", lambda b: (bits.low_borrow, torch.randint(0, 32, (1, N)), b.tables(TruncPair((N,), b.w, 5, True))[3], 5))
    ],
    "tree_reduce": [
        ("g", lambda b: (bits.tree_reduce, b.words(9, 2, width=64), b.words(9, 2, width=64), "g")),
        ("p", lambda b: (bits.tree_reduce, b.words(9, 2, width=64), b.words(9, 2, width=64), "p")),
    ],
    "msb": [("", lambda b: (bits.msb, b.number()))],
    "eq": [("", lambda b: (bits.eq, b.number(), b.number()))],
    "drelu": [("", lambda b: (gates.drelu, b.number()))],
    "select": [("", lambda b: (gates.select, b.bit(), b.number()))],
    "relu": [("", lambda b: (gates.relu, b.number()))],
    "maximum": [("", lambda b: (gates.maximum, b.number(), b.number()))],
    "reduce_max": [("", lambda b: (gates.reduce_max, b.number(N, 5)))],
    "argmax": [("", lambda b: (gates.argmax, b.number(N, 5)))],
    "lut": [("", lambda b: (gates.lut, b.number(), torch.arange(16), 8))],
    "split_lut": [("", lambda b: (gates.split_lut, b.number(), 2, torch.arange(16), 8))],
}
K = {"truncate": 5, "low_borrow": 5, "tree_reduce": 36, "reduce_max": 5, "argmax": 5, "lut": 4, "split_lut": 4}
T = {"at_least": 3, "at_least_opened": 2}
EVERY = [(name, case, i) for name, cases in MEASURED.items() for i, (case, _) in enumerate(cases)]


@pytest.mark.parametrize("parties", [2, 3])
@pytest.mark.parametrize("w", [8, 16, 40, 64])
@pytest.mark.parametrize(("name", "case", "index"), EVERY, ids=[f"{n}-{c or 'plain'}-{i}" for n, c, i in EVERY])
def test_the_meter_agrees_with_the_docstring(name, case, index, w, parties):
    if case == "local" and parties > 2:
        with pytest.raises(ValueError, match="two parties"):
            Session(parties, truncation="local")
        return
    torch.manual_seed(0)
    session = Session(parties, ring=Ring(w, 5 if name == "truncate" else 0), insecure_seed=3)
    bench = Bench(session, w)
    if name == "input_share":
        before = session.meter.total()
        result, operands, width = bench.number(), [], w
    else:
        protocol, *args = MEASURED[name][index][1](bench)
        before = session.meter.total()
        result = session.run(protocol, *args)
        shared = [a for a in args if hasattr(a, "shares")]
        operands = [a.shape.numel() for a in shared]
        width = shared[0].shares[0].bits if shared else w
    after = session.meter.total()

    result = result[0] if isinstance(result, (tuple, list)) and not hasattr(result, "shares") else result
    n = result.shape.numel()
    letters = {**WORDS, "w": w, "b": width, "n": n, "k": K.get(name), "t": T.get(name)}
    letters |= dict(zip("xy", operands))
    rounds, expected = (eval(text, {"__builtins__": {}}, letters) for text in prices(PROTOCOLS[name])[case])

    measured = after.rounds - before.rounds
    assert measured == rounds
    sent = after.sent.get(0, 0) - before.sent.get(0, 0)
    peers = parties - 1
    assert sent == peers * (round(expected * n) // 8 + HEADER_BYTES * measured), "bytes to all peers"
    assert round(expected * n) == pytest.approx(expected * n) and round(expected * n) % 8 == 0
