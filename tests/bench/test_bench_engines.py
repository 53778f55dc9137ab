"""Where an inference on engines spends its time:

measure("bits")       # {"seconds": …, "kernels": 0.1, "wire": 0.5, "python": 0.4, …}
"""

import pytest

from mpckit.bench.engines import measure
from mpckit.runtime.meter import Link


def test_shares_add_up_and_a_slow_link_is_predicted():
    row = measure("fss", Link("far", rtt=40e-3, bandwidth=1e8), repeat=2)
    assert row["rounds"] == 28 and row["link"] == "far"
    assert row["kernels"] + row["wire"] + row["python"] == pytest.approx(1, abs=0.1)  # medians, each by itself
    assert row["seconds"] >= 28 * 20e-3
    assert row["predicted"] == pytest.approx(row["seconds"], rel=0.15)
