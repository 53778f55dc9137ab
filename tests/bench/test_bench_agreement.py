"""Real samples, a real model, the same answers:

python -m mpckit bench agreement lenet
"""

import json

import pytest
import torch
from torch import nn

from mpckit.bench import Options, agreement, main
from mpckit.bench.agreement import KEYS, measure
from mpckit.bench.agreement_cases import CASES, Case, Missing, batches


def line(scale: float) -> nn.Linear:
    """Its second logit is the larger one, by half of `scale`."""
    model = nn.Linear(2, 2).eval()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.5, 0.5], [1.0, 1.0]]) * scale)
        model.bias.zero_()
    return model


def samples(n=None):
    return batches(torch.ones(4, 2)[:n], torch.tensor([1, 1, 0, 1])[:n], 3)


GOOD = Case("good", lambda: line(1.0), samples, least=0.99)
LOST = Case("lost", lambda: line(2.0**-30), samples, least=0.99)  # weights below the ring's unit: all logits are zero


def away(n=None):
    raise Missing("ABSENT names no file")


AWAY = Case("away", lambda: line(1.0), away, least=0.99)


def test_the_example(capsys):
    assert main(["agreement", "lenet"], Options(samples=8, suite="bits")) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert row.split()[:5] == ["lenet", "bits", "2", "8", "100.00%"] and head.split()[:5] == [*KEYS[:4], "agree"]


def test_a_row_counts_what_agrees_and_what_is_right():
    row = measure(GOOD)
    assert list(row) == KEYS and row["ok"] and row["suite"] == "bits" and row["parties"] == 2
    assert (row["samples"], row["agree"], row["plain"], row["encrypted"]) == (4, 1, 0.75, 0.75)
    assert 0 <= row["max_diff"] < 1e-3 and row["cpu_s"] > 0


def test_a_model_that_is_lost_in_fixed_point_misses_its_bound(capsys):
    row = measure(LOST)
    assert (row["agree"], row["plain"], row["encrypted"], row["ok"]) == (0, 0.75, 0.25, False)
    assert agreement.main([], Options(suite="bits"), [GOOD, LOST]) == 1
    assert [text.endswith("NOT MET") for text in capsys.readouterr().out.splitlines()] == [False, False, True]


def test_a_bound_on_the_share_that_is_right():
    case = Case("kept", lambda: line(1.0), samples, least=0.9, within=0.005)
    assert case.bound == "≥ 0.9 agree, right ± 0.005"
    assert case.holds(1, 0.9, 0.904) and not case.holds(1, 0.9, 0.91) and not case.holds(0.8, 0.9, 0.9)


def test_other_answers_than_classes_are_compared_too():
    """Transcripts, say: whatever the answer makes of the outputs."""

    def spell(outputs):
        return ["one two".split()[i] for i in outputs.argmax(-1)]

    case = Case("words", lambda: line(1.0), lambda n: [(torch.ones(1, 2), ["two"])], 1.0, spell)
    row = measure(case, "fss")
    assert row["agree"] == row["encrypted"] == 1 and row["suite"] == "fss"


def test_norms_are_folded_and_a_third_party_may_join():
    net = nn.Sequential(line(1.0), nn.BatchNorm1d(2)).eval()
    assert measure(Case("norm", lambda: net, samples, 0.99), parties=3, samples=2)["samples"] == 2


def test_without_options_three_settings(capsys):
    assert agreement.main(["good"], Options(json=True), [GOOD, LOST]) == 0
    rows = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert [(r["case"], r["suite"], r["parties"]) for r in rows] == [
        ("good", "bits", 2), ("good", "fss", 2), ("good", "bits", 3)
    ]  # fmt: skip


def test_missing_samples_are_skipped_aloud_and_fail_who_asked_for_them(capsys):
    assert agreement.main([], Options(suite="bits"), [AWAY, GOOD]) == 0
    assert "away            SKIPPED: ABSENT names no file" in capsys.readouterr().out
    assert agreement.main(["away"], Options(json=True), [AWAY, GOOD]) == 2
    assert json.loads(capsys.readouterr().out)["skipped"] == "ABSENT names no file"


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["lent"], Options(), "no case lent; there are: lenet, lenet_average, resnet20"),
        (["lenet"], Options(samples=0), "--samples 0: at least one is needed"),
        (["lenet"], Options(repeat=2), "`bench agreement` takes no --repeat"),
    ],
)
def test_wrong_wishes_are_refused(names, options, message, capsys):
    assert main(["agreement", *names], options) == 2
    assert message in capsys.readouterr().out


def test_pictures_that_cannot_be_shipped_are_asked_for(monkeypatch):
    monkeypatch.delenv("MPCKIT_CIFAR10", raising=False)
    case = next(c for c in CASES if c.name == "resnet20")
    with pytest.raises(Missing, match="MPCKIT_CIFAR10 names no file.*cifar-10-binary.tar.gz"):
        case.samples(1)
