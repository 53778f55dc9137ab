"""What a correlation is, and what its `deal` may call."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

Shape = tuple[int, ...]


class Correlation(ABC):
    """Abstract. Subclasses are frozen dataclasses of numbers, tuples and strings, since they cross the wire as JSON."""

    @abstractmethod
    def deal(self, d) -> tuple:
        """The handles whose pieces a party receives, in order."""

    def parts(self) -> "Iterator[Correlation]":
        """What is dealt one after the other, so that memory stays bounded: itself, where no long keys come along."""
        yield self

    def together(self, count: int) -> "Correlation":
        """`count` of what this is a part of, one after the other, as one. ValueError where there are no parts."""
        if count == 1:
            return self
        raise ValueError(f"{self!r:.200} does not come in parts")
