"""`python -m mpckit bench engines`: an inference on real engines: what takes the time, and does the prediction hold.

A LeNet classifies one digit again and again, each time online from the picture to the logits. Without an emulated link
the seconds are split into kernels, the wire (exchanges, with the wait for the other party) and the rest: Python and
torch's elementwise operations. On an emulated link they are compared with the virtual clock: compute, half a round trip
a round, bytes over bandwidth.
"""

import json
import statistics
import time
from contextlib import contextmanager

from ..kernels import Kernel
from ..nn import private
from ..runtime.meter import LAN, WAN
from ..runtime.report import duration
from ..runtime.session import Session
from ..tensor import secret
from .options import Options

TAKES = ("json",)

REPEAT = {None: 30, LAN: 30, WAN: 5}  # inferences; a WAN takes a second for each


def measure(suite: str, link=None, repeat: int | None = None) -> dict:
    """Medians over the inferences of one party: seconds measured and, on a link, predicted; the shares of them."""
    from ..engines.team import cluster, only
    from ..zoo import digits, lenet

    options = {"link": link, "emulate_link": True} if link else {}
    with cluster(parties=2, suite=suite, **options) as team:
        arguments = only(1, lenet(pretrained=True)), only(0, digits().images[:1]), repeat or REPEAT[link]
        (rows, _), report = team.run(_program, *arguments, progress=False)
    row = {key: statistics.median(r[key] for r in rows) for key in rows[0]}
    return {"suite": suite, "link": link.name if link else None, "rounds": report.rounds() // (len(rows) + 1)} | row


def _program(model, image, repeat):
    model, session, rows = private(model, owner=1), Session.current(), []
    for _ in range(repeat + 1):  # the first warms up
        before, start = session.meter.total(), time.perf_counter()
        with _timed_kernels() as kernels:
            model(secret(image, owner=0)).reveal(to=0)
        seconds, after = time.perf_counter() - start, session.meter.total()
        rounds, waiting = after.rounds - before.rounds, after.waiting - before.waiting
        sent = max((after.sent[p] - before.sent.get(p, 0) for p in after.sent), default=0)
        rows.append(
            {
                "seconds": seconds,
                "predicted": session.link.seconds(rounds, sent, seconds - waiting),
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
            f"{'suite':6}{'link':>10}{'rounds':>8}{'measured':>10}{'predicted':>11}{'kernels':>9}{'wire':>7}{'Python':>8}"
        )
    for link in (None, LAN, WAN):
        for suite in ("bits", "fss"):
            row = measure(suite, link)
            if options.json:
                print(json.dumps(row), flush=True)
                continue
            predicted = f"{duration(row['predicted'])}" if link else "-"
            print(
                f"{suite:6}{row['link'] or 'loopback':>10}{row['rounds']:>8}"
                f"{duration(row['seconds']):>10}{predicted:>11}"
                f"{row['kernels']:>9.0%}{row['wire']:>7.0%}{row['python']:>8.0%}",
                flush=True,
            )
    return 0
