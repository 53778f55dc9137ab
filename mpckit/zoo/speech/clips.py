"""Spoken digits that travel with the package: 300 clips that no network of the zoo was trained on."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
import torch
from torch import Tensor

from ..data import checked
from .audio import level
from .features import RATE
from .networks import WORDS


@dataclass(frozen=True, eq=False)
class Clips:
    """Recordings of single digits at 8 kHz: `clips[7]` is (audio float32 [samples] in [-1, 1], the digit as an int).

    `clips[:20]`, or an array of indices, is a smaller `Clips`. `digits` int64 [n]; `speakers`, `takes`: who, and
    for which time.
    """

    audio: list[np.ndarray]  # int16
    digits: Tensor
    speakers: np.ndarray
    takes: np.ndarray

    @staticmethod
    def of(file) -> "Clips":
        """From arrays: audio, all of it one after another, length, digit, speaker, take."""
        audio = np.split(file["audio"], np.cumsum(file["length"])[:-1])
        return Clips(audio, torch.from_numpy(file["digit"]).long(), file["speaker"], file["take"])

    def save(self, path) -> None:
        """The opposite of `of`."""
        np.savez_compressed(
            path,
            audio=np.concatenate(self.audio),
            length=np.array([len(a) for a in self.audio]),
            digit=self.digits.to(torch.uint8).numpy(),
            speaker=self.speakers,
            take=self.takes,
            rate=np.array(RATE),
        )

    def __len__(self) -> int:
        return len(self.audio)

    def __getitem__(self, i):
        if isinstance(i, slice):
            i = np.arange(len(self))[i]
        if isinstance(i, np.ndarray):
            return Clips([self.audio[k] for k in i], self.digits[i], self.speakers[i], self.takes[i])
        return torch.from_numpy(self.audio[i].astype(np.float32) / 32768), int(self.digits[i])

    def __repr__(self) -> str:
        return f"Clips({len(self)} spoken digits)"


def spoken_digits(n: int = 300) -> Clips:
    """The first `n` of the 300 test clips of the Free Spoken Digit Dataset: six speakers, ten digits, five takes.

    Raises ValueError for `n` outside 0…300, ChecksumError when the file is damaged.
    """
    if not 0 <= n <= 300:
        raise ValueError(f"spoken_digits({n}): 300 clips are shipped, so n must be in 0…300")
    return Clips.of(np.load(BytesIO(checked("fsdd_test300.npz")), allow_pickle=False))[:n]


def spoken_strings(n: int, seed: int = 0, clips: Clips | None = None) -> list[tuple[Tensor, str]]:
    """`n` strings of 3 to 5 digits, each from the test clips of one speaker: (audio [samples], "four two seven").

    The same ones for the same seed.
    """
    clips, generator = spoken_digits() if clips is None else clips, np.random.default_rng(seed)
    return [joined(clips, generator) for _ in range(n)]


def joined(clips: Clips, generator: np.random.Generator) -> tuple[Tensor, str]:
    """3 to 5 clips of one speaker, levelled, with 0.05 to 0.25 s of silence before, between, after."""
    speaker = generator.choice(np.unique(clips.speakers))
    pieces, said = [_silence(generator)], []
    for i in generator.choice(np.flatnonzero(clips.speakers == speaker), generator.integers(3, 6), replace=False):
        audio, digit = clips[int(i)]
        pieces += [level(audio), _silence(generator)]
        said.append(WORDS[digit])
    return torch.cat(pieces), " ".join(said)


def _silence(generator: np.random.Generator) -> Tensor:
    return torch.zeros(generator.integers(RATE // 20, RATE // 4))
