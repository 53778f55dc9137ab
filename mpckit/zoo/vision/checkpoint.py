"""Checkpoints from elsewhere: files of weights, never of code, whose names and shapes are compared before use."""

import json
import pickle
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

FILES = ("model.safetensors", "pytorch_model.bin")  # what `save_pretrained` makes in a folder


class CheckpointError(ValueError):
    """Weights that are missing, are not weights alone, or are those of another model."""


def read(path: str | Path) -> dict[str, Tensor]:
    """A `state_dict` with torchvision's names, from a file or a folder; nothing in the file is executed.

    Raises CheckpointError.
    """
    path = Path(path)
    if path.is_dir():
        _refuse_others(path / "config.json")
        found = [path / name for name in FILES if (path / name).exists()]
        if not found:
            raise CheckpointError(f"{path} has neither {' nor '.join(FILES)}: give the path of the file itself")
        path = found[0]
    if not path.exists():
        raise CheckpointError(
            f"there is no file {path}: download the checkpoint first, and give the path where it lies"
        )
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is a pickle that holds more than weights, which could run code, so it was not loaded. Where you "
            "trust it: torch.load it yourself, and save its state_dict() with safetensors.torch.save_file"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as weights ({error}): is the download complete?") from error
    for outer in ("state_dict", "model"):  # training scripts put the epoch and the optimizer beside it
        if isinstance(state, dict) and isinstance(state.get(outer), dict):
            state = state[outer]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path} holds no state_dict: save model.state_dict(), names with tensors")
    return {_torchvision(name.removeprefix("module.")): value for name, value in state.items()}


def _refuse_others(config: Path) -> None:
    """What the names and shapes of weights do not tell, but changes what they mean."""
    if not config.exists():
        return
    said = json.loads(config.read_text(encoding="utf-8"))
    here = {"downsample_in_bottleneck": False, "downsample_in_first_stage": False, "hidden_act": "relu"}
    for key, wanted in here.items():
        if (value := said.get(key, wanted)) != wanted:
            raise CheckpointError(f"{config} says {key}={value!r}; the networks here have {wanted!r} only")


def _torchvision(name: str) -> str:
    """A parameter of Hugging Face's ResNet by torchvision's name; any other name as it is."""
    name = name.removeprefix("resnet.")
    place = re.fullmatch(r"(.*)\.(convolution|normalization)\.(\w+)", name)
    if not place:
        return re.sub(r"^classifier\.1\.", "fc.", name)
    where, kind, what = place.groups()
    layer = "conv" if kind == "convolution" else "bn"
    if where == "embedder.embedder":
        return f"{layer}1.{what}"
    inner = re.fullmatch(r"encoder\.stages\.(\d+)\.layers\.(\d+)\.(?:layer\.(\d+)|shortcut)", where)
    if not inner:
        return name
    stage, block, number = inner.groups()
    step = f"downsample.{'01'[kind == 'normalization']}" if number is None else f"{layer}{int(number) + 1}"
    return f"layer{int(stage) + 1}.{block}.{step}.{what}"


def settle(model: nn.Module, state: dict[str, Tensor], source) -> None:
    """Load `state` into `model`. Raises CheckpointError, listing what is missing, unknown or of another shape.

    A batch norm may lack the number of batches that it has seen, which inference does not use.
    """
    own = model.state_dict()
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    unknown = sorted(k for k in state if k not in own)
    shapes = [
        f"{k} is {list(state[k].shape)}, the model's {list(own[k].shape)}"
        for k in own
        if k in state and state[k].shape != own[k].shape
    ]
    wrong = [k for k in own if k in state and own[k].is_floating_point() and not state[k].is_floating_point()]
    faults = {"missing": missing, "unknown": unknown, "other shapes": shapes, "no fractions": wrong}
    if any(faults.values()):
        lines = [f"  {what}: {_some(names)}" for what, names in faults.items() if names]
        raise CheckpointError("\n".join([f"{source} does not fit {type(model).__name__}:", *lines]))
    model.load_state_dict(state, strict=False)


def _some(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
