"""The bill of language models of full size, from shapes alone.

python -m mpckit bench plan gpt2
"""

import json
import resource

import pytest

from mpckit.__main__ import main
from mpckit.bench import plan as bench

pytest.importorskip("transformers")


def per_layer(name):
    """What one more layer costs, and what is there without any."""
    one, two = bench.bill(name, layers=1), bench.bill(name, layers=2)
    more = {key: two[key] - one[key] for key in bench.KEYS[3:]}
    return more, {key: one[key] - more[key] for key in more}


def test_gpt2_stays_below_what_is_published():
    """Twelve layers on 128 tokens: at most 0.75 GB sent and received by a party, and 7 GB of keys."""
    layer, rest = per_layer("gpt2")
    total = {key: rest[key] + 12 * layer[key] for key in layer}
    assert total["sent_bytes"] + total["received_bytes"] <= 0.75e9
    assert total["key_bytes"] <= 7e9
    assert layer["rounds"] <= 72


def test_a_layer_of_llama_takes_no_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    row = bench.bill("llama2-7b", layers=1)
    assert row["setup_bytes"] > 2 * 6.5 * 2e8 and row["layers"] == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1e6  # kB


def test_llama_in_full_size():
    """Seven billion weights, 128 tokens: below what is published in bytes and keys, and planned in little memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    row = bench.bill("llama2-7b")
    assert (row["layers"], row["tokens"]) == (32, 128)
    assert row["sent_bytes"] + row["received_bytes"] <= 12.07e9 and row["key_bytes"] <= 255e9
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4e6  # kB


def test_the_command(capsys, monkeypatch):
    assert main(["bench", "plan", "gpt9"]) == 2 and "no model gpt9; there are gpt2" in capsys.readouterr().out
    monkeypatch.setattr(bench, "bill", lambda name, suite: dict.fromkeys(bench.KEYS, 1) | {"model": name})
    assert main(["bench", "plan", "gpt2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "gpt2"
    assert main(["bench", "plan", "gpt2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[:3] == ["gpt2", "1", "1"]
