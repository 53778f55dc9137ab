"""Small models with real weights and real data, small enough to ship: `lenet(pretrained=True)`, `digits()`.

Larger models are definitions that load the checkpoint you have: `resnet18(checkpoint=path)`.
"""

from .data import digits
from .vision import (
    CIFAR,
    CIFAR10,
    DIGIT,
    IMAGENET,
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
    "cifar10",
    "class_names",
    "digits",
    "lenet",
    "photograph",
    "picture",
    "resnet18",
    "resnet20",
    "resnet50",
    "top5",
    "vit_b16",
]
