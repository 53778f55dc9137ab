"""Models that listen, in plain torch: one word of ten, letters as they are spoken, Wav2Letter in its full size."""

from collections import OrderedDict

import torch
from safetensors.torch import load
from torch import Tensor, nn

from ..data import checked
from .audio import check_audio, level
from .features import MELS, RATE, WINDOW, log_mel

LETTERS = "-abcdefghijklmnopqrstuvwxyz "  # what a step can say; the first is the blank of CTC, no letter at all
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Keyword(nn.Sequential):
    """One of ten spoken digits: [n, 1, 40, 64] (64 frames, 1.04 s) → 10 logits. 23,394 parameters."""

    hop, frames = 128, 64
    samples = hop * (frames - 1) + WINDOW

    def __init__(self):
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(1, 16, 3, stride=2, padding=1),  # 40 × 64 → 20 × 32
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(16, 24, 3, stride=2, padding=1),  # → 10 × 16
                relu2=nn.ReLU(),
                conv3=nn.Conv2d(24, 32, 3, stride=2, padding=1),  # → 5 × 8
                relu3=nn.ReLU(),
                flat=nn.Flatten(-3),
                fc=nn.Linear(32 * 5 * 8, 10),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-3:] != (1, MELS, self.frames):
            raise _other(x, f"[n, 1, {MELS}, {self.frames}]", self)
        return super().forward(x)

    @classmethod
    def features(cls, audio: Tensor) -> Tensor:
        """A clip [samples] at 8 kHz → [1, 40, 64]: levelled, in the middle of 1.04 s; of a longer one the middle.

        Raises AudioError for a clip that breaks a rule of `check_audio`.
        """
        spare = cls.samples - len(check_audio(audio, RATE))
        return log_mel(nn.functional.pad(level(audio), (spare // 2, spare - spare // 2)), cls.hop)[None]


class Letters(nn.Sequential):
    """A small Wav2Letter: [n, 40, frames] → [n, 28, steps], scores of letters, 50 steps a second. 601,372 parameters.

    No convolution is padded: a step sees 67 frames, 0.7 s, wherever it stands, so chunks that overlap say the same as
    the whole. `features` puts the silence before and after a recording that the first and the last step want to see.
    """

    hop, stride, field = 80, 2, 67  # a step's frames: 11 + 2·(6 + 6 + 6 + 10)

    def __init__(self, width: int = 128):
        shape = [(MELS, 11, 2), (width, 7, 1), (width, 7, 1), (width, 7, 1), (width, 11, 1), (width, 1, 1)]
        layers = OrderedDict()
        for i, (channels, kernel, stride) in enumerate(shape, 1):
            layers[f"conv{i}"] = nn.Conv1d(channels, width, kernel, stride)
            layers[f"relu{i}"] = nn.ReLU()
        layers["letters"] = nn.Conv1d(width, len(LETTERS), 1)
        super().__init__(layers)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() not in (2, 3) or x.shape[-2] != MELS or x.shape[-1] < self.field:
            raise _other(x, f"[n, {MELS}, {self.field} or more]", self)
        return super().forward(x)

    @classmethod
    def steps(cls, samples: int) -> int:
        """How many steps a recording of that many samples has: one for every 20 ms begun."""
        return -(-samples // (cls.hop * cls.stride))

    @classmethod
    def features(cls, audio: Tensor) -> Tensor:
        """A recording [samples] at 8 kHz → [40, frames], for `steps(samples)` steps, with silence before and after.

        Raises AudioError for a recording that breaks a rule of `check_audio`.
        """
        return log_mel(cls.surrounded(check_audio(audio, RATE)), cls.hop)

    @classmethod
    def surrounded(cls, audio: Tensor) -> Tensor:
        """The recording between silences: 0.33 s before, and behind what the last of `steps(samples)` steps sees."""
        before = cls.hop * (cls.field // 2)
        frames = cls.field + cls.stride * (cls.steps(audio.shape[-1]) - 1)
        return nn.functional.pad(audio, (before, cls.hop * (frames - 1) + WINDOW - before - audio.shape[-1]))


class Wav2Letter(nn.Sequential):
    """Wav2Letter as published, on raw audio: [n, 1, samples] at 16 kHz → [n, classes, steps]. 23 million parameters.

    One convolution finds 250 features every 10 ms, one halves the steps, seven of width 7 and one of width 32 look
    around, and two of width 1 are the fully connected end. (Collobert, Puhrsch, Synnaeve 2016; torchaudio's layout.)
    """

    rate = 16_000

    def __init__(self, classes: int = 29):
        shape = [(1, 250, 250, 160, 45), (250, 250, 48, 2, 23), *[(250, 250, 7, 1, 3)] * 7]
        shape += [(250, 2000, 32, 1, 16), (2000, 2000, 1, 1, 0)]
        layers = OrderedDict()
        for i, (before, after, kernel, stride, padding) in enumerate(shape, 1):
            layers[f"conv{i}"] = nn.Conv1d(before, after, kernel, stride, padding)
            layers[f"relu{i}"] = nn.ReLU()
        layers["letters"] = nn.Conv1d(2000, classes, 1)
        super().__init__(layers)


def _other(x: Tensor, wanted: str, model: nn.Module) -> ValueError:
    name = type(model).__name__
    return ValueError(f"features {list(x.shape)}, but {name} takes {wanted}: {name}.features(audio) makes them")


def keyword(pretrained: bool = False) -> Keyword:
    """A network for ten spoken digits; `pretrained=True` loads the shipped weights (made by scripts/train_speech.py).

    It has heard six speakers and does not know other voices. Raises ChecksumError when the weights are damaged.
    """
    return _ready(Keyword(), "keyword_fsdd" if pretrained else None)


def letters(pretrained: bool = False) -> Letters:
    """A network that spells what it hears; `pretrained=True` loads the shipped weights (scripts/train_speech.py).

    It has heard ten words, from six speakers, and does not know other words or voices. Raises ChecksumError when the
    weights are damaged.
    """
    return _ready(Letters(), "letters_fsdd" if pretrained else None)


def wav2letter(classes: int = 29) -> Wav2Letter:
    """Wav2Letter in its published size, with torch's random weights: for the bill, since nobody here has trained it."""
    return _ready(Wav2Letter(classes))


def _ready(model: nn.Module, weights: str | None = None) -> nn.Module:
    if weights:
        halves = load(checked(f"{weights}.safetensors"))  # float16: half the file, and far finer than the ring's 2^-16
        model.load_state_dict({name: value.float() for name, value in halves.items()})
    return model.eval()


def spell(scores: Tensor) -> str:
    """Scores [28, steps], revealed → text: the best letter of each step, repeats said once, blanks dropped.

    A blank between two equal letters keeps both ("three"). Greedy: no dictionary, no language model.
    """
    best = torch.unique_consecutive(scores.argmax(0))
    return " ".join("".join(LETTERS[i] for i in best if i).split())
