"""A recording from disk, as the networks want it:

audio = load_audio("seven.wav", convert=True)     # mono, 8 kHz, levelled; or an error that says what to do
"""

import io
import math
import random
import wave

import numpy as np
import pytest
import torch

import mpckit as mk
from mpckit.zoo.speech import (
    AudioError,
    check_audio,
    keyword,
    letters,
    level,
    load_audio,
    log_mel,
    mono,
    resample,
    spoken_digits,
    stream,
)
from mpckit.zoo.speech.audio import read
from mpckit.zoo.speech.features import filterbank


def tone(hertz=440.0, seconds=0.5, rate=8000, peak=0.5):
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return peak * torch.sin(2 * math.pi * hertz * time).float()


def wav(audio, rate=8000, width=2):
    """Audio [samples] or [channels, samples] as the bytes of a WAV file with whole numbers of `width` bytes."""
    audio = torch.atleast_2d(audio)
    value = (audio.T.double() * (2 ** (8 * width - 1) - 1)).round().long().numpy()
    value = value + 128 if width == 1 else value
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(len(audio))
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(value.astype("<i8")[..., None].view(np.uint8)[..., :width].tobytes())
    return file.getvalue()


def test_the_example(tmp_path):
    """Two channels at 44.1 kHz become what the same tone is at 8 kHz."""
    path = tmp_path / "tone.wav"
    path.write_bytes(wav(torch.stack([tone(rate=44_100), tone(rate=44_100)]), rate=44_100))
    audio = load_audio(path, convert=True)
    assert audio.shape == (4000,) and audio.dtype == torch.float32
    assert torch.allclose(audio[200:-200], tone(peak=0.6)[200:-200], atol=2e-3)


@pytest.mark.parametrize("width, error", [(1, 8e-3), (2, 4e-5), (3, 2e-7), (4, 1e-7)])
def test_whole_numbers_of_every_width_are_read(width, error):
    audio, rate = read(wav(tone(), width=width))
    assert rate == 8000 and torch.allclose(audio, tone(), atol=error)


