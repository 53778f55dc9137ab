"""Does the GPT write under the protocol what it writes in plaintext?

python -m mpckit bench gpt perplexity --samples 2
"""

import json
import re
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from mpckit.__main__ import main
from mpckit.bench import gpt as bench
from mpckit.bench import gpt_archives
from mpckit.generate import generate
from mpckit.nn import private
from mpckit.offline.plan import plan
from mpckit.zoo.data import ChecksumError
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
    assert "no case tokens; there are: token, perplexity, greedy, layer, stories15m, smollm2" in capsys.readouterr().out
    assert torch.get_num_threads() == 1


class Toy:
    """A tokenizer whose tokens are numbers."""

    def decode(self, ids):
        return " ".join(str(int(i)) for i in ids)


@pytest.fixture
def archived(monkeypatch, tmp_path):
    """A case with a small Llama in place of a large one, which an archive names."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(5)
    sizes = {"vocab_size": 19, "hidden_size": 16, "intermediate_size": 24, "max_position_embeddings": 32}
    heads = {"num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2}
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **heads)).eval()
    case = gpt_archives.Archived("small", lambda path: (model, Toy()), "fetch it", lambda _: torch.tensor([1, 5, 2]), 4)
    monkeypatch.setattr(bench, "ARCHIVED", [case])
    monkeypatch.setenv("MPCKIT_SMALL", str(tmp_path))
    return case


def test_a_model_from_an_archive_writes_the_same(archived, capsys):
    status, rows = run(capsys, "small")
    assert status == 0 and [row["suite"] for row in rows] == ["bits", "fss"]
    for row in rows:
        assert (row["tokens"], row["alike"], row["ok"]) == (4, 4, True) and len(row["text"].split()) == 4
        assert row["rounds"] > 20 and row["sent"] > 1000, "a token goes through every layer"
        assert "4 of 4 tokens as in plaintext" in bench._line(row)


def test_a_model_from_an_archive_may_end_with_its_first_token(archived, monkeypatch, capsys):
    first = run(capsys, "small")[1][0]["text"].split()[0]
    monkeypatch.setattr(bench, "ARCHIVED", [replace(archived, stop=(int(first),))])
    status, rows = run(capsys, "small")
    assert status == 0 and all((row["tokens"], row["text"]) == (1, first) and row["rounds"] > 20 for row in rows)


def test_a_model_from_an_archive_that_writes_something_else_is_not_met(archived, monkeypatch, capsys):
    def other(model, owner):
        changed = deepcopy(model)
        changed.lm_head.weight.data.mul_(-1)
        return private(changed, owner)

    monkeypatch.setattr(gpt_archives, "private", other)
    assert main(["bench", "gpt", "small", "--suite", "bits"]) == 1
    assert capsys.readouterr().out.rstrip().endswith("NOT MET")


def test_without_its_archive_a_case_says_how_to_fetch_it(archived, monkeypatch, capsys):
    monkeypatch.delenv("MPCKIT_SMALL")
    assert main(["bench", "gpt", "small"]) == 2
    assert capsys.readouterr().out == "small       SKIPPED: MPCKIT_SMALL names no archive; `fetch it` fetches it\n"


@pytest.mark.parametrize("name", ["stories15m", "smollm2"])
def test_an_archive_that_is_another_is_refused(name, monkeypatch, tmp_path):
    (case,) = (c for c in gpt_archives.ARCHIVED if c.name == name)
    path = tmp_path / "archive"
    path.write_bytes(b"another")
    monkeypatch.setenv(case.variable, str(path))
    with pytest.raises(ChecksumError, match=re.escape(case.how)):
        gpt_archives.written(case, "bits")
