"""Processes for the parties: an ipyparallel controller and its engines, started fast, watched, and never left behind.

The engines belong to the one who runs the notebook: functions and arguments travel to them as pickles, in one domain of
trust. What parties say to each other never takes this way.
"""

import contextlib
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

import ipyparallel
import psutil

from . import watchdog
from .failures import TeamError
from .running import GONE, Ranks, warm_up
from .shelter import Shelter, Work

START = 60.0  # seconds for all processes to come up


def threads_for(engines: int) -> int:
    """Threads for each engine: the cores divided among all, as parties expand their seeds while the dealer deals.

    With more threads than cores every small operation waits for a thread that is not running: a LeNet on two cores
    takes four times as long with two threads for each of three engines as with one. OMP_NUM_THREADS goes first: who
    shares a machine (Binder) sets it.
    """
    told = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(told) if told.isdecimal() and int(told) else max(1, cores // engines)


class Engines(Ranks):
    """`count` engines, numbered by rank; `parties` of them are parties, one more is the dealer.

    ipyparallel's engine ids follow the order of arrival, so ranks are ours: rank r is the r-th process we started.
    """

    def __init__(self, parties: int, count: int, threads: int | None = None):
        self.parties, self.count = parties, count
        self.folder = tempfile.mkdtemp(prefix="mpckit-")  # readable by this user alone; holds the connection keys
        self._log = Path(self.folder, "log.txt")
        self._processes: list[subprocess.Popen] = []
        self.shelter = Shelter("mpckit engines")
        self.client: ipyparallel.Client | None = None
        self._end = weakref.finalize(self, _end, os.getpid(), self.folder, self._processes)
        try:
            self.shelter.do(lambda work: self._start(work, threads or threads_for(count)))
        except BaseException:
            self.stop()
            raise

    def _start(self, work: Work, threads: int):
        def wait_until(there: Callable[[], bool]):
            while not there():
                self._check_start(work, deadline)
                time.sleep(0.02)

        deadline = time.monotonic() + START
        me = psutil.Process()
        watch = [sys.executable, watchdog.__file__, str(me.pid), repr(me.create_time()), self.folder]
        self._watchdog = self._spawn(watch, dict(os.environ))
        env = os.environ | {watchdog.MARK: self.folder, "IPYTHONDIR": self.folder}
        env |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads))
        # Engines import what the notebook imports.
        env["PYTHONPATH"] = os.pathsep.join(p or os.getcwd() for p in sys.path)
        secret_name = secrets.token_hex(8)
        common = [f"--profile-dir={self.folder}", f"--cluster-id={secret_name}", "--log-level=ERROR"]
        # The heartbeat's default period is what makes a start slow: an engine counts as present after two beats.
        beat = ["--HeartMonitor.period=300", "--HeartMonitor.max_heartmonitor_misses=100"]
        one = ["--IPController.use_threads=True", "--ip=127.0.0.1"]  # one process instead of eight
        self._controller = self._spawn([sys.executable, "-m", "ipyparallel.controller", *common, *beat, *one], env)
        there = Path(self.folder, "engine.json")
        wait = [f"--IPEngine.wait_for_url_file={START}", f"--IPEngine.timeout={START}", f"--IPEngine.url_file={there}"]
        alone = "--IPEngine.enable_nanny=False"  # a process for each engine that would watch it: we do
        engine = [sys.executable, "-m", "ipyparallel.engine", *common, *wait, alone]
        self._engines = [self._spawn(engine, env) for _ in range(self.count)]  # they load while the controller does
        files = [
            Path(self.folder, "security", f"ipcontroller-{secret_name}-{who}.json") for who in ("client", "engine")
        ]
        wait_until(lambda: all(_read_json(file) for file in files))
        os.replace(files[1], there)  # only now: engines would read a file that is half written
        self.client = ipyparallel.Client(_read_json(files[0]), profile_dir=self.folder)
        wait_until(lambda: len(self.client.ids) >= self.count)
        pids = {i: self.client[i].apply_async(os.getpid) for i in self.client.ids}
        wait_until(lambda: all(result.ready() for result in pids.values()))
        ranks = {process.pid: rank for rank, process in enumerate(self._engines)}
        ids = {ranks[result.get()]: i for i, result in pids.items()}
        self._views = [self.client[ids[rank]] for rank in range(self.count)]
        # Not ready before torch is there: it takes seconds to import, and must not be interrupted while it does.
        warm = [view.apply_async(warm_up) for view in self._views]
        wait_until(lambda: all(result.ready() for result in warm))
        for result in warm:
            try:
                result.get()
            except ipyparallel.error.RemoteError as error:
                raise TeamError(f"an engine cannot load mpckit: {error.ename}: {error.evalue}") from None

    def _spawn(self, command: list[str], env: dict) -> subprocess.Popen:
        # A session of its own: Ctrl-C in a terminal is for the notebook, which passes it on in order.
        with open(self._log, "ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True
            )
        self._processes.append(process)
        return process

    def _check_start(self, work: Work, deadline: float):
        if work.asked:
            raise TeamError("the start of the team was interrupted")
        ended = any(process.poll() is not None for process in (self._controller, *self._engines))
        if ended or time.monotonic() > deadline:
            what = "a process ended while the team started" if ended else f"the team did not start within {START:g} s"
            raise TeamError(f"{what}; its log ends with:\n{self._log.read_text(errors='replace')[-2000:]}")

    def pid(self, rank: int) -> int:
        """The process id of an engine."""
        return self._engines[rank].pid

    def _let_go(self):
        if self.client is not None:
            self.client.close()
            self.client = None
        self._end()

    # what `Ranks` asks

    def reachable(self) -> bool:
        return self._controller.poll() is None

    def engine(self, rank: int) -> subprocess.Popen:
        return self._engines[rank]

    def fate(self, rank: int) -> str:
        code = self._engines[rank].poll()
        if code is not None and code < 0:
            return f"was ended by signal {-code} ({signal.Signals(-code).name})"
        return f"ended with exit code {code}"


def _end(owner: int, folder: str, processes: list[subprocess.Popen]):
    if os.getpid() != owner:
        return  # a forked copy of the notebook must not end what it did not start
    watchdog.end(folder)
    for process in processes:  # the watchdog, too, which bears no mark
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GONE)


def _read_json(file: Path):
    try:
        return json.loads(file.read_text())
    except (FileNotFoundError, ValueError):  # not there yet, or half written
        return None
