"""Parties as engines: they start, they meet, they fail together within seconds, and nothing stays behind."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
import torch
from talk import seconds, speak

import mpckit as mk
from mpckit.engines import watchdog
from mpckit.engines.team import PartyError, Team, TeamError, cluster


@pytest.fixture(scope="module")
def team():
    with cluster(parties=2) as team:
        yield team


@pytest.fixture
def fresh():
    """A team that a test may break."""
    with cluster(parties=2) as team:
        yield team


def test_one_program_two_parties(team):
    """The same function runs on every party, with that party's arguments; values come back in order of the parties."""

    def greet(seat, name):
        (heard,) = speak(seat, name.encode()).values()
        return f"{name} of party {seat.party} hears {bytes(heard).decode()}"

    assert team.wired(greet, [("Ann",), ("Bob",)]) == ["Ann of party 0 hears Bob", "Bob of party 1 hears Ann"]


def test_engines_are_processes_of_their_own_with_one_thread(team):
    pids = team.spmd(os.getpid)
    assert len({os.getpid(), *pids}) == 3
    assert team.spmd(lambda: os.environ["OMP_NUM_THREADS"]) == ["1", "1"]
    assert pids == team.spmd(os.getpid), "party numbers stay"


def imported(x):
    """The modules that a program brings along."""
    before = set(sys.modules)
    (mk.private(torch.nn.Conv2d(1, 2, 3), owner=1)(mk.secret(x, owner=0)) * 2).detach().reveal()
    return sorted(set(sys.modules) - before)


@pytest.mark.parametrize("suite", ["bits", "fss"])
def test_what_torch_imports_once_is_not_on_the_clock_of_a_first_run(fresh, suite):
    """It has half a second of it to do at the first tensor that is not its own: more than the program has."""
    values, _ = fresh.run(imported, torch.zeros(1, 1, 4, 4), suite=suite)
    assert values == [[], []]


def test_values_of_all_kinds_travel(team):
    big = np.arange(5_000_000)
    sums = team.spmd(lambda a, f: (a.sum(), f(2)), [(big, lambda x: x + 1), (big * 2, lambda x: x * 5)])
    assert sums == [(big.sum(), 3), (2 * big.sum(), 10)]


def test_what_parties_print_comes_in_their_order(team, capsys):
    def talk(p):
        time.sleep(0.2 * (1 - p))  # party 1 is first
        print("hello")
        print("again")

    team.spmd(talk, [(0,), (1,)])
    assert capsys.readouterr().out.splitlines() == [f"party {p} │ {w}" for p in (0, 1) for w in ("hello", "again")]


def test_64_mib_each_way(team):
    def swap(seat):
        heard = speak(seat, np.full(64 << 20, seat.party, np.uint8))
        return int(heard[1 - seat.party][-1])

    assert team.wired(swap) == [1, 0]


def fail(seat, p):
    speak(seat, b"one")
    if seat.party == p:
        raise ValueError("no such label: 11")
    speak(seat, b"two", 1)


@pytest.mark.parametrize("p", [0, 1])
def test_a_party_that_raises(team, p):
    start = time.perf_counter()
    with pytest.raises(PartyError) as caught:
        team.wired(fail, [(p,), (p,)])
    assert seconds(start) < 3
    error = caught.value
    assert (error.party, error.kind) == (p, "ValueError")
    assert str(error).startswith(f"party {p} failed: ValueError: no such label: 11\n")
    assert 'in fail\n      raise ValueError("no such label: 11")' in str(error)
    assert error._render_traceback_() == [f"PartyError: {error}"]
    assert team.spmd(lambda: 1) == [1, 1], "and the next run works"


def test_a_party_that_raises_while_the_other_computes(team):
    def program(seat):
        if seat.party == 0:
            time.sleep(60)
        raise KeyError("x")

    start = time.perf_counter()
    with pytest.raises(PartyError, match="party 1 failed: KeyError: 'x'"):
        team.wired(program)
    assert seconds(start) < 5
    assert team.spmd(lambda: 1) == [1, 1]


def test_divergence_names_both_places(team):
    def program(seat):
        speak(seat, b"same", 0)
        speak(seat, b"x" * (1 + seat.party), 1)

    with pytest.raises(PartyError, match="differs in length.*party 0 at step 1.*party 1 at step 1") as caught:
        team.wired(program)
    assert caught.value.kind == "DivergenceError"


def test_one_party_does_another_round(team):
    with pytest.raises(
        PartyError,
        match="do not run the same program: .*party 0 at step 1: END in the end .*party 1 at step 1: OPEN in a test",
    ):
        team.wired(lambda seat: [speak(seat, b"", s) for s in range(1 + seat.party)])


