"""The k largest, under encryption:

values, places = mk.secret(scores, owner=0).topk(3)
"""

import pytest
import torch
from twin import agree, case

import mpckit as mk

torch.manual_seed(0)
SCORES = torch.randn(3, 7) * 5


@pytest.mark.parametrize(("parties", "suite"), [(2, "bits"), (3, "bits"), (2, "fss")])
@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize(("dim", "largest"), [(-1, True), (-1, False), (0, True)])
def test_values_and_places(k, dim, largest, parties, suite):
    k = min(k, SCORES.shape[dim])
    agree(case("topk", lambda x: x.topk(k, dim, largest), SCORES), parties, suite=suite)
    with mk.simulate(parties, suite=suite):
        _, places = mk.secret(SCORES, owner=0).topk(k, dim, largest)
        assert torch.equal(places.reveal(), SCORES.topk(k, dim, largest).indices)


def test_too_many_are_refused():
    with mk.simulate(), pytest.raises(RuntimeError, match=r"the 8 largest of \[3, 7\] over dimension -1: 1 to 7"):
        mk.secret(SCORES, owner=0).topk(8)


def test_whole_numbers_stay_whole():
    agree(case("topk", lambda x: x.topk(2, sorted=True), torch.tensor([[5, -7, 9], [-1, -2, -3]])))
