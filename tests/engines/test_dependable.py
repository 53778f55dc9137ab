"""Whatever ends a run, every party says why within seconds, nobody is left behind, and the next run works."""

import os
import resource
import signal
import sys
import threading
import time

import psutil
import pytest
import torch
from notebook_kernel import Notebook
from strikes import interrupted

import mpckit as mk
from mpckit.engines import watchdog
from mpckit.engines.interrupts import UNHEARD, interruptible
from mpckit.engines.processes import threads_for
from mpckit.engines.team import PartyError, TeamError, cluster

LIMIT = 10.0  # seconds in which a run must have ended everywhere
SECRET = mk.only(0, torch.tensor([3.0]))


@pytest.fixture(scope="module")
def engines():
    with cluster(parties=2) as team:
        yield team


@pytest.fixture
def team(engines):
    """Engines of which a test may break some; they work again afterwards."""
    yield engines
    if not engines.alive:
        engines.restart()
    values, _ = engines.run(square, SECRET)
    assert [value.item() for value in values] == [9.0, 9.0], "the cluster works after this test"
    mine = watchdog.processes(engines._engines.folder)
    assert sum("ipyparallel.engine" in p.cmdline() for p in mine) == 3, "no engine of before is left"


def square(x):
    x = mk.secret(x, owner=0)
    return (x * x).reveal()


def on_engines() -> bool:
    """Not while the program is planned."""
    return mk.Session.current().wire is not None


def for_ever(x):
    """Online: rounds without end, for which the dealer is asked as they come."""
    a = mk.secret(x, owner=0)
    while on_engines():
        (a * a).reveal()
    return a.reveal()


def long_dealing(x):
    """Offline: seconds of dealing."""
    a = mk.secret(x.expand(300_000).contiguous(), owner=0)
    for _ in range(40):
        a = a.relu()
    return a.reveal()


def native(x):
    """Deep in a library, which hears no signal before it returns."""
    mk.secret(x, owner=0).reveal()
    while on_engines():
        torch.ones(2500, 2500) @ torch.ones(2500, 2500)
    return mk.secret(x, owner=0).reveal()


def importing(x):
    """In the midst of an import, of which half would be left."""
    mk.secret(x, owner=0).reveal()
    while on_engines():
        for module in [m for m in sys.modules if m.startswith("sympy")]:
            del sys.modules[module]
        __import__("sympy")
        time.sleep(0.5)
    return mk.secret(x, owner=0).reveal()


class Once:
    """Do `act(*args)` a moment after the team has reached a phase; what is in `with` must end soon after."""

    def __init__(self, team, phase: str, act, *args):
        self.reached, self.phase = threading.Event(), phase
        self.unsubscribe = team.events.subscribe(self.hear)
        self.thread = threading.Thread(target=self.wait, args=(act, args))

    def hear(self, event):
        if event["phase"] == self.phase or (self.phase == "online" and "rounds" in event):
            self.reached.set()

    def wait(self, act, args):
        assert self.reached.wait(60), f"no event of phase {self.phase}"
        time.sleep(0.2)
        self.start = time.perf_counter()
        act(*args)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *error):
        self.thread.join()
        self.unsubscribe()
        took = time.perf_counter() - self.start
        assert took < LIMIT, f"it took {took:.1f} s"


def seconds(function, *args) -> float:
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    "program, phase", [(long_dealing, "offline"), (for_ever, "online"), (native, "online"), (importing, "online")]
)
def test_ctrl_c(team, program, phase):
    """The stop button, too: the kernel gets the same signal."""
    pids = team.spmd(os.getpid)
    with pytest.raises(KeyboardInterrupt), Once(team, phase, ctrl_c):
        team.run(program, SECRET)
    assert team.spmd(os.getpid) == pids, "the same engines go on"


def test_ctrl_c_while_planning(team):
    def program(x):
        if x.is_meta and not mk.Session.current().wire:
            ctrl_c()
            time.sleep(LIMIT)
        return mk.secret(x, owner=0).reveal()

    with pytest.raises(KeyboardInterrupt):
        team.run(program, SECRET)


def test_ctrl_c_at_any_moment(team):
    """From the first message to the last; the signal may meet any line of ours, of ipyparallel's or of the program."""
    pids, heard, stdout = team.spmd(os.getpid), 0, sys.stdout
    team.run(square, SECRET)  # the first one imports
    took = seconds(team.run, square, SECRET)
    for k in range(20):
        heard += interrupted(took * (k + 0.5) / 20, team.run, square, SECRET)
        assert sys.stdout is stdout, "what is printed is seen"
    assert heard > 5 and team.spmd(os.getpid) == pids, "the same engines go on"


