"""Engines that somebody else started, by SSH, MPI, Slurm or here: we run on them, and leave them as they are.

They tell us through the controller where they can be reached; then parties talk to each other directly, encrypted.
"""

import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cloudpickle
import ipyparallel

from ..runtime.sockets import is_loopback
from .failures import TeamError, name
from .running import Ranks, warm_up
from .shelter import Shelter, Work

START = 60.0  # seconds for what engines must answer before the first run


class RemoteEngine:
    """One of them, as ipyparallel sees it: registered, or gone."""

    def __init__(self, client: ipyparallel.Client, number: int):
        self.client, self.number = client, number
        self.deaf = False  # it did not hear an interrupt, and still computes

    def poll(self) -> int | None:
        return None if self.number in self.client.ids and not self.deaf else 1

    def wait(self, timeout: float | None = None) -> int:
        deadline = time.monotonic() + (timeout or 0.0)
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"engine {self.number}", timeout or 0.0)
            time.sleep(0.02)
        return 1

    def send_signal(self, sig: int):
        if self.number in self.client.ids:
            self.client.send_signal(signal.Signals(sig).name, targets=self.number, block=False)

    def kill(self):
        self.deaf = True  # it is not ours to end


class RemoteEngines(Ranks):
    """`count` engines of a running cluster: those with the ids `chosen`, or the first ones; rank r is the r-th of them.

    `hosts[r]` is where rank r can be reached; by default it finds out itself.
    """

    remedy = "Restart them where you started them, then team.restart()"
    ended = "still computes"

    def __init__(
        self, parties: int, count: int, threads: int | None, profile: str | None, client: ipyparallel.Client | None,
        chosen: Sequence[int] | None = None, hosts: Sequence[str] | None = None,
    ):  # fmt: skip
        self.parties, self.count = parties, count
        self._own, self.client = client is None, client
        self.shelter = Shelter("mpckit engines")

        def start(work: Work):
            if self._own:
                self.client = _client(profile)
            self._choose(chosen)
            self._meet(work, threads or 1, hosts)

        try:
            self.shelter.do(start)
        except BaseException:
            self.stop()
            raise

    def _choose(self, chosen: Sequence[int] | None):
        ids = sorted(self.client.ids)
        chosen = ids[: self.count] if chosen is None else list(chosen)
        if len(set(chosen)) != self.count or not set(chosen) <= set(ids):
            dealer = ", a dealer" if self.count > self.parties else ""
            yours = f", you chose {chosen}" if chosen != ids[: self.count] else ""
            raise TeamError(
                f"{self.count} engines are needed ({self.parties} parties{dealer}); the cluster has {ids or 'none'}"
                + yours
            )
        self._engines = [RemoteEngine(self.client, number) for number in chosen]
        self._views = [self.client[number] for number in chosen]

    def _meet(self, work: Work, threads: int, hosts: Sequence[str] | None):
        """See that all can work together, and where each of them is."""
        self.who = self._ask(work, introduce, threads)
        mine = introduce(None)
        for rank, other in enumerate(self.who):
            if other["versions"] != mine["versions"]:
                differ = ", ".join(
                    f"{what} {mine['versions'][what]} here and {version} there"
                    for what, version in other["versions"].items()
                    if version != mine["versions"][what]
                )
                raise TeamError(f"{self._label(rank)} has other versions: {differ}. Install the same on all machines")
        self._ask(work, warm_up)
        self.beside = all(other["machine"] == mine["machine"] for other in self.who)  # they reach this notebook
        self.hosts = list(hosts) if hosts else self._find_hosts()
        if len(self.hosts) != self.count:
            raise TeamError(f"{len(self.hosts)} hosts for {self.count} engines: name one for each, the dealer's last")

    def _find_hosts(self) -> list[str]:
        hosts = [other["host"] for other in self.who]
        far = [host for host in hosts if not is_loopback(host)]
        if far:  # who is beside the controller reaches it by loopback, where the others cannot come
            return [
                self._views[r].apply_async(address_toward, far[0]).get(START) if is_loopback(host) else host
                for r, host in enumerate(hosts)
            ]
        if len({other["machine"] for other in self.who}) > 1:
            raise TeamError(
                "the engines are on several machines and reach the controller through tunnels, so they do not know "
                f"their own addresses: cluster(…, hosts=[…]) with one for each of {self.count} engines"
            )
        return hosts

    def _ask(self, work: Work, function, *args) -> list:
        """`function(*args)` on all engines."""
        answers = [view.apply_async(_perform, cloudpickle.dumps((function, args))) for view in self._views]
        values, deadline = [], time.monotonic() + START
        while not all(answer.ready() for answer in answers) and time.monotonic() < deadline and not work.asked:
            time.sleep(0.02)
        for rank, answer in enumerate(answers):
            try:
                values.append(answer.get(0))
            except ipyparallel.error.RemoteError as error:
                raise TeamError(
                    f"{self._label(rank)} cannot work with mpckit: {error.ename}: {error.evalue}. Install the same "
                    "mpckit on all machines, and see that the engines find it"
                ) from None
            except (TimeoutError, ipyparallel.error.TimeoutError):
                raise TeamError(f"{self._label(rank)} has not answered within {START:g} s: is it busy?") from None
        return values

    def _label(self, rank: int) -> str:
        return f"{name(rank, self.parties)} (engine {self._engines[rank].number})"

    def engine(self, rank: int) -> RemoteEngine:
        return self._engines[rank]

    def fate(self, rank: int) -> str:
        engine = self._engines[rank]
        return f"(engine {engine.number}) " + ("still computes" if engine.deaf else "has left the cluster")

    def _let_go(self):
        if self._own and self.client is not None:
            self.client.close()
        self.client = None


def _client(profile: str | None) -> ipyparallel.Client:
    try:
        return ipyparallel.Client(profile=profile, timeout=10)
    except (OSError, TimeoutError, ipyparallel.error.TimeoutError) as error:
        raise TeamError(
            f"no cluster answers for profile {profile!r} ({str(error).splitlines()[0]}): start one, such as "
            f"`ipcluster start --profile={profile} -n 3`"
        ) from None


def _perform(job: bytes):
    function, args = cloudpickle.loads(job)
    return function(*args)


def introduce(threads: int | None) -> dict:
    """On an engine: who and where this is."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    boot = Path("/proc/sys/kernel/random/boot_id")
    same = boot.read_text().strip() if boot.exists() else ""
    network = os.readlink("/proc/self/ns/net") if os.path.exists("/proc/self/ns/net") else ""
    return {
        "versions": {
            "mpckit": sys.modules["mpckit"].__version__, "python": platform.python_version().rsplit(".", 1)[0],
            "torch": torch.__version__.split("+")[0],
        },
        "machine": (socket.gethostname(), same, network), "host": address_toward(None),
    }  # fmt: skip


def address_toward(host: str | None) -> str:
    """This machine's address on the way to `host` (None: to the controller)."""
    if host is None:
        from ipyparallel.engine.app import IPEngine

        if not IPEngine.initialized():
            return "127.0.0.1"
        host = IPEngine.instance().registration_url.split("://")[-1].rsplit(":", 1)[0].strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((host, 9))  # sends nothing: asks the system for the way
        return sock.getsockname()[0]
