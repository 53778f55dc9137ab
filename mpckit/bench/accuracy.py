"""`python -m mpckit bench accuracy`: how far a function under the protocol may be off, over its whole domain.

A case (`accuracy_cases`) samples every size of number that its domain has, then looks for something worse around
the worst of them. The truth is torch's in float64 on the ring's own numbers, so what encoding rounds is not counted.
`worst` and `mean` (over the samples, before the search) are in the unit of the bound: absolute, ulp, or relative, where
a result counts as k·ulp/r at least if "r·|y| or k ulp" is allowed. The exit status is 1 where a bound does not hold.
"""

import json
import sys

import torch

from ..engines.progress import Progress
from ..runtime.session import Session, Shared
from ..tensor import SecretTensor
from .accuracy_cases import END, FRAC, Case, cases, real
from .options import Options

TAKES = ("suite", "json")
SUITES = ("bits", "fss")
KEYS = "case suite samples worst mean bound limit ok at".split()
CHUNK = 1 << 18  # numbers in one run


# ---- measuring -------------------------------------------------------------------------------------------------------


def session_for(case: Case, suite: str) -> Session:
    """The simulator's two parties, with one seed for all runs: a row can be had again."""
    return Session(2, suite=suite, truncation=case.truncation, insecure_seed=0)


def errors(case: Case, suite: str, x: torch.Tensor, session: Session | None = None) -> torch.Tensor:
    """What each result for int64 ring units x [n, …] is off, in the unit of the bound."""
    return torch.cat([_errors(case, session or session_for(case, suite), part) for part in x.split(_samples(x))])


