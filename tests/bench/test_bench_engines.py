"""Where an inference on engines spends its time, and whether a run on loopback foretells a link:

measure("bits", (LAN,))       # [{"seconds": …, "kernels": 0.1, "wire": 0.5, "python": 0.4, …}, …]
"""

import pytest

from mpckit.bench.engines import measure
from mpckit.runtime.meter import Link


def test_shares_add_up_and_a_slow_link_is_predicted():
    here, far = measure("fss", (Link("far", rtt=40e-3, bandwidth=1e8),), repeat=2)
    assert here["link"] is None and here["predicted"] is None and far["link"] == "far"
    for row in here, far:
        assert row["rounds"] == 28 and row["exchange"] > 0
        assert row["kernels"] + row["wire"] + row["python"] == pytest.approx(1, abs=0.1)  # medians, each by itself
    assert far["seconds"] >= 28 * 20e-3 > 28 * far["exchange"], "the link is no part of the software"
    assert far["predicted"] == pytest.approx(far["seconds"], rel=0.15)
