"""`python -m mpckit bench agreement`: does a model answer under the protocol as it does in plaintext?

Each case (`agreement_cases`) has a model with real weights and real samples, which parties in the simulator classify
and torch as well. `agree` is the share of samples with the same answer; `plain` and `encrypted` are the shares with the
right one; `max |Δ|` is the largest difference between two logits. Without options each case runs with two parties in
both suites, on as many samples as its bound is about, and with three parties on 50. The exit status is 1 where a bound
does not hold, and 2 where a case that was named could not run.
"""

import json
import time

import torch

from ..folding import fold
from ..nn import private
from ..runtime.report import duration
from ..runtime.session import Session
from ..tensor import secret
from .agreement_cases import CASES, Case, Missing
from .options import Options

TAKES = ("parties", "suite", "samples", "json")
KEYS = "case suite parties samples agree plain encrypted max_diff bound ok cpu_s".split()
SETTINGS = (("bits", 2, None), ("fss", 2, None), ("bits", 3, 50))  # suite, parties, samples


def measure(case: Case, suite: str = "bits", parties: int = 2, samples: int | None = None) -> dict:
    """One row, by the names in `KEYS`; cpu_s is that of all parties and their dealer. Raises Missing."""
    model = case.model()
    count = same = right_plain = right_encrypted = 0
    furthest = 0.0
    with torch.no_grad(), Session(parties, suite=suite) as session:
        secret_model = private(fold(model), owner=1)
        start = time.process_time()
        for inputs, labels in case.samples(samples):
            want = model(inputs)
            got = secret_model(secret(inputs, owner=0)).reveal(to=0)
            plain, encrypted = case.answer(want), case.answer(got)
            count += len(labels)
            same += sum(p == e for p, e in zip(plain, encrypted))
            right_plain += sum(p == y for p, y in zip(plain, labels))
            right_encrypted += sum(e == y for e, y in zip(encrypted, labels))
            furthest = max(furthest, float((got - want).abs().max()))
        seconds = time.process_time() - start
    shares = same / count, right_plain / count, right_encrypted / count
    row = (case.name, session.suite.name, parties, count, *shares, furthest, case.bound, case.holds(*shares), seconds)
    return dict(zip(KEYS, row))


def main(names: list[str], options: Options, chosen: list[Case] | None = None) -> int:
    """Print a table, or one JSON object per line. Returns the exit status."""
    every = CASES if chosen is None else chosen
    if unknown := [n for n in names if n not in [c.name for c in every]]:
        print(f"no case {', '.join(unknown)}; there are: {', '.join(c.name for c in every)}")
        return 2
    if options.samples is not None and options.samples < 1:
        print(f"--samples {options.samples}: at least one is needed")
        return 2
    settings = SETTINGS
    if options.suite or options.parties:
        settings = ((options.suite or "bits", options.parties or 2, None),)
    torch.set_num_threads(1)
    if not options.json:
        print(
            f"{'case':16}{'suite':6}{'parties':>8}{'samples':>9}{'agree':>9}{'plain':>9}{'encrypted':>11}"
            f"{'max |Δ|':>10}{'cpu':>9}  bound"
        )
    status = 0
    for case in every:
        if names and case.name not in names:
            continue
        for suite, parties, few in settings:
            try:
                row = measure(case, suite, parties, options.samples or few)
            except Missing as reason:
                print(json.dumps({"case": case.name, "skipped": str(reason)}) if options.json else
                      f"{case.name:16}SKIPPED: {reason}", flush=True)  # fmt: skip
                status = max(status, 2 if names else 0)
                break
            if not row["ok"]:
                status = 1
            if options.json:
                print(json.dumps(row, ensure_ascii=False), flush=True)
                continue
            shares = f"{row['agree']:>9.2%}{row['plain']:>9.2%}{row['encrypted']:>11.2%}"
            figures = f"{shares}{row['max_diff']:>10.2g}{duration(row['cpu_s']):>9}"
            mark = "" if row["ok"] else "   NOT MET"
            print(f"{case.name:16}{suite:6}{parties:>8}{row['samples']:>9}{figures}  {row['bound']}{mark}", flush=True)
    return status
