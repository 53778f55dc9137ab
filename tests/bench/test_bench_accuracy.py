"""`python -m mpckit bench accuracy` finds what is wrong: a coarse function, a narrow fault, one ulp at the far end.

The full table takes a minute; here a few of its rows must hold, and rows that ought to fail must fail.
"""

import json
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from mpckit.__main__ import main
from mpckit.bench import Options
from mpckit.bench import accuracy as bench
from mpckit.bench import accuracy_cases as library
from mpckit.bench.accuracy_cases import ULP, Case, absolute, scalar, ulps

DOCS = Path(__file__).parents[2] / "docs" / "accuracy.md"
BY_NAME = {case.name: case for case in library.cases()}


def test_rows_that_hold(capsys):
    names = ["relu", "gelu", "power 3", "arg max σ=3"]
    assert main(["bench", "accuracy", *names, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["case"], row["suite"]) for row in rows] == [(n, s) for n in names for s in bench.SUITES]
    for row in rows:
        assert list(row) == bench.KEYS and row["ok"] and row["samples"] > 10_000
        assert 0 <= row["mean"] <= row["worst"] <= row["limit"]
        if row["case"] == "relu":
            assert row["worst"] == 0


@pytest.mark.parametrize("suite", bench.SUITES)
def test_division_holds_up_to_its_end_and_not_beyond(suite):
    """1/y and its error need room: |x/y| < 2^24 alone is not enough, and there the result wraps."""
    case = BY_NAME["division"]
    (x,) = case.inputs(torch.Generator().manual_seed(5), ())
    needed = 1.0003 * library.quotient(x.double()).abs() + library.real(x)[:, 0].abs() / 2**20
    inside = x[case.inside(x)]
    assert len(inside) > 40_000 and int((needed[case.inside(x)] > 0.99 * 2**24).sum()) > 100
    assert bench.errors(case, suite, inside).max() <= case.bound.limit
    x = (torch.tensor([[-41265929489956.64, -2797626.898]], dtype=torch.float64) / ULP).long()
    assert library.quotient(x.double()).abs() < 2**24 and not case.inside(x)
    assert bench.errors(case, suite, x.repeat(64, 1)).max() > case.bound.limit


@pytest.mark.parametrize("suite", bench.SUITES)
def test_rms_norm_holds(suite):
    case = BY_NAME["rms_norm"]
    for x in case.inputs(torch.Generator().manual_seed(6), ()):
        assert bench.errors(case, suite, x[case.inside(x)]).max() <= 1e-3 < case.bound.limit


def test_a_coarse_function_fails(capsys):
    """relu in place of gelu is worst at -0.7518, by 0.17."""
    coarse = scalar("coarse", F.gelu, absolute(3e-4), torch.relu, reach=6.0)
    assert bench.main([], Options(suite="bits"), chosen=[coarse, BY_NAME["tanh"]]) == 1
    head, failing, fine = capsys.readouterr().out.splitlines()
    assert "EXCEEDS" in failing and "EXCEEDS" not in fine and fine.split()[:2] == ["tanh", "bits"]
    row = bench.measure(coarse, "bits")
    assert not row["ok"]
    assert row["worst"] == pytest.approx(0.16997, abs=1e-5) and abs(row["at"]) == pytest.approx(0.7518, abs=0.02)


def test_the_search_climbs_beyond_the_samples():
    """A fault 0.02 wide that the samples touch on its flank only."""
    centre, height = 321.987, 2.0

    def bump(x):
        return x + height * (1 - (x - centre).abs() / 0.01).clamp(min=0)

    sparse = Case(
        "bump",
        lambda x: x + 0.0,
        library.of_torch(bump),
        absolute(0.1),
        lambda generator, thresholds: [(torch.tensor([-5.0, 2.0, centre - 0.0095, 700.0]) / ULP).long()],
        lambda x: x.abs() < library.END,
    )
    row = bench.measure(sparse, "bits")
    assert row["worst"] > 0.99 * height and row["at"] == pytest.approx(centre, abs=1e-4) and not row["ok"]


def test_one_ulp_is_seen_where_float64_has_none():
    """Beyond 2^53 ring units neighbours are one float64."""
    wrong = scalar(
        "late", None, ulps("exact", 0.0), torch.relu, truth=lambda x: (x.clamp(min=0) + (x > 3 << 59).long(), 0.0)
    )
    row = bench.measure(wrong, "bits")
    assert row["worst"] == 1 and row["at"] > (3 << 59) * ULP and not row["ok"]


def test_samples_stand_on_both_sides_of_what_is_compared():
    marks = bench.thresholds(BY_NAME["tanh"], "bits")
    assert len(marks) >= 2 and 6 << 16 in marks
    (x,) = BY_NAME["tanh"].inputs(torch.Generator().manual_seed(0), marks)
    have = set(x.tolist())
    edges = {0, 1, -1, library.END - 1, 1 - library.END, *(m + d for m in marks for d in (-1, 0, 1))}
    assert edges <= have
    octaves = {(v > 0, abs(v).bit_length()) for v in have if v}
    assert octaves >= {(side, bits) for side in (False, True) for bits in range(1, 63)}


def test_exact_truncation_is_asked_often_enough():
    (x,) = BY_NAME["truncate exact"].inputs(torch.Generator().manual_seed(0), ())
    assert int(BY_NAME["truncate exact"].inside(x).sum()) >= 1 << 22


def test_an_arg_max_is_lost_by_its_lead():
    x = (torch.tensor([[1.0, 0.0, -1.0], [0.0, 2.0, 1.0]], dtype=torch.float64) / ULP).long()
    p = library.real(x).softmax(-1)
    kept, lost = torch.tensor([[9, 2, 1], [5, 5, 1]]), torch.tensor([[2, 9, 1], [0, 0, 1]])
    case = BY_NAME["arg max σ=1"]
    assert case.error(x, kept).abs().max() == 0  # a tie in the output loses nothing
    lead = torch.stack((p[0, 0] - p[0, 1], p[1, 1] - p[1, 2])) / ULP
    assert torch.allclose(case.error(x, lost)[:, 0], lead) and case.bound.limit < lead.min()


def test_names_that_do_not_exist_are_said(capsys):
    assert main(["bench", "accuracy", "cosine"]) == 2 and "there are: relu" in capsys.readouterr().out
    assert main(["bench", "accuracy", "--suite", "fss9"]) == 2
    assert "suite 'fss9' is none of 'bits', 'fss' or 'auto'" in capsys.readouterr().err


def test_the_docs_have_a_row_for_every_case():
    block = r"```\n\$ python -m mpckit bench accuracy\ncase .*?\n(.*?)```"
    table = re.search(block, DOCS.read_text(encoding="utf-8"), re.S)[1].splitlines()
    for suite in bench.SUITES:
        rows = [line for line in table if line[20:].split()[0] == suite]
        assert [line[:20].strip() for line in rows] == list(BY_NAME)
        for line, case in zip(rows, BY_NAME.values()):
            assert case.bound.text in line
            worst, mean = (float(v) for v in line[20:].split()[2:4])
            assert mean <= worst and ("EXCEEDS" in line) == (worst > case.bound.limit)
