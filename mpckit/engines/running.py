"""Functions on several engines at once: the first failure ends them all, and says who failed and why.

Functions and arguments travel to the engines as pickles, in one domain of trust. What parties say to each other never
takes this way.
"""

import concurrent.futures
import contextlib
import io
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from typing import Protocol

import cloudpickle

from .failures import Failure, TeamError, name, party_error
from .interrupts import interruptible
from .shelter import TICK, Shelter, Work, drained

GRACE = 1.0  # seconds in which parties that wait for a failed one end by themselves, having heard of it over the wire
AGAIN = 0.5  # seconds between two interrupts
STOP = 4.0  # seconds to end after an interrupt; a party that does not (deep in native code) is killed
GONE = 5.0  # seconds for the system to take away a process that was killed


class Engine(Protocol):
    """What of a process is needed to watch and to interrupt it; a `subprocess.Popen` has it all."""

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int): ...

    def kill(self): ...


class Ranks(ABC):
    """Engines numbered by rank: the parties, and then the dealer if there is one."""

    parties: int
    count: int
    shelter: Shelter  # where ipyparallel is spoken to
    client = None  # of ipyparallel
    remedy = "Start fresh engines with team.restart()"
    ended = "was ended"  # what becomes of an engine that cannot be interrupted

    @abstractmethod
    def engine(self, rank: int) -> Engine:
        """The process of a rank."""

    @abstractmethod
    def fate(self, rank: int) -> str:
        """What became of a process, in words that follow its name."""

    @abstractmethod
    def _let_go(self):
        """End the engines, or leave them to those who started them; in the shelter. May be called again."""

    def stop(self):
        """Let go of the engines. May be called again."""
        if self.shelter.close.alive:
            self.shelter.do(lambda work: self._let_go())
            self.shelter.close()

    def reachable(self) -> bool:
        """Whether engines that are there can be reached."""
        return True

    def lost(self) -> list[str]:
        """Which engines are gone, in words."""
        gone = [r for r in range(self.count) if self.engine(r).poll() is not None]
        alone = [] if self.reachable() else ["the controller, through which the engines are reached, has ended"]
        return [f"{name(r, self.parties)} {self.fate(r)}" for r in gone] + alone

    def run(
        self, jobs: dict[int, tuple[Callable, tuple]], tick: Callable[[], None] = lambda: None
    ) -> dict[int, object]:
        """Run `function(*args)` on each rank in `jobs`, all at once → {rank: value}; shows what they print, in order.

        When one fails the others are ended, and PartyError names it, within ten seconds. `tick()` is called on the way.
        """
        return drained(self.steps(jobs), tick)

    def steps(self, jobs: dict[int, tuple[Callable, tuple]]) -> Generator[None, None, dict[int, object]]:
        """`run` as a generator, which yields again and again; to close it ends the run."""
        run = Run(self)

        def whole(work: Work):
            run.add(work, jobs)
            run.wait(work)

        yield from self.shelter.steps(whole)
        return run.outcome()

    def given_up(self, rank: int) -> str:
        """What became of an engine that the controller has given up, in words: one that is still there is ended."""
        engine = self.engine(rank)
        with contextlib.suppress(subprocess.TimeoutExpired):  # its death may be known there a moment before it is here
            engine.wait(2.0)
        if engine.poll() is not None:
            return self.fate(rank)
        engine.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            engine.wait(GONE)
        return f"did not answer any more, and {self.ended}"

    def submit(self, rank: int, job: bytes):
        try:
            return self._views[rank].apply_async(perform, rank, job)
        except IndexError:  # so ipyparallel says that it has no such engine
            raise TeamError(f"{name(rank, self.parties)} {self.given_up(rank)}. {self.remedy}") from None


