"""What a family of protocols must offer, so that `functions.py` can derive the rest for all of them."""

from abc import ABC, abstractmethod

from ..share import AShare, BShare
from . import arithmetic, widths


class Suite(ABC):
    """A family of protocols under one name.

    All methods are protocols: call them with `yield from`, or with `session.run`.

    truncation   "stochastic": to one of both neighbours, right on average; "exact": to the nearest, halves up; or (two
                 parties) "local": each shifts its own piece
    range_bits   a promise that the values which are compared need no more than these bits: |x| < 2^(range_bits-1) ring
                 units. Comparisons then run on so many bits. Beyond the promise they are wrong, and nothing tells.

    Raises ValueError for what is neither.
    """

    name: str
    form = "digits"  # how comparisons are dealt (`correlations/masked.py`)
    parties: int | None = None  # how many it is for, if not for any number

    def __init__(self, truncation: str = "stochastic", range_bits: int | None = None):
        if truncation not in ("stochastic", "exact", "local"):
            raise ValueError(f"truncation is 'stochastic', 'exact' or 'local', not {truncation!r}")
        if range_bits is not None and not 2 <= range_bits <= 64:
            raise ValueError(f"a declared range has 2 to 64 bits, not {range_bits}")
        self.truncation, self.range_bits = truncation, range_bits

    def width(self, x: AShare, thresholds=(0,)) -> int:
        """On how many bits x may be compared with these thresholds: one more than the larger of both needs."""
        if self.range_bits is None:
            return x.bits
        others = max((abs(c).bit_length() + 1 for c in thresholds if c), default=0)
        return min(x.bits, max(self.range_bits, others) + (others > 0))

    def gap_width(self, x: AShare, bits: int | None = None) -> int:
        """The same for the difference of two such numbers, of which `bits` bits are known to hold each."""
        return min(self.width(x, (1,)), x.bits if bits is None else bits + 1)

    # Linear algebra is the same for all additive sharings.
    mul = staticmethod(arithmetic.mul)
    square = staticmethod(arithmetic.square)
    square_and_product = staticmethod(arithmetic.square_and_product)
    product = staticmethod(arithmetic.product)
    matmul = staticmethod(arithmetic.matmul)
    conv = staticmethod(arithmetic.conv)

    def truncate(self, x: AShare, by: int, bits: int | None = None):
        """Drop `by` fraction bits in this session's mode; |x| < 2^(bits-2) makes it cheaper."""
        if bits is not None and self.truncation == "exact":  # room for what `rounding` adds
            bits = max(bits, by + 1) + 1
        return widths.truncate(self.rounding(x, by), by, self.truncation, self.form, bits)

    def rounding(self, x: AShare, by: int) -> AShare:
        """What is to be truncated: half of the last place more where that is exact, so that the floor is the nearest.

        A floor is half an ulp too low on average, and a gradient adds many of them up.
        """
        return x + (1 << by - 1) if self.truncation == "exact" and by > 0 else x

    def largest(self, ring) -> float:
        """The largest number that stands for infinity: all that is compared lies below it, and it does too."""
        ends = [30.0, ring.bits - 2 - ring.frac]
        if self.range_bits is not None:
            ends.append(self.range_bits - 1 - ring.frac)
        return 2.0 ** min(ends) - 2.0**-ring.frac * (self.range_bits is not None)

    @abstractmethod
    def at_least(self, x: AShare, thresholds) -> BShare:
        """1{x ≥ c} for public ring integers c, from one opening of x: [len(thresholds), *shape]."""

    @abstractmethod
    def eq(self, x: AShare, y, bits: int | None = None) -> BShare:
        """1{x = y}, where both are in the declared range, or their difference has `bits` bits."""

    @abstractmethod
    def relu(self, x: AShare, bits: int | None = None) -> AShare:
        """max(x, 0), where x is in the declared range, or has `bits` bits."""

    def relu_truncated(self, x: AShare, by: int, keep: bool = False):
        """(max(x >> by, 0), x >> by if that is to `keep`), in this session's mode of truncation."""
        plain = yield from self.truncate(x, by)
        return (yield from self.relu(plain)), plain

    @abstractmethod
    def select(self, b: BShare, x: AShare, bits: int | None = None) -> AShare:
        """b · x for a secret bit, with broadcasting: several bits may select from one x, which is opened once.

        |x| < 2^(bits-2) makes it cheaper.
        """

    @abstractmethod
    def and_(self, x: BShare, y: BShare) -> BShare:
        """x & y with broadcasting, on bits or on words."""

    @abstractmethod
    def b2a(self, b: BShare, ring) -> AShare:
        """A bit as the ring element 0 or 1, words as signed integers."""

    @abstractmethod
    def bits_of(self, b: BShare, ring) -> AShare:
        """Words [*shape] → their bits as ring elements [*shape, bits]."""

    @abstractmethod
    def maximum(self, x: AShare, y: AShare, bits: int | None = None) -> AShare:
        """The larger of both, elementwise, where their difference has `bits` bits."""

    @abstractmethod
    def reduce_max(self, x: AShare, spare: int = 0, bits: int | None = None) -> AShare:
        """The maximum over the last dimension, [*shape, k] → shape; of numbers with `spare` more bits than declared.

        `bits`, where they are known, hold the differences.
        """

    @abstractmethod
    def argmax(self, x: AShare) -> tuple[AShare, AShare]:
        """(maximum, index) over the last dimension; the index is an integer of unit 0."""

    @abstractmethod
    def lines(self, x: AShare, pieces, thresholds, inner: int | None = None, choose: bool = False) -> tuple:
        """Protocols that go on from one opening of x: (comparisons or None, [a line for each piece]), see `lookup`."""
