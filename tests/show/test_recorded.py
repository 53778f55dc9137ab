"""What was really said: as a chart, as one party's view, and one word at a time."""

import inspect
from functools import partial

import pytest
import torch

import mpckit as mk
from mpckit.protocols import arithmetic
from mpckit.protocols.arithmetic import mul
from mpckit.protocols.gates import relu
from mpckit.runtime.transcript import Transcript, places, received
from mpckit.share import join
from mpckit.show import sequence, shares, stepper, view_as
from mpckit.show.source import excerpt, source_line


def program(x, y):
    a, b = mk.secret(x, owner=0), mk.secret(y, owner=1)
    return torch.relu(a @ b).reveal(to=0)


def recorded(parties=2, x=None, seed=1):
    with mk.simulate(parties, record=True, insecure_seed=seed) as session:
        program(torch.ones(2, 2) if x is None else x, torch.ones(2, 2))
    return session


@pytest.fixture(scope="module")
def session():
    return recorded()


# The transcript


def test_every_word_knows_the_line_that_said_it(session):
    """Each place is a line of the library with the word in it, inside the protocol that it names."""
    words = session.transcript.words
    assert [said.word for said in words if said.rounds][:3] == ["Send", "Send", "Open"]
    assert sum(said.rounds for said in words) == session.report().rounds()
    for said in words:
        for place in said.places:
            line = source_line(place)
            assert "yield" in line, (place, line)
            assert said.word in line or said.word in excerpt(place), (place, line)
    product = next(said for said in words if said.text.startswith("Draw(Triple"))
    first = inspect.getsourcelines(arithmetic.product)[1]
    assert product.places[0].file == "mpckit/protocols/arithmetic.py" and product.places[0].protocol == "product"
    assert first < product.places[0].line < first + 25


def test_words_that_share_a_round_have_a_place_each():
    def ask(x):
        return (yield mk.Open(x))

    def both(x):
        return (yield from mk.together(ask(x), arithmetic.square(x), ask(x)))

    with mk.simulate(2, ring=mk.Ring(64, 0), record=True) as session:
        session.run(both, session.share(torch.arange(3), owner=0))
    draw, opened = session.transcript.words[-2:]
    assert [place.protocol for place in draw.places] == ["square"]
    names = [place.protocol.rpartition(".")[2] for place in opened.places]
    assert names == ["ask", "square", "ask"] and opened.word == "Open"
    assert places(None) == ()


def test_messages_unpack_to_what_was_opened(session):
    opened = [said for said in session.transcript.words if said.word == "Open" and said.messages]
    for said in opened:
        if len(said.shapes[0, 1]) == 1 and said.shapes[0, 1][0][0] == "AShare":
            (theirs,) = received(said, 1)[0]
            (own,) = received(said, 0)[1]
            assert torch.equal(theirs[2] + own[2], said.answers[0])
    assert list(session.transcript) == [message for said in session.transcript.words for message in said.messages]


def test_nothing_is_kept_unless_asked_for():
    with mk.simulate(2) as session:
        program(torch.ones(2, 2), torch.ones(2, 2))
    assert session.transcript is None and session.report().transcript is None
    with pytest.raises(ValueError, match=r"mpckit.simulate\(record=True\)"):
        sequence(session)
    with pytest.raises(ValueError, match=r"team.run\(…, record=True\)"):
        view_as(0, session.report())
    assert mk.plan(program, torch.ones(2, 2), torch.ones(2, 2), record=True).report.transcript is None


def test_engines_record_the_same(session):
    """A recorded run on engines, put together again, is the simulator's; and its report is still JSON."""
    with mk.cluster(parties=2) as team:
        x, y = torch.ones(2, 2), torch.ones(2, 2)
        _, report = team.run(
            program, mk.only(0, x), mk.only(1, y), progress=False, record=True, insecure_seed=1
        )  # fmt: skip
    assert sorted(report.transcript) == sorted(session.transcript)
    for theirs, ours in zip(report.transcript.words, session.transcript.words):
        assert (theirs.word, theirs.step, theirs.path, theirs.places) == (ours.word, ours.step, ours.path, ours.places)
    assert sequence(report).alt == sequence(session).alt
    assert [i.value.tolist() for i in view_as(1, report).messages] == [
        i.value.tolist() for i in view_as(1, session).messages
    ]
    assert mk.plan(program, x, y).report.rounds() == report.rounds() and "transcript" in report.to_json()
    assert type(report).from_json(report.to_json()) == report


