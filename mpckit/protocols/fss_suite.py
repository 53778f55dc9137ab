"""The two-party suite, by function secret sharing: comparisons in one round, with a key for every element.   [SIGMA]"""

from .bit_suite import BitSuite


class FssSuite(BitSuite):
    """The gates of the bit suite, where a key of a point function says what took digits and rounds there.

    relu   "dpf": two rounds; "dcf": one round, at 2.5 times the key, for links with long round trips
    """

    name, form, parties = "fss", "dpf", 2

    def __init__(self, truncation: str = "exact", range_bits: int | None = None, relu: str = "dpf"):
        super().__init__(truncation, range_bits)
        if relu not in ("dpf", "dcf"):
            raise ValueError(f"the relu of this suite is 'dpf' (two rounds) or 'dcf' (one), not {relu!r}")
        self.relu_form = relu
