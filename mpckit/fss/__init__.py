"""Function secret sharing for two parties: keys that hide a function and give shares of its values.

dpf · 1{x = alpha} as xor-shared bits, and from the same key 1{x < alpha}        dcf · beta·1{x < alpha} as ring words
"""

from . import dcf, dpf
from .batch import Keys

__all__ = ["Keys", "dcf", "dpf"]