# One party's view


@pytest.mark.parametrize("parties", [2, 3])
def test_a_view_has_what_the_party_received_and_nothing_else(parties):
    session = recorded(parties)
    for party in range(parties):
        view = view_as(party, session)
        to_it = [said for said in session.transcript.words if any(r == party and d for _, r, d in said.messages)]
        assert len({(i.step, i.sender) for i in view.messages}) == sum(
            sum(r == party and bool(d) for _, r, d in said.messages) for said in to_it
        )
        assert not any(item.sender == f"party {party}" for item in view.items)
        kept = {id(said) for said in session.transcript.words}
        assert not any(id(value) in kept for value in vars(view).values())
    assert "party 1 received" in str(view_as(1, session)) and "<table>" in view_as(1, session)._repr_html_()


def test_keys_are_in_the_view_by_name_and_number():
    """They are for one use, so no transcript keeps them; but the dealer did send them."""
    with mk.simulate(suite="fss", record=True) as session:
        torch.relu(mk.secret(torch.ones(2, 3), owner=0)).reveal()
    for party in (0, 1):
        view = view_as(party, session)
        assert [(i.kind, list(i.value.shape)) for i in view.items if i.kind == "keys"] == [("keys", [6])]
        assert "and 6 from the dealer" in str(view) and "6 keys, for one use" in str(view)
        assert "6 keys, for one use" in view._repr_html_() and view.words().numel() == 12 + 6 * party


def test_the_result_is_in_the_view_of_whom_it_was_for():
    """Only party 0 hears the last share, and with its own it has the answer."""
    session = recorded()
    last = session.transcript.words[-1]
    assert view_as(0, session).items[-1].step == last.step > view_as(1, session).items[-1].step


def test_a_view_says_nothing_of_the_others_secret():
    """Two secrets of party 0, as different as can be: what party 1 receives is as uniform for one as for the other."""
    for x in (torch.zeros(32, 32), torch.full((32, 32), 1000.0)):
        with mk.simulate(2, record=True) as session:
            secret = mk.secret(x, owner=0)
            (secret * secret).reveal(to=0)
        words = view_as(1, session).words()
        counts = torch.histc(words, 16, -1, 1)
        expected = words.numel() / 16
        assert words.numel() >= 2048 and ((counts - expected) ** 2 / expected).sum() < 80  # 15 degrees: 1 in 10^10
    figure = view_as(1, session).histogram()
    assert sum(figure.data[0].y) == words.numel() and str(words.numel()) in figure.alt


def test_a_view_of_nobody():
    with pytest.raises(ValueError, match="party 7 is not in this transcript; there are 0, 1"):
        view_as(7, recorded())


# The chart


def test_the_chart_has_an_arrow_for_every_message(session):
    figure = sequence(session)
    solid = [shape for shape in figure.layout.shapes if shape.line.dash == "solid"]
    assert len(solid) == sum(bool(data) for _, _, data in session.transcript)
    dotted = [shape for shape in figure.layout.shapes if shape.line.dash == "dot"]
    assert len(dotted) == 2 * sum(said.word == "Draw" for said in session.transcript.words)
    text = figure.data[-1]
    assert len(text.text) == len(session.transcript.words)
    assert any("x_hat = yield Open(x + (1 " in row for row in text.text)  # the library's own line
    assert all("mpckit/protocols/" in row for row in text.hovertext)
    assert "Draw Triple in product" in figure.alt


def test_a_layer_of_a_chart_and_a_long_one(session):
    only = sequence(session, path="relu")
    assert len(only.data[-1].text) == sum(said.path == "relu" for said in session.transcript.words)
    assert "and 12 more words" in sequence(session, words=len(session.transcript.words) - 12).alt
    with pytest.raises(ValueError, match="nothing was said in 'rel'; there are secret/share, mm, relu, reveal"):
        sequence(session, path="rel")


# One word at a time


