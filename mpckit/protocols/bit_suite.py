"""The n-party suite: dealt one-hot digits and packed bits, any number of parties, few bytes, a handful of rounds."""

from . import bits, compare, gates, lookup
from .suite import Suite


class BitSuite(Suite):
    name, form = "bits", "digits"
    relu_form = "digits"

    and_ = staticmethod(bits.and_)
    b2a = staticmethod(bits.b2a)
    bits_of = staticmethod(bits.bits_of)
    select = staticmethod(gates.select)

    def at_least(self, x, thresholds):
        return compare.at_least(x, thresholds, self.width(x, thresholds), self.form)

    def eq(self, x, y, bits=None):
        return compare.eq(x, y, bits or self.gap_width(x), self.form)

    def relu(self, x, bits=None):
        return gates.relu(x, bits or self.width(x), self.relu_form)

    def relu_truncated(self, x, by, keep=False):
        if self.truncation == "local":
            return super().relu_truncated(x, by, keep)
        exact = self.truncation == "exact"
        return gates.relu_truncated(self.rounding(x, by), by, exact, self.width(x), self.form, keep)

    def maximum(self, x, y, bits=None):
        return gates.maximum(x, y, bits or self.gap_width(x), self.relu_form)

    def reduce_max(self, x, spare=0, bits=None):
        return gates.reduce_max(x, bits or min(x.bits, self.gap_width(x) + spare), self.relu_form)

    def argmax(self, x):
        return gates.argmax(x, self.gap_width(x), self.form)

    def lines(self, x, pieces, thresholds=(), inner=None, choose=False):
        bits = inner or self.width(x, thresholds)
        return lookup.lines(x, pieces, thresholds, bits, self.form, choose)
