"""LeNet: small enough to read a digit in a few milliseconds."""

from collections import OrderedDict

from safetensors.torch import load
from torch import nn

from ..data import checked
from .expect import Expect


class LeNet(nn.Sequential):
    """Handwritten digits: [n, 1, 28, 28] or [1, 28, 28] in [0, 1] → 10 logits. 20,522 parameters.

    Every step is a named layer, so that a report can say what each of them cost.
    """

    def __init__(self):
        # Pool first, then relu: both orders give the same values (relu is monotone), but this one has
        # a quarter of the ReLUs, and a ReLU on shares costs more than everything linear around it.
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(1, 8, 5),  # 28 → 24
                pool1=nn.MaxPool2d(2),  # 24 → 12
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(8, 16, 5),  # 12 → 8
                pool2=nn.MaxPool2d(2),  # 8 → 4
                relu2=nn.ReLU(),
                flat=nn.Flatten(-3),  # counted from the end: a single picture needs no batch axis
                fc1=nn.Linear(16 * 4 * 4, 64),
                relu3=nn.ReLU(),
                fc2=nn.Linear(64, 10),
            )
        )

    def forward(self, x):
        return super().forward(PICTURE(x))


PICTURE = Expect(1, 28, batch=False)


def lenet(pretrained: bool = False) -> LeNet:
    """A LeNet in evaluation mode; `pretrained=True` loads the shipped weights (made by scripts/train_lenet.py).

    Raises ChecksumError when the weights are damaged.
    """
    model = LeNet().eval()
    if pretrained:
        model.load_state_dict(load(checked("lenet_mnist.safetensors")))
    return model
