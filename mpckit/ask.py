"""The three things a protocol may say.

A protocol is a generator that one party runs; whoever drives it (simulator, engine, planner, a student with
`next()`) answers.
    pieces = yield Draw(correlation)     joint randomness prepared offline; no message
    value  = yield Open(x - a)           make a masked value public; one round (of several shares: a tuple)
    inbox  = yield Send({1: t}, {…})     words to one party, words from another; one round
`yield from` calls another protocol; `together(p, q)` runs protocols side by side, and what they say shares rounds.
"""

from collections.abc import Generator
from typing import Any, TypeVar

T = TypeVar("T")
Protocol = Generator[Any, Any, T]


class Draw:
    """One-time joint randomness. Answer: this party's pieces, in the order in which the correlation deals them."""

    __slots__ = ("correlation",)

    def __init__(self, correlation):
        self.correlation = correlation


class Open:
    """Open shares to all parties, or to party `to` alone. Answer: the value, or a tuple of values for several shares.

    A value that a party does not learn reaches it as a meta tensor. Open only what is masked, or a result that may
    be known.
    """

    __slots__ = ("shares", "to")

    def __init__(self, *shares, to: int | None = None):
        self.shares, self.to = shares, to


class Send:
    """Words (int64) for other parties, and the shapes expected from others. Answer: {sender: tensor}."""

    __slots__ = ("outbox", "expect")

    def __init__(self, outbox: dict | None = None, expect: dict | None = None):
        self.outbox, self.expect = outbox or {}, expect or {}


class Round:
    """Several Opens and Sends that share one round; only `together` says it."""

    __slots__ = ("asks",)

    def __init__(self, asks):
        self.asks = asks


def together(*protocols: Protocol) -> Protocol[list]:
    """Run protocols side by side; each step of all of them costs one round. Returns their results in order.

    Draws are passed on at once, so that a protocol that draws does not wait for one that opens.
    """
    results, said = [None] * len(protocols), {}

    def advance(i, reply):
        try:
            ask = protocols[i].send(reply)
            while isinstance(ask, Draw):
                ask = protocols[i].send((yield ask))
            said[i] = ask
        except StopIteration as stop:
            results[i] = stop.value

    for i in range(len(protocols)):
        yield from advance(i, None)
    while said:
        running = sorted(said)
        asks = [said.pop(i) for i in running]
        # A protocol may itself run several side by side: their asks join this round; it gets a list of replies.
        flat = [part for ask in asks for part in (ask.asks if isinstance(ask, Round) else [ask])]
        replies = iter([(yield flat[0])] if len(flat) == 1 else (yield Round(flat)))
        for i, ask in zip(running, asks):
            yield from advance(i, [next(replies) for _ in ask.asks] if isinstance(ask, Round) else next(replies))
    return results
