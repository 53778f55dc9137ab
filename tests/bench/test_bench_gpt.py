"""Does the GPT write under the protocol what it writes in plaintext?

python -m mpckit bench gpt perplexity --samples 2
"""

import json
import subprocess
import sys

import pytest
import torch

from mpckit.__main__ import main
from mpckit.bench import gpt as bench
from mpckit.generate import generate
from mpckit.nn import private
from mpckit.offline.plan import plan
from mpckit.zoo.language import Characters, gpt, plays


def run(capsys, *names) -> tuple[int, list[dict]]:
    status = main(["bench", "gpt", *names, "--json"])
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_perplexity_of_two_windows(capsys):
    status, (row,) = run(capsys, "perplexity", "--suite", "bits", "--samples", "2")
    assert status == 0 and row["ok"] and row["characters"] == 2 * 128
    assert 3 < row["plain"] < 7 and abs(row["encrypted"] / row["plain"] - 1) < bench.PERPLEXITY
    assert 0 < row["max_diff"] < bench.LOGITS, "fixed point is near, and not the same"


def test_what_is_not_alike_is_not_met(monkeypatch, capsys):
    """Four beginnings, three letters each; then the same with a model that has other weights in private."""
    monkeypatch.setattr(bench, "LONG", 3)
    status, (row,) = run(capsys, "greedy", "--suite", "fss", "--samples", "4")
    assert (status, row["alike"], row["prompts"], row["ok"]) == (0, 4, 4, True)

    def other(model, owner):
        for weight in model.parameters():
            weight.data.mul_(-1)
        return private(model, owner)

    monkeypatch.setattr(bench, "private", other)
    assert main(["bench", "gpt", "greedy", "--suite", "fss", "--samples", "4"]) == 1
    assert capsys.readouterr().out.rstrip().endswith("NOT MET")


FOUR_TOKENS = """
import sys
from mpckit.__main__ import main
from mpckit.bench import gpt
gpt.TOKENS, gpt.SECONDS = 4, 60.0  # on a machine with other things to do
sys.exit(main(["bench", "gpt", "token", "--suite", "bits", "--json"]))
"""


def test_a_token_on_engines(monkeypatch):
    """Rounds and bytes of a token are those that a plan finds; the bounds decide the exit status.

    In a process of its own, whose memory counts: this one has run other tests.
    """
    ran = subprocess.run([sys.executable, "-c", FOUR_TOKENS], stdout=subprocess.PIPE, text=True)
    row = json.loads(ran.stdout)
    assert ran.returncode == 0 and 0.3e9 < row["memory"] < bench.MEMORY and 0 < row["seconds"]

    def program(model, prompt, count):
        for _ in generate(private(model, owner=1), prompt, count):
            pass

    arguments = gpt(), Characters().encode(plays())[: bench.BEGINNING]
    three, four = (plan(program, *arguments, count, suite="bits").report for count in (3, 4))
    assert (row["rounds"], row["sent"]) == (four.rounds() - three.rounds(), four.sent() - three.sent())
    monkeypatch.setattr(bench, "MEMORY", 1.0)
    assert bench._line(row | {"ok": False}).endswith("NOT MET")


@pytest.mark.parametrize("suite", ["fss", "bits"])
def test_a_small_layer_is_run_as_planned(suite):
    pytest.importorskip("transformers")
    row = bench.layer(suite, width=64, tokens=8)
    assert row["as_planned"] and row["ok"] and 0 < row["max_diff"] < 0.005
    assert row["both_ways_12"] > 12 * row["sent"] and (row["keys_12"] > 0) == (suite == "fss")
    text = bench._line(row)
    assert "64 wide, 8 tokens" in text and "as planned" in text and "NOT" not in text


def test_a_layer_that_differs_is_not_met(monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setattr(bench, "ERROR", 0.0)
    assert not bench.layer("fss", width=64, tokens=8)["ok"]


def test_names_that_there_are_not(capsys):
    assert main(["bench", "gpt", "tokens"]) == 2
    assert "no case tokens; there are: token, perplexity, greedy, layer" in capsys.readouterr().out
    assert torch.get_num_threads() == 1
