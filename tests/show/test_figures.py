"""Figures against a real report: what they draw is what was spent."""

import pytest
import torch

import mpckit as mk
from mpckit.show import by_layer, eyes, pictures, show, summary, timeline, what_if
from mpckit.show.display import Picture
from mpckit.show.eyes import seen_by
from mpckit.zoo import digits, lenet


@pytest.fixture(scope="module")
def report():
    with mk.simulate(parties=2, link=mk.WAN) as session:
        mk.private(lenet(pretrained=True), owner=1)(mk.secret(digits()[7][0], owner=0)).reveal(to=0)
    return session.report()


def test_the_bars_are_the_bill(report):
    """Add up what is drawn: bytes and rounds of the whole run."""
    sent, rounds = by_layer(report).data
    assert list(sent.y) == [line.path for line in report.by_layer().values() if line.rounds]
    assert list(sent.x) == [report.by_layer()[name].sent for name in sent.y]
    assert list(rounds.x) == [report.by_layer()[name].rounds for name in sent.y]
    assert sum(rounds.x) == report.rounds() == 35
    assert rounds.text == tuple(map(str, rounds.x)) and sent.text[0] == "6.3 kB"


def test_set_up_has_bars_too(report):
    sent, rounds = by_layer(report, "setup").data
    assert (sum(rounds.x), sum(sent.x)) == (report.rounds("setup"), report.sent("setup"))


def test_the_twin_of_the_live_figure_ends_at_the_bill_of_each_party(report):
    _, _, *curves = summary(report).data
    assert len(curves) == report.parties
    for party, curve in enumerate(curves):
        assert (curve.x[-1], curve.y[-1]) == (report.rounds(), report.total().by_party[party])
        assert all(a <= b for a, b in zip(curve.y, curve.y[1:]))
    assert curves[0].line.dash != curves[1].line.dash  # not by colour alone


@pytest.mark.parametrize("link", [mk.LAN, mk.WAN], ids=lambda link: link.name)
def test_the_stacked_times_are_those_of_the_link(report, link):
    assert sum(sum(trace.x) for trace in timeline(report, link).data) / 1e3 == pytest.approx(
        report.seconds(link),
        rel=1e-4,  # the busiest party is not the same in every layer
    )


def test_what_if_goes_through_the_bill_s_own_times(report):
    figure = what_if(report)
    assert list(figure.data[-1].y) == [report.seconds(mk.LAN), report.seconds(mk.WAN)]
    slow, middle, fast = (trace.y for trace in figure.data[:3])
    assert all(a > b > c for a, b, c in zip(slow, middle, fast))


def test_without_compute_only_rounds_and_bytes_count(report):
    figure = what_if(report, compute=0)
    assert figure.data[-1].y[1] == mk.WAN.seconds(report.rounds(), report.sent())
    assert "35 rounds" in figure.alt


@pytest.mark.parametrize("make", [by_layer, summary, timeline, what_if])
def test_figures_fit_light_and_dark_pages_and_have_words(report, make):
    figure = make(report)
    assert isinstance(figure, Picture) and len(figure.alt) > 40
    assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0,0,0,0)"
    assert figure.layout.font.color == "#7c7c7c"


# Views of a secret


@pytest.mark.parametrize("parties", [2, 3])
def test_each_button_shows_one_view(parties):
    image = digits()[7][0][0]
    figure = eyes(image, parties, insecure_seed=1)
    (menu,) = figure.layout.updatemenus
    names = ["the owner", *(f"party {p}" for p in range(parties)), "the wire", "all shares, added"]
    assert [button.label for button in menu.buttons] == names
    for name, button in zip(names, menu.buttons):
        shown = [trace for trace, visible in zip(figure.data, button.args[0]["visible"]) if visible]
        assert [trace.name for trace in shown] == [name, name]  # a picture and its histogram
        assert sum(shown[1].y) == image.numel()
    assert [trace.visible for trace in figure.data] == menu.buttons[0].args[0]["visible"]


def test_the_owner_and_all_shares_show_the_picture_and_nobody_else_does():
    image = digits()[7][0][0]
    views = {name: picture for name, (_, picture) in seen_by(image, 3).items()}
    assert torch.allclose(views["all shares, added"], image, atol=2**-16)
    for name in ("party 0", "party 1", "party 2", "the wire"):
        correlation = torch.corrcoef(torch.stack([views[name].flatten(), image.double().flatten()]))[0, 1]
        assert abs(correlation) < 0.25  # 7 sigma for 784 pixels of noise


def test_views_repeat_only_when_asked_to():
    image = digits()[7][0][0]
    one, same, fresh, other = (eyes(image, 2, seed).to_json() for seed in (1, 1, None, None))
    assert one == same and fresh != other
    assert "insecure_seed" in eyes(image, 2, 1).alt and "insecure_seed" not in eyes(image, 2).alt


def test_what_has_no_views_is_refused():
    with pytest.raises(ValueError, match="two pieces or more, not 1"):
        eyes(digits()[7][0][0], parties=1)
    with pytest.raises(ValueError, match="nothing to see"):
        eyes(torch.zeros(0, 28))


def test_pictures_side_by_side():
    figure = pictures({"a": torch.zeros(3, 4), "b": torch.ones(3, 4)}, alt="two")
    assert [trace.z.shape for trace in figure.data] == [(3, 4)] * 2 and figure.alt == "two"


# What is displayed


@pytest.fixture
def displayed(monkeypatch):
    """What `show` hands to Jupyter: a list of (data by type, metadata)."""
    out = []
    monkeypatch.setattr("mpckit.show.display.display", lambda data, metadata, raw: out.append((data, metadata)))
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    return out


def test_a_figure_is_shown_in_two_forms(report, displayed):
    figure = by_layer(report)
    figure._ipython_display_()
    ((data, metadata),) = displayed
    assert data.keys() == {"application/vnd.plotly.v1+json", "text/plain"} and not metadata
    assert data["text/plain"] == figure.alt
    drawn = data["application/vnd.plotly.v1+json"]
    assert len(drawn["data"]) == 2 and drawn["config"] == {"displayModeBar": False}


def test_with_a_browser_there_is_a_picture_too(report, displayed, monkeypatch):
    """The browser itself is not needed here: the picture is drawn from the still figure, where there is one."""
    asked = []
    monkeypatch.setenv("BROWSER_PATH", "somewhere")
    monkeypatch.setattr("mpckit.show.display.importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr("plotly.graph_objects.Figure.to_image", lambda self, *a, **k: asked.append(self) or b"png")
    figure = eyes(torch.zeros(4, 4))
    show(figure)
    ((data, metadata),) = displayed
    assert data["image/png"] == "cG5n" and metadata == {"image/png": {"alt": figure.alt}}
    assert len(asked[0].data) == len(figure.data) and not asked[0].layout.updatemenus  # all views at once


def test_a_figure_without_words_is_refused(displayed):
    import plotly.graph_objects as go

    with pytest.raises(ValueError, match="a figure needs alt="):
        show(go.Figure())
    show(go.Figure(), alt="nothing")
    assert displayed[0][0]["text/plain"] == "nothing"
