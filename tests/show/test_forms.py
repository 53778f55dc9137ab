"""Key bytes against rounds: what is drawn was measured, and agrees with the sizes of the keys."""

import importlib

import pytest

import mpckit as mk
from mpckit.fss import dcf, dpf
from mpckit.show import forms

module = importlib.import_module("mpckit.show.forms")  # the package's name for it is the function


@pytest.mark.parametrize("bits", module.WIDTHS)
def test_what_is_dealt_is_the_key_and_little_more(bits):
    """Of a key all but the root travels; with it a share of s and of r·s, and the sign bit; or of c and c·r."""
    point, threshold = module.bill("dpf", bits), module.bill("dcf", bits)
    root = 128 if bits - 1 > 7 else 0
    assert point.offline * 8 == dpf.key_bits(bits - 1) - root + 2 * 64 + 1
    assert threshold.offline * 8 == dcf.key_bits(bits - 1, 2, 64) - 128 + 2 * 64
    assert (point.rounds, threshold.rounds) == (2, 1)
    assert point.online * 8 == 64 + 1 and threshold.online * 8 == 64
    assert module.bill("digits", bits).rounds in (3, 4)


def test_the_curves_are_the_bills():
    figure = forms(count=10, bits=16, widths=(8, 16))
    left, right = figure.data[::2], figure.data[1::2]
    assert [list(t.y) for t in left] == [[module.bill(f, w).offline for w in (8, 16)] for f in module.FORMS]
    slider = figure.layout.sliders[0]
    assert [step.label for step in slider.steps] == list(module.RATES)
    assert [list(t.y) for t in right] == [list(y) for y in slider.steps[slider.active].args[0]["y"]]
    link = mk.Link("", 100e-3, 1e8 / 8)
    assert right[1].y[-1] == pytest.approx(module.bill("dpf", 16).seconds(10, link))
    assert {t.line.dash for t in left} == {"solid", "dash", "dot"} and figure.layout.paper_bgcolor == "rgba(0,0,0,0)"


@pytest.mark.parametrize("rate", module.RATES.values())
def test_the_winner_is_the_fastest(rate):
    """Try the round trips between those that are told."""
    told = module._winners(1000, 40, rate / 8).split(", then ")
    names = [part.split(" ")[0] for part in told]
    assert names == ["digits", "dpf", "dcf"]
    seen = []
    for k in range(400):
        link = mk.Link("", 10 ** (k / 50 - 6), rate / 8)
        best = min(module.FORMS, key=lambda f: module.bill(f, 40).seconds(1000, link))
        seen += [best] if best not in seen[-1:] else []
        if best != "dcf":
            unit = {"ms": 1e-3, "µs": 1e-6, "s": 1.0}
            number, name = told[names.index(best)].split(" up to ")[1].split(" ")
            assert link.rtt <= float(number) * unit[name] * 1.01
    assert seen == names


def test_what_does_not_exist_is_refused():
    for wrong in ({"bits": 65}, {"bits": 1}, {"widths": (8, 72)}):
        with pytest.raises(ValueError, match="2 to 64 bits, not on (65|1|72)"):
            forms(**wrong)
    with pytest.raises(ValueError, match="0 ReLUs"):
        forms(count=0)


def test_the_words_have_the_numbers():
    assert "One ReLU of 40 bits: tables of digits (bits) 4 rounds, 45 B dealt, " in forms().alt
