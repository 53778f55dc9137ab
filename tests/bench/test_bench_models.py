"""What the models of the bench cost, exactly, from shapes alone: python -m mpckit bench resnet20_b1 --suite fss"""

import pytest
import torch

import mpckit as mk
from mpckit.bench.cases import CASES

BOUNDS = {  # rounds and bytes that an inference may take at the most, either suite
    "lenet_b1": (40, 250_000),
    "lenet_b32": (40, 8_000_000),
    "resnet20_b1": (140, 6_000_000),
    "resnet18_224": (130, 100_000_000),
}
PRICES = {  # rounds, bytes online of a party, bytes of its keys
    ("lenet_b1", "bits"): (35, 94_072, 0),
    ("lenet_b1", "fss"): (22, 71_394, 5_169_888),
    ("resnet20_b1", "bits"): (100, 3_646_896, 0),
    ("resnet20_b1", "fss"): (64, 3_080_794, 159_779_040),
    ("resnet18_224", "bits"): (106, 49_973_040, 0),
    ("resnet18_224", "fss"): (66, 39_736_429, 2_564_706_176),
}


def infer(model, x):
    with torch.no_grad():
        return mk.private(model, owner=1)(mk.secret(x, owner=0)).reveal(to=0)


@pytest.mark.parametrize("suite", ["bits", "fss"])
@pytest.mark.parametrize("name", BOUNDS)
def test_a_model_keeps_its_price(name, suite):
    rounds, sent = BOUNDS[name]
    report = mk.plan(infer, CASES[name].model(), *CASES[name].inputs(), suite=suite).report
    assert report.rounds() <= rounds and report.sent() <= sent
    if (name, suite) in PRICES:
        assert (report.rounds(), report.sent(), report.key_bytes) == PRICES[name, suite]