def test_ctrl_c_ends_the_run_everywhere_and_the_next_one_works(team):
    def program(seat):
        if seat.party == 0:
            speak(seat, b"")  # waits in a socket
        time.sleep(60)  # waits elsewhere

    team.wired(lambda seat: 1)  # all have loaded what they need
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        team.wired(program)
    assert seconds(start) < 4
    assert team.spmd(lambda: 1) == [1, 1]


def test_only_one_run_at_a_time(team):
    thread = threading.Thread(target=lambda: team.spmd(lambda: time.sleep(1)))
    thread.start()
    time.sleep(0.3)
    with pytest.raises(TeamError, match="running a program already"):
        team.spmd(lambda: 1)
    thread.join()


@pytest.mark.parametrize("how", ["exit", "kill", "kill the dealer"])
def test_a_party_that_dies(fresh, how):
    engines = fresh._engines

    def program(seat, how):
        if seat.party == 1 and how == "exit":
            os._exit(3)
        while True:
            speak(seat, b"") if seat.party == 0 else time.sleep(60)

    if how != "exit":
        victim = engines.pid(1 if how == "kill" else 2)
        fresh.spmd(lambda: 1)  # all have loaded what they need
        threading.Timer(1.5, os.kill, (victim, signal.SIGKILL)).start()
    start = time.perf_counter()
    with pytest.raises(PartyError) as caught:
        fresh.wired(program, [(how,), (how,)])
    assert seconds(start) < 10
    gone = {"exit": "party 1 is gone: its process ended with exit code 3", "kill": "party 1 is gone: .*SIGKILL"}
    assert caught.match(gone.get(how, "the dealer is gone: .*SIGKILL"))
    assert "team.restart()" in str(caught.value)
    with pytest.raises(TeamError, match="team.restart()"):
        fresh.spmd(lambda: 1)
    assert fresh.restart().spmd(lambda: 1) == [1, 1]


def test_a_party_deep_in_native_code_is_ended(fresh):
    def program(seat):
        if seat.party == 1:
            raise ValueError("early")
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # as deaf as a long native call
        time.sleep(60)

    fresh.spmd(lambda: 1)
    start = time.perf_counter()
    with pytest.raises(PartyError, match="party 1 failed: ValueError: early(.|\n)*party 0 did not stop") as caught:
        fresh.wired(program)
    assert seconds(start) < 10 and "team.restart()" in str(caught.value)


@pytest.mark.parametrize("parties", [3, 4])
def test_more_parties(parties):
    with cluster(parties, dealer=False) as team:
        heard = team.wired(lambda seat: sorted(speak(seat, bytes([seat.party]) * 3)))
        assert heard == [[q for q in range(parties) if q != p] for p in range(parties)]
        with pytest.raises(PartyError, match="party 1 failed: ValueError"):
            team.wired(fail, [(1,)] * parties)


def test_nothing_stays_behind():
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    team = Team(2).start()
    folder = team._engines.folder
    assert os.stat(folder).st_mode & 0o777 == 0o700
    assert len(watchdog.processes(folder)) >= 4
    start = time.perf_counter()
    team.stop()
    assert seconds(start) < 5
    assert {p.pid for p in psutil.Process().children(recursive=True)} <= before
    assert watchdog.processes(folder) == [] and not os.path.exists(folder)
    team.stop()  # again does no harm
    with pytest.raises(TeamError, match="team is stopped"):
        team.spmd(lambda: 1)
    with team:
        pids = team.spmd(os.getpid)
        with team:  # idempotent
            assert team.spmd(os.getpid) == pids
    assert not team.alive


OWNER = """
import sys, time
from mpckit.engines.team import cluster
team = cluster()
print(team._engines.folder, flush=True)
if sys.argv[1] == "sleep":
    time.sleep(60)
"""


@pytest.mark.parametrize("how", ["kill", "end without stop", "kill while starting"])
def test_nothing_outlives_its_owner(how):
    """nbval and "restart kernel" kill the process that owns the engines."""
    act = "end" if how == "end without stop" else "sleep"
    owner = subprocess.Popen([sys.executable, "-c", OWNER, act], stdout=subprocess.PIPE, text=True)
    if how == "kill while starting":
        me = psutil.Process(owner.pid)
        while not (started := [c for c in me.children() if "ipyparallel.engine" in c.cmdline()]):
            time.sleep(0.02)
        folder = started[0].environ()[watchdog.MARK]
        owner.kill()
    else:
        folder = owner.stdout.readline().strip()
        if how == "kill":
            owner.kill()
    owner.communicate(timeout=20)
    end = time.monotonic() + 10
    while (watchdog.processes(folder) or os.path.exists(folder)) and time.monotonic() < end:
        time.sleep(0.1)
    assert watchdog.processes(folder) == [] and not os.path.exists(folder)


def test_one_party_is_no_party():
    with pytest.raises(ValueError, match="at least two"):
        cluster(1)
