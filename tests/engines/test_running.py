"""An engine that its controller has given up is no use to anybody: it is ended, named, and fresh ones are offered."""

import subprocess
from concurrent.futures import Future

import pytest

from mpckit.engines.failures import PartyError, TeamError
from mpckit.engines.running import Ranks
from mpckit.engines.shelter import Shelter


class EngineError(Exception):
    """As ipyparallel's, by whose name it is known."""


class View:
    """What a job on an engine answers: an exception at once, or by a future."""

    def __init__(self, error):
        self.error = error

    def apply_async(self, function, *args):
        if isinstance(self.error, IndexError):
            raise self.error
        future = Future()
        future.set_exception(self.error)
        return future


class Stalled(Ranks):
    """One party, whose process is there and does nothing, as after a stop or on a machine that swaps."""

    parties = count = 1

    def __init__(self, error):
        self.process, self._views = subprocess.Popen(["sleep", "100"]), [View(error)]
        self.shelter = Shelter("test")

    def engine(self, rank):
        return self.process

    def fate(self, rank):
        return f"ended with exit code {self.process.poll()}"

    def _let_go(self):
        self.process.kill()


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (EngineError("Engine 7 died"), PartyError, "party 0 is gone: its process did not answer any more"),
        (IndexError("No such engine: 7"), TeamError, "party 0 did not answer any more, and was ended"),
    ],
)
def test_given_up_during_a_run_or_before_it(error, kind, words):
    engines = Stalled(error)
    try:
        with pytest.raises(kind, match=f"{words}.*\n?.*Start fresh engines with team.restart"):
            engines.run({0: (len, ("",))})
        assert engines.lost() == ["party 0 ended with exit code -9"]
    finally:
        engines.stop()