def test_stepping_through_a_product():
    """Two words, and the answer is 6 · 7."""
    it = stepper(mul, torch.tensor(6), torch.tensor(7), insecure_seed=1)
    draw = next(it)
    assert draw.said.word == "Draw" and "→" in str(draw) and "yield Draw(Triple" in str(draw) and it.value is None
    opened = next(it)
    assert opened.said.word == "Open" and "party 1 has x = share" in str(opened) and "answered · all:" in str(opened)
    d, e = opened.said.answers[0]
    a, b, _ = (join([piece.like(piece.data) for piece in pair]) for pair in zip(*draw.said.answers.values()))
    assert [int(v) % 256 for v in (a + d, b + e)] == [6, 7]
    with pytest.raises(StopIteration):
        next(it)
    assert it.value == 42 and it.text().endswith("together 42") and list(it) == []


def test_stepping_through_a_relu_with_keys():
    it = stepper(partial(relu, form="dpf"), torch.tensor([-3, 2]))
    drawn = str(next(it))
    assert drawn.count(" · 2 keys, for one use · ") == 2 and "str" not in drawn
    assert len(list(it)) == 2 and it.value.tolist() == [0, 2]


def test_it_starts_again_with_fresh_masks():
    it = stepper(mul, torch.arange(64), torch.arange(64), ring=mk.Ring(64, 0))
    first = list(it)[-1].said.answers[0]
    again = list(it.again())[-1].said.answers[0]
    assert torch.equal(it.value, torch.arange(64) ** 2) and not torch.equal(first[0], again[0])


def test_the_button_and_what_stands_in_for_it():
    it = stepper(mul, torch.tensor(6), torch.tensor(7), insecure_seed=1)
    box, log = it.widget.children
    forward, back, said = box.children
    assert "nothing said yet" in it.still().alt and "nothing said yet" in log.value
    forward.click()
    assert len(it.steps) == 1 and "Draw(Triple" in log.value and "step 1: Draw" in said.value
    forward.click(), forward.click()
    assert forward.disabled and "together 42" in log.value
    assert "together 42" in it.still().alt
    back.click()
    assert it.steps == [] and not forward.disabled


def test_a_protocol_that_fails_says_so():
    def wrong(x):
        yield mk.Open(x)
        raise RuntimeError("no")

    it = stepper(wrong, torch.tensor(1))
    next(it)
    with pytest.raises(RuntimeError, match="no"):
        next(it)


# A secret that moves


def test_the_secret_s_bar_moves_and_the_pieces_stay_flat():
    figure = shares(5.0, parties=3, insecure_seed=1)
    (slider,) = figure.layout.sliders
    secrets = {tuple(step.args[0]["y"][0]) for step in slider.steps}
    assert len(secrets) == 11 and [step.label for step in slider.steps][::5] == ["-5", "0", "5"]
    for step in slider.steps:
        for piece in step.args[0]["y"][1:]:
            expected = sum(piece) / len(piece)
            assert sum((count - expected) ** 2 / expected for count in piece) < 80  # 15 degrees: 1 in 10^10
    assert list(figure.data[0].y) == slider.steps[-1].args[0]["y"][0]


def test_the_numbers_in_the_title_are_pieces_of_the_secret():
    for step in shares(5.0, parties=3).layout.sliders[0].steps:
        secret, sum_ = step.args[1]["title.text"].split(", modulo 256")[0].split(" is ")
        assert (sum(map(int, sum_.split(" + "))) - round(float(secret) * 16)) % 256 == 0


def test_what_does_not_fit_the_ring_is_refused():
    with pytest.raises(mk.RangeError):
        shares(100.0)
    assert len(shares(torch.linspace(0, 7, 5), steps=3).layout.sliders[0].steps) == 3


def test_what_has_no_pieces_is_refused():
    with pytest.raises(ValueError, match="a secret has two pieces or more, not 1"):
        shares(1.0, parties=1)
    with pytest.raises(ValueError, match="there is no number in a tensor of shape \\[0\\]"):
        shares(torch.zeros(0))


def test_an_empty_transcript():
    with pytest.raises(ValueError, match="no words at all"):
        sequence(Transcript())
    with pytest.raises(ValueError, match="nothing was said yet"):
        view_as(0, Transcript())
