"""What a pause costs: after waiting for a line, a party is woken, and finds its caches cold and its core slowed down.

On one machine nobody waits long, so what a run there costs is too little for a link with a delay. Parties measure the
difference before they begin, as it is part of what a prediction needs to know of this machine.
"""

import statistics
import time

import numpy as np
import torch

from .frames import Word
from .wire import Expected, Outgoing, Wire

ROUNDS = 6  # of each kind
PAUSE = 0.4e-3  # seconds: longer ones cost about the same


def cost(wire: Wire) -> float:
    """Seconds that a round takes longer after a pause, computing and exchange together: the mean of all parties.

    All of them call it.
    """
    flowing, halting = [], []
    for _ in range(ROUNDS):
        _round(wire)  # right after another one, as they are where nobody waits
        flowing.append(_round(wire))
        time.sleep(PAUSE)
        halting.append(_round(wire))
    mine = np.array([statistics.median(halting) - statistics.median(flowing)])
    others = _exchange(wire, mine)
    return max(0.0, statistics.fmean([mine.item(), *(theirs.view(mine.dtype).item() for theirs in others)]))


def _round(wire: Wire) -> float:
    start = time.perf_counter()
    x = torch.arange(64)
    for _ in range(10):  # about as much as a protocol computes in a round
        x = x * 3 - (x >> 1)
    _exchange(wire, x.numpy())
    return time.perf_counter() - start


def _exchange(wire: Wire, words: np.ndarray) -> list[np.ndarray]:
    peers = [q for q in range(wire.parties) if q != wire.party]
    out, expect = Outgoing(0, words.view("u1")), Expected(0, words.nbytes)
    heard = wire.exchange(0, Word.SEND, "a pause", dict.fromkeys(peers, out), dict.fromkeys(peers, expect))
    return [heard[q] for q in peers]
