"""`python -m mpckit bench engines`: an inference on real engines: what takes the time, and does the prediction hold.

A LeNet classifies one digit again and again, each time online from the picture to the logits. The seconds are split
into kernels, the wire (exchanges, with the wait for the other party) and the rest: Python and torch's elementwise
operations. What was measured on loopback (compute, and the software of an exchange) predicts the seconds on a link by
the virtual clock: half a round trip a round, bytes over bandwidth. Then that link is emulated, and measured.
"""

import json
import statistics
import time
from contextlib import contextmanager

from ..kernels import Kernel
from ..nn import private
from ..runtime.meter import LAN, WAN, Link
from ..runtime.report import duration
from ..runtime.session import Session
from ..tensor import secret
from .options import Options

TAKES = ("json",)

REPEAT = {LAN: 30, WAN: 5}  # inferences; a WAN takes a second for each
LOOPBACK = 30


def measure(suite: str, links: tuple[Link, ...] = (), repeat: int | None = None) -> list[dict]:
    """Medians over the inferences of a party, on loopback and on each link: seconds measured, their parts in shares.

    `predicted` (None on loopback) are the seconds that the run on loopback promises for the link.
    """
    from ..engines.team import cluster, only
    from ..zoo import digits, lenet

    arguments, rows = (only(1, lenet(pretrained=True)), only(0, digits().images[:1])), []
    with cluster(parties=2, suite=suite) as team:
        for link in (None, *links):
            options = {"link": link, "emulate_link": True} if link else {}
            times = repeat or REPEAT.get(link, LOOPBACK)
            (each, _), report = team.run(_program, *arguments, times, progress=False, **options)
            row = {key: statistics.median_high(e[key] for e in each) for key in each[0]} | {"exchange": report.exchange}
            here = rows[0] if rows else row
            predicted = link and link.seconds(here["rounds"], here["sent"], here["compute"], here["exchange"])
            rows.append({"suite": suite, "link": link and link.name, "predicted": predicted} | row)
    return rows


def _program(model, image, repeat):
    model, session, rows = private(model, owner=1), Session.current(), []
    for _ in range(repeat + 1):  # the first warms up
        before, start = session.meter.total(), time.perf_counter()
        with _timed_kernels() as kernels:
            model(secret(image, owner=0)).reveal(to=0)
        seconds, after = time.perf_counter() - start, session.meter.total()
        waiting = after.waiting - before.waiting
        rows.append(
            {
                "rounds": after.rounds - before.rounds,
                "sent": max((after.sent[p] - before.sent.get(p, 0) for p in after.sent), default=0),
                "seconds": seconds,
                "compute": after.compute - before.compute,
                "kernels": kernels[0] / seconds,
                "wire": waiting / seconds,
                "python": (seconds - waiting - kernels[0]) / seconds,
            }
        )
    return rows[1:]


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
    if names:
        print(f"`bench engines` has no parts to choose from, so nothing is named {', '.join(names)}")
        return 2
    if not options.json:
        print("LeNet, one digit, two engines, online; medians")
        print(
            f"{'suite':6}{'link':>10}{'rounds':>8}{'exchange':>10}{'measured':>10}{'predicted':>11}{'off':>6}"
            f"{'kernels':>9}{'wire':>7}{'Python':>8}"
        )
    for suite in ("bits", "fss"):
        for row in measure(suite, (LAN, WAN)):
            if options.json:
                print(json.dumps(row), flush=True)
                continue
            off = f"{row['predicted'] / row['seconds'] - 1:+.0%}" if row["predicted"] else "-"
            print(
                f"{suite:6}{row['link'] or 'loopback':>10}{row['rounds']:>8}{duration(row['exchange']):>10}"
                f"{duration(row['seconds']):>10}{duration(row['predicted']) if row['predicted'] else '-':>11}{off:>6}"
                f"{row['kernels']:>9.0%}{row['wire']:>7.0%}{row['python']:>8.0%}",
                flush=True,
            )
    return 0
