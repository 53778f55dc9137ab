"""Small models with real weights and real data, small enough to ship: `lenet(pretrained=True)`, `digits()`."""

from .data import digits
from .vision import lenet

__all__ = ["digits", "lenet"]
