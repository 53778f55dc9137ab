"""The dashboard: fed with the events of real engines, it ends where the bill does."""

import contextvars
import threading
import time

import pytest
import torch

import mpckit as mk
from mpckit.show import link_sliders, live
from mpckit.show.watch import KEPT, Watch


class Events:
    """Stands for a team whose events a test makes up."""

    def __init__(self, parties):
        self.parties, self.events, self.callbacks, self.step = parties, self, [], 0

    def subscribe(self, callback):
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    def tell(self, **event):
        for callback in list(self.callbacks):
            callback({"dropped": 0, **event})

    def say(self, party=0, sent=24, rounds=1, at=1000.0, **more):
        """A word of the meter, as it comes over the wire: JSON knows no numbers as keys."""
        event = dict(
            time=at, party=party, phase="online", step=self.step, path="fc1/addmm", protocol="matmul", word="Open",
            rounds=rounds, draws=0, to={"9": sent}, compute=0.0, waiting=0.0,
        )  # fmt: skip
        self.tell(**event | more)


def work(x, y):
    a, b = mk.secret(x, owner=0), mk.secret(y, owner=1)
    return torch.relu(a @ b).reveal(to=0)


@pytest.fixture(scope="module")
def bill():
    with mk.simulate() as session:
        work(torch.ones(2, 8), torch.ones(8, 3))
    return session.report()


def test_it_ends_at_the_bill():
    """Two runs on engines: bars, curves, rounds and bytes are the sum of both bills."""
    with mk.cluster(parties=2) as team:
        panel = live(team)
        reports = [
            team.run(work, mk.only(0, torch.ones(n, 8)), mk.only(1, torch.ones(8, 3)), progress=False)[1]
            for n in (4, 64)
        ]
        assert panel.agrees(*reports) and not panel.agrees(reports[0])
        assert team.events.errors == [] and team.events.dropped == {0: 0, 1: 0}
    compute, wire, waiting, sent, *curves = panel.figure.data
    layers = [report.by_layer() for report in reports]
    assert list(sent.x) == [max(sum(by[name].by_party[p] for by in layers) for p in (0, 1)) for name in sent.y]
    assert [int(text.split(", ")[1]) for text in sent.text] == [
        sum(by[name].rounds for by in layers) for name in sent.y
    ]
    for party, (in_bytes, in_rounds) in enumerate(zip(curves[:2], curves[2:])):
        assert in_bytes.y[-1] == sum(report.total().by_party[party] for report in reports)
        assert in_rounds.y[-1] == sum(report.rounds() for report in reports)
        assert all(a <= b for a, b in zip(in_bytes.x, in_bytes.x[1:])), "time goes on"
    # a party on average is not quicker than the quickest, nor slower than the slowest
    assert 0 < sum(compute.x) <= sum(report.compute() for report in reports)
    assert 0 < sum(wire.x) + sum(waiting.x) <= sum(report.total().waiting for report in reports)
    assert panel.watch.runs == 2 and panel.bar.value == 1.0 and "done: " in panel.status.value
    assert "measured here" in panel.sliders.text()
    assert panel.sliders.exchange == reports[-1].exchange > 0, "the bill and the figure tell one number"


# How far it is


def test_stages_progress_and_time_left(bill):
    watch = Watch(2)
    team = Events(2)
    team.callbacks.append(watch.hear)
    assert watch.status == "waiting for the parties"
    team.tell(phase="plan", report=bill)
    for party in (0, 1):
        team.tell(phase="offline", party=party, done=3, total=9)
    assert watch.status == "offline: the dealer has dealt 3 of 9 correlations" and watch.fraction == 0
    team.say(phase="setup", path="private/share", rounds=0)
    assert watch.status == "set-up: the weights are shared and masked" and watch.by_party == {0: 0, 1: 0}
    half = bill.total().by_party[0] // 2, bill.rounds() // 2
    team.say(0, *half, at=1002.0)
    team.say(1, *half, at=1002.0)
    assert watch.fraction == pytest.approx(0.5, abs=0.1)
    assert watch.left == pytest.approx(2.0, rel=0.3)  # as long again
    assert watch.status.startswith(f"online: fc1, round {half[1]} of {bill.rounds()}, about ")
    for party in (0, 1):
        team.tell(phase="end", party=party, seconds=1.0)
    assert watch.fraction == 1.0 and not watch.running and watch.status.startswith(f"done: {half[1]} rounds")


