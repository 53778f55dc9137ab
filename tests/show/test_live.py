"""The live figure: fed with the events of real engines, it ends where the bill does."""

import time

import pytest
import torch

import mpckit as mk
from mpckit.show import live


class Events:
    """Stands for a team whose events a test makes up."""

    def __init__(self, parties):
        self.parties, self.events, self.callbacks = parties, self, []

    def subscribe(self, callback):
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    def tell(self, **event):
        for callback in list(self.callbacks):
            callback({"dropped": 0, **event})


def work(x, y):
    a, b = mk.secret(x, owner=0), mk.secret(y, owner=1)
    return torch.relu(a @ b).reveal(to=0)


def test_it_ends_at_the_bill():
    """Two runs on engines: bars, curves, rounds and bytes are the sum of both bills."""
    with mk.cluster(parties=2) as team:
        figure = live(team)
        reports = [
            team.run(work, mk.only(0, torch.ones(n, 8)), mk.only(1, torch.ones(8, 3)), progress=False)[1]
            for n in (4, 64)
        ]
        deadline = time.monotonic() + 5  # events come in a thread of their own
        while not (figure.agrees(*reports) and "done" in figure.figure.layout.title.text):
            assert time.monotonic() < deadline, (figure.rounds, figure.by_party, team.events.errors)
            time.sleep(0.02)
        assert team.events.errors == []
    sent, rounds, *curves = figure.figure.data
    layers = [report.by_layer() for report in reports]
    assert list(sent.x) == [sum(by[name].by_party[0] for by in layers) for name in sent.y]
    assert list(rounds.x) == [sum(by[name].rounds for by in layers) for name in rounds.y]
    for party, curve in enumerate(curves):
        assert curve.y[-1] == sum(report.total().by_party[party] for report in reports)


def test_phases_are_told_and_only_online_is_drawn():
    team = Events(2)
    figure = live(team)
    title = figure.figure.layout.title
    assert title.text == "waiting for the parties"
    for party in (0, 1):
        team.tell(phase="offline", party=party, done=3, total=9)
    figure._draw()
    assert title.text == "offline: the dealer has dealt 3 of 9 correlations"
    team.tell(phase="setup", party=0, path="private/share", rounds=1, bytes=5000, compute=0.0)
    figure._draw()
    assert title.text == "set-up: the weights are shared and masked" and figure.by_party == {0: 0, 1: 0}
    team.tell(phase="online", party=0, path="fc1/addmm", rounds=2, bytes=640, compute=0.0)
    team.tell(phase="online", party=1, path="fc1/addmm", rounds=2, bytes=320, compute=0.0)
    figure._draw()
    assert title.text == "online: round 2, fc1/addmm"
    assert (figure.rounds, figure.by_party) == (2, {0: 640, 1: 320})
    assert list(figure.figure.data[0].y) == ["fc1"] and list(figure.figure.data[0].x) == [640]


def test_it_is_redrawn_ten_times_a_second_and_at_the_end(monkeypatch):
    team, drawn = Events(1), []
    figure = live(team)
    monkeypatch.setattr(figure, "_draw", lambda: drawn.append(figure.rounds))
    for _ in range(1000):
        team.tell(phase="online", party=0, path="fc1/addmm", rounds=1, bytes=24, compute=0.0)
    assert 1 <= len(drawn) < 100
    team.tell(phase="end", party=0, seconds=1.0)
    assert drawn[-1] == 1000


def test_curves_stay_small():
    team = Events(1)
    figure = live(team)
    for _ in range(5000):
        figure._book(dict(phase="online", party=0, path="fc1/addmm", rounds=1, bytes=24, compute=0.0))
    figure._draw()
    curve = figure.figure.data[2]
    assert len(curve.x) < 700 and curve.y[-1] == 5000 * 24


def test_it_stops_listening_when_told():
    team = Events(1)
    figure = live(team)
    figure.stop()
    team.tell(phase="online", party=0, path="x", rounds=1, bytes=1, compute=0.0)
    assert figure.rounds == 0 and team.callbacks == []


@pytest.mark.parametrize("wrong", ["rounds", "bytes"])
def test_a_figure_that_missed_something_does_not_agree(wrong):
    with mk.simulate() as session:
        work(torch.ones(2, 8), torch.ones(8, 3))
    total, team = session.report().total(), Events(2)
    figure = live(team)
    for party, sent in total.by_party.items():
        missed = {"rounds": total.rounds, "bytes": sent}
        missed[wrong] -= party == 0
        team.tell(phase="online", party=party, path="x", compute=0.0, **missed)
    assert not figure.agrees(session.report())


def test_a_saved_notebook_has_words_in_its_place():
    assert live(Events(2))._repr_mimebundle_()["text/plain"].startswith("A live figure")
