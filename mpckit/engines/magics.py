"""`%load_ext mpckit`: cells that parties run.

    %%parties            every party runs the cell, all at once, in a session with the others
    %%party 1            party 1 alone runs it, in its own namespace: others' names are unknown there
    %%party 1 --bg       … in a session with the others, in the background; each of them needs such a cell
    join()               wait for the background cells

In a cell `party` is who runs it, `parties` how many there are, `mk` and `torch` are there, and names stay for the next
cell. What parties print comes in their order; when one fails all stop, and the error says who, where, and no more.
"""

import argparse
import ast
import linecache
import shlex
from collections.abc import Callable

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class

from .cells import run_cell, run_seated
from .failures import TeamError
from .running import Run
from .seat import deal, take_seat
from .team import Team

PATIENCE = 600.0  # seconds that a background cell waits for the reader to start the others


class Background:
    """The background cells of one conversation."""

    def __init__(self, team: Team):
        self.team = team
        self.directory = team._directory()
        self.engines = team._need()
        self.run = Run(self.engines)
        self._begin(team.parties, deal, self.directory, team.parties, PATIENCE)
        team._running = True

    @property
    def gone(self) -> bool:
        """Whether the team has been stopped or restarted since: the cells went with the old engines."""
        return self.team._engines is not self.engines

    def _begin(self, rank: int, function: Callable, *args):
        self.engines.shelter.do(lambda work: self.run.add(work, {rank: (function, args)}))

    def add(self, party: int, source: str, title: str):
        if party in self.run.ranks:
            raise UsageError(f"party {party} runs a cell already: join() first")
        options = self.team.session_options
        self._begin(party, take_seat, self.directory, party, run_seated, (source, title, options), PATIENCE)

    def join(self):
        """Wait for all cells; raises TeamError where a party has none, as the others would wait for it for ever."""
        if self.gone:
            raise TeamError("the background cells went with the team's old engines: give each party its cell again")
        missing = [str(p) for p in range(self.team.parties) if p not in self.run.ranks]
        try:
            if missing and not self.run.failures:
                self.engines.shelter.do(self.run.end)
                raise TeamError(
                    f"party {', '.join(missing)} has no cell, and the others wait for it: they were stopped. "
                    "Give each party one with %%party k --bg, then join()"
                )
            self.engines.shelter.do(self.run.wait)
            self.run.outcome()
        finally:
            self.team._running = False


@magics_class
class PartyMagics(Magics):
    """The magics of one notebook."""

    def __init__(self, shell):
        super().__init__(shell)
        self._background: Background | None = None
        self._count = 0

    @cell_magic
    def parties(self, line: str, cell: str):
        """Every party runs the cell.   %%parties [--team NAME]"""
        team = self._team(_options("%%parties", line).team)
        title = self._title(cell, "%%parties")
        if team.dealer:
            team.wired(run_seated, [(cell, title, team.session_options)] * team.parties)
        else:
            team.spmd(run_cell, [(cell, title, p, team.parties) for p in range(team.parties)])

    @cell_magic
    def party(self, line: str, cell: str):
        """One party runs the cell.   %%party K [--bg] [--team NAME]"""
        options = _options("%%party", line, alone=True)
        team = self._team(options.team)
        if not 0 <= options.party < team.parties:
            raise UsageError(f"there is no party {options.party}: this team has parties 0 to {team.parties - 1}")
        title = self._title(cell, f"%%party {options.party}")
        if not options.bg:
            team._run({options.party: (run_cell, (cell, title, options.party, team.parties))})
            return
        if not team.dealer:
            raise TeamError("this team has no dealer, and parties that talk need one: cluster(parties) starts one")
        if self._background is not None and self._background.gone:
            self._background = None
        if self._background is None or self._background.team is not team:
            self.join()
            self._background = Background(team)
        self._background.add(options.party, cell, title)

    @line_magic("join")
    def join(self, line: str = ""):
        """Wait for the background cells, and print what they say, in order of the parties."""
        background, self._background = self._background, None
        if background is not None:
            background.join()

    def _team(self, name: str | None) -> Team:
        teams = {key: value for key, value in self.shell.user_ns.items() if isinstance(value, Team)}
        if name is not None:
            if name not in teams:
                raise UsageError(f"no team is called {name!r}; there are {', '.join(sorted(teams)) or 'none'}")
            return teams[name]
        named = {key: team for key, team in teams.items() if not key.startswith("_")}
        alive = {key: team for key, team in named.items() if team.alive}
        broken = [key for key, team in named.items() if team._engines is not None]
        if not alive and broken:
            raise UsageError(f"an engine of this team is gone: {broken[0]}.restart()")
        if not alive:
            raise UsageError("no team is running: team = mk.cluster(parties=2)")
        if len({id(team) for team in alive.values()}) > 1:
            raise UsageError(f"several teams are running: --team {' or --team '.join(sorted(alive))}")
        return next(iter(alive.values()))

    def _title(self, cell: str, magic: str) -> str:
        """A name for the cell under which errors find its text; raises SyntaxError before any party sees it."""
        self._count += 1
        title = f"<{magic} [{self._count}]>"
        ast.parse(cell, title)
        linecache.cache[title] = len(cell), None, cell.splitlines(keepends=True), title
        return title


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UsageError(f"{self.prog}: {message}")


def _options(magic: str, line: str, alone: bool = False):
    parser = _Parser(prog=magic, add_help=False)
    if alone:
        parser.add_argument("party", type=int)
        parser.add_argument("--bg", action="store_true")
    parser.add_argument("--team")
    return parser.parse_args(shlex.split(line))


def load(shell) -> None:
    """What `%load_ext mpckit` does: register the magics, and `join` unless the notebook has a name like it."""
    magics = PartyMagics(shell)
    shell.register_magics(magics)
    shell.user_ns.setdefault("join", magics.join)
