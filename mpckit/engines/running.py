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

TICK = 0.05  # seconds between two looks at a run
GRACE = 1.0  # seconds in which parties that wait for a failed one end by themselves, having heard of it over the wire
AGAIN = 0.5  # seconds between two interrupts
STOP = 4.0  # seconds to end after an interrupt; a party that does not (deep in native code) is killed


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
    def stop(self):
        """Let go of the engines."""

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
        return self.finish(self.begin(jobs), tick)

    def begin(self, jobs: dict[int, tuple[Callable, tuple]]) -> "Run":
        """Start `function(*args)` on each rank in `jobs`; `finish` waits for it."""
        if lost := self.lost():
            raise TeamError(f"{'; '.join(lost)}. {self.remedy}")
        run = Run(self)
        run.add(jobs)
        return run

    def finish(self, run: "Run", tick: Callable[[], None] = lambda: None) -> dict[int, object]:
        """Wait for what was begun; as `run`."""
        return drained(self.steps(run), tick)

    def steps(self, run: "Run") -> Generator[None, None, dict[int, object]]:
        """`finish` as a generator, which yields again and again; to close it ends the run."""
        try:
            while run.waiting and not run.failures:
                run.collect(TICK)
                yield
                if not self.reachable():
                    raise TeamError(f"{', '.join(self.lost())}. {self.remedy}")
            if run.failures:
                run.collect_for(GRACE)
        finally:  # also for Ctrl-C here
            killed = run.end()
        yield
        for rank in sorted(run.printed):  # of a run that failed, too: what was said before explains why
            for line in run.printed[rank].splitlines():
                print(f"{name(rank, self.parties)} │ {line}")
        if run.failures:
            note = "".join(
                f"\n  {name(r, self.parties)} did not stop within {STOP:g} s and {self.ended}" for r in killed
            )
            note += f"\n  {self.remedy}" if self.lost() or killed else ""
            raise party_error(run.failures, self.parties, note)
        return run.values

    def submit(self, rank: int, job: bytes):
        return self._views[rank].apply_async(perform, rank, job)


def answered(generator: Generator, answer: Callable) -> Generator:
    """The same, but what it yields is `answer()`, each time asked anew."""
    try:
        while True:
            try:
                next(generator)
            except StopIteration as stop:
                return stop.value
            yield answer()
    finally:
        generator.close()


def drained(generator: Generator, tick: Callable[[], None] = lambda: None):
    """What the generator returns; `tick()` is called each time that it yields."""
    steps = answered(generator, tick)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


class Run:
    """One function on several engines at once: what has come back, and who is still waited for."""

    def __init__(self, engines: Ranks):
        self.engines, self.waiting = engines, {}
        self.values, self.printed, self.failures = {}, {}, []

    def add(self, jobs: dict[int, tuple[Callable, tuple]]):
        """Start more, on ranks that do nothing in this run yet."""
        packed = {rank: cloudpickle.dumps(job) for rank, job in jobs.items()}
        try:
            for rank, job in packed.items():
                self.waiting[rank] = self.engines.submit(rank, job)
        except BaseException:  # those that have begun would wait for the others
            self.end()
            raise

    def collect(self, seconds: float):
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
            elif engine.poll() is not None or (done and _reports_death(error, engine)):
                self.failures.append(Failure(rank, "Died", f"its process {self.engines.fate(rank)}", died=True))
            elif done:  # interrupted just before or after the function itself
                self.failures.append(Failure(rank, getattr(error, "ename", type(error).__name__), str(error)[:500]))
            else:
                continue
            del self.waiting[rank]

    def collect_for(self, seconds: float):
        deadline = time.monotonic() + seconds
        while self.waiting and time.monotonic() < deadline:
            self.collect(TICK)

    def end(self) -> list[int]:
        """Interrupt all that still run; returns the ranks that had to be killed."""
        try:
            for _ in range(int(STOP / AGAIN)):
                for rank in self.waiting:
                    self.engines.engine(rank).send_signal(signal.SIGINT)
                self.collect_for(AGAIN)  # an interrupt that comes at a bad moment is not heard: repeat it
        finally:  # a second Ctrl-C means "now"
            for rank in self.waiting:
                self.engines.engine(rank).kill()
                self.engines.engine(rank).wait()
        return list(self.waiting)


def _reports_death(error: BaseException, engine: Engine) -> bool:
    """Whether ipyparallel says that the engine died; its nanny can see that a moment before we do."""
    if "EngineError" not in (type(error).__name__, getattr(error, "ename", None)):
        return False
    with contextlib.suppress(subprocess.TimeoutExpired):
        engine.wait(2.0)
    return engine.poll() is not None


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
