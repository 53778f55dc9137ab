"""What fills docs/gpu.md runs on a CPU too, on smaller things:

python -m mpckit bench kernels
"""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mpckit.__main__ import main
from mpckit.bench import gpu, kernels, shapes
from mpckit.bench.options import Options

ROWS = shapes.rows
DOCS = Path(__file__).parents[2] / "docs" / "gpu.md"


def test_the_page_has_no_figures_or_those_of_one_run():
    text = DOCS.read_text()
    if gpu.MISSING in text:
        assert text == gpu.unmeasured(), "a page without figures is what the command prints without a GPU"
    else:
        assert "\nMeasured on: " in text and "torch" in text
    rows = [name for name, *_ in kernels.cases(torch.device("meta"), kernels.FULL)] + list(shapes.SHAPES)
    assert [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line.startswith("| ")][1:] == [
        *rows[: -len(shapes.SHAPES)], "shape", *shapes.SHAPES,
    ]  # fmt: skip
    assert gpu.DEMANDED.keys() | gpu.CEILING.keys() | gpu.ONLINE.keys() <= set(rows)


def test_every_kernel_case_runs():
    found = list(kernels.rates(torch.device("cpu"), 1 << 10, 1))
    assert all(row["per_second"] > 0 for row in found) and len(found) == len({row["case"] for row in found})
    assert all(gpu.kernel_line(row["case"], row["unit"], row["per_second"]).count("|") == 6 for row in found)


def test_a_small_shape_answers_as_in_plaintext():
    pytest.importorskip("transformers")
    small = {"vocab_size": 40, "n_positions": 8, "n_embd": 16, "n_layer": 1, "n_head": 2, "bos_token_id": 0}
    model = shapes.build(shapes.CAUSAL, "GPT2Config", small | {"eos_token_id": 0})
    row = shapes.measure(model, torch.tensor([[5, 6, 7]]))
    assert list(row) == shapes.KEYS[1:-1]
    assert row["max_err"] < 1e-2 and row["same_answer"] == 1.0
    assert row["key_bytes"] > 10_000 and row["wan_s"] > row["rounds"] * 0.03 > row["lan_s"] - row["online_s"]
    line = gpu.shape_line("gpt2", row | {"failed": None})
    assert line.count("|") == gpu.shape_line("gpt2", None).count("|") == 12 and "<= 1.0 s" in line
    assert shapes.line(row | {"case": "gpt2", "failed": None}).startswith("gpt2 ")


@pytest.mark.parametrize(
    ("name", "millions"),
    [("bert-base", 109), ("gpt2", 124), ("gpt-neo-1.3b", 1316), ("llama2-7b", 6738), ("llama2-13b", 13016)],
)
def test_shapes_have_their_number_of_weights(name, millions):
    pytest.importorskip("transformers")
    with torch.device("meta"):
        model = shapes.build(*shapes.SHAPES[name])
    assert round(sum(p.numel() for p in model.parameters()) / 1e6) == millions


def test_a_model_that_finds_no_room_is_a_row(monkeypatch):
    def full(*_):
        raise MemoryError("no room on cuda:0 for Mask(…)\nmore")

    monkeypatch.setattr(shapes, "build", full)
    (row,) = shapes.rows(["gpt2"], "cpu", "fss")
    assert row["failed"] == "no room on cuda:0 for Mask(…)"
    assert "no room on cuda:0" in gpu.shape_line("gpt2", row) and "no room on cuda:0" in shapes.line(row)


def cases(device, n):
    yield "prg", "G blocks", 1, lambda: None


def test_what_was_measured_is_printed_where_a_model_fails(monkeypatch, capsys):
    def failing(*_):
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED\nmore")

    monkeypatch.setattr(kernels, "usable", lambda name: torch.device("meta"))
    monkeypatch.setattr(kernels, "cases", cases)
    monkeypatch.setattr(gpu, "here", lambda device: "Measured on: a stand-in")
    monkeypatch.setattr(shapes, "rows", lambda names, device, suite: ROWS(["gpt2"], "cpu", suite))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(shapes, "build", failing)
    assert main(["bench", "gpu"]) == 1
    page = capsys.readouterr().out
    assert "| gpt2 | failed: RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED |" in page and "| prg | " in page


