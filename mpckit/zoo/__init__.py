"""Small models with real weights and real data, small enough to ship: `lenet(pretrained=True)`, `digits()`.

Larger models are definitions that load the checkpoint you have: `resnet18(checkpoint=path)`.
"""

from .data import digits
from .language import Characters, gpt, minilm, plays, smollm2, stories15m
from .speech import (
    AudioError,
    keyword,
    letters,
    load_audio,
    spell,
    spoken_digits,
    spoken_strings,
    stream,
    transcribe,
    wav2letter,
)
from .vision import (
    CIFAR,
    CIFAR10,
    DIGIT,
    IMAGENET,
    VIT,
    cifar10,
    class_names,
    lenet,
    photograph,
    picture,
    resnet18,
    resnet20,
    resnet50,
    top5,
    vit_b16,
)

__all__ = [
    "CIFAR",
    "CIFAR10",
    "DIGIT",
    "IMAGENET",
    "VIT",
    "AudioError",
    "Characters",
    "cifar10",
    "class_names",
    "digits",
    "gpt",
    "keyword",
    "lenet",
    "letters",
    "load_audio",
    "minilm",
    "photograph",
    "picture",
    "plays",
    "resnet18",
    "resnet20",
    "resnet50",
    "smollm2",
    "spell",
    "spoken_digits",
    "spoken_strings",
    "stories15m",
    "stream",
    "top5",
    "transcribe",
    "vit_b16",
    "wav2letter",
]
