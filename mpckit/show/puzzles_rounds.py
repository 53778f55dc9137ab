"""The puzzles of notebook 06: rounds, bytes and latency. Solutions are in `notebooks/solutions/`."""

import math
from math import prod

import torch

from ..offline.plan import plan
from ..runtime.meter import Link
from ..runtime.report import Offer
from ..runtime.units import duration
from ..share import join
from ..tensor import secret
from .puzzle import RING, Finding, leaks, price, puzzle, run_protocol

READINGS = ((3, 1, 4, 1, 5), (7, 7, 7, 7, 7), (0, 0, 0, 0, 9))
# The factors: odd, so that no product of bytes becomes zero by chance; then one that is zero.
FACTORS = tuple(2 * ((37 * k * k + 11 * k) % 60) + 1 for k in range(41))
OTHERS = (*FACTORS[1:], 0)
RATES = {"10 Mbit/s": 1e7, "1 Gbit/s": 1e9, "100 Gbit/s": 1e11}


@puzzle(
    "A sum is free. Six numbers have to be squared: the five, and their sum. No square needs another.",
    "together(square(x[0]), …, square(total)) squares all of them in one round, and returns a list.",
    "*squares, square_of_sum = yield from together(*map(square, x), square(sum(x[1:], x[0]))); then add up.",
)
def spread(answer):
    for seed, values in enumerate(READINGS):
        want = (len(values) * sum(v * v for v in values) - sum(values) ** 2) % 256
        reached, heard, rounds, words = run_protocol(answer, *values, seed=seed)
        if (wrong := _wrong(reached, want)) is not None:
            yield Finding("right", False, f"the shares of the spread of {values} should add up to {want}, not {wrong}")
            return
    yield Finding("right", True, "three samples of five readings")
    leak = leaks(run_protocol(answer, *READINGS[0], seed=8)[1], run_protocol(answer, *READINGS[1], seed=9)[1])
    yield Finding("private", leak is None, f"one sample against another: {leak or 'nobody can tell them apart'}")
    yield from price(rounds, 1, words, 6, "each spread")


@puzzle(
    "A product of 41 factors does not care for the order. Which products need no other product?",
    "Pair them up: after one round 41 factors are 20 products and one left over. Again, and it is 11; then 6, 3, 2, 1.",
    "While len(x) > 1: the pairs are zip(x[::2], x[1::2]), and x[len(x) // 2 * 2 :] is who is left over; "
    "x = [*(yield from together(*(mul(a, b) for a, b in pairs))), *left].",
)
def product_of_all(answer):
    def run(values, seed):
        return run_protocol(answer, *values, seed=seed)

    for seed, values in enumerate((FACTORS, OTHERS)):
        want = prod(values) % 256
        reached, heard, rounds, words = run(values, seed)
        if (wrong := _wrong(reached, want)) is not None:
            yield Finding("right", False, f"the shares should add up to {want}, the product modulo 256, not {wrong}")
            return
    yield Finding("right", True, "41 factors, and 41 of which one is zero")
    leak = leaks(run(FACTORS, 10)[1], run(OTHERS, 11)[1])
    yield Finding("private", leak is None, f"one list against the other: {leak or 'nobody can tell them apart'}")
    yield from price(rounds, 6, words, 80, "each product")


@puzzle(
    "Either suite takes rounds · rtt / 2 + bytes / bandwidth, and the bytes are those sent and those dealt: "
    "offer.sent + offer.offline_bytes. At which rtt is that the same?",
    "What fss loses on bytes it must win on rounds: (more bytes) / bandwidth = (fewer rounds) · rtt / 2.",
    "rtt is twice the bytes that it loses, over the bandwidth, over the rounds that it saves. With no round to save: "
    "math.inf.",
)
def break_even(answer):
    for name, bits, fss in _programs():
        for rate_name, rate in RATES.items():
            rtt = answer(bits, fss, rate / 8)
            if not isinstance(rtt, (int, float)) or not rtt >= 0:
                yield Finding("right", False, f"{name} at {rate_name}: a round trip in seconds, not {rtt}")
                return
            if (wrong := _unfair(bits, fss, rtt, rate / 8)) is not None:
                yield Finding("right", False, f"{name} at {rate_name}: {wrong}")
                return
            if name.startswith("1,000,000") and rate == 1e9:
                told = rtt
    yield Finding("right", True, "a million ReLUs, a thousand, and products, at three bandwidths")
    yield Finding("answer", True, f"a million ReLUs at 1 Gbit/s: fss from a round trip of {duration(told)} on")


def _wrong(reached, want: int):
    """What `reached`, shares of many copies of one byte, add up to, where that is not `want`."""
    if not hasattr(reached, "shares"):
        return reached
    data = RING.reduce(join(reached.shares)) & 255
    return None if bool((data == want).all()) else int(data.reshape(-1)[0])


def _programs() -> list[tuple[str, Offer, Offer]]:
    """(name, bits, fss): fss saves rounds for many bytes, or has more of both."""

    def offers(function, count, *more):
        def program(*values):
            function(*(secret(v, owner=0) for v in values)).reveal()

        report = plan(program, *[torch.zeros(count)] * (1 + len(more)), suite="auto").report
        by_suite = {offer.suite: offer for offer in report.offers}
        return by_suite["bits"], by_suite["fss"]

    return [
        ("1,000,000 ReLUs", *offers(torch.relu, 1_000_000)),
        ("1,000 ReLUs", *offers(torch.relu, 1000)),
        ("1,000 products", *offers(torch.mul, 1000, "two operands")),
    ]


def _unfair(bits: Offer, fss: Offer, rtt: float, bandwidth: float) -> str | None:
    """What is wrong with `rtt` as the round trip from which on fss is faster, if what is dealt travels too."""

    def both(rtt):
        link = Link("", rtt, bandwidth)
        return [link.seconds(offer.rounds, offer.sent + offer.offline_bytes) for offer in (bits, fss)]

    if math.isinf(rtt):
        b, f = both(3600.0)
        return f"not never: at an hour of round trip bits takes {b:.3g} s, fss {f:.3g} s" if f < b else None
    if fss.rounds >= bits.rounds:
        return "never (math.inf): fss saves no round here"
    b, f = both(rtt)
    if math.isclose(b, f, rel_tol=1e-6):
        return None
    return f"at your {duration(rtt)} bits takes {duration(b)}, fss {duration(f)}"