def test_seconds_in_an_exchange_are_the_wire_or_waiting_for_the_others():
    """Party 1 comes 3 s late; then both are on the wire for 0.5 s."""
    watch, team = Watch(2), Events(2)
    team.callbacks.append(watch.hear)
    team.say(0, at=1010.0, waiting=3.5, compute=1.0)
    team.say(1, at=1010.0, waiting=0.5, compute=4.0)
    (layer,) = watch.layers.values()
    assert (layer.compute, layer.wire, layer.waiting) == pytest.approx((2.5, 0.5, 1.5))
    assert watch.slowest == pytest.approx(4.0) and watch.elapsed == pytest.approx(4.5)


def test_it_is_redrawn_ten_times_a_second_and_at_the_end(monkeypatch):
    team, drawn = Events(1), []
    panel = live(team)
    monkeypatch.setattr(panel, "_draw", lambda: drawn.append(panel.rounds))
    for _ in range(1000):
        team.say()
    assert 1 <= len(drawn) < 100
    team.tell(phase="end", party=0, seconds=1.0)
    assert drawn[-1] == 1000


def test_curves_stay_small_and_keep_the_total():
    team = Events(1)
    panel = live(team)
    for k in range(3 * KEPT):
        event = dict(time=1000.0 + k, party=0, phase="online", step=k, path="a/b", rounds=1, to={"1": 24})
        panel.watch.hear(event | dict(compute=0.0, waiting=0.0, dropped=0))
    panel._draw()
    curve = panel.figure.data[4]
    assert len(curve.x) < 700 and curve.y[-1] == 3 * KEPT * 24 and len(panel.watch.curves[0].sent) <= KEPT


def test_what_was_dropped_is_shown():
    team = Events(2)
    panel = live(team)
    team.say(1, dropped=7)
    panel._draw()
    assert "7 events dropped" in panel.status.value and "7 events were dropped" in panel.still().alt


@pytest.mark.parametrize("phase", ["done", "split", "here", "start", "epoch 3"])
def test_a_program_may_call_its_own_stages_what_it_likes(phase):
    """`Session.tell(phase=…)`: no name of a stage is one of the dashboard's own."""
    watch = Watch(2)
    watch.hear({"phase": phase, "party": 0, "loss": 0.5})
    assert watch.status == phase


def test_what_a_program_tells_is_text_and_not_markup():
    panel = live(events := Events(2))
    events.tell(phase="1 < 2", party=0)
    assert "1 &lt; 2</span>" in panel.status.value and panel.watch.status == "1 < 2"


def test_it_stops_listening_when_told():
    team = Events(1)
    panel = live(team)
    panel.stop()
    team.say()
    assert panel.rounds == 0 and team.callbacks == []


@pytest.mark.parametrize("wrong", ["rounds", "bytes"])
def test_a_figure_that_missed_something_does_not_agree(wrong, bill):
    total, team = bill.total(), Events(2)
    panel = live(team)
    for party, sent in total.by_party.items():
        missed = {"rounds": total.rounds, "bytes": sent}
        missed[wrong] -= party == 0
        team.say(party, missed["bytes"], missed["rounds"])
    assert not panel.agrees(bill)


# What stays in a page


def test_a_saved_notebook_keeps_the_last_picture_and_its_words():
    team = Events(2)
    panel = live(team)
    team.say(0, sent=640, rounds=2)
    data = panel.still().bundle()
    assert "party 0 sent 640 bytes" in data["text/plain"] and "2 rounds online" in data["text/plain"]
    assert data["application/vnd.plotly.v1+json"]["data"][3]["x"] == [640]


def test_the_still_twin_is_sent_for_the_cell_that_runs():
    """Events come in a thread that knows another cell: the one in which the team was started."""
    cell, seen, team = contextvars.ContextVar("cell", default="another"), [], Events(1)
    panel = live(team)
    panel._twin._handle = type("Handle", (), {"update": lambda self, data, raw: seen.append(cell.get())})()
    cell.set("this")
    team.tell(phase="plan", report=mk.plan(work, torch.ones(2, 8), torch.ones(8, 3)).report)
    thread = threading.Thread(target=lambda: (team.say(), team.tell(phase="end", party=0, seconds=1.0)))
    thread.start()
    thread.join(10)
    assert seen == ["this"]


