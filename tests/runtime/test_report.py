"""The bill, and what it comes to on a link:

print(session.report())          # rounds, bytes and seconds by phase, layer and operator
session.report().seconds(WAN)    # compute + rounds · rtt / 2 + bytes / bandwidth
"""

import json

import pytest
import torch

from mpckit.protocols.arithmetic import mul, square
from mpckit.ring import Ring
from mpckit.runtime.meter import LAN, WAN, Link, Meter
from mpckit.runtime.report import Report, duration, size
from mpckit.runtime.session import Session

CROWD = Link("crowd", rtt=0.2, bandwidth=1000.0)


def session_with_layers(**options):
    """Party 1 shares weights in the set-up phase; then two layers online."""
    session = Session(3, ring=Ring(64, 0), link=CROWD, **options)
    with session.meter.phase_of("setup"), session.scope("model"):
        w = session.share(torch.arange(4), owner=1)
    x = session.share(torch.arange(4), owner=0)
    for layer in ("one", "two"):
        with session.scope(layer):
            with session.scope("mul"):
                x = session.run(mul, x, w)
            with session.scope("square"):
                x = session.run(square, x)
    return session


def test_the_example():
    report = session_with_layers(insecure_seed=1).report()
    assert report.rounds() == 1 + 2 * 2 and report.rounds("setup") == 1
    assert "one/mul" in str(report) and "WAN" in str(report)


# ---- a link --------------------------------------------------------------------------------------


def test_seconds_on_a_link():
    link = Link("x", rtt=0.1, bandwidth=1e6)
    assert link.seconds(0, 0) == 0
    assert link.seconds(10, 0) == pytest.approx(0.5)  # half a round trip each: both directions at the same time
    assert link.seconds(0, 3_000_000) == pytest.approx(3.0)
    assert link.seconds(10, 3_000_000, 0.25) == pytest.approx(3.75)
    assert LAN.seconds(100, 10**9) == pytest.approx(100 * 0.25e-3 + 8 * 10**9 / 10e9)
    assert WAN.seconds(100, 10**6) == pytest.approx(100 * 30e-3 + 8 * 10**6 / 305e6)


def test_a_report_is_timed_on_its_link_or_another():
    report = session_with_layers(insecure_seed=1).report()
    rounds, sent, compute = report.rounds(), report.sent(), report.compute()
    assert compute > 0
    assert report.seconds() == pytest.approx(compute + rounds * 0.1 + sent / 1000)
    assert report.seconds(LAN) == pytest.approx(LAN.seconds(rounds, sent, compute))
    assert report.seconds(phase="setup") == pytest.approx(
        CROWD.seconds(1, report.sent("setup"), report.compute("setup"))
    )


# ---- the ledger ----------------------------------------------------------------------------------


def test_bytes_are_those_of_the_party_that_sends_most_with_headers():
    report = session_with_layers(insecure_seed=1).report()
    peers, header, words = 2, 24, 4 * 8
    assert report.sent("setup") == peers * (words + header)  # party 1; the others send headers
    # party 0 shares x; then everybody opens two factors for a product and one for a square, twice
    assert report.sent() == peers * (words + header + 2 * (3 * words + 2 * header))
    assert report.sent("offline") == 0 and report.offline_bytes == 4 * words  # c of each product, to the last party


def test_the_party_that_sends_most_is_found_over_all_lines():
    """Party 0 sends most on one line and party 1 on the other; neither sends both."""
    session = Session(2, ring=Ring(64, 0), insecure_seed=1)
    with session.scope("a"):
        session.share(torch.arange(10), owner=0)
    with session.scope("b"):
        session.share(torch.arange(11), owner=1)
    assert session.meter.sent() == session.report().sent() == 88 + 24 + 24
    assert session.meter.total().sent == {0: 80 + 48, 1: 88 + 48}


