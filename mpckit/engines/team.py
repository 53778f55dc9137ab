"""Parties as ipyparallel engines: `cluster()` starts them, `Team.run` runs one program on all of them.

The notebook hands out programs and arguments and collects results; it is not on the parties' wire. Parties connect to
each other, engine to engine, over sockets that only this run's token opens.
"""

import dataclasses
import secrets
import time
from collections import deque
from collections.abc import Callable, Generator

import torch

from ..runtime.report import Report
from ..runtime.sockets import DEALER
from ..runtime.telemetry import EventListener
from ..runtime.transcript import Transcript
from .failures import PartyError, TeamError
from .ownership import Only, only, owners, resolve
from .processes import Engines
from .progress import Progress
from .remote import RemoteEngines
from .running import Ranks
from .shelter import answered, drained
from .silence import silently
from .stream import Stream

__all__ = ["Only", "PartyError", "Team", "TeamError", "cluster", "only"]


def cluster(
    parties: int = 2, link=None, dealer: bool = True, threads: int | None = None, *, profile: str | None = None,
    client=None, engines: list[int] | None = None, hosts: list[str] | None = None, **session_options,
) -> "Team":  # fmt: skip
    """Start `parties` engines, and one more that deals, on this machine. Use it in `with`, or call `team.stop()`.

    link      the network for the times in the report            session_options   as for `Session`
    dealer    False: no dealer's engine, for `spmd` only
    threads   for the arithmetic of each engine; default: OMP_NUM_THREADS, or the cores divided among them; 1 on
              engines that run already

    Or take engines that run already, on other machines too; their connections are encrypted, and they stay when the
    team stops.

    profile   of a running cluster (`ipcluster`: SSH, MPI, Slurm …)    client   an `ipyparallel.Client`, instead
    engines   ids of the parties' engines, in order, then the dealer's; default: the first ones
    hosts     addresses at which they reach each other, in the same order; default: they find out
    """
    if link is not None:
        session_options["link"] = link
    remote = None
    if profile is not None or client is not None:
        remote = {"profile": profile, "client": client, "chosen": engines, "hosts": hosts}
    elif engines is not None or hosts is not None:
        raise ValueError("engines= and hosts= are about engines that run already: give profile= or client= too")
    return Team(parties, dealer, threads, session_options, remote).start()


