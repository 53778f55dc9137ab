"""Keys wait in memory up to a bound, beyond it in a file without a name; nobody who is gone takes room.

first, second = Spool(memory=0).hold([key 0, key 1])
first()      # key 0, read back from the file
"""

import errno
import gc
import os
import subprocess
import sys

import pytest
import torch

from mpckit.correlations import Bilinear, Compare, Cut, DaBit, Lines, Mask, Triple
from mpckit.fss import Keys, dcf, dpf
from mpckit.offline import spool as spools
from mpckit.offline.source import LocalDealer
from mpckit.offline.spool import Spool
from mpckit.protocols import gates
from mpckit.runtime.session import Session
from mpckit.stream import Stream

STREAMS = [Stream(bytes([p]) * 32, "spool") for p in (0, 1)]
ALPHA = torch.arange(50)


def pair(bits=20):
    return list(dpf.gen(ALPHA, bits, STREAMS))


def same(a, b):
    return type(a) is type(b) and all(
        torch.equal(v, w) if isinstance(v, torch.Tensor) else v == w for v, w in zip(vars(a).values(), vars(b).values())
    )


def size(spool):
    return os.fstat(spool._file.fileno()).st_size


@pytest.mark.parametrize("memory", [0, 1 << 30])
@pytest.mark.parametrize("kind", ["tree", "table", "comparison", "none"])
def test_what_was_held_comes_back(memory, kind):
    keys = {
        "tree": pair,
        "table": lambda: pair(5),
        "comparison": lambda: list(dcf.gen(ALPHA, ALPHA, 9, STREAMS, 40)),
        "none": lambda: [k[:0] for k in pair()],
    }[kind]()
    spool = Spool(memory)
    loads = spool.hold(keys)
    assert all(same(load(), key) for load, key in zip(loads, keys, strict=True))


def test_what_is_loaded_or_given_up_makes_room():
    spool = Spool(3 * sum(t.nbytes for t in (pair()[0].root, pair()[0].root, pair()[0].cw)))
    for use in (True, False):
        waiting = [spool.hold(pair()) for _ in range(5)]
        assert 0 < spool.held <= spool.memory and spool.waiting == 4 and size(spool) > 0
        for loads in waiting:
            for load in loads:
                use and load()
        del waiting, loads, load
        gc.collect()
        assert (spool.held, spool.waiting, size(spool)) == (0, 0, 0)


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_is_being_written_stays_when_all_that_waited_goes(monkeypatch, when):
    """The last to wait may go at any moment, when a failed run's frames are collected say: the file must not begin
    anew under what is on its way into it, which would come back as zeros, or as other keys.
    """
    spool, keys, write = Spool(0), pair(), os.pwrite
    pieces = LocalDealer({0: bytes([1]) * 32, 1: bytes([2]) * 32}).deal(0, Compare((70,), 64, True))
    waiting = [spool.hold(pair()), spool.hold(pair())]

    def lets_go(descriptor, data, at):
        if when == "before" and waiting:
            waiting.pop()
        done = write(descriptor, data, at)
        if when == "after" and waiting:
            waiting.pop()
        return done

    monkeypatch.setattr(spools.os, "pwrite", lets_go)
    loads = spool.hold(keys)
    assert not waiting and all(same(load(), key) for load, key in zip(loads, keys, strict=True))
    waiting, loads = [loads], None
    load = spool.keep(pieces)
    for row, expected in zip(load(), pieces, strict=True):
        assert all(torch.equal(piece.data, other.data) for piece, other in zip(row, expected, strict=True))
    del load, waiting[:]
    assert (spool.waiting, size(spool)) == (0, 0)


@pytest.mark.parametrize("memory", [0, 1 << 30])
@pytest.mark.parametrize(
    "correlation",
    [
        Compare((70,), 64, True, "dpf"), Compare((3, 7), 40, True), Lines((5,), (Cut(4, 5, 20, 9),)), Mask(3, (2, 2)),
        Triple(Bilinear("matmul"), (3, 4), (4, 2)), DaBit((0,)), Compare((0, 3), 64, True, "dpf"),
    ],
)  # fmt: skip
def test_all_pieces_of_a_draw_come_back(correlation, memory):
    """Words, bits and keys of both parties; keys are not read back before they are used."""
    seeds, spool = {0: bytes([1]) * 32, 1: bytes([2]) * 32}, Spool(memory)
    want = LocalDealer(seeds).deal(0, correlation)
    load = spool.keep(LocalDealer(seeds, Spool(memory)).deal(0, correlation))
    assert (spool.held > 0, spool.waiting) == ((True, 0) if memory else (False, 1))
    for row, expected in zip(load(), want, strict=True):
        for piece, other in zip(row, expected, strict=True):
            assert type(piece) is type(other) and piece.party == other.party
            if isinstance(piece, Keys):
                points = torch.zeros((1, len(piece)), dtype=torch.int64)
                assert torch.equal(piece.less_than(points), other.less_than(points))
            else:
                assert piece.data.dtype == other.data.dtype and torch.equal(piece.data, other.data)
    del load
    assert (spool.held, spool.waiting) == (0, 0)


