"""The puzzles of the course, notebook by notebook. A solution to each is in `notebooks/solutions/`."""

from contextlib import contextmanager

import torch

from ..fss import dpf, keys
from ..kernels import ggm
from ..ring import Ring
from ..share import join, split
from ..stream import Stream
from .puzzle import RING, Finding, leaks, price, puzzle, run_protocol

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
    yield from price(rounds, 1, words, 1, "each sum")


# 08  Function secret sharing: a tree with one secret leaf


@puzzle(
    "Without a word the children of both parties are H(s) and H(s) ⊕ s. One party adds yours: it must make one child "
    "of both parties equal, the one that alpha does not take.",
    "If alpha goes right, the left children H(s0) and H(s1) must become equal; if it goes left, the right ones. "
    "`right` is all ones or zero, so `delta & ~right` is delta just when alpha goes left.",
    "return ggm.prg(s0, ggm.CHILD) ^ ggm.prg(s1, ggm.CHILD) ^ ((s0 ^ s1) & ~right)",
)
def correction(answer):
    n = 256
    s0, s1 = (keys.root(p, n, Stream(SEED, f"correction/{p}")) for p in (0, 1))
    taken = ggm.path(torch.arange(n), 0, 1)  # every other alpha goes right
    word = answer(s0, s1, taken)
    if not isinstance(word, torch.Tensor) or word.shape != s0.shape or word.dtype != torch.int64:
        yield Finding("right", False, f"one word of 128 bits for each of {n} nodes: int64 [{n}, 2] like s0")
        return
    for name, side, want in (("the child off the path", ~taken, 0), ("the child on the path", taken, s0 ^ s1)):
        found = ggm.descend(s0, side, word) ^ ggm.descend(s1, side, word)
        good = int((found == want).all(-1).sum())
        must = "is the same for both" if name.startswith("the child off") else "differs by delta, as the parents do"
        yield Finding("right", good == n, f"{name} {must} in {good} of {n} nodes")


@puzzle(
    "Begin with s = key.root, total = 0 and before = 0. At each of key.bits - 7 levels: right = ggm.path(x, level, "
    "key.bits); where right differs from before, the control bit of s enters; then one step down, "
    "ggm.descend(s, right, key.cw[level]), and before = right.",
    "Masks are all ones or zero, [N, 1]: total = total ^ ((right ^ before) & ggm.control(s)). The leaf block is "
    "ggm.prg(s, ggm.LEAF) ^ (key.cw[-1] & ggm.control(s)); of it count ggm.up_to(x) ^ before, with ggm.parity.",
    "At the end: return ((total[:, 0] & 1) ^ ggm.parity(leaf & (ggm.up_to(x) ^ before)) ^ key.party).bool()",
)
def below(answer):
    for bits in (8, 11, 16):
        alpha, x = _points(bits)
        pair = dpf.gen(alpha, bits, [Stream(SEED, f"below/{p}") for p in (0, 1)])
        with _counting() as calls:
            shares = [answer(key, x) for key in pair]
        if not all(isinstance(s, torch.Tensor) and s.shape == x.shape and s.dtype == torch.bool for s in shares):
            yield Finding("right", False, f"a party's share of each of {len(x)} comparisons: bool [{len(x)}]")
            return
        wrong = ((shares[0] ^ shares[1]) != (x < alpha)).nonzero()
        if len(wrong):
            k = int(wrong[0])
            told = f"{bits} bits: {len(wrong)} of {len(x)} are wrong, first x = {int(x[k])}, alpha = {int(alpha[k])}"
            yield Finding("right", False, told)
            return
        if calls[0] == 0:
            yield Finding("walked", False, "the library walked: descend yourself, one level at a time")
            return
    yield Finding("right", True, "every alpha with every x of 8 bits, and the edges of 11 and 16")
    reference = 2 * (16 - 6)  # of the last width, both parties
    yield Finding("calls", calls[0] <= reference, f"{calls[0] / 2:g} of H for 16 bits; the reference has 10")


@puzzle(
    "Draw(Select(bit's shape, x's shape)) gives shares of r, of a bit s (xor), of s again (additive), and of r·s. Open "
    "x + r and b ^ s together: one round.",
    "Where the opened b̂ is 0, b is s, and s·x = s·x̂ - r·s. Where it is 1, b is 1 - s.",
    "sx = s_sum * x_hat - rs; return x.like(torch.where(b_hat, (x - sx).data, sx.data))",
)
def relu_gate(answer):
    def sign_first(session, x):
        bit = session.run(lambda share: session.suite.at_least(share, (0,)), x)
        return bit.map(torch.Tensor.__getitem__, 0), x

    def run(value, seed):
        return run_protocol(answer, value, seed=seed, prepare=sign_first)

    for seed, value in enumerate((37, -91, 0, -1, 127, -127)):
        reached, heard, rounds, words = run(value, seed)
        data = RING.reduce(join(reached.shares)) if hasattr(reached, "shares") else None
        if data is None or not bool((data == max(value, 0)).all()):
            shown = reached if data is None else int(data.reshape(-1)[0])
            yield Finding("right", False, f"the shares of relu({value}) should add up to {max(value, 0)}, not {shown}")
            return
    yield Finding("right", True, "positive, negative, zero, and both ends")
    leak = leaks(run(37, 10)[1], run(-91, 11)[1])
    yield Finding("private", leak is None, f"37 against -91: {leak or 'nobody can tell them apart'}")
    yield from price(rounds, 1, words, 1.125, "each", ", a word and a bit")


def _points(bits):
    """alpha and x: all pairs of 8 bits, or edges and chance."""
    size = 1 << bits
    if bits == 8:
        return torch.arange(size).repeat_interleave(size), torch.arange(size).repeat(size)
    some = Stream(SEED, f"points/{bits}").words((2, 500)) & (size - 1)
    ends = torch.tensor([0, 1, 127, 128, size // 2 - 1, size // 2, size - 2, size - 1])
    near = some[0, :100]
    return (
        torch.cat((some[0], ends.repeat_interleave(8), near, near, near)),
        torch.cat((some[1], ends.repeat(8), near, near ^ 1, near ^ 128)),
    )


@contextmanager
def _counting():
    """How often H is called in plain view, as a list of one number; not what a fast body does inside."""
    true, calls = ggm.prg, [0]

    def counted(*args):
        calls[0] += 1
        return true(*args)

    ggm.prg = counted
    try:
        yield calls
    finally:
        ggm.prg = true
