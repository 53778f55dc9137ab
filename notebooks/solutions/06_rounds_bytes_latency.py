"""Solutions to the puzzles of notebook 06. A test fills them in and runs the notebook."""

import math

from mpckit import together
from mpckit.protocols.arithmetic import mul, square


def spread(*x):
    total = sum(x[1:], x[0])
    *squares, square_of_sum = yield from together(*map(square, x), square(total))
    return len(x) * sum(squares[1:], squares[0]) - square_of_sum


def product_of_all(*x):
    while len(x) > 1:
        pairs, left = zip(x[::2], x[1::2]), x[len(x) // 2 * 2 :]
        x = [*(yield from together(*(mul(a, b) for a, b in pairs))), *left]
    return x[0]


def break_even(bits, fss, bandwidth):
    if fss.rounds >= bits.rounds:
        return math.inf
    more = fss.sent + fss.offline_bytes - bits.sent - bits.offline_bytes
    return 2 * more / bandwidth / (bits.rounds - fss.rounds)
