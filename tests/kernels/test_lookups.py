"""What signed look-ups mean: u·table[x̂ - alpha], from keys as a dealer makes them."""

import pytest
import torch

from mpckit import kernels
from mpckit.fss import dpf
from mpckit.stream import Stream, fresh_seed


@pytest.mark.parametrize("n", [40, 300])  # few elements, and enough for sums of bytes
@pytest.mark.parametrize("k", range(1, 13))
def test_two_parties_sums_are_the_entry_with_the_dealers_sign(k, n):
    torch.manual_seed(k)
    tables = torch.randint(-(2**63), 2**63 - 1, (2, 2**k))
    x_hat, alpha = torch.randint(-(2**63), 2**63 - 1, (2, n))
    keys = dpf.gen(alpha, k, [Stream(fresh_seed(), f"party {p}") for p in (0, 1)])
    codes = [dpf.eval_all(key) for key in keys]
    sign = torch.where(dpf.eval(keys[0], alpha), 1, -1)
    assert {1, -1} == set(sign.tolist())
    for body in (kernels.signed_lookup, kernels.signed_lookup.reference):
        total = body(x_hat, codes[0], tables, True) + body(x_hat, codes[1], tables, False)
        assert torch.equal(total, sign * tables[:, (x_hat - alpha) & (2**k - 1)])


def test_a_shape_that_does_not_fit_is_not_read_beyond_its_end():
    x_hat, table = torch.zeros(100, dtype=torch.int64), torch.zeros(256, dtype=torch.int64)
    for hot in (torch.zeros(100, 3, dtype=torch.int64), torch.zeros(99, 4, dtype=torch.int64)):
        with pytest.raises((IndexError, RuntimeError)):
            kernels.lookup(x_hat, hot, table)
        with pytest.raises((IndexError, RuntimeError)):
            kernels.signed_lookup(x_hat, hot, table[None], True)
