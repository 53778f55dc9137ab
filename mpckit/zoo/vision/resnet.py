"""Residual networks: ResNet-20 for pictures of 32×32 with its weights; ResNet-18 and ResNet-50 for checkpoints.

The names of parameters are torchvision's, so `state_dict`s fit. Two things are arranged for shares: every step is a
named layer, so that a report can say what each of them cost; and where a maximum over windows meets a ReLU, the maximum
comes first: the same values with a quarter of the ReLUs.
"""

from collections import OrderedDict
from pathlib import Path

import torch.nn.functional as F
from safetensors.torch import load
from torch import Tensor, nn

from ..data import checked
from .checkpoint import read, settle
from .expect import Expect


def _conv(inside: int, outside: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, size, stride, padding=size // 2, bias=False)


class Strided(nn.Module):
    """A shortcut without weights (option A of the paper): every second pixel, and zeros for the new channels."""

    def __init__(self, new: int, stride: int):
        super().__init__()
        self.new, self.stride = new, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.new // 2, self.new // 2))


class Projected(nn.Sequential):
    """A shortcut with weights: a 1×1 convolution and its norm."""

    def __init__(self, inside: int, outside: int, stride: int):
        super().__init__(_conv(inside, outside, 1, stride), nn.BatchNorm2d(outside))


class Basic(nn.Module):
    """x + two 3×3 convolutions of x."""

    expansion = 1

    def __init__(self, inside: int, width: int, stride: int, shortcut: nn.Module | None):
        super().__init__()
        self.conv1, self.bn1, self.relu1 = _conv(inside, width, 3, stride), nn.BatchNorm2d(width), nn.ReLU()
        self.conv2, self.bn2, self.relu2 = _conv(width, width, 3), nn.BatchNorm2d(width), nn.ReLU()
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu2(out + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """x + a 3×3 convolution between two of 1×1. The stride is in the middle one, as in torchvision (v1.5)."""

    expansion = 4

    def __init__(self, inside: int, width: int, stride: int, shortcut: nn.Module | None):
        super().__init__()
        self.conv1, self.bn1, self.relu1 = _conv(inside, width, 1), nn.BatchNorm2d(width), nn.ReLU()
        self.conv2, self.bn2, self.relu2 = _conv(width, width, 3, stride), nn.BatchNorm2d(width), nn.ReLU()
        self.conv3, self.bn3 = _conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
        self.relu3, self.downsample = nn.ReLU(), shortcut

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.relu2(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu3(out + (x if self.downsample is None else self.downsample(x)))


def _stage(block, inside: int, width: int, depth: int, stride: int, shortcut) -> nn.Sequential:
    outside = block.expansion * width
    first = shortcut(inside, outside, stride) if stride > 1 or inside != outside else None
    rest = [block(outside, width, 1, None) for _ in range(depth - 1)]
    return nn.Sequential(block(inside, width, stride, first), *rest)


# ---- for pictures of 32×32 -------------------------------------------------------------------------------------------


class ResNet20(nn.Sequential):
    """Pictures [n, 3, 32, 32], normalised as `cifar10` gives them → 10 logits. 269,722 parameters."""

    def __init__(self):
        def strided(inside, outside, stride):
            return Strided(outside - inside, stride)

        super().__init__(
            OrderedDict(
                picture=Expect(3, 32),
                conv1=_conv(3, 16, 3),
                bn1=nn.BatchNorm2d(16),
                relu=nn.ReLU(),
                layer1=_stage(Basic, 16, 16, 3, 1, strided),
                layer2=_stage(Basic, 16, 32, 3, 2, strided),
                layer3=_stage(Basic, 32, 64, 3, 2, strided),
                pool=nn.AdaptiveAvgPool2d(1),
                flat=nn.Flatten(),
                linear=nn.Linear(64, 10),
            )
        )


def resnet20(pretrained: bool = False) -> ResNet20:
    """A ResNet-20 in evaluation mode; `pretrained=True` loads the shipped weights: 91.73 % of CIFAR-10's test images.

    Raises ChecksumError when the weights are damaged.
    """
    model = ResNet20().eval()
    if pretrained:
        settle(model, load(checked("resnet20_cifar10.safetensors")), "resnet20_cifar10.safetensors")
    return model


# ---- for photographs -------------------------------------------------------------------------------------------------


class ResNet(nn.Sequential):
    """Pictures [n, 3, h, w], 224×224 as trained and 32×32 at the least → logits [n, classes].

    `pool` is how the stem reduces its 3×3 windows: "max", with comparisons, as checkpoints expect; "average", without
    any, for a model that is trained that way. `width`: the channels of the stem, 64 in every checkpoint.
    """

    def __init__(self, block, depths: tuple[int, ...], classes: int = 1000, width: int = 64, pool: str = "max"):
        if pool not in ("max", "average"):
            raise ValueError(f"pool={pool!r}: windows are reduced by 'max' or 'average'")
        maximum = {"maxpool": nn.MaxPool2d(3, 2, 1), "relu": nn.ReLU()}
        average = {"relu": nn.ReLU(), "meanpool": nn.AvgPool2d(3, 2, 1, count_include_pad=False)}
        layers = OrderedDict(picture=Expect(3, 32, exact=False), conv1=_conv(3, width, 7, 2), bn1=nn.BatchNorm2d(width))
        layers.update(maximum if pool == "max" else average)
        inside = width
        for k, depth in enumerate(depths):
            layers[f"layer{k + 1}"] = _stage(block, inside, width << k, depth, 1 if k == 0 else 2, Projected)
            inside = block.expansion * (width << k)
        layers.update(avgpool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), fc=nn.Linear(inside, classes))
        super().__init__(layers)


def resnet18(checkpoint: str | Path | None = None, classes: int | None = None, pool: str = "max") -> ResNet:
    """A ResNet-18 in evaluation mode, with random weights, or with those of `checkpoint`.

    `checkpoint` is a file (`.safetensors`, or a `state_dict` saved by torch: `.pth`, `.pt`, `.bin`) or a folder that
    `save_pretrained` made, with torchvision's or Hugging Face's names. `classes` is 1000 without a checkpoint, and what
    that has with one. Raises CheckpointError for a file that is missing, holds more than weights, or does not fit.
    """
    return _resnet(Basic, (2, 2, 2, 2), checkpoint, classes, pool)


def resnet50(checkpoint: str | Path | None = None, classes: int | None = None, pool: str = "max") -> ResNet:
    """A ResNet-50 (v1.5, torchvision's) in evaluation mode; arguments and errors as for `resnet18`."""
    return _resnet(Bottleneck, (3, 4, 6, 3), checkpoint, classes, pool)


def _resnet(block, depths, checkpoint, classes, pool) -> ResNet:
    state = None if checkpoint is None else read(checkpoint)
    if classes is None:
        last = (state or {}).get("fc.weight")
        classes = 1000 if last is None or last.dim() != 2 else len(last)
    model = ResNet(block, depths, classes, pool=pool).eval()
    if state is not None:
        settle(model, state, checkpoint)
    return model