class Team:
    """Parties 0 to `parties` - 1 on engines; `with team:` starts them, if need be, and stops them."""

    def __init__(
        self, parties: int, dealer: bool = True, threads: int | None = None, session_options: dict | None = None,
        remote: dict | None = None,
    ):  # fmt: skip
        if parties < 2:
            raise ValueError(f"secure computation needs at least two parties, not {parties}")
        self.parties, self.dealer = parties, dealer
        self.threads = threads
        self.session_options = session_options or {}
        self._remote = remote
        self._engines: Ranks | None = None
        self._events: EventListener | None = None
        self._running = False

    # life

    @property
    def alive(self) -> bool:
        """Whether all engines are there."""
        return self._engines is not None and not self._engines.lost()

    @property
    def client(self):
        """The ipyparallel client, for looking around; its engine ids are not party numbers."""
        return self._need().client

    @property
    def events(self) -> EventListener:
        """What the parties tell while they run: progress, rounds and bytes per layer."""
        self._need()
        return self._events

    def start(self) -> "Team":
        """Start the engines, unless all of them are there."""
        if not self.alive:
            self.stop()
            count = self.parties + self.dealer
            self._events = EventListener(secrets.token_bytes(32))
            if self._remote is None:
                self._engines = Engines(self.parties, count, self.threads)
            else:
                self._engines = RemoteEngines(self.parties, count, self.threads, **self._remote)
        return self

    def stop(self):
        """End all processes that the team has started. May be called again."""
        if self._events is not None:
            self._events.close()
        if self._engines is not None:
            self._engines.stop()
        self._events = self._engines = None
        self._running = False  # background cells, too, went with their engines

    def restart(self) -> "Team":
        """Fresh engines, with nothing left of what the old ones knew."""
        self.stop()
        return self.start()

    def __enter__(self):
        return self.start()

    def __exit__(self, *error):
        self.stop()

    def __repr__(self):
        state = "stopped" if self._engines is None else "ready" if self.alive else "broken: restart()"
        return f"Team({self.parties} parties{', a dealer' if self.dealer else ''}; {state})"

    def _need(self) -> Ranks:
        if self._engines is None:
            raise TeamError("this team is stopped: team.start(), or `with team:`")
        return self._engines

    # running

    def spmd(self, function: Callable, per_party_args: list[tuple] | None = None) -> list:
        """`function(*per_party_args[p])` on each party p, at the same time → the values, in order of the parties.

        Raises PartyError, with that party's traceback, as soon as one fails; all are then free for the next run.
        """
        args = per_party_args if per_party_args is not None else [()] * self.parties
        if len(args) != self.parties:
            raise ValueError(f"{len(args)} lists of arguments for {self.parties} parties")
        return self._values(self._run({p: (function, tuple(args[p])) for p in range(self.parties)}))

    def wired(self, function: Callable, per_party_args: list[tuple] | None = None, tick=lambda: None) -> list:
        """Like `spmd`, with the parties joined: `function(seat, *args)`, and `seat.wire` reaches the other parties."""
        args = per_party_args if per_party_args is not None else [()] * self.parties
        return self._values(self._run(self._joined(function, args), tick))

    def _joined(self, function, args: list[tuple]) -> dict:
        """Jobs for `function(seat, *args[p])` on each party p, the parties joined."""
        from . import seat

        directory = self._directory()
        jobs = {p: (seat.take_seat, (directory, p, function, tuple(args[p]))) for p in range(self.parties)}
        return jobs | ({self.parties: (seat.deal, (directory, self.parties))} if self.dealer else {})

    def _directory(self):
        """Have everybody open a door for one run."""
        from . import seat

        run, token = secrets.token_hex(8), secrets.token_bytes(32)
        ranks, engines = range(self.parties + self.dealer), self._need()
        who = [*range(self.parties), DEALER][: len(ranks)]
        hosts = [None] * len(ranks) if self._remote is None else engines.hosts
        doors = self._run({rank: (seat.open_door, (run, who[rank], hosts[rank])) for rank in ranks})
        return seat.Directory(
            run, tuple(doors[p].address for p in range(self.parties)), token,
            doors[self.parties].address if self.dealer else None, secrets.token_bytes(32),
            self._events.address if self._heard() else None, self._events.renew(),
            None if self._remote is None else {who[rank]: doors[rank].certificate for rank in ranks},
        )  # fmt: skip

    def run(self, program: Callable, *args, progress: bool = True, **options):
        """Run `program(*args)` on all parties → (one value per party, report).

        Arguments are known to all parties, except `only(owner, value)`, which its owner alone gets. First the program
        is planned on shapes, then the dealer deals what the plan lists, then the parties run it. `options` as for
        `Session`. Raises PartyError, naming the party that failed, within ten seconds.
        """
        return drained(self._program(program, args, progress, options))

    def stream(self, program: Callable, *args, progress: bool = False, **options) -> "Stream":
        """As `run`, but at once: to be iterated over for what the parties `mk.tell` on the way, as they tell it.

            for token in (told := team.stream(program, …)):
                print(token)
            told.values, told.report

        Leaving the loop early ends the run. Parties on other machines are not heard before the end: only their values.
        """
        return Stream(self._program(program, args, progress, options))

    def _program(self, program, args, progress, options) -> Generator[list, None, tuple[list, Report]]:
        """`run` as a generator: yields lists of what has been told meanwhile."""
        from ..offline.plan import plan
        from .seat import run_program

        for owner in set().union(*(owners(a) for a in args)):
            if owner >= self.parties:
                raise ValueError(f"only({owner}, …): this team has parties 0 to {self.parties - 1}")
        self._need()
        self._idle()
        if not self.dealer:
            raise TeamError("this team has no dealer to prepare what a program draws: cluster(parties) starts one")
        options = self.session_options | options
        if own := options.keys() & {"parties", "here", "wire", "dealer", "meta"}:
            raise ValueError(f"{min(own)}= is the team's to say, which has {self.parties} parties: cluster(…)")
        planned = silently(plan, program, *(resolve(a, None) for a in args), parties=self.parties, **options)
        if options.get("suite") == "auto":
            options["suite"] = planned.report.suite
        draws, rounds = list(planned.draws), planned.report.rounds("setup") + planned.report.rounds("online")
        modes = self._heard(), torch.is_grad_enabled()
        own = [(program, tuple(resolve(a, p) for a in args), draws, options, *modes) for p in range(self.parties)]
        bars, latest, told = Progress(progress), {}, deque()

        def heard(event):  # in the listener's thread, so it draws nothing
            if event["phase"] == "tell":
                told.append(event["value"])
            elif event["phase"] == "offline" and event["party"] == self.parties - 1:  # the one who asks the dealer
                latest["offline"] = event["done"], event["total"], "correlations"
            elif "rounds" in event and event["party"] == 0:
                done = event["step"] + event["rounds"]
                latest["online"] = done, max(rounds, done), "rounds"

        def news():
            for phase, state in list(latest.items()):
                bars.update(phase, *state)
            return [told.popleft() for _ in range(len(told))]

        self._events.tell(phase="plan", report=planned.report)
        unsubscribe = self._events.subscribe(heard)
        start = time.perf_counter()
        try:
            steps = self._steps(self._joined(run_program, own))
            results = self._values((yield from answered(steps, news)))
            self._hear_the_end()
            yield news()
        finally:
            unsubscribe()
            bars.close()
        report = _merge([report for _, report in results])
        report.wall["total"] = time.perf_counter() - start
        report = dataclasses.replace(report, why=planned.report.why, planned=planned.report.planned)
        return [value for value, _ in results], report

    def _heard(self) -> bool:
        """Whether the parties are near enough to tell how far they are."""
        return self._remote is None or self._need().beside

    def _hear_the_end(self):
        """Wait for the last event of each party: results take another way here, and may come first."""
        if not self._heard():
            return
        deadline = time.monotonic() + 1.0
        while (
            time.monotonic() < deadline and sum(e["phase"] == "end" for e in list(self._events.events)) < self.parties
        ):
            time.sleep(0.002)

    def _run(self, jobs: dict, tick=lambda: None) -> dict:
        return drained(self._steps(jobs), tick)

    def _steps(self, jobs: dict) -> Generator[None, None, dict]:
        engines = self._need()
        self._idle()
        try:
            self._running = True
            return (yield from engines.steps(jobs))
        finally:
            self._running = False

    def _idle(self):
        if self._running:
            raise TeamError(
                "this team is running a program already: wait for it (background cells: join()), or start a second team"
            )

    def _values(self, values: dict) -> list:
        return [values[p] for p in range(self.parties)]


def _merge(reports: list):
    """One bill for all parties: where they differ (bytes sent, time), that of the party that has most of it."""
    lines = tuple(
        dataclasses.replace(
            own[0],
            by_party={p: sent for line in own for p, sent in line.by_party.items()},
            compute=max(line.compute for line in own),
            waiting=max(line.waiting for line in own),
        )
        for own in zip(*(report.lines for report in reports))
    )
    return dataclasses.replace(
        reports[0],
        lines=lines,
        offline_bytes=max(report.offline_bytes for report in reports),
        offline_seconds=max(report.offline_seconds for report in reports),
        wall={phase: max(report.wall[phase] for report in reports) for phase in reports[0].wall},
        # Who came last to a round waited for software alone; the others waited for that party's compute as well.
        exchange=min(report.exchange for report in reports),
        transcript=reports[0].transcript and Transcript.merged([report.transcript for report in reports]),
    )
