"""The puzzles of the course, notebook by notebook. A solution to each is in `notebooks/solutions/`."""

import torch

from ..ring import Ring
from ..share import split
from ..stream import Stream
from .puzzle import Finding, leaks, puzzle, run_protocol

SEED = b"puzzles draw their masks from this, so that a verdict repeats."[:32]

# 00  A prediction nobody saw


@puzzle(
    "A secret is the sum of all its pieces; int64 wraps at 2^64 by itself, as the ring does.",
    "The sum is a fixed-point number: its unit is 2^-16, so Ring().decode(sum), or divide by 2^16.",
    "return mk.Ring().decode(sum(pieces))",
)
def reconstruct(answer):
    for parties, values in ((2, [1.0, 0.5]), (3, [-2.25, 0.0, 7.0]), (5, [[100.0, -0.125]])):
        secret = torch.tensor(values)
        pieces = split(Ring().encode(secret), [Stream(SEED, f"reconstruct/{parties}/{p}") for p in range(parties - 1)])
        got = answer(list(pieces))
        if (
            not isinstance(got, torch.Tensor)
            or got.shape != secret.shape
            or not torch.allclose(got.float(), secret, atol=2**-15)
        ):
            shown = got.tolist() if isinstance(got, torch.Tensor) else got
            yield Finding("right", False, f"from {parties} pieces of {values} it made {shown}")
            return
    yield Finding("right", True, "2, 3 and 5 pieces, negative numbers and fractions too")


@puzzle(
    "words & 15 is the lowest hexadecimal digit of each word; torch.bincount(…, minlength=16) counts them.",
    "Sixteen equally likely digits: expect words.numel() / 16 of each.",
    "With counts and e = words.numel() / 16: return ((counts - e) ** 2 / e).sum()",
)
def chi_square(answer):
    shape = (28, 28)
    plain = Ring().encode(torch.linspace(-3, 3, 784).reshape(shape).round())
    share = split(plain, [Stream(SEED, "uniform")])[1]
    lazy = plain + (Stream(SEED, "lazy").words(shape) & 7)  # a mask of three bits
    found = {}
    for name, words in (("plain", plain), ("share", share), ("lazy", lazy)):
        counts = torch.bincount(words.reshape(-1) & 15, minlength=16).double()
        expected = words.numel() / 16
        right, got = float(((counts - expected) ** 2 / expected).sum()), float(answer(words))
        if abs(got - right) > 1e-3 * max(right, 1):
            yield Finding("right", False, f"for the {name} numbers it says {got:.1f}; their statistic is {right:.1f}")
            return
        found[name] = got
    yield Finding("right", True, "equal to the textbook's sum of (count - expected)² / expected")
    yield Finding(
        "private", found["share"] < 37.7, f"one share: {found['share']:.1f}; a fair die exceeds 37.7 once in 1000 tries"
    )
    yield Finding(
        "attack",
        found["lazy"] > 37.7,
        f"the plaintext: {found['plain']:.0f}, a lazy mask of 3 bits: {found['lazy']:.0f}; both caught",
    )


@puzzle(
    "Shares add without a word: x + y is a share of the sum.",
    "Open(x) would tell everyone x. Open only what everyone may know.",
    "return (yield mk.Open(x + y))",
)
def only_the_sum(answer):
    reached, heard, rounds, words = run_protocol(answer, 100, 20, seed=1)
    if not isinstance(reached, torch.Tensor) or not bool((reached == 120).all()):
        shown = reached.reshape(-1)[0].item() if isinstance(reached, torch.Tensor) else reached
        yield Finding("right", False, f"for 100 and 20 every party should return 120, not {shown}")
        return
    yield Finding("right", True, "100 + 20 = 120")
    leak = leaks(heard, run_protocol(answer, 70, 50, seed=2)[1])
    yield Finding("private", leak is None, f"100 + 20 against 70 + 50: {leak or 'nobody can tell them apart'}")
    yield Finding("rounds", rounds <= 1, f"{rounds}; the reference has 1")
    yield Finding("words", words <= 1, f"{words:g} sent by a party for each sum; the reference has 1")
