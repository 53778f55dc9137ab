"""`Stream`: what the parties of a run tell, while they run."""

from collections.abc import Generator, Iterator


class Stream:
    """Iterate over it for what the parties tell, in the order in which it arrives; afterwards `values` and `report`.

    `values`: one of each party, as `Team.run` gives them. Leaving the loop early ends the run.
    """

    def __init__(self, steps: Generator[list, None, tuple[list, object]]):
        self._steps, self.values, self.report = steps, None, None

    def __iter__(self) -> Iterator:
        try:
            while True:
                try:
                    told = next(self._steps)
                except StopIteration as stop:
                    if stop.value is not None:
                        self.values, self.report = stop.value
                    return
                yield from told
        finally:
            self._steps.close()
