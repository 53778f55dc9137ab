"""Models that look at pictures, in plain torch: nothing here knows that they will run on shares."""

from .cifar import CIFAR10, cifar10
from .resnet import ResNet, ResNet20, resnet18, resnet20, resnet50
from .small import LeNet, lenet

__all__ = ["CIFAR10", "LeNet", "ResNet", "ResNet20", "cifar10", "lenet", "resnet18", "resnet20", "resnet50"]