def test_layers_add_up_to_the_phase():
    report = session_with_layers(insecure_seed=1).report()
    layers = report.by_layer()
    assert set(layers) == {"share", "one", "two"}
    assert [layers[k].rounds for k in ("share", "one", "two")] == [1, 2, 2]
    assert [layers[k].calls for k in ("one", "two")] == [2, 2]
    assert sum(line.sent for line in layers.values()) == report.sent()
    assert sum(line.compute for line in layers.values()) == pytest.approx(report.compute())
    assert set(report.by_layer("setup")) == {"model"}


def test_phases_stay_apart_also_after_an_error():
    meter = Meter((0, 1))
    with pytest.raises(KeyError), meter.phase_of("setup"), meter.scope("layer"):
        meter.book(1, {0: 10, 1: 20}, 0.5)
        raise KeyError
    assert meter.path == "" and meter.phase == "online"
    meter.book(2, {0: 1}, 0.25)
    setup, online = meter.total("setup"), meter.total()
    assert (setup.rounds, setup.sent, setup.compute) == (1, {0: 10, 1: 20}, 0.5)
    assert (online.rounds, online.sent, online.compute) == (2, {0: 1}, 0.25)
    assert meter.sent("setup") == 20 and meter.sent() == 1 and meter.sent("offline") == 0


def test_listeners_hear_what_is_booked():
    meter, heard = Meter((0,)), []
    meter.listeners.append(lambda *event: heard.append(event))
    with meter.scope("layer"), meter.scope("mul"):
        meter.book(1, {0: 24}, 0.5)
    meter.book(compute=0.25)
    assert heard == [("online", "layer/mul", 1, {0: 24}, 0.5), ("online", "", 0, {}, 0.25)]


def test_a_report_is_a_snapshot():
    session = session_with_layers(insecure_seed=1)
    report = session.report()
    rounds, sent = report.rounds(), report.sent()
    session.open(session.share(torch.arange(3), 0))
    assert (report.rounds(), report.sent()) == (rounds, sent)
    assert session.report().rounds() == rounds + 2


# ---- how it prints -------------------------------------------------------------------------------


def test_an_insecure_seed_is_named_and_only_then():
    for seed, named in ((1, True), (0, True), (None, False)):
        report = session_with_layers(insecure_seed=seed).report()
        assert report.insecure is named and ("INSECURE" in str(report)) is named
        assert ("INSECURE" in report._repr_html_()) is named


def test_the_table_has_every_phase_and_the_parties():
    text = str(session_with_layers(insecure_seed=1, truncation="exact").report())
    first, head, *rows = text.splitlines()
    assert "3 parties" in first and "exact truncation" in first
    assert head.split() == "phase / layer / operator calls rounds sent compute crowd LAN WAN".split()
    starts = [row.split()[0] for row in rows]
    assert starts.index("setup") < starts.index("offline") < starts.index("online")
    assert {"model/share", "share", "one/mul", "one/square", "two/mul", "two/square"} <= set(starts)


def test_html_escapes_names():
    session = Session(2, insecure_seed=1)
    with session.scope("<script>"):
        session.share(torch.zeros(1), 0)
    assert "<script>" not in session.report()._repr_html_() and "&lt;script&gt;" in session.report()._repr_html_()


def test_as_json():
    report = session_with_layers(insecure_seed=1).report()
    data = json.loads(report.to_json())
    assert data["parties"] == 3 and data["link"] == {"name": "crowd", "rtt": 0.2, "bandwidth": 1000.0}
    assert sum(line["rounds"] for line in data["lines"] if line["phase"] == "online") == report.rounds()


def test_an_empty_report_prints():
    report = Session(2).report()
    assert isinstance(report, Report) and report.rounds() == report.sent() == 0 and "offline" in str(report)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1536, "1.54 kB"),
        (123_456, "123 kB"),
        (999_999, "1 MB"),
        (3_400_000, "3.4 MB"),
        (2_500_000_000, "2.5 GB"),
    ],
)
def test_sizes(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 µs"),
        (2e-6, "2 µs"),
        (0.0032, "3.2 ms"),
        (0.9999, "1 s"),
        (1.5, "1.5 s"),
        (99.2, "99.2 s"),
        (119.7, "2 min 0 s"),
        (125, "2 min 5 s"),
        (3725, "62 min 5 s"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
