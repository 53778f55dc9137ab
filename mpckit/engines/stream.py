"""`Stream`: what the parties of a run tell, while they run."""

from collections.abc import Generator, Iterator
from contextlib import closing

from .shelter import Steps


class Stream:
    """Iterate over it for what the parties tell, in the order in which it arrives; afterwards `values` and `report`.

    `values`: one of each party, as `Team.run` gives them. Leaving the loop early ends the run.
    """

    def __init__(self, steps: Generator[list, None, tuple[list, object]]):
        self._steps, self.values, self.report = steps, None, None

    def __iter__(self) -> Iterator:
        steps = Steps(self._steps)
        with closing(iter(steps)) as each:
            for told in each:
                yield from told
        if steps.value is not None:
            self.values, self.report = steps.value
