"""`python -m mpckit bench engines [CASE …]`: a model on real engines: what takes the time, is the prediction right?

A LeNet classifies one digit again and again (or another model of `bench costs` computes), each time online from the
inputs to the result. The seconds are split into kernels, the wire (exchanges, with the wait for the other party) and
the rest: Python and torch's elementwise operations. `cpu` is one party's, `memory` the most that a process has held,
the dealer's too. What was measured on loopback (compute, and the software of an exchange) predicts the seconds on a
link by the virtual clock: half a round trip a round, bytes over bandwidth. Then that link is emulated, and measured.
"""

import json
import resource
import time
from contextlib import contextmanager

import torch

from ..kernels import Kernel
from ..nn import private
from ..runtime.meter import LAN, WAN, Link
from ..runtime.report import duration, size
from ..runtime.session import Session
from ..tensor import secret
from .cases import CASES
from .options import Options

TAKES = ("suite", "repeat", "json")

DEFAULT = "lenet_b1"
REPEAT = {LAN: 30, WAN: 5}  # inferences; a WAN takes a second for each
LOOPBACK = 30
OTHERS = 3  # of another model: their correlations are dealt ahead, for all of them


def measure(suite: str, links: tuple[Link, ...] = (), repeat: int | None = None, name: str = DEFAULT) -> list[dict]:
    """The run of a case that took the median of all, on loopback and on each link: seconds, their parts in shares.

    `predicted` (None on loopback) are the seconds that the run on loopback promises for the link. A `large` case runs
    once, and the first run counts. Raises KeyError for a case that does not exist.
    """
    from ..engines.team import cluster, only

    case, rows = CASES[name], []
    torch.manual_seed(0)
    arguments = name, only(1, case.model()), only(0, case.inputs())
    with cluster(parties=2, threads=1, suite=suite) as team:
        for link in (None, *links):
            options = {"link": link, "emulate_link": True} if link else {}
            times = repeat or (1 if case.large else REPEAT.get(link, LOOPBACK) if name == DEFAULT else OTHERS)
            (each, _), report = team.run(_program, *arguments, times, progress=False, **options)
            usual = sorted(each, key=lambda run: run["seconds"])[len(each) // 2]
            row = usual | {"exchange": report.exchange}
            row["memory"] = max(team.client[:].apply_sync(_most_memory))
            here = rows[0] if rows else row
            predicted = link and link.seconds(here["rounds"], here["sent"], here["compute"], here["exchange"])
            rows.append({"case": name, "suite": suite, "link": link and link.name, "predicted": predicted} | row)
    return rows


def _program(name, model, inputs, repeat):
    case, session, rows = CASES[name], Session.current(), []
    secret_model = private(model, owner=1)
    for again in range(repeat + (not case.large)):  # the first warms up
        if case.trains and again:  # the weights are others now
            secret_model = private(model, owner=1)
        before, start, cpu = session.meter.total(), time.perf_counter(), time.process_time()
        with _timed_kernels() as kernels, torch.set_grad_enabled(case.trains):
            case.compute(secret_model, *(secret(x, owner=0) for x in inputs)).reveal(to=0)
        seconds, after = time.perf_counter() - start, session.meter.total()
        waiting = after.waiting - before.waiting
        rows.append(
            {
                "rounds": after.rounds - before.rounds,
                "sent": max((after.sent[p] - before.sent.get(p, 0) for p in after.sent), default=0),
                "seconds": seconds,
                "cpu": time.process_time() - cpu,
                "compute": after.compute - before.compute,
                "kernels": kernels[0] / seconds,
                "wire": waiting / seconds,
                "python": (seconds - waiting - kernels[0]) / seconds,
            }
        )
    return rows[-repeat:]


def _most_memory() -> int:
    """Bytes that this process has held at the most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@contextmanager
def _timed_kernels():
    """[seconds in kernels], those that kernels call counted once."""
    call, total, depth = Kernel.__call__, [0.0], 0

    def timed(self, *args):
        nonlocal depth
        depth, start = depth + 1, time.perf_counter()
        try:
            return call(self, *args)
        finally:
            depth -= 1
            total[0] += 0.0 if depth else time.perf_counter() - start

    Kernel.__call__ = timed
    try:
        yield total
    finally:
        Kernel.__call__ = call


def main(names: list[str], options: Options) -> int:
    """Print a table, or one JSON object per line. Returns the exit status."""
    models = [name for name, case in CASES.items() if case.model]
    if unknown := [name for name in names if name not in models]:
        print(f"`bench engines` runs models, and {', '.join(unknown)} is none: {' '.join(models)}")
        return 2
    if not options.json:
        print("two engines, one thread each, online; medians")
        print(
            f"{'case':21}{'suite':6}{'link':>9}{'rounds':>7}{'sent':>9}{'exchange':>9}{'measured':>9}{'predicted':>10}"
            f"{'off':>6}{'kernels':>8}{'wire':>6}{'Python':>7}{'cpu':>9}{'memory':>9}"
        )
    for name in names or [DEFAULT]:
        links = () if names else (LAN, WAN)
        for suite in (options.suite,) if options.suite else ("bits", "fss"):
            for row in measure(suite, links, options.repeat, name):
                print(json.dumps(row) if options.json else _line(row), flush=True)
    return 0


def _line(row) -> str:
    predicted = duration(row["predicted"]) if row["predicted"] else "-"
    off = f"{row['predicted'] / row['seconds'] - 1:+.0%}" if row["predicted"] else "-"
    return (
        f"{row['case']:21}{row['suite']:6}{row['link'] or 'loopback':>9}{row['rounds']:>7}{size(row['sent']):>9}"
        f"{duration(row['exchange']):>9}{duration(row['seconds']):>9}{predicted:>10}{off:>6}"
        f"{row['kernels']:>8.0%}{row['wire']:>6.0%}{row['python']:>7.0%}{duration(row['cpu']):>9}{size(row['memory']):>9}"
    )
