"""The notebooks' puzzles: `check(answer)` says whether it is right, whether it is private, and what it costs.

    check(reconstruct)              the puzzle is found by the function's name
    check(reconstruct, hint=1)      … and says a little more; hints come in steps

Each puzzle is an examination of the answer; those of a notebook are in `puzzles.py` or `puzzles_*.py`.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import combinations

import torch

from ..ask import Draw
from ..ring import Ring
from ..runtime.round import HEADER_BYTES
from ..runtime.session import Session

PUZZLES: dict[str, "Puzzle"] = {}


@dataclass(frozen=True)
class Finding:
    """One line of the verdict; `text` may quote numbers, as long as they are the same on every machine."""

    aspect: str
    good: bool
    text: str


@dataclass(frozen=True)
class Puzzle:
    """`examine(answer)` yields findings until one is bad; `hints` go from a nudge to nearly the answer."""

    name: str
    examine: Callable[[Callable], Iterator[Finding]]
    hints: tuple[str, ...]


def puzzle(*hints: str):
    """Decorator: an examination, named like the function that the reader writes."""

    def register(examine):
        PUZZLES[examine.__name__] = Puzzle(examine.__name__, examine, hints)
        return examine

    return register


def check(answer: Callable, hint: int = 0) -> None:
    """Examine `answer` and print the verdict, with the first `hint` hints below it."""
    from . import puzzles, puzzles_language, puzzles_rounds, puzzles_speech, puzzles_vision  # noqa: F401  (registers them)

    if answer.__name__ not in PUZZLES:
        raise ValueError(f"no puzzle is called {answer.__name__!r}; there are {', '.join(sorted(PUZZLES))}")
    task = PUZZLES[answer.__name__]
    solved = True
    for finding in _findings(task, answer):
        print(f"{'✓' if finding.good else '✗'} {finding.aspect:<8} {finding.text}")
        solved = solved and finding.good
    count = len(task.hints)
    if solved:
        print(f"{task.name} is solved")
    elif hint < count:
        print(f"not yet; check({task.name}, hint={hint + 1}) gives hint {hint + 1} of {count}")
    for number, text in enumerate(task.hints[:hint], 1):
        print(f"hint {number}: {text}")


def _findings(task, answer):
    try:
        for finding in task.examine(answer):
            yield finding
            if not finding.good:
                return
    except Exception as error:  # the reader's own; its place is in the reader's code, so say what and go on
        yield Finding("right", False, f"it raised {type(error).__name__}: {error}")


# Protocols as answers

RING, SAMPLES = Ring(8, 0), 4096  # so small that every value is met often
LIMIT = 255 + 8 * (2 * 255) ** 0.5  # chi-square with 255 degrees of freedom: chance goes there once in 10^12


def run_protocol(answer: Callable, *values: int, seed: int, prepare: Callable | None = None):
    """Run a reader's protocol in the simulator → (result, what party 0 heard, rounds, words).

    Its arguments are shares of `values`, or what `prepare(session, *shares)` makes of them, which is not on the bill.
    """
    session, heard = Session(2, ring=RING, insecure_seed=seed), []

    def spied(*shares):
        speaking, reply = answer(*shares), None
        if not isinstance(speaking, Generator):
            raise TypeError(f"{answer.__name__} says nothing yet: a protocol speaks with `yield`")
        while True:
            try:
                ask = speaking.send(reply)
            except StopIteration as stop:
                return stop.value
            reply = yield ask
            if shares[0].party == 0 and not isinstance(ask, Draw):
                heard.extend(_tensors(reply))

    with session:
        shared = [session.share(torch.full((SAMPLES,), v), owner=k % 2) for k, v in enumerate(values)]
        shared = prepare(session, *shared) if prepare else shared
        before = session.report().total()
        result = session.run(spied, *shared)
        total = session.report().total()
    rounds = total.rounds - before.rounds
    payload = total.sent - before.sent - rounds * HEADER_BYTES
    return result, heard, rounds, payload * 8 / RING.bits / SAMPLES


def price(rounds: int, most: int, words: float, reference: float, each: str, remark: str = "") -> Iterator[Finding]:
    """Rounds, and words sent by a party for `each`, against those of the reference."""
    yield Finding("rounds", rounds <= most, f"{rounds}; the reference has {most}")
    told = f"{words:g} sent by a party for {each}; the reference has {reference:g}{remark}"
    yield Finding("words", words <= reference, told)


def leaks(first: list[torch.Tensor], second: list[torch.Tensor]) -> str | None:
    """What tells two runs apart: an opened value, or two of them together; None where both look alike."""
    if len(first) != len(second):
        return "it says more about some inputs than about others"
    for k, (a, b) in enumerate(zip(first, second)):
        if _distance(a, b) > LIMIT:
            return f"message {k + 1} tells them apart"
    for i, j in combinations(range(len(first)), 2):
        for sign in (1, -1):
            if _distance(first[i] + sign * first[j], second[i] + sign * second[j]) > LIMIT:
                return f"messages {i + 1} and {j + 1} together tell them apart"
    return None


def _distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Chi-square of two samples of bytes."""
    a, b = (torch.bincount((v.reshape(-1) & 255), minlength=256).double() for v in (a, b))
    return float(((a - b) ** 2 / (a + b).clamp(min=1)).sum())


def _tensors(reply):
    if isinstance(reply, torch.Tensor):
        return [reply]
    values = reply.values() if isinstance(reply, dict) else reply
    return [t for value in values for t in _tensors(value)]
