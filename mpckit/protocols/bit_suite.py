"""The n-party suite: dealt one-hot digits and packed bits, any number of parties, few bytes, a handful of rounds."""

from . import bits, gates
from .suite import Suite


class BitSuite(Suite):
    name = "bits"

    and_ = staticmethod(bits.and_)
    b2a = staticmethod(bits.b2a)
    bits_of = staticmethod(bits.bits_of)
    at_least = staticmethod(bits.at_least)
    eq = staticmethod(bits.eq)
    relu = staticmethod(gates.relu)
    select = staticmethod(gates.select)
    maximum = staticmethod(gates.maximum)
    reduce_max = staticmethod(gates.reduce_max)
    argmax = staticmethod(gates.argmax)
    split_lut = staticmethod(gates.split_lut)