# What if the network were another


def test_sliders_and_presets_set_the_link(bill):
    sliders = link_sliders(bill)
    for name, link in (("WAN", mk.WAN), ("4G", mk.MOBILE), ("LAN", mk.LAN)):
        sliders.preset.value = name
        assert sliders.predicted() == pytest.approx({"bits": bill.seconds(link)})
        assert sum(trace.x[0] for trace in sliders.figure.data[:-1]) == pytest.approx(bill.seconds(link))
    before = sliders.predicted()["bits"]
    sliders.rtt.value = 200.0
    assert sliders.predicted()["bits"] == pytest.approx(before + bill.rounds() * (0.2 - mk.LAN.rtt) / 2)
    assert "200 ms" in sliders.words.value and repr(sliders) == sliders.text()


def test_suites_stand_side_by_side(bill):
    from dataclasses import replace

    other = replace(bill, suite="other", lines=bill.lines[:2])
    sliders = link_sliders(bill, other)
    assert list(sliders.figure.data[0].y) == ["bits", "other"]
    sliders.preset.value = "WAN"
    predicted = sliders.predicted()
    assert predicted["other"] == pytest.approx(other.seconds(mk.WAN)) and predicted["other"] < predicted["bits"]
    still = sliders.still()
    assert list(still.data[0].y) == [
        f"{suite} on {link}" for suite in ("bits", "other") for link in ("LAN", "WAN", "4G")
    ]
    assert "bits on WAN" in still.alt


def test_a_plan_alone_predicts_the_network_and_a_run_adds_its_seconds(bill):
    sliders = link_sliders()
    sliders.put(bill)
    sliders.draw()
    assert sliders.predicted()["bits"] == pytest.approx(mk.LAN.seconds(bill.rounds(), bill.sent()))
    sliders.put(bill, compute=2.0, measured=5.0)
    sliders.draw()
    assert sliders.predicted()["bits"] == pytest.approx(2 + mk.LAN.seconds(bill.rounds(), bill.sent()))
    assert list(sliders.figure.data[-1].x) == [5.0]


def test_software_of_exchanges_is_counted_once_it_is_measured(bill):
    """0.1 ms a round: of the machine, so also for the suite that did not run."""
    from dataclasses import replace

    other = replace(bill, suite="other")
    sliders = link_sliders(other, bill)
    pure = sliders.predicted()
    assert "software" not in sliders.text() + sliders.still().alt
    sliders.put(replace(bill, exchange=1e-4), bill.compute())
    sliders.draw()
    for suite, seconds in sliders.predicted().items():
        assert seconds == pytest.approx(pure[suite] + bill.rounds() * 1e-4)
    for text in (sliders.text(), sliders.words.value, sliders.still().alt):
        assert "software of an exchange" in text and "100 µs a round" in text
    software = next(trace for trace in sliders.figure.data if trace.name == "software")
    assert list(software.x) == [bill.rounds() * 1e-4] * 2


def test_the_dashboard_takes_the_software_of_the_party_that_waited_least():
    team = Events(2)
    panel = live(team)
    for exchange, expected in (((3e-4, 1e-4), 1e-4), ((2e-4, 4e-4), 2e-4)):
        team.tell(phase="plan", report=mk.plan(work, torch.ones(2, 8), torch.ones(8, 3)).report)
        for party in (0, 1):
            team.say(party)
            team.tell(phase="end", party=party, seconds=1.0, exchange=exchange[party])
        assert panel.sliders.exchange == expected


def test_everything_fits_light_and_dark_pages(bill):
    panel = live(Events(2))
    for figure in (panel.figure, panel.still(), panel.sliders.figure, link_sliders(bill).still()):
        assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0,0,0,0)"
        bars = [trace for trace in figure.data if trace.type == "bar" and trace.name]
        assert len({trace.marker.pattern.shape for trace in bars}) == len(bars), "not by colour alone"


def test_time_is_split_even_when_no_plan_was_told():
    begin = time.time()
    watch = Watch(1)
    watch.hear({"phase": "end", "party": 0, "seconds": 1.0})
    assert watch.status.startswith("done: 0 rounds") and time.time() - begin < 1
