"""Where an inference on engines spends its time, and whether a run on loopback foretells a link:

measure("bits", (LAN,))       # [{"seconds": …, "kernels": 0.1, "wire": 0.5, "python": 0.4, …}, …]
"""

import pytest

from mpckit.bench import Options, costs, engines
from mpckit.bench.engines import measure
from mpckit.runtime.meter import Link
from mpckit.runtime.report import size


def test_shares_add_up_and_a_slow_link_is_predicted():
    here, far = measure("fss", (Link("far", rtt=40e-3, bandwidth=1e8),), repeat=2)
    assert here["link"] is None and here["predicted"] is None and far["link"] == "far"
    for row in here, far:
        assert row["rounds"] == 22 and row["exchange"] > 0
        assert row["kernels"] + row["wire"] + row["python"] == pytest.approx(1), "parts of one run"
    assert far["seconds"] >= 22 * 20e-3 > 22 * far["exchange"], "the link is no part of the software"
    assert far["predicted"] == pytest.approx(far["seconds"], rel=0.15)


def test_any_model_of_the_bench_runs_on_engines(capsys):
    """A step of training: the same rounds and bytes as in the simulator."""
    simulated = costs.measure("lenet_train_step_b32", repeat=1)
    assert engines.main(["lenet_train_step_b32"], Options(suite="bits", repeat=1)) == 0
    head, columns, line = capsys.readouterr().out.splitlines()
    case, suite, link, rounds, sent, unit, *_ = line.split()
    assert (case, suite, link, int(rounds)) == ("lenet_train_step_b32", "bits", "loopback", simulated["rounds"])
    assert f"{sent} {unit}" == size(simulated["sent_bytes"])
