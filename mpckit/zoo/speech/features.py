"""What the client computes from its own audio before anything is secret: log-mel features, in plain torch.

Nothing is estimated from the clip (no mean over time, no loudest frame): a frame depends on its own 32 ms only, so a
stream of chunks gives the same features as the whole recording.
"""

from functools import cache

import torch
from torch import Tensor

RATE = 8000  # samples a second: the rate of a telephone, and of the data the zoo's networks were trained on
WINDOW = 256  # samples in a frame, 32 ms
MELS = 40
FLOOR = 1e-7  # power that counts as silence: 70 dB below a full-scale tone


def log_mel(audio: Tensor, hop: int = 80) -> Tensor:
    """Audio [..., samples] in [-1, 1] at 8 kHz → features [..., 40, frames], about -2 (silence) to 2 (loud).

    Frame t is made from the samples hop·t … hop·t + 255, so frames = (samples - 256) // hop + 1.
    Raises ValueError for less than one frame.
    """
    if audio.shape[-1] < WINDOW:
        raise ValueError(f"{audio.shape[-1]} samples are less than one frame of {WINDOW}: pad with silence")
    window = torch.hann_window(WINDOW)
    frames = audio.float().unfold(-1, WINDOW, hop) * (window / window.sum())
    power = torch.fft.rfft(frames).abs().square()
    return ((power @ filterbank()).clamp(min=FLOOR).log().mT + 8) / 4


@cache
def filterbank(mels: int = MELS, bins: int = WINDOW // 2 + 1, rate: int = RATE) -> Tensor:
    """Triangles that overlap by half, evenly spaced in mel from 0 to rate/2: [bins, mels].

    mel = 2595 · log10(1 + hertz/700) is about how people hear distances between pitches.
    """
    top = 2595 * torch.log10(torch.tensor(1 + rate / 2 / 700, dtype=torch.float64))
    corners = 700 * (10 ** (torch.linspace(0, 1, mels + 2, dtype=torch.float64) * top / 2595) - 1)
    hertz = torch.linspace(0, rate / 2, bins, dtype=torch.float64)[:, None]
    low, peak, high = corners[:-2], corners[1:-1], corners[2:]
    return torch.minimum((hertz - low) / (peak - low), (high - hertz) / (high - peak)).clamp(min=0).float()
