"""A secret as a process holds it: one share for each party that it hosts."""

from typing import NamedTuple

from ..protocols.arithmetic import Room
from ..share import AShare, BShare


class Shared(NamedTuple):
    """A secret as this process holds it: one share for each party hosted here."""

    shares: tuple

    @property
    def shape(self):
        return self.shares[0].shape

    def map(self, view, *args, **kwargs) -> "Shared":
        """Apply a local linear map to every share."""
        return Shared(tuple(s.map(view, *args, **kwargs) for s in self.shares))


def pick(value, i):
    """A protocol's argument for the i-th party here: of shared ones, in lists too, its share."""
    if isinstance(value, Shared):
        return value.shares[i]
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(pick(v, i) for v in value)
    return value


def gathered(results):
    """What the protocols of all parties here returned, as one: shares, in lists too, become shared values."""
    first = results[0]
    if isinstance(first, (AShare, BShare, Room)):
        return Shared(tuple(results))
    if isinstance(first, (list, tuple)):
        return type(first)(gathered(column) for column in zip(*results))
    return first
