"""Models that look at pictures, in plain torch: nothing here knows that they will run on shares."""

from .checkpoint import CheckpointError
from .cifar import CIFAR10, cifar10
from .pictures import CIFAR, DIGIT, IMAGENET, VIT, PictureError, Preparation, class_names, photograph, picture, top5
from .resnet import ResNet, ResNet20, resnet18, resnet20, resnet50
from .small import LeNet, lenet
from .vit import vit_b16

__all__ = [
    "CIFAR",
    "CIFAR10",
    "CheckpointError",
    "DIGIT",
    "IMAGENET",
    "LeNet",
    "PictureError",
    "Preparation",
    "ResNet",
    "ResNet20",
    "VIT",
    "cifar10",
    "class_names",
    "lenet",
    "photograph",
    "picture",
    "resnet18",
    "resnet20",
    "resnet50",
    "top5",
    "vit_b16",
]
