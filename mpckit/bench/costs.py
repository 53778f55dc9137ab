"""`python -m mpckit bench`: what protocols and models cost, against plaintext torch, one row a case.

A case shares its inputs in the set-up phase, has its correlations dealt ahead, and is then run and measured. Bytes
and rounds are exact and those of one party (the one that sends most); cpu_s is the process's CPU time over the
number of parties; wall_s the time the link would need (virtual clock). Medians over `--repeat` runs after one that
does not count.
"""

import copy
import json
import statistics
import time

import torch

from ..nn import private
from ..offline.plan import plan
from ..runtime.meter import LAN, Link
from ..runtime.report import duration, size
from ..runtime.session import Session
from ..tensor import secret
from .cases import CASES
from .options import Options

TAKES = ("parties", "link", "suite", "device", "repeat", "json")

KEYS = "case suite parties rounds sent_bytes setup_bytes offline_bytes key_bytes cpu_s wall_s max_err".split()


def measure(
    name: str, parties: int = 2, link: Link = LAN, suite: str = "bits", device: str = "cpu", repeat: int = 3
) -> dict:
    """One row of the table: the medians of `repeat` runs, by the names in `KEYS`.

    Raises KeyError for a case that does not exist, ValueError for a suite or device that the kit does not have.
    """
    if device.partition(":")[0] not in ("cpu", "cuda"):
        raise ValueError(f"device {device!r} is not in this release; there are 'cpu' and 'cuda'")
    chosen = CASES[name]
    torch.manual_seed(0)
    plain = chosen.inputs()
    net = chosen.model() if chosen.model else None
    with torch.set_grad_enabled(chosen.trains):
        expected = _in_plaintext(chosen, plain, net)
        # Warms up: kernels come from numba's cache at their first call.
        _once(chosen, plain, net, expected, parties, link, suite, device)
        rows = [_once(chosen, plain, net, expected, parties, link, suite, device) for _ in range(repeat)]
    row = {key: statistics.median(r[key] for r in rows) for key in rows[0]}
    return {"case": name, "suite": suite, "parties": parties} | row


def _in_plaintext(chosen, plain, net):
    if net is None:
        return chosen.compute(*plain)
    net = copy.deepcopy(net)
    out = chosen.compute(net, *plain)
    return _weights(net) if chosen.trains else out


def _weights(net):
    return [p.detach() for p in net.parameters()]


def _once(chosen, plain, net, expected, parties, link, suite, device):
    def set_up(*values):
        session = Session.current()
        if net is not None:
            return (private(values[0], owner=1), *values[1:])
        with session.meter.phase_of("setup"):
            return tuple(secret(v, owner=i % 2) for i, v in enumerate(values))

    def online(ready):
        if net is None:
            for _ in range(chosen.loops):
                out = chosen.compute(*ready)
                out.shared  # noqa: B018  (a product's truncation waits for whoever takes its shares)
            return out
        model, *inputs = ready
        return chosen.compute(model, *(secret(x, owner=0) for x in inputs)).reveal(to=0)

    values = plain if net is None else (net, *plain)
    options = {"link": link, "truncation": chosen.truncation}
    planned = plan(lambda *v: online(set_up(*v)), *values, parties=parties, suite=suite, **options)
    session = Session(parties, suite=planned.report.suite, device=device, **options)
    session.prepare(planned.draws)
    with session:
        ready = set_up(*values)
        start = time.process_time()
        out = online(ready)
        cpu = (time.process_time() - start) / parties / chosen.loops
        report = session.report()
        with session.meter.phase_of("check"):
            if net is None:
                out = out.reveal()
            elif chosen.trains:
                out = [w.reveal() for w in _weights(ready[0])]
    if planned.report.sent() != report.sent() or planned.report.rounds() != report.rounds() or report.unplanned:
        raise RuntimeError("the plan and the run differ; this is a fault of mpckit, please report it")
    return {
        "rounds": report.rounds() // chosen.loops,
        "sent_bytes": report.sent() // chosen.loops,
        "setup_bytes": report.sent("setup"),
        "offline_bytes": report.offline_bytes // chosen.loops,
        "key_bytes": report.key_bytes // chosen.loops,
        "cpu_s": cpu,
        "wall_s": report.seconds(link) / chosen.loops,
        "max_err": _error(out, expected),
    }


def _error(out, expected) -> float:
    """The largest difference; of bits, how many are wrong."""
    if isinstance(out, list):
        return max(_error(a, b) for a, b in zip(out, expected, strict=True))
    out = out.cpu()
    return float((out != expected).sum() if out.dtype == torch.bool else (out - expected).abs().max())


def main(names: list[str], options: Options) -> int:
    """Print a table, or one JSON object per line. Returns the exit status."""
    parties, link, suite = options.parties or 2, options.link or LAN, options.suite or "bits"
    torch.set_num_threads(1)
    if not options.json:
        print(
            f"{parties} parties, suite {suite}, one thread, "
            f"{link.name} (rtt {link.rtt * 1e3:g} ms, {link.bandwidth * 8e-6:g} Mbit/s)"
        )
        print(
            f"{'case':18}{'rounds':>7}{'sent':>10}{'set-up':>10}{'offline':>10}{'keys':>10}"
            f"{'cpu':>10}{'on ' + link.name:>10}{'max error':>11}"
        )
    for name in names or (name for name, case in CASES.items() if not case.large):
        row = measure(name, parties, link, suite, options.device or "cpu", options.repeat or 3)
        if options.json:
            print(json.dumps({key: row[key] for key in KEYS}), flush=True)
            continue
        volumes = "".join(f"{size(row[f'{key}_bytes']):>10}" for key in ("sent", "setup", "offline", "key"))
        print(
            f"{name:18}{row['rounds']:>7.0f}{volumes}{duration(row['cpu_s']):>10}{duration(row['wall_s']):>10}"
            f"{row['max_err']:>11.2g}",
            flush=True,
        )
    return 0
