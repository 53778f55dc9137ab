"""The script that made the shipped ResNet-20 makes the same bytes from a file of the author's form."""

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load

from mpckit.zoo.data import DATA, checked

SCRIPT = Path(__file__).parents[2] / "scripts" / "convert_resnet20.py"
SHIPPED = checked("resnet20_cifar10.safetensors")


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("convert_resnet20", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def published(path, change=lambda state: state):
    """As the author's training script saves it: what is ours, in a dictionary with the best accuracy."""
    state = {f"module.{name}": value for name, value in load(SHIPPED).items()}
    state["module.bn1.num_batches_tracked"] = torch.tensor(7)
    torch.save({"best_prec1": 91.73, "state_dict": change(state)}, path)
    return path


def run(script, monkeypatch, *args):
    monkeypatch.setattr(sys, "argv", ["convert_resnet20.py", *map(str, args)])
    script.main()


def test_the_shipped_bytes_come_out_again(script, tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "noise.npz", x=images, y=rng.integers(0, 10, 20))
    weights = published(tmp_path / "resnet20.th")
    run(script, monkeypatch, weights, "--out", tmp_path / "out", "--cifar", tmp_path / "noise.npz")
    assert (tmp_path / "out" / script.NAME).read_bytes() == SHIPPED
    out = capsys.readouterr().out
    assert "1,092,520 bytes" in out and "% of 20 test images" in out


def test_other_weights_are_not_taken_for_the_shipped_ones(script, tmp_path, monkeypatch):
    def change(state):
        state["module.linear.bias"] = state["module.linear.bias"] + 1
        return state

    shutil.copy(DATA / "CHECKSUMS", tmp_path)
    with pytest.raises(SystemExit, match="gives other weights than those that were shipped"):
        run(script, monkeypatch, published(tmp_path / "other.th", change), "--out", tmp_path)
    assert not (tmp_path / script.NAME).exists()
