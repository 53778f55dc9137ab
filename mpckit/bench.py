"""`python -m mpckit bench`: what protocols and models cost, against plaintext torch, one row a case.

A case shares its inputs in the set-up phase, has its correlations dealt ahead, and is then run and measured. Bytes
and rounds are exact and those of one party (the one that sends most); cpu_s is the process's CPU time over the
number of parties; wall_s the time the link would need (virtual clock). Medians over `--repeat` runs after one that
does not count.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .nn import private
from .offline.plan import plan
from .runtime.meter import LAN, Link
from .runtime.report import duration, size
from .runtime.session import Session
from .tensor import secret

KEYS = "case suite parties rounds sent_bytes setup_bytes offline_bytes key_bytes cpu_s wall_s max_err".split()


@dataclass(frozen=True)
class Case:
    """One thing to measure: `inputs()` gives plaintext tensors, owned in turn by party 0 and party 1.

    `compute` works on secret and on plain tensors alike. `model()` gives a module that party 1 makes private; then
    sharing the input and revealing the result count as online.
    """

    inputs: Callable[[], tuple]
    compute: Callable
    model: Callable | None = None
    loops: int = 1  # calls per measurement, for what is too short to time


CASES: dict[str, Case] = {}


def case(name: str, inputs, compute, **options):
    CASES[name] = Case(inputs, compute, **options)


def _normal(*shape, scale=1.0):
    return lambda: (torch.randn(shape) * scale,)


def _two(left, right):
    return lambda: (torch.randn(left), torch.randn(right))


def _positive(*shape):
    return lambda: (torch.rand(shape) * 100 + 0.1,)


case("mul_1", _two((1,), (1,)), lambda x, y: x * y, loops=200)
case("mul_1e5", _two((100_000,), (100_000,)), lambda x, y: x * y)
case("matmul_256", _two((256, 256), (256, 256)), lambda x, y: x @ y)
case("matmul_1024", _two((1024, 1024), (1024, 1024)), lambda x, y: x @ y)
case("gtz_1e5", _normal(100_000), lambda x: x > 0)
case("relu_1e5", _normal(100_000), torch.relu)
case("relu_1e6", _normal(1_000_000), torch.relu)
case("max10_1000", _normal(1000, 10), lambda x: x.max(-1).values)
case("softmax_128x128", _normal(128, 128), lambda x: torch.softmax(x, -1))
case("exp_1e4", _normal(10_000), torch.exp)
case("reciprocal_1e4", _positive(10_000), torch.reciprocal)
case("rsqrt_1e4", _positive(10_000), torch.rsqrt)
case("sigmoid_1e4", _normal(10_000, scale=4.0), torch.sigmoid)
case("tanh_1e4", _normal(10_000, scale=2.0), torch.tanh)
case("gelu_1e5", _normal(100_000, scale=2.0), F.gelu)
case("layernorm_64x128", _normal(64, 128, scale=3.0), lambda x: F.layer_norm(x, (128,)))


def _lenet(batch):
    def inputs():
        from .zoo import digits

        return (digits().images[:batch],)

    def model():
        from .zoo import lenet

        return lenet(pretrained=True)

    case(f"lenet_b{batch}", inputs, lambda model, x: model(x), model=model)


_lenet(1)
_lenet(32)


def measure(
    name: str, parties: int = 2, link: Link = LAN, suite: str = "bits", device: str = "cpu", repeat: int = 3
) -> dict:
    """One row of the table: the medians of `repeat` runs, by the names in `KEYS`.

    Raises KeyError for a case that does not exist, ValueError for a suite or device that the kit does not have.
    """
    if device != "cpu":
        raise ValueError(f"device {device!r} is not in this release; there is 'cpu'")
    chosen = CASES[name]
    torch.manual_seed(0)
    plain = chosen.inputs()
    net = chosen.model() if chosen.model else None
    with torch.no_grad():
        expected = chosen.compute(*([net] if net else []), *plain)
        # Warms up: kernels come from numba's cache at their first call.
        _once(chosen, plain, net, expected, parties, link, suite)
        rows = [_once(chosen, plain, net, expected, parties, link, suite) for _ in range(repeat)]
    row = {key: statistics.median(r[key] for r in rows) for key in rows[0]}
    return {"case": name, "suite": suite, "parties": parties} | row


def _once(chosen, plain, net, expected, parties, link, suite):
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
            return out
        model, x = ready
        return chosen.compute(model, secret(x, owner=0)).reveal(to=0)

    values = plain if net is None else (net, *plain)
    planned = plan(lambda *v: online(set_up(*v)), *values, parties=parties, link=link, suite=suite)
    session = Session(parties, link=link, suite=planned.report.suite)
    session.prepare(planned.draws)
    with session:
        ready = set_up(*values)
        start = time.process_time()
        out = online(ready)
        cpu = (time.process_time() - start) / parties / chosen.loops
        report = session.report()
        if net is None:
            with session.meter.phase_of("check"):
                out = out.reveal()
    if planned.report.sent() != report.sent() or planned.report.rounds() != report.rounds() or report.unplanned:
        raise RuntimeError("the plan and the run differ; this is a fault of mpckit, please report it")
    error = (out != expected).sum() if out.dtype == torch.bool else (out - expected).abs().max()
    return {
        "rounds": report.rounds() // chosen.loops,
        "sent_bytes": report.sent() // chosen.loops,
        "setup_bytes": report.sent("setup"),
        "offline_bytes": report.offline_bytes // chosen.loops,
        "key_bytes": report.key_bytes // chosen.loops,
        "cpu_s": cpu,
        "wall_s": report.seconds(link) / chosen.loops,
        "max_err": float(error),
    }


def main(names, parties, link, suite, device, repeat, as_json) -> int:
    """Print a table, or with `as_json` one JSON object per line. Returns the exit status."""
    if names == ["fss"]:
        from . import bench_fss

        return bench_fss.main(max(repeat, 9), as_json)
    if names == ["engines"]:
        from . import bench_engines

        return bench_engines.main(as_json)
    if names == ["events"]:
        from . import bench_events

        return bench_events.main(as_json)
    if names[:1] == ["accuracy"]:
        from . import bench_accuracy

        return bench_accuracy.main(names[1:], (suite,) if suite else bench_accuracy.SUITES, as_json)
    suite = suite or "bits"
    torch.set_num_threads(1)
    unknown = [n for n in names if n not in CASES]
    if unknown:
        print(f"no case {', '.join(unknown)}; there are: fss engines events accuracy {' '.join(CASES)}")
        return 2
    if not as_json:
        print(
            f"{parties} parties, suite {suite}, one thread, "
            f"{link.name} (rtt {link.rtt * 1e3:g} ms, {link.bandwidth * 8e-6:g} Mbit/s)"
        )
        print(
            f"{'case':18}{'rounds':>7}{'sent':>10}{'set-up':>10}{'offline':>10}{'keys':>10}"
            f"{'cpu':>10}{'on ' + link.name:>10}{'max error':>11}"
        )
    for name in names or CASES:
        row = measure(name, parties, link, suite, device, repeat)
        if as_json:
            print(json.dumps({key: row[key] for key in KEYS}), flush=True)
        else:
            print(
                f"{name:18}{row['rounds']:>7.0f}{size(row['sent_bytes']):>10}{size(row['setup_bytes']):>10}{size(row['offline_bytes']):>10}"
                f"{size(row['key_bytes']):>10}"
                f"{duration(row['cpu_s']):>10}{duration(row['wall_s']):>10}{row['max_err']:>11.2g}",
                flush=True,
            )
    return 0
