"""What is heard, on a page: a transcript with its gauge, features and letters over time."""

import pytest
import torch

from mpckit.show import hearing, spectrogram
from mpckit.zoo.speech import LETTERS


class Team:
    """Tells what a test wants, as a team's events would."""

    parties = 2

    def __init__(self):
        self.events, self.callbacks = self, []

    def subscribe(self, callback):
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    def tell(self, **event):
        for callback in list(self.callbacks):
            callback(event)


def heard(team, text, end, seconds):
    team.tell(phase="heard", party=0, text=text, end=end, seconds=seconds)


def test_the_text_grows_and_the_gauge_says_whether_it_keeps_up():
    team = Team()
    panel = hearing(team)
    assert "silence so far" in panel.figure.layout.title.text
    heard(team, "two", 0.5, 0.1)
    assert "two" in panel.line.value and list(panel.figure.data[0].y) == [0.1]
    heard(team, "two one", 1.0, 0.7)
    assert list(panel.figure.data[0].x) == [0.5, 1.0] and list(panel.figure.data[1].y) == [0.5, 0.5]
    assert panel.factor == pytest.approx(0.8)
    assert panel.still().alt == (
        "Real-time gauge: 2 chunks; heard: two one. 0.80 seconds of work for a second of audio; "
        "1 chunks took longer than they last."
    )


def test_a_new_run_begins_anew_and_a_stopped_panel_hears_no_more():
    team = Team()
    panel = hearing(team)
    heard(team, "two", 0.5, 0.1)
    team.tell(phase="plan", report=None)
    assert panel.ends == [] and panel.text == ""
    heard(team, "one", 0.4, 0.1)
    panel.stop()
    heard(team, "one two", 0.8, 0.1)
    assert panel.text == "one" and panel.lengths == [0.4]


def test_what_was_said_is_text_and_not_markup():
    team = Team()
    panel = hearing(team)
    heard(team, "<b>two</b>", 0.5, 0.1)
    assert "&lt;b&gt;two" in panel.line.value


def test_a_spectrogram_has_the_features_and_the_letters_that_occur():
    features = torch.linspace(-2, 2, 40 * 10).view(40, 10)
    scores = torch.zeros(28, 5)
    for step, letter in enumerate("-oone"[:5]):
        scores[LETTERS.index(letter), step] = 9.0
    figure = spectrogram(features, 0.5, scores, LETTERS)
    sound, letters = figure.data
    assert torch.allclose(torch.as_tensor(sound.z), features.double(), atol=1e-3) and max(sound.x) < 0.5
    assert list(letters.y) == ["none", "e", "n", "o"] and len(letters.x) == 5
    assert figure.alt.endswith("the likeliest letter of each of 5 steps: -oone.")
    assert len(spectrogram(features, 0.5).data) == 1