def test_ten_thousand_small_draws_take_little_memory():
    """A tensor of one word takes a kilobyte: what waits in the file leaves a place and a shape."""

    def taken(memory):
        out = subprocess.run(
            [sys.executable, "-c", SMALL_DRAWS, str(memory)], capture_output=True, text=True, timeout=120
        )  # fmt: skip
        assert out.returncode == 0, out.stderr
        return int(out.stdout)

    in_memory, on_disk = taken(1 << 30), taken(0)
    assert on_disk < 20 and on_disk < in_memory / 3, "MB"


SMALL_DRAWS = """
import sys, mpckit as mk
from mpckit.correlations import Compare

def anonymous():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon")) >> 10

draw = Compare((1,), 64, True)
mk.simulate().prepare([draw] * 100)
session = mk.simulate(key_memory=int(sys.argv[1]))
before = anonymous()
session.prepare([draw] * 10_000)
print(anonymous() - before)
"""


def test_a_file_that_is_cut_is_noticed():
    spool = Spool(0)
    loads = spool.hold(pair())
    os.ftruncate(spool._file.fileno(), 10)
    with pytest.raises(OSError, match="shorter than what was written"):
        loads[0]()


@pytest.mark.parametrize("ahead", [False, True])
def test_a_full_disk_is_named_and_the_session_goes_on(monkeypatch, ahead):
    session = Session(2, suite="fss", key_memory=0)
    x = session.share(torch.linspace(-5, 5, 20_000), 0)
    room, write = [8 << 20], os.pwrite

    def full(descriptor, data, at):
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = write(descriptor, data[: room[0]], at)
        room[0] -= done
        return done

    correlation = Compare((20_000,), 64, True, "dpf")
    with monkeypatch.context() as patch:
        patch.setattr(spools.os, "pwrite", full)
        with pytest.raises(OSError, match="no room for .* more bytes of keys in .* TMPDIR.*suite='bits'") as caught:
            session.prepare([correlation]) if ahead else session.run(session.suite.relu, x)
    assert caught.value.errno == errno.ENOSPC
    del caught
    gc.collect()
    assert session.dealer.spool.waiting == 0 and size(session.dealer.spool) == 0, "what was dealt in vain is gone"
    y = session.open(session.run(gates.relu, x, None, "dpf"))
    assert torch.equal(session.ring.decode(y) > 0, session.ring.decode(session.open(x)) > 0)


def test_no_file_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(spools.tempfile, "tempdir", str(tmp_path))
    session = Session(2, suite="fss", key_memory=0)
    session.prepare([Compare((100,), 64, True, "dpf")])
    assert size(session.dealer.spool) > 50_000 and list(tmp_path.iterdir()) == [], "it has no name from the start"
    descriptor = session.dealer.spool._file.fileno()
    del session
    gc.collect()
    with pytest.raises(OSError):
        os.fstat(descriptor)


# ---- a million ReLUs -----------------------------------------------------------------------------

MEASURE = """
import sys, threading, torch
torch.set_num_threads(1)
import mpckit as mk
from mpckit.correlations import Compare
from mpckit.offline.dealer import to_json
from mpckit.offline.service import DealerService

def anonymous():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon")) >> 10

def peak(action):
    base = most = anonymous()
    over = threading.Event()
    def sample():
        nonlocal most
        while not over.wait(0.005):
            most = max(most, anonymous())
    sampler = threading.Thread(target=sample)
    sampler.start()
    action()
    over.set()
    sampler.join()
    return max(most, anonymous()) - base

def program(x):
    return torch.relu(mk.secret(x, owner=0)).reveal(to=0)

def run(session, n):
    with session:
        x = torch.linspace(-8, 8, n)
        assert (program(x) - x.relu()).abs().max() < 1e-4

how, memory, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
run(mk.simulate(2, suite="fss"), 20_000)  # kernels are loaded
if how == "dealer":
    service = DealerService(2)
    for party in (0, 1):
        service(party, "seed", {"seed": bytes([party + 1] * 32).hex()})
    def deal():
        for i, part in enumerate(Compare((n,), 64, True, "dpf").parts()):
            for party in (0, 1):
                service(party, "deal", {"serial": 0, "part": i, "correlation": to_json(part)})
    print(peak(deal))
else:
    session = mk.simulate(2, suite="fss", key_memory=memory)
    draws = mk.plan(program, torch.zeros(n), suite="fss").draws if how == "ahead" else []
    print(peak(lambda: (draws and session.prepare(draws), run(session, n))))
    assert session.report().unplanned == {} and session.dealer.keys > 900 * n, session.report()
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is read from /proc")
@pytest.mark.parametrize(
    ("how", "memory", "n", "most"),
    [("ahead", spools.MEMORY, 1_000_000, 600), ("demand", 16 << 20, 300_000, 150), ("dealer", 0, 300_000, 120)],
)
def test_a_million_comparisons_in_bounded_memory(how, memory, n, most, tmp_path):
    """0.93 GB of keys for a million; MB that the process takes beyond what it has, files left out."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, how, str(memory), str(n)],
        capture_output=True, text=True, env=os.environ | {"TMPDIR": str(tmp_path)}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < most
    assert not list(tmp_path.glob("mpckit*"))
