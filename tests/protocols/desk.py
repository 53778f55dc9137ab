"""A desk to try protocols on: integers in, integers out, any number of parties in this process."""

from functools import partial

import torch

from mpckit.offline.dealer import Dealing
from mpckit.ring import Ring
from mpckit.runtime.session import Session, Shared
from mpckit.share import BShare
from mpckit.stream import Stream

PARTIES = (2, 3, 4)
FORMS = (("digits", 2), ("digits", 3), ("digits", 4), ("dpf", 2))  # how it is dealt, for how many parties
RELUS = (*FORMS, ("dcf", 2))


def every_pair(bits):
    """All pairs of numbers of a ring."""
    every = torch.arange(-(1 << bits >> 1), 1 << bits >> 1)
    return every.repeat_interleave(1 << bits), every.repeat(1 << bits)


ALL = torch.arange(-128, 128)  # an 8-bit ring
PAIRS = every_pair(8)


class Desk(Session):
    def __init__(self, parties=2, bits=8, frac=0, **options):
        super().__init__(parties, ring=Ring(bits, frac), insecure_seed=options.pop("seed", 1), **options)
        self.count = 0

    def secret(self, integers, owner=0):
        """Ring elements as additive shares, whatever the unit."""
        shared = self.share(integers, owner, self.ring.at(0))
        return Shared(tuple(s.like(s.data, self.ring.frac) for s in shared.shares))

    def words(self, words, bits=None):
        """Words of `bits` bits, or bools, as xor shares."""
        self.count += 1
        streams = [Stream(b"desk", f"{self.count}/{p}") for p in range(self.parties - 1)]
        pieces = [s.bits(words.shape) if words.dtype == torch.bool else s.words(words.shape) for s in streams]
        for piece in pieces:
            words = words ^ piece
        return Shared(tuple(BShare(piece, p, bits or self.ring.bits) for p, piece in enumerate([*pieces, words])))

    def __call__(self, protocol, *args):
        """Run it and open what it returns; integer tensors are shared first."""
        given = [self.secret(a) if isinstance(a, torch.Tensor) else a for a in args]
        return self.opened(self.run(protocol, *given))

    def under(self, masks, protocol, *args):
        """As a call, where the test has chosen the masks r: one for each element, all of which must be used."""
        noise = torch.randint(0, 1 << 63 - self.ring.bits, masks.shape) << self.ring.bits if self.ring.bits < 63 else 0
        queue = Queue(masks + noise)
        self.dealer.reading = partial(Chosen, queue)
        try:
            out = self(protocol, *args)
        finally:
            del self.dealer.reading
        assert queue.at == len(queue.masks), "a gate has drawn fewer masks than the test chose"
        return out

    def opened(self, result):
        if isinstance(result, (tuple, list)) and not isinstance(result, Shared):
            return type(result)(self.opened(r) for r in result)
        return self.open(result)


class Queue:
    """Chosen masks, in the order in which they are dealt."""

    def __init__(self, masks):
        self.masks, self.at = masks.reshape(-1), 0

    def take(self, shape):
        start, self.at = self.at, self.at + torch.Size(shape).numel()
        return self.masks[start : self.at].view(shape)


class Chosen(Dealing):
    """A dealer whose correlations have chosen masks r: of each the first mask, as long as there are any."""

    def __init__(self, queue, *args):
        super().__init__(*args)
        self.queue = queue if queue.at < len(queue.masks) else None

    def mask(self, shape):
        dealt = super().mask(shape)
        if self.queue is None:
            return dealt
        chosen, self.queue = self.queue.take(shape), None
        *others, _ = dealt.pieces
        return dealt._replace(value=chosen, pieces=[*others, chosen - sum(others)])


def edges(bits, slack=0):
    """0, ±1, ±2^k, ±2^k ± 1, and the ends of [-2^(bits-1-slack), 2^(bits-1-slack)), as signed integers."""
    top = 1 << (bits - 1 - slack)
    values = {0, 1, -1, top - 1, -top, top - 2, 1 - top}
    for k in range(bits - 1 - slack):
        values |= {s * (1 << k) + d for s in (1, -1) for d in (-1, 0, 1)}
    return torch.tensor(sorted(v for v in values if -top <= v < top))


def numbers(bits, count, slack=0):
    """Random signed integers of that range, and its edges."""
    spare = 64 - bits + slack
    return torch.cat((torch.randint(-(2**63), 2**63 - 1, (count,)) >> spare, edges(bits, slack)))
