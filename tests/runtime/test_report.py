"""The bill, and what it comes to on a link:

print(session.report())          # rounds, bytes and seconds by phase, layer and operator
session.report().seconds(WAN)    # compute + rounds · rtt / 2 + bytes / bandwidth
"""

import json
import re
import time
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch

from mpckit.ask import Open, together
from mpckit.correlations import Triple
from mpckit.protocols.arithmetic import MUL, mul, square
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


def test_software_of_exchanges_is_time_of_every_round():
    """0.5 ms a round, on any link, in seconds, in the table and in the bars, and said below it."""
    pure = session_with_layers(insecure_seed=1).report()
    report = replace(pure, exchange=0.5e-3)
    for link in (LAN, WAN, CROWD):
        assert report.seconds(link) == pytest.approx(pure.seconds(link) + 5 * 0.5e-3)
    note = "software of an exchange: 500 µs a round, measured here"
    assert note in str(report) and note in report._repr_html_() and "software" not in str(pure) + pure._repr_html_()
    assert re.search(r"aria-label='compute .*?, software 2.5 ms, latency .*?, bytes .*?'", report._repr_html_())
    assert Report.from_json(report.to_json()) == report
    told = session_with_layers(insecure_seed=1, exchange=0.5e-3).report()
    assert told.exchange == 0.5e-3 and pure.exchange == 0.0, "a simulator has none unless told"


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
        meter.book("Open", {0: 0.5, 1: 0.25}, {0: {1: 10}, 1: {0: 20}}, waiting=2.0)
        raise KeyError
    assert meter.path == "" and meter.phase == "online"
    meter.book("Send", {0: 0.125}, {0: {1: 1, 2: 2}})
    meter.book("Return", {0: 0.125})
    setup, online = meter.total("setup"), meter.total()
    assert (setup.rounds, setup.sent, setup.compute, setup.waiting) == (1, {0: 10, 1: 20}, 0.5, 2.0)
    assert (online.rounds, online.sent, online.compute, online.waiting) == (1, {0: 3}, 0.25, 0.0)
    assert meter.sent("setup") == 20 and meter.sent() == 3 and meter.sent("offline") == 0


def test_listeners_hear_every_word_of_every_party():
    heard, session = [], Session(3, ring=Ring(64, 0), insecure_seed=1)
    session.prepare([Triple(MUL, (4,), (4,))])
    session.meter.listeners.append(heard.append)
    begin = time.time()
    with session, session.scope("layer"), session.scope("mul"):
        session.run(mul, *(session.share(torch.arange(4), owner=p) for p in (0, 1)))
    assert [(e.party, e.word, e.step, e.rounds) for e in heard if e.party == 2] == [
        (2, "Send", 0, 1), (2, "Return", 1, 0), (2, "Send", 1, 1), (2, "Return", 2, 0),
        (2, "Open", 2, 1), (2, "Return", 3, 0),
    ]  # fmt: skip
    assert {e.party for e in heard} == {0, 1, 2} and len(heard) == 3 * 6
    opened = next(e for e in heard if e.word == "Open" and e.party == 1)
    assert (opened.phase, opened.path) == ("online", "layer/mul") and opened.protocol == "product"
    assert opened.draws == 1 and sum(e.draws for e in heard) == 3
    assert opened.to == {0: 2 * 32 + 24, 2: 2 * 32 + 24}
    assert all(e.compute > 0 and begin <= e.time <= time.time() for e in heard)
    total = session.report().total()
    assert {p: sum(sum(e.to.values()) for e in heard if e.party == p) for p in range(3)} == total.by_party
    assert sum(e.rounds for e in heard if e.party == 0) == total.rounds


def test_a_draw_that_waits_for_a_dealer_is_an_event_of_its_own():
    meter, heard = Meter((0,)), []
    meter.listeners.append(heard.append)
    meter.book("Draw", {0: 0.5}, waiting=0.0)  # from the store
    meter.book("Draw", {0: 0.25})
    meter.book("Draw", {0: 0.125}, waiting=0.5)
    meter.book("Open", {0: 1.0}, {0: {1: 32}})
    assert [(e.word, e.draws, e.compute, e.waiting) for e in heard] == [
        ("Draw", 2, 0.875, 0.5), ("Open", 0, 1.0, 0.0)
    ]  # fmt: skip
    assert meter.total().compute == sum(e.compute for e in heard)


def test_the_protocol_is_named_from_the_outside_in():
    def inner(x):
        return (yield Open(x))

    def outer(x):
        return (yield from together(inner(x), inner(x)))

    heard, session = [], Session(2, ring=Ring(64, 0), insecure_seed=1)
    x = session.share(torch.arange(4), owner=0)
    session.meter.listeners.append(heard.append)
    session.run(lambda x: (yield from inner(x)), x)
    session.run(outer, x)
    assert [(e.protocol, e.word) for e in heard if e.party == 0 and e.rounds] == [
        ("<lambda> > inner", "Open"), ("outer", "Open")
    ]  # fmt: skip