def test_a_party_that_raises(team):
    def program(x):
        a = mk.secret(x, owner=0)
        if on_engines() and x.is_meta:  # party 1
            raise ValueError("of my own")
        return (a * a).reveal()

    with pytest.raises(PartyError, match="party 1 failed: ValueError: of my own") as caught:
        team.run(program, SECRET)
    assert caught.value.told == {
        0: "PeerError: party 1 failed: ValueError",
        1: "ValueError: of my own",
        2: "PeerError: party 1 failed: ValueError",
    }


def test_a_party_that_diverges(team):
    def program(x):
        a = mk.secret(x, owner=0)
        if on_engines() and x.is_meta:  # party 1
            a = a.reshape(1, 1)
        return (a * a).reveal()

    with pytest.raises(PartyError, match="do not run the same program.*party 0 at step 1.*party 1 at step 1") as caught:
        team.run(program, SECRET)
    told = caught.value.told
    assert all(told[p].startswith("DivergenceError: the parties do not run the same program") for p in (0, 1))
    assert "failed: DivergenceError" in told[2]


@pytest.mark.parametrize(
    "program, phase, rank", [(long_dealing, "offline", 2), (for_ever, "online", 2), (for_ever, "online", 1)]
)
def test_a_killed_engine(team, program, phase, rank):
    """A party's, and the dealer's, which in the second program is asked for more as it goes on."""
    who = ("party 0", "party 1", "the dealer")[rank]
    with pytest.raises(PartyError, match=f"{who} is gone: .*SIGKILL") as caught:
        with Once(team, phase, os.kill, team._engines.pid(rank), signal.SIGKILL):
            team.run(program, SECRET)
    told = caught.value.told
    assert told.keys() == {0, 1, 2} and all(f"{who} is gone" in told[p] for p in told.keys() - {rank}), told
    assert "team.restart()" in str(caught.value)
    with pytest.raises(TeamError, match=f"{who} was ended by signal 9.*team.restart()"):
        team.run(square, SECRET)


def test_a_killed_controller(team):
    with pytest.raises(TeamError, match="the controller.*has ended.*team.restart()"):
        with Once(team, "online", team._engines._controller.kill):
            team.run(for_ever, SECRET)
    assert not team.alive


def limit_files(size: int):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def temporary_files() -> int:
    """Files without a name that this process holds open."""
    names = [os.path.join("/proc/self/fd", number) for number in os.listdir("/proc/self/fd")]
    return sum(os.path.islink(name) and "(deleted)" in os.readlink(name) for name in names)


def test_a_full_disk(team):
    """A party that cannot write down its keys says so; the dealer and the other end, and give back their room."""

    def relu(x):
        return mk.secret(x, owner=0).relu().reveal()

    size, open_before = resource.getrlimit(resource.RLIMIT_FSIZE)[0], team.spmd(temporary_files)
    keys = {"suite": "fss", "key_memory": 0}
    team.spmd(limit_files, [(size,), (1 << 16,)])
    with pytest.raises(PartyError, match=r"party 1 failed: OSError.*no room for \d+ more bytes of keys in /") as caught:
        team.run(relu, mk.only(0, torch.ones(1000)), **keys)
    assert "TMPDIR" in str(caught.value) and caught.value.told.keys() == {0, 1, 2}
    assert all("party 1 failed: OSError: File too large" in caught.value.told[p] for p in (0, 2)), caught.value.told
    team.spmd(limit_files, [(size,), (size,)])
    assert team.spmd(temporary_files) == open_before
    values, _ = team.run(relu, mk.only(0, torch.ones(1000)), **keys)
    assert values[1].tolist() == [1.0] * 1000


