"""Solutions to the puzzles of notebook 11. A test fills them in and runs the notebook."""

import torch


def who_speaks(features, known):
    def voice(f):
        return torch.cat((f.mean(1), f.std(1)))

    return min(known, key=lambda pair: (voice(pair[0]) - voice(features)).norm())[1]


def collapse(steps):
    from itertools import groupby

    said = "".join(letter for letter, _ in groupby(steps))
    return " ".join(said.replace("-", "").split())


def keeps_up(prices, link):
    for length in sorted(prices):
        if link.seconds(*prices[length]) <= length:
            return length
