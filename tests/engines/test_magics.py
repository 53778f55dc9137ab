"""Cells that parties run: be one of them, and do not see what the other has."""

import threading
import time

import pytest
from IPython.core.error import UsageError
from IPython.testing.globalipapp import start_ipython

import mpckit as mk
from mpckit.engines.cells import Gone
from mpckit.engines.failures import PartyError, TeamError


@pytest.fixture(scope="module")
def team():
    with mk.cluster(parties=2) as team:
        yield team


@pytest.fixture
def shell(team):
    shell = start_ipython() or __import__("IPython").get_ipython()
    shell.user_ns.pop("join", None)
    shell.run_line_magic("load_ext", "mpckit") if "mpckit" not in shell.extension_manager.loaded else (
        shell.run_line_magic("reload_ext", "mpckit")
    )
    shell.user_ns["team"] = team
    yield shell
    shell.user_ns.pop("team", None)


def run(shell, magic, cell):
    name, _, line = magic.partition(" ")
    shell.run_cell_magic(name, line, cell)


SECRETS = """
from mpckit.offline.plan import to_meta
mine = torch.tensor([20.0 + party])
x = mk.secret(mine if party == 0 else to_meta(mine), owner=0)
y = mk.secret(mine if party == 1 else to_meta(mine), owner=1)
product = (x * y).reveal()
print(f"I am {party} of {parties}, and learnt {product.item():.0f}")
"""


def test_every_party_runs_the_cell(shell, capsys):
    run(shell, "parties", SECRETS)
    assert capsys.readouterr().out.splitlines() == [
        f"party {p} │ I am {p} of 2, and learnt 420" for p in (0, 1)
    ]  # fmt: skip


def test_be_one_party_and_do_not_see_the_others_secret(shell, capsys):
    """The point of it: a name of party 1 is no name on party 0."""
    run(shell, "party 1", "salary = 4200\nsalary")
    assert capsys.readouterr().out.splitlines() == ["party 1 │ 4200"]
    with pytest.raises(PartyError) as caught:
        run(shell, "party 0", "print('before')\n\nprint(salary)")
    assert (caught.value.party, caught.value.kind) == (0, "NameError")
    message = str(caught.value)
    assert "party 0 failed: NameError: name 'salary' is not defined" in message
    assert "notebook cell, line 3" in message and "print(salary)" in message
    assert len(message.splitlines()) <= 5 and "cells.py" not in message, message
    assert capsys.readouterr().out.splitlines() == ["party 0 │ before"]
    run(shell, "party 1", "salary + 1")
    assert capsys.readouterr().out.splitlines() == ["party 1 │ 4201"]


def test_output_is_in_party_order_and_names_stay(shell, capsys):
    run(shell, "parties", "import time\ntime.sleep(0.3 * (1 - party))\nprint('hello')\nnote = f'of {party}'")
    run(shell, "parties", "note")
    assert capsys.readouterr().out.splitlines() == [
        "party 0 │ hello", "party 1 │ hello", "party 0 │ 'of 0'", "party 1 │ 'of 1'"
    ]  # fmt: skip


def test_when_one_fails_all_stop(shell, capsys):
    begin = time.monotonic()
    with pytest.raises(PartyError, match="party 1 failed: ZeroDivisionError"):
        run(shell, "parties", "import time\nif party:\n    1 / 0\ntime.sleep(60)")
    assert time.monotonic() - begin < 10
    run(shell, "parties", "party")
    assert capsys.readouterr().out.splitlines() == ["party 0 │ 0", "party 1 │ 1"]


def test_a_secret_goes_with_its_cell(shell, capsys):
    run(shell, "parties", SECRETS)
    with pytest.raises(PartyError, match="the secret 'x' went with the session of its cell: make it again"):
        run(shell, "parties", "x + 1")
    with pytest.raises(PartyError, match="the secret 'y' went with"):
        run(shell, "party 0", "torch.relu(y)")
    run(shell, "party 0", "product.item() > 419, x")
    assert capsys.readouterr().out.splitlines()[-1] == "party 0 │ (True, the secret 'x' of a cell that is over)"


