"""Rounds and bytes of the bench are exact, so they are tested; seconds are only printed.

python -m mpckit bench relu_1e5 --json
"""

import json

import pytest
import torch

import mpckit as mk
from mpckit.__main__ import link, main
from mpckit.bench import CASES
from mpckit.bench import costs as bench


def row(capsys, *arguments) -> dict:
    assert main(["bench", *arguments, "--json", "--repeat", "1"]) == 0
    return json.loads(capsys.readouterr().out)


def test_relu_of_1e5_elements_keeps_its_price(capsys):
    found = row(capsys, "relu_1e5")
    assert list(found) == bench.KEYS
    assert found["rounds"] <= 9 and found["sent_bytes"] <= 6_000_000  # what the project promises
    # What it takes: 64 bits of x + r, 34 bits of the tree (4 nodes of 7, one of 6), 1 bit of the choice, in 4 rounds.
    words = -(-100_000 // 64)
    assert found["rounds"] == 4
    assert found["sent_bytes"] == 800_000 + 8 * words * (4 * 7 + 6) + 12_500 + 4 * 24
    assert found["max_err"] < 2**-16


def test_lenet_keeps_its_price(capsys):
    found = row(capsys, "lenet_b1")
    assert found["rounds"] <= 40 and found["sent_bytes"] <= 250_000
    assert found["setup_bytes"] > 8 * 20_522 and found["max_err"] < 0.01


@pytest.mark.parametrize(("suite", "rounds", "sent"), [("fss", 69, 3.39e6), ("bits", 100, 3.95e6)])
def test_a_transformer_block_keeps_its_price(suite, rounds, sent):
    """With exact truncation: at most 100 rounds and 4.5 MB, on either suite."""
    chosen = CASES["block_d128_h4_s64"]

    def program(model, x):
        with torch.no_grad():
            return chosen.compute(mk.private(model, owner=1), mk.secret(x, owner=0)).reveal(to=0)

    report = mk.plan(program, chosen.model(), *chosen.inputs(), suite=suite, truncation=chosen.truncation).report
    assert report.truncation == "exact" and (report.rounds(), report.sent()) <= (100, 4_500_000)
    assert report.rounds() == rounds and report.sent() == pytest.approx(sent, rel=0.01)


def test_three_parties_send_to_two_peers(capsys):
    two, three = (row(capsys, "mul_1e5", "--parties", p) for p in "23")
    assert three["parties"] == 3 and three["sent_bytes"] == 2 * two["sent_bytes"] and three["rounds"] == two["rounds"]


def test_wall_seconds_follow_the_link(capsys):
    lan, slow = (row(capsys, "mul_1", "--link", name)["wall_s"] for name in ("lan", "200,1"))
    assert slow > 2 * 0.1 > lan  # two rounds, each half a round trip of 200 ms


def test_the_table_names_its_columns(capsys):
    assert main(["bench", "max10_1000", "--repeat", "1"]) == 0
    head, columns, line = capsys.readouterr().out.splitlines()
    assert "2 parties, suite bits" in head and "rounds" in columns and line.split()[:2] == ["max10_1000", "16"]


def test_what_does_not_exist_is_said():
    assert main(["bench", "relu_1e9"]) == 2
    with pytest.raises(ValueError, match="device 'tpu' is not in this release"):
        bench.measure("mul_1", device="tpu")
    with pytest.raises(ValueError, match="suite 'fss9' is none of 'bits', 'fss' or 'auto'"):
        bench.measure("mul_1", suite="fss9")
    with pytest.raises(Exception, match="RTT_MS,MBIT_PER_S"):
        link("fast")
    assert link("20,100").seconds(1, 0) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--suite fss9", "suite 'fss9' is none of 'bits', 'fss' or 'auto'"),
        ("--parties 1", "at least two parties, not 1"),
        ("--parties 3 --suite fss", "suite 'fss' is for 2 parties, not 3: take 'bits'"),
    ],
)
def test_what_no_session_can_be_is_said_in_a_line(options, words, capsys):
    assert main(["bench", "mul_1", *options.split()]) == 2
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1 and not said.out


def test_an_option_that_a_bench_would_ignore_is_refused(capsys):
    assert main(["bench", "fss", "--parties", "3"]) == 2
    assert "takes no --parties" in capsys.readouterr().out
    assert main(["bench", "engines", "relu_1e5"]) == 2
    assert "runs models, and relu_1e5 is none: lenet_b1" in capsys.readouterr().out
