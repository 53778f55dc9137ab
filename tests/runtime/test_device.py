"""A session on a GPU says and computes what it does on the CPU:

    with mk.simulate(device="cuda") as session:
        x = mk.secret(torch.randn(5), owner=0)      # its shares lie on the card

Without a GPU a device stands in for one (`tests/kernels/card.py`): its tensors meet no others, and its kernels are the
GPU's own sources, compiled for the host.
"""

import functools
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import mpckit as mk
from mpckit.ask import Draw
from mpckit.correlations import Square
from mpckit.runtime import device as devices

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import on_card  # noqa: E402


@functools.cache
def rows() -> dict:
    """What `on_card.py` found, by program and session."""
    command = [sys.executable, "-W", "ignore", str(HERE / "on_card.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parents[1])
    if "NOT checked" in done.stderr:
        pytest.skip("NO g++ HERE: a session on a card was NOT checked")
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {(row["program"], row["session"]): row for row in found}


@pytest.mark.parametrize(("program", "session"), on_card.RUNS)
def test_same_seeds_same_transcript_and_no_look_from_the_host(program, session):
    if program in ("bert", "llama"):
        pytest.importorskip("transformers")
    row = rows()[program, session]
    assert row["device"] == "card:0" and row["equal"] == [True, True]
    assert row["transcript"] and row["bill"] and row["messages"]
    fused = {"fss": {"products": "truncated", "inference": "select_truncated", "functions": "dpf_look_up"}}
    assert {"keystream", fused.get(session, {}).get(program, "keystream")} <= set(row["kernels"])
    if session in ("fss, keys on disk", "fss, weights on the host"):
        assert row["looks"], "keys were meant to go to a file, or weights to the host"
        assert (row["fetched"] > 0) == (session == "fss, weights on the host")
    else:
        assert row["looks"] == [], "the host waited for the card between two rounds"


@pytest.mark.parametrize("program", on_card.APART)
def test_parties_apart_say_on_cards_what_the_simulator_says_on_a_cpu(program):
    """By the wire and a dealer's line that engines have: packed on the card, and joined there."""
    row = rows()[program, "apart"]
    assert row["device"] == "card:0" and row["equal"] == [True, True] and row["transcript"]


# ---- what is said where it cannot be ---------------------------------------------------------------


def test_without_a_gpu_the_error_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match=r"device='cuda': torch .* sees no GPU here; take device='cpu'"):
        mk.simulate(device="cuda")


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(RuntimeError, match="device='cuda:2': torch .* sees 2 GPUs here"):
        mk.simulate(device="cuda:2")


def test_processes_of_a_team_take_cards_in_turn(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr("mpckit.kernels.cuda.launch.load_cupy", lambda: None)
    found = [devices.usable("cuda", rank).index for rank in (None, 0, 1, 2)]
    assert found == [0, 0, 1, 0] and devices.usable("cuda:1", 0).index == 1
    assert devices.nearest(3) == torch.device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.nearest(3) == torch.device("cpu")


def test_without_cupy_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ImportError, match=r"pip install 'mpckit\[cuda\]'"):
        mk.simulate(device="cuda")


def test_another_kind_of_device():
    with pytest.raises(ValueError, match="on 'cpu' or on 'cuda', not on 'mps'"):
        mk.simulate(device="mps")


def test_a_plan_needs_no_gpu():
    program = lambda x: mk.secret(x, owner=0).relu().reveal()  # noqa: E731
    planned = mk.plan(program, torch.ones(3), device="cuda")
    assert planned.draws == mk.plan(program, torch.ones(3)).draws


def test_importing_mpckit_imports_no_cupy_and_a_session_on_the_cpu_neither():
    code = (
        "import sys; sys.modules['cupy'] = None; import mpckit as mk, torch\n"
        "with mk.simulate(): print(mk.secret(torch.ones(2), owner=0).relu().reveal().tolist())\n"
        "print('mpckit.kernels.cuda' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE.parents[1])
    assert done.stdout.splitlines() == ["[1.0, 1.0]", "False"], done.stderr


# ---- messages ----------------------------------------------------------------------------------------


class There(torch.Tensor):
    """As if on a GPU, or about to go there."""

    device = property(lambda self: torch.device("cuda:0"))

    def to(self, device, non_blocking=False):
        assert device == self.device and non_blocking
        return self


@pytest.fixture
def locked(monkeypatch):
    """What was asked of memory that a card reads and writes by itself, and when the host waited for a stream."""
    did, empty = [], torch.empty

    def made(shape, dtype, pin_memory):
        did.append(("locked", pin_memory))
        return empty(shape, dtype=dtype).as_subclass(There)

    stream = SimpleNamespace(synchronize=lambda: did.append("waited"))
    monkeypatch.setattr(torch, "empty", made)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    return did


def test_a_message_leaves_by_locked_memory_and_is_there_before_it_is_sent(locked):
    said = torch.arange(5, dtype=torch.uint8)
    assert torch.equal(devices.to_host(said), said) and locked == []
    assert devices.to_host(said.as_subclass(There)).tolist() == [0, 1, 2, 3, 4]
    assert locked == [("locked", True), "waited"]


def test_a_message_comes_by_locked_memory_and_nobody_waits_for_it(locked):
    said, card = torch.arange(5, dtype=torch.uint8), torch.device("cuda:0")
    assert torch.equal(devices.received(said, torch.device("cpu")), said) and locked == []
    found = devices.received(said, card)
    said.fill_(9)  # the frame's memory is used again
    assert found.tolist() == [0, 1, 2, 3, 4] and locked == [("locked", True)]


# ---- no room -----------------------------------------------------------------------------------------


def full(*_):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nMore about the allocator")


def test_no_room_for_what_is_dealt_names_it_and_the_budget(monkeypatch):
    session = mk.simulate(key_memory=3 << 20)
    monkeypatch.setattr(session.dealer, "deal", full)
    with pytest.raises(MemoryError, match=r"no room on cpu for Square\(shape=\(5,\)\) \(.*20\.00 GiB") as caught:
        session.prepare([Square((5,))])
    assert "keys may take 3.15 MB there, give the session a lower key_memory" in str(caught.value)
    assert "all pieces stay there, give it a weight_memory" in str(caught.value)
    assert "allocator" not in str(caught.value)


def test_no_room_for_what_is_computed_names_the_place():
    def protocol():
        yield Draw(Square((5,)))
        full()

    session = mk.simulate()
    with session, session.scope("attention"), pytest.raises(MemoryError, match="what attention computes"):
        session.run(protocol)


@pytest.mark.parametrize(
    ("place", "run", "named"),
    [
        ("mpckit.share.AShare.map", lambda x: x.flip(0), "what attention/flip computes"),
        ("mpckit.runtime.round.join", lambda x: x * x, "what attention/mul computes"),
        ("mpckit.aten.shape._join", lambda x: torch.cat((x, x)), "what attention/cat computes"),
    ],
    ids=["locally", "of a round's answer", "of several"],
)
def test_no_room_outside_of_a_protocol_says_the_same(monkeypatch, place, run, named):
    with mk.simulate() as session, session.scope("attention"):
        x = mk.secret(torch.ones(3), owner=0)
        monkeypatch.setattr(place, full)
        with pytest.raises(MemoryError, match=named) as caught:
            run(x)
    assert "20.00 GiB" in str(caught.value) and "give the session a lower key_memory" in str(caught.value)


def test_no_room_beside_weights_names_their_budget(monkeypatch):
    session = mk.simulate(weight_memory=5 << 20)
    monkeypatch.setattr(session.dealer, "deal", full)
    with pytest.raises(MemoryError, match="its weight_memory of 5.24 MB may be lower"):
        session.prepare([Square((5,))])


def test_half_of_the_free_memory_is_for_keys(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 400))
    assert devices.key_memory(torch.device("cuda:0")) == 50
    assert mk.simulate().key_memory == devices.MEMORY