def _samples(x):
    return max(1, CHUNK // x[0].numel()) if len(x) else 1


def _errors(case, session, x):
    with session:
        # As integers, which 64 bits hold; a float64 would cut large ones.
        shared = session.share(x, 0, session.ring.at(0))
        out = case.compute(SecretTensor(Shared(tuple(s.like(s.data, FRAC) for s in shared.shares)), session))
        found = session.ring.reduce(session.open(out.shared))
    return case.error(x, found)


def thresholds(case: Case, suite: str) -> list[int]:
    """What the protocol compares with, overheard from its suite."""
    session, heard = session_for(case, suite), set()
    for name in ("at_least", "lines"):
        method = getattr(session.suite, name, None)
        if method is None:
            continue

        def listen(*args, _method=method):
            heard.update(v for some in args if isinstance(some, (tuple, list)) for v in some if type(v) is int)
            return _method(*args)

        setattr(session.suite, name, listen)
    errors(case, suite, torch.ones(1, dtype=torch.int64), session)
    return sorted(v for v in heard if abs(v) < END)


REGIONS, STARTS, NEAR, COINS, PASSES, IDLE = 1024, 128, 32, 8, 16, 2
NUMBERS = 1 << 17  # in one pass of the search


def neighbours(x: torch.Tensor, generator) -> torch.Tensor:
    """Samples at random distances from each of x, from its own size down to an ulp: [n, …] → [near, n, …]."""
    single = x.dim() == 1 or x.shape[-1] == 2
    size = x.abs().double() if single else x.abs().double().mean(-1, keepdim=True)
    shape = (max(2, min(NEAR, NUMBERS // COINS // x.numel())), *x.shape)
    power = torch.rand(*shape[:2], *[1] * (x.dim() - 1), generator=generator, dtype=torch.float64)
    step = size.clamp(min=1) ** power * (torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1)
    return x + step.round().long() + torch.randint(-1, 2, shape, generator=generator)


def search(case: Case, suite: str, x: torch.Tensor, score: torch.Tensor, generator) -> tuple[float, torch.Tensor]:
    """The worst of x, and of what lies around the worst of its regions, until that gains nothing more.

    Truncation rounds by chance: what climbs is the mean of some runs, what counts is the worst that any run has shown.
    Gives (its error, the sample).
    """
    session = session_for(case, suite)
    worst, at = score.max(0)
    worst, at = float(worst), x[at]

    def run(samples):
        nonlocal worst, at
        tries = _score(errors(case, suite, samples.repeat(COINS, *[1] * (x.dim() - 1)), session)).reshape(COINS, -1)
        peak, which = tries.amax(0).max(0)
        if float(peak) > worst:
            worst, at = float(peak), samples[which]
        return tries.mean(0)

    single = x.dim() == 1
    order, regions = (x.argsort(), REGIONS) if single else (torch.arange(len(x)), NUMBERS // COINS // x.shape[-1])
    parts = order.tensor_split(max(STARTS, min(regions, REGIONS)))
    x = x[torch.stack([part[score[part].argmax()] for part in parts if len(part)])]
    score, best = run(x).topk(min(STARTS if single else STARTS // 8, len(x)))
    x, idle = x[best], 0
    for _ in range(PASSES):
        near = neighbours(x, generator)
        near = torch.where(case.inside(near).reshape(*near.shape[:2], *[1] * (x.dim() - 1)), near, x)
        gained, which = run(near.flatten(0, 1)).reshape(near.shape[:2]).max(0)
        better, before = gained > score, (float(score.max()), worst)
        x[better], score[better] = near[which, torch.arange(len(x))][better], gained[better]
        idle = 0 if float(score.max()) > before[0] * 1.001 or worst > before[1] else idle + 1
        if idle == IDLE:
            break
    return worst, at


def _score(error):
    return error.reshape(len(error), -1).amax(-1)


def measure(case: Case, suite: str, seed: int = 0) -> dict:
    """One row, by the names in `KEYS`; `at` is the worst input, as real numbers."""
    generator = torch.Generator().manual_seed(seed)
    marks = thresholds(case, suite) if case.inputs(generator, ())[0].dim() == 1 else ()
    found, total, count, samples = [], 0.0, 0, 0
    for x in case.inputs(generator, marks):
        x = x[case.inside(x)]
        error = errors(case, suite, x)
        total, count, samples = total + float(error.sum()), count + error.numel(), samples + len(x)
        found.append(search(case, suite, x, _score(error), generator))
    worst, at = max(found, key=lambda pair: pair[0])
    bound = case.bound
    row = (case.name, suite, samples, worst, total / count, bound.text, bound.limit, worst <= bound.limit)
    return dict(zip(KEYS, (*row, real(at).tolist())))


# ---- the table -------------------------------------------------------------------------------------------------------


def place(at) -> str:
    """The worst input in a few letters: a number, two, or what a row looks like."""
    if isinstance(at, float):
        return f"{at:.9g}"
    if len(at) == 2:
        return f"{at[0]:.6g}, {at[1]:.6g}"
    v = torch.tensor(at)
    return f"{len(at)} numbers, {v.mean():.3g} ± {v.std(correction=0):.3g}"


def main(names: list[str], options: Options, chosen: list[Case] | None = None) -> int:
    """Print a table, or one JSON object per line. 1 where a bound does not hold, 2 for a wrong name."""
    every, suites = cases() if chosen is None else chosen, (options.suite,) if options.suite else SUITES
    for kind, wanted, known in (("case", names, [c.name for c in every]), ("suite", suites, SUITES)):
        if unknown := [n for n in wanted if n not in known]:
            print(f"no {kind} {', '.join(unknown)}; there are: {', '.join(known)}")
            return 2
    torch.set_num_threads(1)
    if not options.json:
        print(f"{'case':20}{'suite':6}{'samples':>9}{'worst':>10}{'mean':>10}  {'bound':28}at")
    todo = [(case, suite) for case in every if not names or case.name in names for suite in suites]
    progress, failed = Progress(), 0
    clear = "\r\033[K" if sys.stdout.isatty() else ""
    for done, (case, suite) in enumerate(todo):
        progress.update("accuracy", done, len(todo), f"cases: {case.name}")
        row = measure(case, suite)
        failed += not row["ok"]
        if options.json:
            print(json.dumps(row, ensure_ascii=False), flush=True)
            continue
        figures = f"{row['samples']:>9}{row['worst']:>10.3g}{row['mean']:>10.2g}"
        mark = "" if row["ok"] else "   EXCEEDS ITS BOUND"
        print(f"{clear}{case.name:20}{suite:6}{figures}  {case.bound.text:28}{place(row['at'])}{mark}", flush=True)
    progress.update("accuracy", len(todo), len(todo), "cases")
    progress.close()
    return int(failed > 0)
