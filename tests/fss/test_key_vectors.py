"""Frozen keys: a dealer and an evaluator of different versions, or on different devices, must agree on every byte.

Seeds 00 01 … 1f and 20 … 3f, label "vector":  dpf.gen(alpha, bits, streams)[party].to_bytes()
"""

import json
from pathlib import Path

import pytest
import torch

from mpckit.fss import dcf, dpf
from mpckit.kernels import aes
from mpckit.stream import Stream

STORED = json.loads((Path(__file__).parents[1] / "vectors" / "fss.json").read_text())


def streams():
    return [Stream(bytes.fromhex(seed), STORED["label"]) for seed in STORED["seeds"]]


@pytest.fixture(params=aes.ways())
def way(request, monkeypatch):
    monkeypatch.setattr(aes, "way", request.param)


@pytest.mark.parametrize("case", STORED["dpf"], ids=lambda case: f"{case['bits']} bits")
def test_point_functions(way, case):
    alpha = torch.tensor(case["alpha"])
    for key, stored in zip(dpf.gen(alpha, case["bits"], streams()), case["keys"], strict=True):
        assert key.to_bytes().hex() == stored
    left, right = (dpf.Key.from_bytes(bytes.fromhex(stored)) for stored in case["keys"])
    assert (dpf.eval(left, alpha) ^ dpf.eval(right, alpha)).all()


@pytest.mark.parametrize("case", STORED["dcf"], ids=lambda case: f"{case['bits']} bits")
def test_comparisons(way, case):
    alpha, beta = torch.tensor(case["alpha"]), torch.tensor(case["beta"])
    pair = dcf.gen(alpha, beta, case["bits"], streams(), case["width"])
    for key, stored in zip(pair, case["keys"], strict=True):
        assert key.to_bytes().hex() == stored
    left, right = (dcf.Key.from_bytes(bytes.fromhex(stored)) for stored in case["keys"])
    assert torch.equal(dcf.signed(dcf.eval(left, alpha - 1) + dcf.eval(right, alpha - 1), case["width"]), beta)