@pytest.mark.parametrize(
    "use", [lambda g: g * 2, lambda g: 2 - g, lambda g: g[0], lambda g: g > 0, lambda g: g.reveal()]
)
def test_what_is_gone_says_so_however_it_is_used(use):
    with pytest.raises(RuntimeError, match="the secret 'w' went with"):
        use(Gone("w"))


def test_background_cells_talk_and_join_waits(shell, capsys):
    """Party 0 begins alone and waits; the notebook is free meanwhile."""
    begin = time.monotonic()
    half = SECRETS.replace("print(f", "text = (f")
    run(shell, "party 0 --bg", half + "\ntext")
    assert time.monotonic() - begin < 5
    with pytest.raises(TeamError, match=r"join\(\)"):
        run(shell, "parties", "1")
    with pytest.raises(UsageError, match="party 0 runs a cell already"):
        run(shell, "party 0 --bg", "1")
    run(shell, "party 1 --bg", half + "\ntext")
    shell.user_ns["join"]()
    assert capsys.readouterr().out.splitlines() == [f"party {p} │ 'I am {p} of 2, and learnt 420'" for p in (0, 1)]
    shell.user_ns["join"]()  # nothing to wait for
    run(shell, "parties", "party")


def test_a_background_cell_that_fails_is_told_by_join(shell):
    run(shell, "party 0 --bg", "mk.secret(torch.ones(1), owner=0).reveal()")
    run(shell, "party 1 --bg", "nonsense")
    with pytest.raises(PartyError, match="party 1 failed: NameError"):
        shell.run_line_magic("join", "")
    run(shell, "party 0", "1")


@pytest.mark.parametrize("joined", [True, False])
def test_a_restart_ends_background_cells_and_the_team_works(shell, team, capsys, joined):
    run(shell, "party 0 --bg", "print('never heard')")
    team.restart()
    assert team.spmd(lambda: 1) == [1, 1], "it is not taken for running"
    if joined:
        with pytest.raises(TeamError, match="went with the team's old engines: give each party its cell again"):
            shell.run_line_magic("join", "")
    for party in range(2):
        run(shell, f"party {party} --bg", f"print('again {party}')")
    shell.run_line_magic("join", "")
    assert "party 0 │ again 0\nparty 1 │ again 1" in capsys.readouterr().out


def test_join_does_not_wait_for_a_cell_that_nobody_started(shell):
    run(shell, "party 1 --bg", "1")
    begin = time.monotonic()
    with pytest.raises(TeamError, match="party 0 has no cell, and the others wait for it"):
        shell.user_ns["join"]()
    assert time.monotonic() - begin < 10
    run(shell, "parties", "1")


@pytest.mark.parametrize(
    ("magic", "error"),
    [
        ("party 7", "there is no party 7: this team has parties 0 to 1"),
        ("party", "the following arguments are required: party"),
        ("party me", "invalid int value: 'me'"),
        ("parties --team gang", "no team is called 'gang'; there are team"),
        ("parties --loud", "unrecognized arguments: --loud"),
    ],
)
def test_a_mistyped_line_says_what_is_wrong(shell, magic, error):
    with pytest.raises(UsageError, match=error):
        run(shell, magic, "1")


def test_a_syntax_error_is_found_before_any_party_sees_it(shell):
    with pytest.raises(SyntaxError):
        run(shell, "parties", "1 +")


def test_without_a_team_it_says_how_to_get_one(shell):
    shell.user_ns.pop("team")
    with pytest.raises(UsageError, match=r"no team is running: team = mk.cluster\(parties=2\)"):
        run(shell, "parties", "1")


def test_a_team_that_lost_an_engine_is_to_be_restarted(shell, monkeypatch):
    monkeypatch.setattr(mk.engines.team.Team, "alive", False)
    with pytest.raises(UsageError, match=r"an engine of this team is gone: team.restart\(\)"):
        run(shell, "parties", "1")


def test_a_dashboard_hears_cells_too(shell, team):
    heard, over = [], threading.Event()
    stop = team.events.subscribe(lambda e: (heard.append(e), e["phase"] == "end" and over.set()))
    run(shell, "parties", SECRETS)
    assert over.wait(5)
    stop()
    assert sum(e.get("rounds", 0) for e in heard if e["party"] == 0) >= 3
