"""Somebody says a number, and nobody but she hears which:

audio, digit = spoken_digits()[7]
with mk.simulate() as session:
    model = mk.private(keyword(pretrained=True), owner=1)
    x = mk.secret(Keyword.features(audio)[None], owner=0)
    model(x).reveal(to=0).argmax() == digit
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import mpckit as mk
from mpckit.zoo.data import DATA
from mpckit.zoo.speech import (
    LETTERS,
    WORDS,
    Clips,
    Keyword,
    Letters,
    Wav2Letter,
    keyword,
    letters,
    log_mel,
    spell,
    spoken_digits,
    spoken_strings,
    wav2letter,
)

SCRIPT = Path(__file__).parents[2] / "scripts" / "train_speech.py"


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("train_speech", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example():
    audio, digit = spoken_digits()[7]
    with mk.simulate() as session:
        model = mk.private(keyword(pretrained=True), owner=1)
        x = mk.secret(Keyword.features(audio)[None], owner=0)
        assert model(x).reveal(to=0).argmax().item() == digit
    assert session.report().rounds() > 0


@pytest.mark.parametrize("parties, suite", [(2, "bits"), (2, "fss"), (3, "bits")])
def test_keywords_are_those_of_plaintext(parties, suite):
    model, clips = keyword(pretrained=True), spoken_digits()[::25]
    x = torch.stack([Keyword.features(audio) for audio, _ in clips])
    with mk.simulate(parties, suite=suite):
        scores = mk.private(model, owner=1)(mk.secret(x, owner=0)).reveal()
    assert torch.allclose(scores, model(x), atol=5e-3)
    assert torch.equal(scores.argmax(1), model(x).argmax(1))


@pytest.mark.parametrize("parties, suite", [(2, "bits"), (2, "fss"), (3, "bits")])
def test_transcripts_are_those_of_plaintext(parties, suite):
    model, ((audio, text),) = letters(pretrained=True), spoken_strings(1)
    x = Letters.features(audio)[None]
    with mk.simulate(parties, suite=suite):
        scores = mk.private(model, owner=1)(mk.secret(x, owner=0)).reveal()
    assert (scores - model(x)).abs().max() < 0.02
    assert spell(scores[0]) == spell(model(x)[0]) == text


# In plaintext


def test_shipped_weights_hear_the_shipped_clips():
    clips = spoken_digits()
    x = torch.stack([Keyword.features(audio) for audio, _ in clips])
    assert (keyword(pretrained=True)(x).argmax(1) == clips.digits).float().mean() >= 0.98


def test_shipped_weights_spell_joined_clips(script):
    model, wrong, total = letters(pretrained=True), 0, 0
    for audio, text in spoken_strings(40, seed=1):
        wrong += script.distance(spell(model(Letters.features(audio)[None])[0]), text)
        total += len(text)
    assert wrong / total < 0.03


@pytest.mark.parametrize("model, parameters", [(keyword(), 23_394), (letters(), 601_372), (wav2letter(), 26_189_279)])
def test_networks_have_the_stated_size_no_norms_and_are_ready_for_inference(model, parameters):
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert not model.training
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())


@pytest.mark.parametrize(
    ("model", "shape"),
    [(keyword, (1, 1, 40, 63)), (keyword, (1, 3, 40, 64)), (letters, (1, 39, 90)), (letters, (1, 40, 66))],
)
def test_features_of_another_shape_are_named_before_anything_is_opened(model, shape):
    with mk.simulate() as session:
        private = mk.private(model(), owner=1)
        with pytest.raises(ValueError, match=r"features \[1, .* takes \[n, .*features\(audio\) makes them"):
            private(mk.secret(torch.zeros(shape), owner=0))
        assert session.report().rounds() == 1
    with pytest.raises(ValueError, match="features"):
        mk.nn.check(model(), torch.zeros(shape))


def test_wav2letter_is_the_published_stack():
    """On shapes: one second at 16 kHz gives 51 steps, and the largest layer has 16 million weights."""
    with torch.device("meta"):
        model = Wav2Letter()
        assert model(torch.empty(1, 1, 16_000)).shape == (1, 29, 51)
    convs = [m for m in model if isinstance(m, nn.Conv1d)]
    assert [c.out_channels for c in convs] == [250] * 9 + [2000, 2000, 29]
    assert [c.kernel_size[0] for c in convs] == [250, 48, *[7] * 7, 32, 1, 1]
    with mk.simulate(meta=True):
        assert mk.private(model, owner=1)(mk.secret(torch.empty(1, 1, 16_000), owner=0)).shape == (1, 29, 51)


def test_a_step_sees_its_field_and_nothing_else():
    model, x = letters(pretrained=True), torch.randn(1, 40, Letters.field + 2 * 9)
    changed = x.clone()
    changed[:, :, 2 * 5 + Letters.field :] += 1
    changed[:, :, : 2 * 4] += 1
    same = (model(x) == model(changed)).all(1)[0].tolist()
    assert same[4:6] == [True, True] and not all(same[:4]) and not any(same[6:])


@pytest.mark.parametrize("samples", [800, 801, 960, 961, 8000])
def test_features_give_a_step_for_every_20_ms_begun(samples):
    x = Letters.features(torch.randn(samples).clamp(-0.9, 0.9))
    assert letters()(x[None]).shape == (1, len(LETTERS), Letters.steps(samples)) and Letters.steps(samples) == -(
        -samples // 160
    )


def test_a_clip_longer_than_the_network_sees_is_cut_at_both_ends():
    audio = torch.randn(12_000).clamp(-1, 1) * 0.6
    spare = (12_000 - Keyword.samples) // 2
    middle = audio[spare : spare + Keyword.samples]
    assert torch.allclose(Keyword.features(audio)[0], log_mel(middle, Keyword.hop), atol=1e-5)


def test_how_loud_a_clip_is_makes_no_difference():
    audio, _ = spoken_digits()[7]
    assert torch.allclose(Keyword.features(audio), Keyword.features(audio * 0.1), atol=1e-3)


def scores(text):
    """Steps that say these letters one by one."""
    return torch.nn.functional.one_hot(torch.tensor([LETTERS.index(c) for c in text]), len(LETTERS)).T.float()


@pytest.mark.parametrize(
    "steps, text",
    [
        ("", ""),
        ("---", ""),
        ("oo-nn-e", "one"),
        ("thre-ee", "three"),
        ("threee", "thre"),
        ("  --one-- --two  ", "one two"),
    ],
)
def test_spelling_says_repeats_once_unless_a_blank_parts_them(steps, text):
    assert spell(scores(steps) if steps else torch.zeros(len(LETTERS), 0)) == text


# Data


def test_clips_are_the_official_test_set():
    clips = spoken_digits()
    assert len(clips) == 300 and len(clips[:20]) == 20 and repr(clips[:20]) == "Clips(20 spoken digits)"
    assert torch.bincount(clips.digits).tolist() == [30] * 10
    assert sorted(set(clips.speakers)) == ["george", "jackson", "lucas", "nicolas", "theo", "yweweler"]
    assert clips.takes.max() == 4
    audio, digit = clips[7]
    assert audio.dtype == torch.float32 and audio.abs().max() <= 1 and isinstance(digit, int)
    assert len(list(clips)) == 300


@pytest.mark.parametrize("n", [-1, 301])
def test_more_clips_than_shipped_are_refused(n):
    with pytest.raises(ValueError, match="300 clips are shipped"):
        spoken_digits(n)


def test_strings_repeat_and_are_one_speaker_s():
    strings = spoken_strings(5)
    assert all(a[1] == b[1] and torch.equal(a[0], b[0]) for a, b in zip(strings, spoken_strings(5)))
    assert strings[0][1] != spoken_strings(1, seed=1)[0][1]
    for _, text in strings:
        assert 3 <= len(text.split()) <= 5 and set(text.split()) <= set(WORDS)


# The script that made the weights


def test_the_script_trains_folds_and_seals(script, tmp_path, capsys, monkeypatch):
    """On 100 clips in place of the full set, for a few steps: what is written loads, and hears what is printed."""
    clips = spoken_digits()
    monkeypatch.setattr(script, "FULL", 100)
    monkeypatch.setattr(script, "SHIPPED", 50)
    some = clips[np.arange(0, 300, 3)]
    some = Clips(some.audio, some.digits, some.speakers, np.where(np.arange(100) % 2, 0, 9).astype(np.uint8))
    some.save(tmp_path / "full.npz")
    monkeypatch.setattr(
        "sys.argv", ["train", str(tmp_path / "full.npz"), "--steps", "2", "--out", str(tmp_path / "out")]
    )
    with torch.enable_grad():
        script.main()
    out = capsys.readouterr().out
    assert "of 50 test clips" in out and "character errors" in out
    written = {p.name for p in (tmp_path / "out").iterdir()}
    assert written == {"CHECKSUMS", "fsdd_test300.npz", "keyword_fsdd.safetensors", "letters_fsdd.safetensors"}


def test_folded_norms_change_no_value(script):
    torch.manual_seed(0)
    for model, x in ((Keyword(), torch.randn(2, 1, 40, 64)), (Letters(), torch.randn(2, 40, 80))):
        trained = script.with_norms(model)
        trained(x * 3 + 1)  # moves the running statistics away from 0 and 1
        expected = trained.eval()(x)
        assert torch.allclose(script.without_norms(trained)(x), expected, atol=1e-4)


def test_another_file_than_the_data_set_is_refused(script, tmp_path):
    spoken_digits(20).save(tmp_path / "few.npz")
    with pytest.raises(SystemExit, match="not the data set"):
        script.read(tmp_path / "few.npz")


def test_the_notice_names_data_licence_and_figures():
    notice = (DATA / "NOTICE").read_text()
    for word in (
        "fsdd_test300.npz",
        "keyword_fsdd.safetensors",
        "letters_fsdd.safetensors",
        "by-sa/4.0",
        "train_speech.py",
    ):
        assert word in notice


@pytest.mark.parametrize("a, b, errors", [("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("a", "", 1)])
def test_distance_counts_insertions_deletions_and_substitutions(script, a, b, errors):
    assert script.distance(a, b) == errors
