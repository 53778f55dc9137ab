"""The store: correlations that were dealt and not yet used. Taking one out is using it.

Pieces are kept by correlation, in the order dealt; all parties draw in the same order, so they take the same ones.
"""

from collections import deque

from ..once import OneTime, ReuseError


class Store(OneTime):
    """Pieces by correlation, and the numbers of the masks in use; `len(store)` counts pieces that are left.

    Pieces are struck off before they are given out, so that whatever goes wrong with them they do not come back. They
    wait in the `spool`, if there is one.
    """

    def __init__(self, spool=None):
        self._spool = spool
        self._ready: dict = {}
        self._numbers: set[int] = set()  # persistent masks that have met their value

    def put(self, correlation, pieces) -> None:
        waiting = self._spool.keep(pieces) if self._spool is not None else lambda: pieces
        self._ready.setdefault(correlation, deque()).append(waiting)

    def take(self, correlation):
        """The oldest unused pieces, or None where none were dealt ahead. Raises ReuseError in a forked process."""
        self.stay_home()
        queue = self._ready.get(correlation)
        return queue.popleft()() if queue else None

    def bind(self, number: int) -> None:
        """A persistent mask meets its value: once only. Raises ReuseError at a second one, and in a forked process."""
        self.stay_home()
        if number in self._numbers:
            raise ReuseError(
                f"mask {number} already hides a value: a second one would reveal their difference; draw a new mask"
            )
        self._numbers.add(number)

    def __len__(self):
        return sum(len(q) for q in self._ready.values())