def test_negative_samples_keep_their_sign():
    audio, _ = read(wav(torch.tensor([-1.0, -0.5, 0.0, 0.5]), width=3))
    assert torch.allclose(audio, torch.tensor([-1.0, -0.5, 0.0, 0.5]), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_cut_short_ends_with_its_last_whole_sample(channels):
    whole = tone().expand(channels, -1)
    audio, _ = read(wav(whole)[:-1])
    assert torch.equal(torch.atleast_2d(audio), torch.atleast_2d(read(wav(whole))[0])[:, :-1])


def test_soundfile_reads_what_the_standard_library_does_not():
    soundfile = pytest.importorskip("soundfile")
    for form, subtype in (("FLAC", "PCM_16"), ("WAV", "FLOAT")):
        file = io.BytesIO()
        soundfile.write(file, tone().numpy(), 8000, format=form, subtype=subtype)
        audio, rate = read(file.getvalue())
        assert rate == 8000 and torch.allclose(audio, tone(), atol=4e-5)


@pytest.mark.parametrize("content", [b"", b"no recording at all", wav(tone())[:30]])
def test_what_is_no_recording_is_refused(content):
    with pytest.raises(AudioError, match="16-bit PCM WAV"):
        load_audio(content)


@pytest.mark.parametrize("rate", [0, 1, 999, 2**31])
@pytest.mark.parametrize("convert", [False, True])
def test_a_rate_of_no_recording(rate, convert):
    """A megabyte at 1 Hz would become 8,000 times as long, and 0 Hz a division by zero."""
    content = bytearray(wav(tone()))
    content[24:28] = rate.to_bytes(4, "little")
    with pytest.raises(AudioError, match=f"{rate} samples a second are those of no recording"):
        load_audio(bytes(content), convert=convert)


def test_whatever_a_damaged_file_leads_to_it_is_named():
    """Two thousand mutated headers: chunks that end nowhere, samples of 2,000 bits, no channels."""
    rng, good, outcomes = random.Random(5), wav(tone(seconds=0.2)), set()
    for _ in range(2000):
        content = bytearray(good)
        for _ in range(rng.choice([1, 2, 6])):
            content[rng.randrange(60)] = rng.choice([0, 1, 127, 255, rng.randrange(256)])
        try:
            load_audio(bytes(content), convert=True)
            outcomes.add("read")
        except AudioError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_without_soundfile_the_error_names_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(AudioError, match="pip install soundfile"):
        load_audio(b"fLaC")


BAD = {
    "wrong rate": (wav(tone(rate=16_000), rate=16_000), r"resample\(audio, 16000, 8000\)"),
    "stereo": (wav(torch.stack([tone(), tone(220.0)])), r"mono\(audio\)"),
    "empty": (wav(tone()[:0]), "nothing of audio"),
    "too short": (wav(tone(seconds=0.05)), "0.05 s of audio: record at least 0.1 s"),
    "silent": (wav(tone(peak=0.001)), "as good as silent"),
    "clipped": (wav(tone(peak=2.0).clamp(-1, 1)), "clipped: record it quieter"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_recording_that_a_network_would_guess_at_is_refused(case):
    content, message = BAD[case]
    with pytest.raises(AudioError, match=message):
        load_audio(content)


@pytest.mark.parametrize(
    "audio, message",
    [
        (torch.zeros(8000, dtype=torch.int16), "float\\(\\) / 32768"),
        (np.zeros(8000, np.float32), "not ndarray: torch.as_tensor"),
        (tone() * 32768, "divide whole numbers"),
        (tone().index_fill(0, torch.tensor(7), math.nan), "no numbers"),
        (tone()[None], "take recordings one by one"),
        (tone(seconds=0.05), "at least 0.1 s"),
        (torch.zeros(8000), "as good as silent"),
        (tone(peak=3.0).clamp(-1, 1), "clipped"),
    ],
)
@pytest.mark.parametrize("use", [keyword().features, letters().features, lambda audio: next(stream(letters(), audio))])
def test_both_networks_and_a_stream_refuse_it_before_anything_is_sent(use, audio, message):
    with mk.simulate() as session:
        with pytest.raises(AudioError, match=message):
            use(audio)
    assert session.meter.step == 0


def test_all_shipped_clips_pass_the_check():
    for audio, _ in spoken_digits():
        assert check_audio(audio, 8000) is audio


def test_resampling_keeps_a_tone_and_removes_what_the_new_rate_cannot_carry():
    low, high = tone(500.0, 1.0, 48_000), tone(6000.0, 1.0, 48_000)
    assert torch.allclose(resample(low + high, 48_000), tone(500.0, 1.0), atol=1e-4)
    assert torch.allclose(resample(tone(500.0, 1.0), 8000, 16_000), tone(500.0, 1.0, 16_000), atol=1e-4)
    assert resample(low, 48_000, 48_000) is low


def test_mono_and_level():
    assert torch.equal(mono(torch.tensor([[1.0, 0.0], [0.0, 0.5]])), torch.tensor([0.5, 0.25]))
    assert level(tone(peak=0.01)).abs().max().item() == pytest.approx(0.6, rel=1e-3)


# features


def test_features_of_a_tone_peak_at_its_pitch():
    for hertz in (300.0, 1000.0, 3000.0):
        x = log_mel(tone(hertz))
        centre = (filterbank() * torch.linspace(0, 4000, 129)[:, None]).sum(0) / filterbank().sum(0)
        best = x.mean(1).argmax()
        assert abs(centre[best] - hertz) < 120 and x.shape == (40, (4000 - 256) // 80 + 1)


def test_a_frame_depends_on_its_own_samples_only():
    audio = torch.randn(4000) * 0.1
    assert torch.allclose(log_mel(audio)[:, 3], log_mel(audio[240 : 240 + 256])[:, 0], atol=1e-5)


def test_other_floats_give_the_same_features():
    want = log_mel(tone())
    torch.testing.assert_close(log_mel(tone().double()), want)
    torch.testing.assert_close(log_mel(tone().half()), want, atol=0.2, rtol=0)


def test_silence_and_full_scale_span_the_features():
    assert log_mel(torch.zeros(800)).unique().item() == pytest.approx((math.log(1e-7) + 8) / 4)
    assert 1 < log_mel(tone(1000.0, peak=1.0)).max() < 2
    with pytest.raises(ValueError, match="less than one frame"):
        log_mel(torch.zeros(255))


def test_the_filters_cover_every_pitch_between_their_ends_evenly():
    bank = filterbank()
    assert bank.shape == (129, 40) and bank.min() == 0 and (bank.sum(0) > 0).all()
    assert bank[8:120].sum(1).sub(1).abs().max() < 1e-4  # neighbours overlap by half and add up to one
