"""Processes for the parties: an ipyparallel controller and its engines, started fast, watched, and never left behind.

The engines belong to the one who runs the notebook: functions and arguments travel to them as pickles, in one domain of
trust. What parties say to each other never takes this way.
"""

import concurrent.futures
import contextlib
import io
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import cloudpickle
import ipyparallel
import psutil

from . import watchdog
from .failures import Failure, TeamError, name, party_error

START = 60.0  # seconds for all processes to come up
TICK = 0.05  # seconds between two looks at a run
GRACE = 1.0  # seconds in which parties that wait for a failed one end by themselves, having heard of it over the wire
STOP = 4.0  # seconds to end after an interrupt; a party that does not (deep in native code) is killed


class Engines:
    """`count` engines, numbered by rank; `parties` of them are parties, one more is the dealer.

    ipyparallel's engine ids follow the order of arrival, so ranks are ours: rank r is the r-th process we started.
    """

    def __init__(self, parties: int, count: int, threads: int = 1):
        self.parties, self.count = parties, count
        self.folder = tempfile.mkdtemp(prefix="mpckit-")  # readable by this user alone; holds the connection keys
        self._log = Path(self.folder, "log.txt")
        self._processes: list[subprocess.Popen] = []
        self.client: ipyparallel.Client | None = None
        self._end = weakref.finalize(self, _end, os.getpid(), self.folder, self._processes)
        try:
            self._start(threads)
        except BaseException:
            self.stop()
            raise

    def _start(self, threads: int):
        deadline = time.monotonic() + START
        me = psutil.Process()
        watch = [sys.executable, watchdog.__file__, str(me.pid), repr(me.create_time()), self.folder]
        self._watchdog = self._spawn(watch, dict(os.environ))
        env = os.environ | {watchdog.MARK: self.folder, "IPYTHONDIR": self.folder}
        env |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads))
        env["PYTHONPATH"] = os.pathsep.join(
            p or os.getcwd() for p in sys.path
        )  # engines import what the notebook imports
        secret_name = secrets.token_hex(8)
        common = [f"--profile-dir={self.folder}", f"--cluster-id={secret_name}", "--log-level=ERROR"]
        # The heartbeat's default period is what makes a start slow: an engine counts as present after two beats.
        beat = ["--HeartMonitor.period=300", "--HeartMonitor.max_heartmonitor_misses=100"]
        one = ["--IPController.use_threads=True", "--ip=127.0.0.1"]  # one process instead of eight
        controller = self._spawn([sys.executable, "-m", "ipyparallel.controller", *common, *beat, *one], env)
        wait = [f"--IPEngine.wait_for_url_file={START}", f"--IPEngine.timeout={START}"]
        engine = [sys.executable, "-m", "ipyparallel.engine", *common, *wait]
        self._engines = [self._spawn(engine, env) for _ in range(self.count)]  # they load while the controller does
        file = Path(self.folder, "security", f"ipcontroller-{secret_name}-client.json")
        while not (info := _read_json(file)):
            self._check_start([controller, *self._engines], deadline)
            time.sleep(0.02)
        self.client = ipyparallel.Client(info, profile_dir=self.folder)
        while len(self.client.ids) < self.count:
            self._check_start([controller, *self._engines], deadline)
            time.sleep(0.02)
        pids = {i: self.client[i].apply_async(os.getpid) for i in self.client.ids}
        ranks = {process.pid: rank for rank, process in enumerate(self._engines)}
        ids = {ranks[result.get(START)]: i for i, result in pids.items()}
        self._views = [self.client[ids[rank]] for rank in range(self.count)]
        for view in self._views:
            view.apply_async(warm_up)  # torch takes seconds to import; the first run queues behind it

    def _spawn(self, command: list[str], env: dict) -> subprocess.Popen:
        # A session of its own: Ctrl-C in a terminal is for the notebook, which passes it on in order.
        with open(self._log, "ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True
            )
        self._processes.append(process)
        return process

    def _check_start(self, processes: list[subprocess.Popen], deadline: float):
        ended = any(process.poll() is not None for process in processes)
        if ended or time.monotonic() > deadline:
            what = "a process ended while the team started" if ended else f"the team did not start within {START:g} s"
            raise TeamError(f"{what}; its log ends with:\n{self._log.read_text(errors='replace')[-2000:]}")

    def pid(self, rank: int) -> int:
        """The process id of an engine."""
        return self._engines[rank].pid

    def lost(self) -> list[str]:
        """Which engines are gone, in words."""
        return [_fate(name(r, self.parties), p) for r, p in enumerate(self._engines) if p.poll() is not None]

    def stop(self):
        """End every process and remove the folder. May be called again."""
        if self.client is not None:
            self.client.close()
            self.client = None
        self._end()

    # running

    def run(
        self, jobs: dict[int, tuple[Callable, tuple]], tick: Callable[[], None] = lambda: None
    ) -> dict[int, object]:
        """Run `function(*args)` on each rank in `jobs`, all at once → {rank: value}; shows what they print, in order.

        When one fails the others are ended, and PartyError names it, within ten seconds. `tick()` is called on the way.
        """
        if lost := self.lost():
            raise TeamError(f"{'; '.join(lost)}. Start fresh engines with team.restart()")
        run = _Run(self, {rank: self._submit(rank, *job) for rank, job in jobs.items()})
        try:
            while run.waiting and not run.failures:
                run.collect(TICK)
                tick()
            if run.failures:
                run.collect_for(GRACE)
        finally:  # also for Ctrl-C here
            killed = run.end()
        tick()
        if run.failures:
            note = "".join(f"\n  {name(r, self.parties)} did not stop within {STOP:g} s and was ended" for r in killed)
            note += "\n  Start fresh engines with team.restart()" if self.lost() or killed else ""
            raise party_error(run.failures, self.parties, note)
        for rank in sorted(run.printed):
            for line in run.printed[rank].splitlines():
                print(f"{name(rank, self.parties)} │ {line}")
        return run.values

    def _submit(self, rank: int, function: Callable, args: tuple):
        return self._views[rank].apply_async(perform, rank, cloudpickle.dumps((function, args)))

    def process(self, rank: int) -> subprocess.Popen:
        return self._engines[rank]


