"""What a family of protocols must offer, so that `functions.py` can derive the rest for all of them."""

from abc import ABC, abstractmethod

from ..share import AShare, BShare
from . import arithmetic


class Suite(ABC):
    """A family of protocols under one name.

    All methods are protocols: call them with `yield from`, or with `session.run`. `truncation` is "stochastic", "exact"
    or (two parties) "local"; ValueError otherwise.
    """

    name: str

    def __init__(self, truncation: str = "stochastic"):
        if truncation not in ("stochastic", "exact", "local"):
            raise ValueError(f"truncation is 'stochastic', 'exact' or 'local', not {truncation!r}")
        self.truncation = truncation

    # Linear algebra is the same for all additive sharings.
    mul = staticmethod(arithmetic.mul)
    square = staticmethod(arithmetic.square)
    matmul = staticmethod(arithmetic.matmul)
    conv = staticmethod(arithmetic.conv)

    def truncate(self, x: AShare, by: int):
        """Drop `by` fraction bits in this session's mode."""
        return arithmetic.truncate(x, by, self.truncation)

    @abstractmethod
    def at_least(self, x: AShare, thresholds) -> BShare:
        """1{x ≥ c} for public ring integers c, from one opening of x: [len(thresholds), *shape]."""

    @abstractmethod
    def eq(self, x: AShare, y) -> BShare:
        """1{x = y}."""

    @abstractmethod
    def relu(self, x: AShare) -> AShare:
        """max(x, 0)."""

    @abstractmethod
    def select(self, b: BShare, x: AShare) -> AShare:
        """b · x for a secret bit, with broadcasting: several bits may select from one x, which is opened once."""

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
    def maximum(self, x: AShare, y: AShare) -> AShare:
        """The larger of both, elementwise."""

    @abstractmethod
    def reduce_max(self, x: AShare) -> AShare:
        """The maximum over the last dimension: [*shape, k] → shape."""

    @abstractmethod
    def argmax(self, x: AShare) -> tuple[AShare, AShare]:
        """(maximum, index) over the last dimension; the index is an integer of unit 0."""

    @abstractmethod
    def split_lut(self, x: AShare, by: int, table, width: int) -> tuple[BShare, AShare]:
        """(table[i], x - i·2^by) for i = x >> by, modulo the table's size."""
