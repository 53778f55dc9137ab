"""Look-ups on a CPU: a code's bits choose among a table's entries, one by one or a byte of bits at a time.

Rotating an element's code by its x̂ leaves the table where it is, so that all elements choose from one row of entries,
and what a byte of the code can choose from eight of them is worked out once: eight entries become 256 sums, and an
element takes one load per byte. For few elements that work does not pay, and a long row of sums leaves the caches;
there the bits are masks for the entries themselves, which LLVM turns into vector code.

All of it stays in this one file: numba's cache does not notice edits in an imported module.
"""

import numpy as np
import torch
from numba import njit

from . import reference as definition

FEW = 64  # elements
LONG = 1 << 12  # entries: their sums fill 1 MB
# How chosen entries join, as the length of a tuple: a type, so that numba compiles each way by itself.
SUM, XOR = (), (0,)


@definition.lookup.on("cpu")
def lookup(x_hat, hot, table):
    if not _fits(x_hat, hot, table[None]):
        return definition.lookup.reference(x_hat, hot, table)
    return _chosen(x_hat, hot, table[None], XOR)[0]


@definition.signed_lookup.on("cpu")
def signed_lookup(x_hat, hot, tables, first):
    if not _fits(x_hat, hot, tables):
        return definition.signed_lookup.reference(x_hat, hot, tables, first)
    return _chosen(x_hat, hot, tables if first else -tables, SUM)


def _fits(x_hat, hot, tables):
    """Whether the loops stay inside their arrays; the definition raises, or takes what it can, where they do not."""
    size = tables.shape[1]
    return size & (size - 1) == 0 < size and hot.shape == (*x_hat.shape, max(1, size // 64))


def _chosen(x_hat, hot, tables, join):
    """What the codes choose from each table: int64 [T, N]."""
    count, size = tables.shape
    turns = -x_hat & (size - 1)
    # entry (x̂ - v) mod size stands at (v + turns) mod size of its row, where bit v of the code goes
    rows = np.zeros((count, max(64, size)), np.int64)
    rows[:, :size] = tables[:, -torch.arange(size) & (size - 1)].numpy()
    out = np.empty((count, x_hat.numel()), np.int64)
    loop = _entries if x_hat.numel() < FEW or size > LONG else _bytes
    loop(turns.contiguous().numpy(), hot.contiguous().numpy().view(np.uint64), rows, size, out, join)
    return torch.from_numpy(out)


@njit(cache=True)
def _turned(hot, n, word, turn, size):
    """Word `word` of code n, its bits rotated upwards by `turn` modulo `size`."""
    up, one = np.uint64(turn & 63), np.uint64(1)
    if size < 64:  # what comes out above `size` meets zeros in the row
        code = hot[n, 0] & ((one << np.uint64(size)) - one)
        return (code << up) | (code >> (np.uint64(size) - up))
    at, last = word - (turn >> 6), hot.shape[1] - 1
    return (hot[n, at & last] << up) | ((hot[n, (at - 1) & last] >> one) >> (np.uint64(63) - up))


@njit(cache=True)
def _entries(turns, hot, rows, size, out, join):
    for t in range(out.shape[0]):
        for n in range(out.shape[1]):
            total = np.int64(0)
            for word in range(hot.shape[1]):
                code = np.int64(_turned(hot, n, word, turns[n], size))
                for v in range(64):
                    entry = rows[t, 64 * word + v] & -((code >> v) & 1)
                    total = total ^ entry if len(join) else total + entry
            out[t, n] = total


@njit(cache=True)
def _bytes(turns, hot, rows, size, out, join):
    sums = np.empty((8 * hot.shape[1], 256), np.int64)
    for t in range(out.shape[0]):
        for byte in range(sums.shape[0]):
            sums[byte, 0] = 0
            for j in range(8):  # doubling: entry v of the next sums has bit j of v
                entry = rows[t, 8 * byte + j]
                for v in range(1 << j):
                    sums[byte, v + (1 << j)] = sums[byte, v] ^ entry if len(join) else sums[byte, v] + entry
        for n in range(out.shape[1]):
            total = np.int64(0)
            for word in range(hot.shape[1]):
                code = _turned(hot, n, word, turns[n], size)
                for i in range(8):
                    chosen = sums[8 * word + i, np.int64((code >> np.uint64(8 * i)) & np.uint64(255))]
                    total = total ^ chosen if len(join) else total + chosen
            out[t, n] = total