def test_an_interrupt_waits_for_a_farewell():
    """Others wait for what a party says when it fails; only who does not come to an end is interrupted there."""
    with pytest.raises(KeyboardInterrupt), interruptible():
        try:
            raise ValueError
        except ValueError:
            for _ in range(UNHEARD):
                signal.raise_signal(signal.SIGINT)
            said_all = True
            signal.raise_signal(signal.SIGINT)
    assert said_all
    signal.raise_signal(signal.SIGINT)  # between two jobs it is not heard at all
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_start_is_fresh_and_quick(team):
    """Two free cores have started a team within half the seconds that its processes have computed."""
    team.spmd(lambda: setattr(torch, "left_behind", 1))
    old = team.spmd(os.getpid)
    took = seconds(team.restart)
    computed = sum(sum(p.cpu_times()[:2]) for p in watchdog.processes(team._engines.folder))
    print(f"started in {took:.1f} s, of {computed:.1f} s on the processors")
    assert computed < 2 * LIMIT
    with team as same:
        new = same.spmd(os.getpid)
        assert not set(new) & set(old) and not any(same.spmd(lambda: hasattr(torch, "left_behind")))
        assert same.start().spmd(os.getpid) == new, "one that is there is not started again"
    assert not team.alive


@pytest.mark.parametrize("after", [0.02, 0.03, 0.04, 0.05, 0.06, 0.5, 1.0])
def test_ctrl_c_while_engines_start(after):
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    assert interrupted(after, cluster)
    assert {p.pid for p in psutil.Process().children(recursive=True)} <= before


def test_threads_come_from_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(9)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [threads_for(engines) for engines in (2, 3, 10)] == [4, 3, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads_for(3) == 2


# In a notebook's kernel


@pytest.fixture(scope="module")
def notebook():
    notebook = Notebook()
    yield notebook
    notebook.close()


SETUP = """
import torch, mpckit as mk
from mpckit.zoo import lenet
answer = "done"
def infer(image, model):
    return mk.private(model, owner=1)(mk.secret(image, owner=0)).reveal()
def for_ever(x):
    a = mk.secret(x, owner=0)
    while mk.Session.current().wire is not None:
        (a * a).reveal()
    return a.reveal()
def touch(event):
    if "rounds" in event:
        open({flag!r}, "w").close()
image, model, one = mk.only(0, torch.rand(8, 1, 28, 28)), mk.only(1, lenet()), mk.only(0, torch.ones(1))
team = mk.cluster(parties=2)
team.events.subscribe(touch)
answer = team._engines.folder
"""


def test_a_notebook_s_kernel(notebook, tmp_path):
    """Memory for Binder, the stop button, and "restart kernel" in the midst of a run."""
    flag = tmp_path / "online"
    folder = notebook.run(SETUP.format(flag=str(flag))).strip("'")
    if os.path.exists("/proc/self/smaps_rollup"):
        for suite in ("bits", "fss"):
            cell = f"for _ in range(3): team.run(infer, image, model, suite={suite!r})"
            most, reply = notebook.most_memory(cell)
            print(f"{suite}: LeNet, 8 pictures: {most / 1e6:.0f} MB with two parties, the dealer and the kernel")
            assert reply["status"] == "ok" and 0.3e9 < most < 1.6e9

    def run_for_ever() -> str:
        flag.unlink(missing_ok=True)
        cell, end = notebook.begin("team.run(for_ever, one)"), time.monotonic() + 60
        while not flag.exists() and time.monotonic() < end:
            time.sleep(0.05)
        assert flag.exists()
        return cell

    cell = run_for_ever()
    notebook.manager.interrupt_kernel()
    assert notebook.end(cell, LIMIT)["ename"] == "KeyboardInterrupt"
    assert "(1, 8, 10)" in notebook.run(f"{'(v, _), _ = team.run(infer, image, model)'}; answer = 1, *v.shape")

    run_for_ever()
    notebook.process.kill()
    end = time.monotonic() + LIMIT
    while (watchdog.processes(folder) or os.path.exists(folder)) and time.monotonic() < end:
        time.sleep(0.1)
    assert watchdog.processes(folder) == [] and not os.path.exists(folder)


@pytest.mark.parametrize("suite", ["bits", "fss"])
def test_ctrl_c_in_the_simulator(suite):
    """The same session goes on: what was drawn for the run that ended is not used again."""
    net = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.ReLU(), torch.nn.Linear(30, 3)).eval()
    x = torch.randn(4, 20)
    with mk.simulate(suite=suite) as session:
        model, heard = mk.private(net, owner=1), 0

    def infer():
        with session:
            return model(mk.secret(x, owner=0)).reveal()

    infer()
    layers, took = {line.path for line in session.report().lines}, seconds(infer)
    for k in range(25):
        heard += interrupted(took * (k + 0.5) / 25, infer)
        assert torch.allclose(infer(), net(x), atol=1e-2)
    assert heard > 5
    booked = {line.path for line in session.report().lines}
    assert booked == layers, f"booked on other layers: {booked ^ layers}"