def test_the_card_is_asked_its_name_before_hours_of_measuring(monkeypatch):
    def nobody(*_, **__):
        raise FileNotFoundError("nvidia-smi")

    asked = []
    monkeypatch.setattr(kernels, "usable", lambda name: torch.device("meta"))
    monkeypatch.setattr(kernels, "rates", lambda *_: asked.append("rates") or 1 / 0)
    monkeypatch.setattr(gpu, "here", lambda device: asked.append("here"))
    with pytest.raises(ZeroDivisionError):
        gpu.main([], Options())
    assert asked == ["here", "rates"]
    monkeypatch.undo()
    monkeypatch.setattr(gpu.subprocess, "run", nobody)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    monkeypatch.setattr("mpckit.kernels.cuda.launch.load_cupy", lambda: SimpleNamespace(__version__="14.2.0"))
    said = gpu.here(torch.device("cuda:0"))
    assert said.startswith("Measured on: NVIDIA H200, driver unknown (nvidia-smi") and "cupy 14.2.0" in said


def test_the_command_fills_the_page():
    """From end to end on a device that stands in for a GPU, in a process of its own, with cases that are small."""
    pytest.importorskip("transformers")
    script = Path(__file__).with_name("gpu_on_card.py")
    done = subprocess.run([sys.executable, "-W", "ignore", str(script)], capture_output=True, text=True)
    if "NOT checked" in done.stderr:
        pytest.skip("NO g++ HERE: the command that fills docs/gpu.md was NOT checked")
    assert done.returncode == 0, done.stderr[-3000:]
    text, rows = done.stdout, [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert gpu.MISSING not in text and "Measured on: a stand-in" in text and "shape that ran: llama2-13b." in text
    expected = len(list(kernels.cases(torch.device("meta"), kernels.FULL))) + len(shapes.SHAPES) + 2
    assert len(rows) == expected and not any("failed" in row for row in rows)
    for row in rows[-len(shapes.SHAPES) :]:
        assert row.endswith(" 100% |") and float(row.split(" | ")[-2]) < 0.05
    assert len(done.stderr.splitlines()) == expected - 2, "whoever waits sees each figure as it comes"


def test_weights_are_random_and_none_is_left_as_it_was():
    pytest.importorskip("transformers")
    auto, config, _ = shapes.SHAPES["llama2-7b"]
    small = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1} | {
        "num_attention_heads": 2, "num_key_value_heads": 2,
    }  # fmt: skip
    model = shapes.build(auto, config, small)
    for name, p in model.named_parameters():
        assert bool((p != 0).all()) and p.std() > 0.01, name
        assert abs(float(p.detach().mean()) - ("norm" in name)) < 0.02, name
    frequencies = [b for n, b in model.named_buffers() if "inv_freq" in n]
    assert frequencies and all(f[0] == 1 for f in frequencies), "what is no weight is as transformers makes it"


def test_what_does_not_fit_is_kept_as_one_word(monkeypatch):
    model, card = torch.nn.Linear(1000, 1000, device="meta"), torch.device("cuda:0")
    for free, expected in ((100 << 20, None), (50 << 20, int(0.65 * (50 << 20)))):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 1 << 40))
        assert shapes.room_for(model, card) == expected
    assert shapes.room_for(model, torch.device("cpu")) is None


def test_a_gpu_is_what_the_page_is_for(capsys, monkeypatch):
    assert main(["bench", "gpu"]) == 0 and capsys.readouterr().out == gpu.unmeasured()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["bench", "--device", "cuda"]) == 2
    said = capsys.readouterr()
    assert "sees no GPU here" in said.err and said.out == "", "it goes where no page is written to"
    assert [main(["bench", bench, "nothing"]) for bench in ("gpu", "kernels", "shapes")] == [2, 2, 2]


def test_rows_as_objects(capsys, monkeypatch):
    monkeypatch.setattr(kernels, "SMALL", 1 << 8)
    assert main(["bench", "kernels", "--json", "--repeat", "1"]) == 0
    assert [list(json.loads(line)) for line in capsys.readouterr().out.splitlines()][0] == kernels.KEYS