class Run:
    """One function on several engines at once: what has come back, and who is still waited for.

    `add`, `wait` and `end` are for the shelter, and take the work that they are done in.
    """

    def __init__(self, engines: Ranks):
        self.engines, self.ranks, self.waiting = engines, set(), {}
        self.values, self.printed, self.failures = {}, {}, []
        self.killed, self.lost = [], []

    def add(self, work: Work, jobs: dict[int, tuple[Callable, tuple]]):
        """Start more, on ranks that do nothing in this run yet."""
        if lost := self.engines.lost():
            raise TeamError(f"{'; '.join(lost)}. {self.engines.remedy}")
        packed = {rank: cloudpickle.dumps(job) for rank, job in jobs.items()}
        try:
            for rank, job in packed.items():
                self.waiting[rank] = self.engines.submit(rank, job)
                self.ranks.add(rank)
        except BaseException:  # those that have begun would wait for the others
            self.end(work)
            raise

    def wait(self, work: Work):
        """Until all have come back, one has failed, or the work is asked to end; nobody runs afterwards."""
        try:
            while self.waiting and not self.failures and not work.asked:
                self._collect(TICK)
                if not self.engines.reachable():
                    raise TeamError(f"{', '.join(self.engines.lost())}. {self.engines.remedy}")
            if self.failures:
                self._collect_for(GRACE, work, asked=1)
        finally:
            self.end(work)
            self.lost = self.engines.lost()

    def end(self, work: Work):
        """Interrupt all that still run; those that do not end are killed."""
        for _ in range(int(STOP / AGAIN)):
            for rank in self.waiting:
                self.engines.engine(rank).send_signal(signal.SIGINT)
            # An interrupt that comes at a bad moment is not heard: repeat it.
            self._collect_for(AGAIN, work, asked=2)
        self.killed = list(self.waiting)
        for rank in self.killed:
            self.engines.engine(rank).kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.engines.engine(rank).wait(GONE)

    def outcome(self) -> dict[int, object]:
        """{rank: value}; shows what the engines have printed, and raises PartyError where one has failed."""
        parties = self.engines.parties
        for rank in sorted(self.printed):  # of a run that failed, too: what was said before explains why
            for line in self.printed[rank].splitlines():
                print(f"{name(rank, parties)} │ {line}")
        if self.failures:
            note = "".join(
                f"\n  {name(r, parties)} did not stop within {STOP:g} s and {self.engines.ended}" for r in self.killed
            )
            note += f"\n  {self.engines.remedy}" if self.lost or self.killed else ""
            raise party_error(self.failures, parties, note)
        return self.values

    def _collect(self, seconds: float):
        """Take in what is there, or comes within `seconds`."""
        concurrent.futures.wait(self.waiting.values(), seconds, concurrent.futures.FIRST_COMPLETED)
        for rank, future in list(self.waiting.items()):
            engine = self.engines.engine(rank)
            done = future.done()  # asked once: it may become true at any time
            error = future.exception() if done else None
            if done and error is None:
                value, printed, failure = cloudpickle.loads(future.result())
                self.printed[rank] = printed
                if failure is None:
                    self.values[rank] = value
                else:
                    self.failures.append(failure)
            elif engine.poll() is not None or "EngineError" in (type(error).__name__, getattr(error, "ename", None)):
                self.failures.append(Failure(rank, "Died", f"its process {self.engines.given_up(rank)}", died=True))
            elif done:  # interrupted just before or after the function itself
                self.failures.append(Failure(rank, getattr(error, "ename", type(error).__name__), str(error)[:500]))
            else:
                continue
            del self.waiting[rank]

    def _collect_for(self, seconds: float, work: Work, asked: int):
        """Unless the work is asked so often to end."""
        deadline = time.monotonic() + seconds
        while self.waiting and time.monotonic() < deadline and work.asked < asked:
            self._collect(TICK)


def perform(rank: int, job: bytes) -> bytes:
    """On an engine: do a job, and say how it went (value, what was printed, failure)."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), interruptible():
            function, args = cloudpickle.loads(job)
            value = function(*args)
        return cloudpickle.dumps((value, printed.getvalue(), None))
    except BaseException as error:
        failure = Failure.of(rank, error)
    return cloudpickle.dumps((None, printed.getvalue(), failure))


def warm_up():
    """On an engine: import and load what every run needs."""
    from . import seat

    seat.load()
