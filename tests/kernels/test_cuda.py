"""On a GPU: CUDA, CPU and definition give the same bits, on any stream, and at sizes that fill the card.

    kernels.prg(blocks.cuda(), 0)

`test_bodies.py` runs every example on the GPU as well, where there is one. Sessions run here, too.
"""

import contextlib
import importlib.util
import sys
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available() or importlib.util.find_spec("cupy") is None:
    pytest.skip("NO GPU (or no CuPy) HERE: kernels and sessions did NOT run on a card", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime"))
import on_card  # noqa: E402
from test_bodies import EXAMPLES, moved, outputs, roots, words

from mpckit.kernels import KERNELS
from mpckit.runtime.weights import Weights


def large():
    """(name, arguments): more elements than threads that run at once."""
    n = (1 << 20) + 77
    some = n // 8
    yield "prg", (words(n, 2), 4)
    yield "keystream", (torch.randint(0, 256, (16,), dtype=torch.uint8), 2**64 - n // 2, n)
    yield "dpf_gen", (words(some), *roots(some), 40)
    for name in ("dpf_eval", "dpf_parity"):
        yield name, (words(2, some), words(some, 2), words(34, some, 2), 40)
    for count, bits in ((3, 20), (some, 9), (1001, 12)):
        yield "dpf_all", (words(count, 2), words(bits - 6, count, 2), bits)
    yield "dcf_gen", (words(some), words(2, some, 2), *roots(some), 32)
    yield "dcf_eval", (words(1, some), words(some, 2), words(32, some, 2), words(33, 2, some, 2))
    for width in (1, 16, 40, 64):
        yield "pack", (words(n), width)
        yield "unpack", (torch.randint(0, 256, (n * width // 8 + 1,), dtype=torch.uint8), width, n)
        yield "to_planes", (words(n), width)
        yield "from_planes", (words(width, n // 64 + 1), n)
    for bits in (8, 10, 13, 16):
        yield "dpf_look_up", (words(1001), words(1001, 2), words(bits - 6, 1001, 2), words(2, 1 << bits), bits, False)
    yield "at_least", (words(some), words(some) > 0, words(some, 2), words(34, some, 2), 40, (0, 9), 64, 16, True)
    yield "join_packed", (words(n), torch.randint(0, 256, (5 * n,), dtype=torch.uint8), 40, False)
    yield "truncated", (*(words(n) for _ in range(3)), 64, 16, True)
    yield "select_truncated", (words(n), words(n) > 0, *(words(n) for _ in range(5)), 64, 16, True)
    yield "beaver", (*(words(n) for _ in range(5)), True)
    yield "select", (words(n), words(n), words(n) > 0, words(n), words(n))
    yield "signed_lookup", (words(some), words(some, 4), words(2, 256), False)
    for shape in ((1000, 3000, 700), (1, 3000, 5000), (9, 70, 5000), (100, 5, 3000)):
        yield "matmul", (words(*shape[:2]), words(*shape[1:]))
        yield "matmul", (words(*shape[:2]), words(*shape[:0:-1]).mT)
    yield "conv", (words(8, 64, 56, 56), words(64, 64, 3, 3), (1, 1), (1, 1), (1, 1), 1)


@pytest.mark.parametrize(("name", "args"), large(), ids=lambda v: v if isinstance(v, str) else "")
def test_large_inputs(name, args):
    expected = outputs(KERNELS[name](*args))
    found = outputs(KERNELS[name](*moved(args, "cuda")))
    assert all(torch.equal(e, f.cpu()) for e, f in zip(expected, found, strict=True))


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_a_stream_of_ones_own(name):
    """Kernels wait for what torch has queued on its current stream, and for nothing else."""
    torch.manual_seed(1)
    *_, args = EXAMPLES[name]()
    expected, given = outputs(KERNELS[name].reference(*args)), moved(args, "cuda")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        late = [a + 0 if isinstance(a, torch.Tensor) and a.dtype == torch.int64 else a for a in given]
        found = outputs(KERNELS[name](*late))
    stream.synchronize()
    assert all(torch.equal(e, f.cpu()) for e, f in zip(expected, found, strict=True))


@pytest.mark.parametrize(("program", "session"), on_card.RUNS)
def test_a_session_has_the_same_transcript(program, session):
    (run, x), options = on_card.PROGRAMS[program], on_card.SESSIONS[session]
    found = {device: on_card.run(run, x, device, record=True, **options) for device in ("cpu", "cuda")}
    (expected, here, _), (value, there, _) = found["cpu"], found["cuda"]
    assert value.device.type == "cuda" and torch.equal(expected, value.cpu())
    assert list(here.transcript) == list(there.transcript) and here.report().sent() == there.report().sent()
    assert there.report().compute() > 0 and there.report().offline_seconds > 0, "seconds come by the card's events"


@pytest.mark.parametrize("program", on_card.APART)
def test_two_parties_apart_have_the_same_transcript(program):
    """On one card each, or both on the only one; and the dealer."""
    (run, x), options = on_card.PROGRAMS[program], {"suite": "fss", "record": True}
    expected, here, _ = on_card.run(run, x, "cpu", **options)
    for p, (value, session) in enumerate(on_card.apart(run, x, "cuda", contextlib.nullcontext, **options)):
        assert session.device == torch.device("cuda", p % torch.cuda.device_count()) and torch.equal(expected, value)
        assert list(session.transcript) == [message for message in here.transcript if message[0] == p]


def test_weights_come_from_pinned_memory_while_a_layer_is_computed():
    weights, sent = Weights(0, torch.device("cuda", 0)), [words(1000, 1000) for _ in range(4)]
    loads = [weights.hold(w.cuda()) for w in sent]
    for _ in range(3):
        for load, w in zip(loads, sent):
            found = load() + 0
            assert torch.equal(found.cpu(), w)
    assert weights.held == 0 and weights.fetched >= 12 * sent[0].nbytes