def test_a_session_nobody_listens_to_makes_no_events(monkeypatch):
    monkeypatch.setattr("mpckit.runtime.meter.Event", None)
    assert session_with_layers(insecure_seed=1).report().rounds() == 5


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


def test_json_there_and_back(tmp_path):
    report = session_with_layers(insecure_seed=1).report()
    text = report.to_json(tmp_path / "bill.json")
    assert (tmp_path / "bill.json").read_text() == text and Report.from_json(text) == report
    for wrong in ("{}", "[1]", "no json", text.replace('"calls"', '"call"')):
        with pytest.raises(ValueError):
            Report.from_json(wrong)


class Tags(HTMLParser):
    """Raises AssertionError unless tags nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.addresses = [], [], []
        self.feed(text)
        assert self.open in ([], ["html"])

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_page_has_the_table_and_a_bar_for_every_line(tmp_path):
    report = session_with_layers(insecure_seed=1).report()
    page = report.to_html(tmp_path / "bill.html")
    assert (tmp_path / "bill.html").read_text(encoding="utf-8") == page
    tags = Tags(page)
    for line in report.lines:
        assert f">{line.path}<" in page
    assert len(re.findall(r"<svg role='img' aria-label='compute .*?, latency .*?, bytes .*?'", page)) == 6 + 2
    assert "color-scheme:light dark" in page and tags.addresses == []  # nothing is fetched


def test_bars_are_as_long_as_the_seconds():
    report = session_with_layers(insecure_seed=1).report()
    report = replace(report, lines=tuple(replace(line, compute=0.0) for line in report.lines))
    html = report._repr_html_()
    bar = html[html.index(">online<") :]
    bar = re.search(r"<svg role=.*?</svg>", bar, re.S)[0]
    widths = [float(w) for w in re.findall(r"<rect x='[\d.]+' width='([\d.]+)' height='12' fill='#", bar)]
    assert sum(widths) == pytest.approx(240, abs=0.2)  # the longest
    assert widths[0] == 0 and widths[1] / widths[2] == pytest.approx(
        CROWD.seconds(report.rounds(), 0) / CROWD.seconds(0, report.sent()), rel=0.01
    )


def test_waiting_is_told_where_there_was_any():
    report = session_with_layers(insecure_seed=1).report()
    assert "waiting" not in str(report)
    waited = replace(report, lines=tuple(replace(line, waiting=0.25) for line in report.lines))
    assert waited.total().waiting == 5 * 0.25
    head, online = (next(row for row in str(waited).splitlines() if row.startswith(w)) for w in ("phase", "online"))
    assert head.split()[-4:] == ["waiting", "crowd", "LAN", "WAN"] and "1.25 s" in online


# ---- two reports ---------------------------------------------------------------------------------


def test_a_difference_names_the_layers_that_differ():
    before = session_with_layers(insecure_seed=1).report()
    session = session_with_layers(insecure_seed=1)
    with session.scope("two"), session.scope("square"):
        session.run(square, session.share(torch.arange(4), owner=0))
    diff = before.diff(session.report())
    text = str(diff)
    assert not diff.same and "5 → 7 (+40 %)" in text and "two" in text and "one" not in text
    assert {a.path: (a.rounds, b.rounds) for a, b in diff.rows()} == {
        "share": (1, 1), "one": (2, 2), "two": (2, 3), "two/square": (0, 1)
    }  # fmt: skip
    Tags(diff.to_html())
    assert "5 → 7" in diff._repr_html_()


def test_no_difference():
    one, two = (session_with_layers(insecure_seed=1).report() for _ in range(2))
    assert one.diff(two).same and "the same rounds and bytes everywhere" in str(one.diff(two))
    assert not one.diff(replace(two, offline_bytes=0)).same
    # the busiest party sends as much in both, and another one does not
    line = two.lines[0]
    quiet = replace(line, by_party=line.by_party | {2: line.by_party[2] - 1})
    assert quiet.sent == line.sent and not one.diff(replace(two, lines=(quiet, *two.lines[1:]))).same


def test_a_difference_of_other_suites_says_so():
    one = session_with_layers(insecure_seed=1).report()
    assert "bits → fss suite" in str(one.diff(replace(one, suite="fss")))


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


def test_a_program_tells_what_it_has_revealed():
    heard, session = [], Session(2)
    session.meter.listeners.append(heard.append)
    session.tell(phase="said", text="one")
    assert heard == [{"phase": "said", "text": "one"}] and session.meter.step == 0
