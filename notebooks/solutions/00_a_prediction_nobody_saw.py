"""Solutions to the puzzles of notebook 00. A test fills them in and runs the notebook."""

import torch

import mpckit as mk


def reconstruct(pieces):
    return mk.Ring().decode(sum(pieces))


def chi_square(words):
    counts = torch.bincount(words.reshape(-1) & 15, minlength=16)
    expected = words.numel() / 16
    return ((counts - expected) ** 2 / expected).sum()


def only_the_sum(x, y):
    return (yield mk.Open(x + y))
