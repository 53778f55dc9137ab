"""The puzzles of notebook 12: secret tokens looked up and chosen. Solutions are in `notebooks/solutions/`."""

import torch
import torch.nn.functional as F

from ..runtime.report import Line
from ..runtime.session import simulate
from ..stream import Stream
from ..tensor import SecretTensor, secret
from .puzzle import Finding, puzzle

SEED = b"puzzles of a language model draw tables and scores from this"[:32]
TOKENS, WIDTH = 24, 8
FORBIDDEN = -1000.0  # what the reference adds to a score that must not win


@puzzle(
    "A product with a row that is 1 at one place and 0 elsewhere picks a row of the table. Comparing each id with "
    "each number gives such rows, but comparisons are dear.",
    "torch has a function for this, and the library has a row for it that opens one masked number for each id and each "
    "row of the table, and compares nothing.",
    "return torch.nn.functional.embedding(ids, table)",
)
def embed(answer):
    table, ids = _noise("table", (TOKENS, WIDTH)), torch.tensor([3, 0, 23, 3, 17])
    run = _run(answer, ids, table)
    if run.findings:
        yield from run.findings
        return
    error = float((run.result - table[ids]).abs().max()) if run.result.shape == (5, WIDTH) else None
    if error is None or not error < 1e-3:
        told = f"rows [5, {WIDTH}] are wanted, not {list(run.result.shape)}" if error is None else f"off by {error:.2g}"
        yield Finding("right", False, told)
        return
    yield Finding("right", True, "five rows of a table, as in plaintext")
    yield Finding("private", True, "nothing was revealed on the way")
    yield _bill(run, _run(lambda ids, table: F.embedding(ids, table), ids, table))


@puzzle(
    "The greatest of the scores that may win. What could be done to the others, publicly, so that they never do?",
    "`allowed` is public: a tensor that is 0 at allowed places and very small elsewhere may be added to secret scores "
    "for nothing.",
    "penalty = torch.full((logits.shape[-1],), -1000.0); penalty[allowed] = 0; return (logits + penalty).argmax(-1)",
)
def choose(answer):
    logits, allowed = 4 * _noise("scores", (3, TOKENS)), torch.tensor([2, 5, 7, 11, 19])
    want = allowed[logits[:, allowed].argmax(-1)]
    run = _run(lambda logits: answer(logits, allowed), logits)
    if run.findings:
        yield from run.findings
        return
    got = run.result
    if got.shape != (3,) or not torch.equal(got.long(), want):
        yield Finding("right", False, f"ids {want.tolist()} are wanted, not {got.tolist()}")
        return
    yield Finding("right", True, "of three rows of scores the best that is allowed")
    yield Finding("private", True, "nothing was revealed on the way")
    penalty = torch.full((TOKENS,), FORBIDDEN)
    penalty[allowed] = 0
    yield _bill(run, _run(lambda logits: (logits + penalty).argmax(-1), logits))


class _run:
    """An answer on secrets of party 0 (the first) and party 1: what it gives, what is wrong with it, what it says."""

    def __init__(self, answer, *values: torch.Tensor):
        self.findings, self.result = [], None
        with simulate(parties=2, insecure_seed=1) as session:
            inputs = [secret(value, owner=k) for k, value in enumerate(values)]
            before = session.report().total()
            out = answer(*inputs)
            report = session.report()
            if any("reveal" in line.path.split("/") for line in report.lines):
                self.findings.append(Finding("private", False, "it reveals a secret; give a secret back"))
            elif not isinstance(out, SecretTensor):
                self.findings.append(Finding("right", False, f"return a secret tensor, not {type(out).__name__}"))
            else:
                self.result = out.reveal()
        after: Line = report.total()
        self.rounds, self.sent = after.rounds - before.rounds, after.sent - before.sent


def _bill(found: _run, reference: _run) -> Finding:
    told = f"{found.rounds} rounds, {found.sent} bytes; the reference has {reference.rounds} and {reference.sent}"
    return Finding("bill", found.rounds <= reference.rounds and found.sent <= reference.sent, told)


def _noise(label: str, shape: tuple) -> torch.Tensor:
    """Numbers between -1 and 1, the same on every machine."""
    return ((Stream(SEED, label).words(shape) >> 40).double() / 2.0**23).float()
