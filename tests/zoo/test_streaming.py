"""The transcript appears while the speaker speaks, and is the one of the whole recording:

for heard in stream(model, audio, chunk_seconds=0.5):
    print(heard.text)
"""

import pytest
import torch

import mpckit as mk
from mpckit.engines.team import cluster, only
from mpckit.zoo.speech import Letters, chunks, letters, spell, spoken_strings, stream, transcribe


@pytest.fixture(scope="module")
def said():
    return spoken_strings(1, seed=3)[0]


@pytest.mark.parametrize("suite", ["bits", "fss"])
def test_a_stream_says_what_the_whole_recording_says(said, suite):
    audio, text = said
    with mk.simulate(suite=suite), torch.no_grad():
        model = mk.private(letters(pretrained=True), owner=1)
        pieces = list(stream(model, audio, chunk_seconds=0.4))
        whole = model(mk.secret(Letters.features(audio)[None], owner=0)).reveal(to=0)[0]
    assert len(pieces) > 2 and pieces[-1].text == spell(whole) == text
    assert (torch.cat([p.scores for p in pieces], 1) - whole).abs().max() < 0.02
    assert all(after.text.startswith(before.text) for before, after in zip(pieces, pieces[1:]))
    assert [p.end for p in pieces[:-1]] == pytest.approx([0.4 * (i + 1) for i in range(len(pieces) - 1)])
    assert pieces[-1].end == len(audio) / 8000 and all(p.seconds > 0 for p in pieces)


@pytest.mark.parametrize("seconds", [0.02, 0.3, 1.0, 60.0])
def test_chunks_of_any_length_give_the_steps_of_the_whole(said, seconds):
    audio, model = said[0], letters(pretrained=True)
    with torch.no_grad():
        pieces = list(chunks(model, audio, seconds))
        scores = torch.cat([model(c.features)[0, :, : c.steps] for c in pieces], 1)
        whole = model(Letters.features(audio)[None])[0]
    assert len({c.features.shape for c in pieces}) == 1
    assert torch.allclose(scores, whole, atol=1e-3)


def test_whoever_has_no_recording_cuts_the_same_shapes(said):
    audio = said[0]
    here, there = (list(chunks(letters(), a, 0.7)) for a in (audio, audio.to("meta")))
    assert [(c.features.shape, c.steps, c.end) for c in here] == [(c.features.shape, c.steps, c.end) for c in there]
    assert all(c.features.is_meta for c in there)


def test_a_chunk_shorter_than_a_step_is_refused(said):
    with pytest.raises(ValueError, match="a step takes 0.02 s"):
        next(chunks(letters(), said[0], 0.005))


def test_engines_tell_the_notebook_while_they_listen(said):
    """One program on both parties; the notebook hears the text chunk by chunk, the model's owner nothing."""
    audio, text = said[0][:8000], said[1]
    with cluster(parties=2) as team:
        arguments = only(1, letters(pretrained=True)), only(0, audio), 0.5
        (client, server), report = team.run(transcribe, *arguments, progress=False)
        events = [e for e in team.events.events if e["phase"] == "heard"]
    assert [h.text for h in client] == [e["text"] for e in events] and len(events) == 2
    assert text.startswith(client[-1].text.rsplit(" ", 1)[0]) and client[-1].text
    assert {e["party"] for e in events} == {0}
    assert all(h.text is None and h.scores.is_meta for h in server)
    assert not report.unplanned


def test_a_live_recording_is_not_ahead_of_its_speaker(said, monkeypatch):
    clock = {"now": 0.0}
    monkeypatch.setattr("mpckit.zoo.speech.streaming.time.monotonic", lambda: clock["now"])
    monkeypatch.setattr("mpckit.zoo.speech.streaming.time.sleep", lambda s: clock.update(now=clock["now"] + s))
    with mk.simulate():
        model = mk.private(letters(), owner=1)
        for heard in stream(model, said[0][:8000], 0.5, live=True):
            assert clock["now"] == pytest.approx(heard.end)
