"""Recordings from disk, and what must be true of them before anything is sent.

A network takes one channel at its own rate, in [-1, 1], loud enough and not clipped. `load_audio` reads a file and
checks it; `mono` and `resample` are what the errors advise; `level` sets how loud.
"""

import wave
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .features import RATE

SHORTEST = 0.1  # seconds; the shortest word of the test set takes 0.14
RATES = 1_000, 1_000_000  # samples a second; a header may say anything, and what is resampled is as long as it says
QUIET = 0.003  # 50 dB below full scale
PEAK = 0.6  # to which recordings are levelled
CLIPPED = 0.01  # the part of all samples that may stand at the ends of the scale


class AudioError(ValueError):
    """A recording that a network could only guess at; the message says what to do."""


def load_audio(source: str | Path | bytes, rate: int = RATE, convert: bool = False) -> Tensor:
    """A recording as float32 [samples] in [-1, 1], levelled: a WAV file, or what soundfile reads, by path or as bytes.

    `convert=True` mixes the channels and resamples to `rate` where need be. Raises AudioError for what is no recording
    or breaks a rule of `check_audio`, OSError for a path that is not there.
    """
    audio, own = read(source)
    if convert and audio.dim() == 2:
        audio = mono(audio)
    check_audio(audio, own, own if convert else rate)
    return level(resample(audio, own, rate) if convert else audio)


def read(source: str | Path | bytes) -> tuple[Tensor, int]:
    """(float32 [samples], or [channels, samples] of several; samples a second), as they are in the file."""
    content = bytes(source) if isinstance(source, (bytes, bytearray, memoryview)) else Path(source).read_bytes()
    try:
        audio, rate = _wave(content)
    except (wave.Error, EOFError, RuntimeError) as error:  # compressed, or floats, or a chunk that ends nowhere
        audio, rate = _other(content, error)
    return (audio[0] if len(audio) == 1 else audio), rate


def _wave(content: bytes) -> tuple[Tensor, int]:
    """Whole numbers of 1 to 4 bytes, as the standard library reads them; [channels, samples]."""
    with wave.open(BytesIO(content)) as file:
        width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
        if width > 4:
            raise wave.Error(f"{width} bytes a sample")
        raw = torch.from_numpy(np.frombuffer(file.readframes(file.getnframes()), np.uint8).astype(np.int64))
    raw = raw[: len(raw) - len(raw) % (channels * width)].view(-1, channels, width)  # a file cut short ends anywhere
    if width == 1:  # the only width without a sign
        value = raw[..., 0] - 128
    else:
        value = (raw << torch.arange(0, 8 * width, 8)).sum(-1)
        value = torch.where(value >= 1 << 8 * width - 1, value - (1 << 8 * width), value)
    return (value.double() / 2 ** (8 * width - 1)).float().T, rate


def _other(content: bytes, why: Exception) -> tuple[Tensor, int]:
    try:
        import soundfile
    except ImportError:
        raise AudioError(
            f"this is no WAV file of whole numbers ({why}): save it as 16-bit PCM WAV, or "
            "`pip install soundfile`, which reads more"
        ) from None
    try:
        audio, rate = soundfile.read(BytesIO(content), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"this is no recording that can be read ({error}): save it as 16-bit PCM WAV") from None
    return torch.from_numpy(audio.T.copy()), rate


def check_audio(audio: Tensor, rate: int, wanted: int = RATE) -> Tensor:
    """`audio`, if it is float [samples] in [-1, 1] at the `wanted` rate, of 0.1 s or more, neither silent nor clipped.

    Raises AudioError, before anything is sent.
    """
    check_shape(audio, rate, wanted)
    if not audio.isfinite().all():
        raise AudioError("there are samples that are no numbers (nan or infinite): record again")
    peak = audio.abs().max().item()
    if peak > 1:
        raise AudioError(f"samples reach {peak:.4g}, and the scale ends at 1: divide whole numbers by 32768, say")
    if peak < QUIET:
        raise AudioError(f"the loudest sample is {peak:.2g} of full scale, as good as silent: check the microphone")
    if (ends := (audio.abs() > 0.999).double().mean().item()) > CLIPPED:
        raise AudioError(
            f"{ends:.1%} of the samples stand at the ends of the scale, the recording is clipped: record it quieter"
        )
    return audio


def check_shape(audio: Tensor, rate: int, wanted: int = RATE) -> Tensor:
    """What all parties can check, who know the shape alone; as `check_audio`."""
    if not isinstance(audio, Tensor):
        raise AudioError(f"a recording is a float tensor [samples], not {type(audio).__name__}: torch.as_tensor(audio)")
    if audio.dim() == 2:
        raise AudioError(
            f"{list(audio.shape)} are several channels, or several recordings: mix channels with mono(audio), "
            "or load with convert=True; take recordings one by one"
        )
    if audio.dim() != 1 or not audio.is_floating_point():
        raise AudioError(
            f"a recording is a float tensor [samples] in [-1, 1], not {audio.dtype} {list(audio.shape)}: "
            "16-bit samples are audio.float() / 32768"
        )
    if not RATES[0] <= rate <= RATES[1]:
        raise AudioError(f"{rate} samples a second are those of no recording: is the file damaged?")
    if rate != wanted:
        raise AudioError(
            f"{rate} samples a second, and the network was trained on {wanted}: resample(audio, {rate}, {wanted}), "
            "or load with convert=True"
        )
    if len(audio) < SHORTEST * rate:
        seconds = f"{len(audio) / rate:.3g} s" if len(audio) else "nothing"
        raise AudioError(f"{seconds} of audio: record at least {SHORTEST} s")
    return audio


def mono(audio: Tensor) -> Tensor:
    """The mean of all channels: [channels, samples] → [samples]."""
    return audio.mean(0)


def resample(audio: Tensor, old: int, new: int = RATE) -> Tensor:
    """The same sound at another rate: [samples at `old`] → [samples at `new`], what lies above `new` / 2 hertz removed.

    Exact for a sound that is periodic in the clip (by its spectrum); a clip that does not begin and end near zero
    rings a little at its ends.
    """
    if old == new:
        return audio
    samples = max(1, round(len(audio) * new / old))
    spectrum = torch.fft.rfft(audio.double())[: samples // 2 + 1]
    return (torch.fft.irfft(spectrum, samples) * (samples / len(audio))).clamp(-1, 1).float()


def level(audio: Tensor, peak: float = PEAK) -> Tensor:
    """The same sound with its loudest sample at `peak`: as loud as what the networks were trained on."""
    return audio * (peak / audio.abs().max().clamp(min=QUIET))
