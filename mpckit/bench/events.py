"""`python -m mpckit bench events`: what it costs that the notebook hears every word, on real engines.

A model classifies the same batch again and again, in turn with and without a listener on the meter, so that a machine
that grows slower meanwhile slows both. One pair gives one ratio; their median is the cost.
"""

import json
import statistics
import time

import torch

from ..nn import private
from ..offline.plan import plan
from ..runtime.report import duration
from ..runtime.session import Session
from ..tensor import secret
from .options import Options

TAKES = ("json",)

PAIRS = 24  # of one run; the correlations of a run are dealt ahead and take memory


def measure(batch: int = 8, runs: int = 10, pairs: int = PAIRS) -> dict:
    """Medians: seconds of one LeNet inference without and with events, and the ratio; how many events there were."""
    from ..engines.team import cluster
    from ..zoo import digits, lenet

    images, model = digits().images[:batch], lenet(pretrained=True)
    draws = list(plan(_program, images, model, 2 * pairs, lambda k: None).draws)
    without, ratios, count, dropped = [], [], 0, 0
    with cluster(parties=2) as team:
        heard = []
        team.events.subscribe(heard.append)
        for _ in range(runs):
            values = team.wired(_measured, [(images, model, pairs, draws)] * 2)
            for off, on in values[0]:
                without.append(off)
                ratios.append(on / off)
        time.sleep(0.2)
        count, dropped = len(heard), max(team.events.dropped.values(), default=0)
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "batch": batch, "pairs": len(ratios), "seconds": statistics.median(without), "overhead": middle - 1,
        "quartiles": [low - 1, high - 1], "events": count, "dropped": dropped,
    }  # fmt: skip


def _program(images, model, times, turn):
    model = private(model, owner=1)
    for k in range(times + 1):  # the first warms up
        turn(k)
        model(secret(images, owner=0)).reveal(to=0)
    turn(times + 1)


def _measured(seat, images, model, pairs, draws):
    session = Session(seat.parties, here=(seat.party,), wire=seat.wire, dealer=seat.dealer)
    session.prepare(draws)
    times = []

    def turn(k):
        times.append(time.perf_counter())
        # with, without, without, with, …: neither comes first more often
        session.meter.listeners[:] = [seat.events.hear] if k % 4 in (2, 3) else []

    with session, torch.no_grad():
        _program(images, model, 2 * pairs, turn)
    spent = [b - a for a, b in zip(times, times[1:])]
    # (without, with)
    return [(spent[k], spent[k + 1]) if k % 4 == 1 else (spent[k + 1], spent[k]) for k in range(1, 2 * pairs, 2)]


def main(names: list[str], options: Options) -> int:
    """Print a table, or one JSON object per line. Returns the exit status."""
    if names:
        print(f"`bench events` has no parts to choose from, so nothing is named {', '.join(names)}")
        return 2
    row = measure()
    if options.json:
        print(json.dumps(row))
    else:
        low, high = row["quartiles"]
        print(
            f"LeNet, batch {row['batch']}, on two engines: {duration(row['seconds'])} an inference; telling every word "
            f"adds {row['overhead']:+.1%} (half of {row['pairs']} pairs between {low:+.1%} and {high:+.1%}); "
            f"{row['events']} events, {row['dropped']} dropped"
        )
    return 0
