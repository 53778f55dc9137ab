"""Which suite on which network: break-evens by hand, curves that follow sliders, points that stay where they were."""

import ipywidgets
import pytest
import torch

import mpckit as mk
from mpckit.show import crossing
from mpckit.show.crossing import RATES, fastest, winners
from mpckit.show.link import Dials


@pytest.fixture(scope="module")
def relus():
    def program(x):
        return torch.relu(mk.secret(x, owner=0)).reveal()

    return mk.plan(program, torch.zeros(1000), suite="auto").report


@pytest.mark.parametrize(
    "costs, order",
    [
        ({"a": (6, 1.0), "b": (4, 3.0)}, [("a", 0.0), ("b", 2.0)]),  # two seconds for two rounds: a round trip of 2
        ({"a": (6, 1.0), "b": (4, 0.5)}, [("b", 0.0)]),
        ({"a": (4, 1.0), "b": (4, 2.0)}, [("a", 0.0)]),
        ({"a": (9, 0.0), "b": (5, 8.0), "c": (1, 10.0)}, [("a", 0.0), ("c", 2.5)]),  # b is never the first
        ({"a": (9, 0.0), "b": (5, 1.0), "c": (1, 10.0)}, [("a", 0.0), ("b", 0.5), ("c", 4.5)]),
        ({"a": (9, 1.0), "b": (5, 1.0)}, [("b", 0.0)]),
    ],
)
def test_who_is_fastest_from_where_on(costs, order):
    assert fastest(costs) == order


def test_the_order_is_that_of_the_law_at_every_round_trip():
    costs = {"a": (38, 0.01), "b": (28, 0.5), "c": (30, 0.3), "d": (3, 20.0)}
    order = fastest(costs)
    for rtt in (0.0, 0.01, 0.05, 0.1, 0.3, 1.0, 3.0):
        best = min(costs, key=lambda name: costs[name][1] + costs[name][0] * rtt / 2)
        assert [name for name, start in order if start <= rtt][-1] == best
    assert winners(costs).startswith("a up to ") and winners(costs).endswith(", then d")


def test_seconds_are_those_of_the_report(relus):
    figure = crossing(relus)
    for offer in relus.offers:
        assert figure.seconds(offer.suite, mk.WAN) == offer.seconds(mk.WAN)
        more = figure.seconds(offer.suite, mk.WAN, dealt=True) - offer.seconds(mk.WAN)
        assert more == pytest.approx(offer.offline_bytes / mk.WAN.bandwidth)
    figure.put("bits", 0.25)
    assert figure.seconds("bits", mk.WAN) == pytest.approx(0.25 + relus.offers[0].seconds(mk.WAN))


def test_curves_follow_the_sliders_and_points_do_not(relus):
    figure = crossing(relus)
    slow = mk.Link("slow", 0.02, 1e6)
    figure.put("fss", 0.5, slow)
    names = [trace.name for trace in figure.figure.data]
    curve, dealt, point = (names.index(name) for name in ("fss", "fss, with what is dealt", "fss, measured"))
    for link in (mk.WAN, mk.MOBILE):
        figure.preset.value = link.name
        assert figure.link.rtt == pytest.approx(link.rtt) and figure.link.bandwidth == pytest.approx(link.bandwidth)
        for index, kind in ((curve, False), (dealt, True)):
            trace = figure.figure.data[index]
            for rtt, seconds in zip(trace.x, trace.y):
                at = mk.Link("", rtt / 1e3, link.bandwidth)
                assert seconds == pytest.approx(figure.seconds("fss", at, kind))
        assert (list(figure.figure.data[point].x), list(figure.figure.data[point].y)) == ([20.0], [0.5])
        now = figure.figure.data[-1]
        assert list(now.x) == pytest.approx([link.rtt * 1e3] * 4)
        assert now.y[0] == pytest.approx(figure.seconds("bits", link))
        assert f"{link.rtt * 1e3:.3g} ms" in figure.words.value


def test_lines_stand_where_both_take_the_same(relus):
    figure = crossing(relus)
    figure.preset.value = "4G"
    (line,) = figure.figure.layout.shapes  # keys beforehand: fss from the start; keys too: somewhere
    rtt = line.x0 / 1e3
    both = [figure.seconds(suite, mk.Link("", rtt, mk.MOBILE.bandwidth), True) for suite in ("bits", "fss")]
    assert both[0] == pytest.approx(both[1])
    before, too = figure.figure.layout.title.text.split("<br>")
    assert before.endswith(": fss") and too.endswith(f"bits up to {rtt * 1e3:.3g} ms, then fss")


def test_the_still_has_its_own_slider_and_says_all(relus):
    figure = crossing(relus)
    figure.put("bits", 0.01)
    figure.put("bits", 0.9, mk.WAN)
    still = figure.still()
    (slider,) = still.layout.sliders
    assert [step.label for step in slider.steps] == list(RATES)
    for step, rate in zip(slider.steps, RATES.values()):
        data, layout, places = step.args
        assert len(data["y"]) == len(places) == len(still.data)
        middle = mk.Link("", data["x"][1][20] / 1e3, rate / 8)
        assert data["y"][1][20] == pytest.approx(figure.seconds("bits", middle, True))
        assert figure.winners(rate / 8, True) in layout["title.text"] and figure.winners(rate / 8, True) in still.alt
    assert list(still.data[0].y) == list(slider.steps[slider.active].args[0]["y"][0])
    assert "Measured: bits at 60 ms 900 ms, predicted" in still.alt
    assert "Measured" not in crossing(relus).still().alt


def test_it_shows_itself_with_words(relus):
    figure = crossing(relus)
    bundle = figure._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle and "A still figure follows" in bundle["text/plain"]
    assert isinstance(figure.box, ipywidgets.VBox) and figure.dials in figure.box.children


def test_dials_need_something_to_draw():
    with pytest.raises(NotImplementedError):
        Dials().rtt.value = 3.0