class _Run:
    """One function on several engines at once: what has come back, and who is still waited for."""

    def __init__(self, engines: Engines, waiting: dict):
        self.engines, self.waiting = engines, waiting
        self.values, self.printed, self.failures = {}, {}, []

    def collect(self, seconds: float):
        """Take in what is there, or comes within `seconds`."""
        concurrent.futures.wait(self.waiting.values(), seconds, concurrent.futures.FIRST_COMPLETED)
        for rank, future in list(self.waiting.items()):
            process = self.engines.process(rank)
            done = future.done()  # asked once: it may become true at any time
            error = future.exception() if done else None
            if done and error is None:
                value, printed, failure = cloudpickle.loads(future.result())
                if failure is None:
                    self.values[rank], self.printed[rank] = value, printed
                else:
                    self.failures.append(failure)
            elif process.poll() is not None or (done and _reports_death(error, process)):
                self.failures.append(Failure(rank, "Died", _fate("its process", process), died=True))
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
            for _ in range(int(STOP)):
                for rank in self.waiting:
                    self.engines.process(rank).send_signal(signal.SIGINT)
                self.collect_for(1.0)  # an interrupt that falls between two steps of the engine is lost: repeat it
        finally:  # a second Ctrl-C means "now"
            for rank in self.waiting:
                self.engines.process(rank).kill()
                self.engines.process(rank).wait()
        return list(self.waiting)


def _reports_death(error: BaseException, process: subprocess.Popen) -> bool:
    """Whether ipyparallel says that the engine died; its nanny can see that a moment before we do."""
    if "EngineError" not in (type(error).__name__, getattr(error, "ename", None)):
        return False
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(2.0)
    return process.returncode is not None


def perform(rank: int, job: bytes) -> bytes:
    """On an engine: do a job, and say how it went (value, what was printed, failure)."""
    printed, value, failure = io.StringIO(), None, None
    try:
        with contextlib.redirect_stdout(printed):
            function, args = cloudpickle.loads(job)
            value = function(*args)
        return cloudpickle.dumps((value, printed.getvalue(), None))
    except BaseException as error:
        failure = Failure.of(rank, error)
    return cloudpickle.dumps((None, printed.getvalue(), failure))


def warm_up():
    """On an engine: import what every run needs."""
    from . import seat  # noqa: F401


def _end(owner: int, folder: str, processes: list[subprocess.Popen]):
    if os.getpid() != owner:
        return  # a forked copy of the notebook must not end what it did not start
    watchdog.end(folder)
    for process in processes:  # the watchdog, too, which bears no mark
        process.kill()
        process.wait()


def _fate(who: str, process: subprocess.Popen) -> str:
    code = process.poll()
    if code is not None and code < 0:
        return f"{who} was ended by signal {-code} ({signal.Signals(-code).name})"
    return f"{who} ended with exit code {code}"


def _read_json(file: Path):
    try:
        return json.loads(file.read_text())
    except (FileNotFoundError, ValueError):  # not there yet, or half written
        return None
