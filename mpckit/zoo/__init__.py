"""Small models with real weights and real data, small enough to ship: `lenet(pretrained=True)`, `digits()`.

Larger models are definitions that load the checkpoint you have: `resnet18(checkpoint=path)`.
"""

from .data import digits
from .vision import cifar10, lenet, resnet18, resnet20, resnet50

__all__ = ["cifar10", "digits", "lenet", "resnet18", "resnet20", "resnet50"]
