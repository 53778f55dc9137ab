"""Checkpoints from elsewhere: files of weights, never of code, whose names and shapes are compared before use."""

import json
import pickle
import re
import zipfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ...runtime.sockets import plain

FRACTIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # narrower ones mean nothing without scales
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
            _refuse_bombs(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is a pickle that holds more than weights, which could run code, so it was not loaded. Where you "
            "trust it: torch.load it yourself, and save its state_dict() with safetensors.torch.save_file"
        ) from error
    except Exception as error:  # the readers raise what their first wrong byte leads to: KeyError, UnicodeError …
        raise CheckpointError(
            f"{path} cannot be read as weights ({type(error).__name__}: {error}): is the download complete?"
        ) from error
    for outer in ("state_dict", "model"):  # training scripts put the epoch and the optimizer beside it
        if isinstance(state, dict) and isinstance(state.get(outer), dict):
            state = state[outer]
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise CheckpointError(f"{path} holds no state_dict: save model.state_dict(), names with tensors")
    if hollow := [name for name, value in state.items() if not _whole(value)]:
        raise CheckpointError(
            f"{path} does not hold all numbers of {_some(hollow)} (sparse, nested or quantized tensors, or shapes "
            "alone): save plain tensors, model.state_dict() of a model in memory"
        )
    found = {_torchvision(name.removeprefix("module.")): value for name, value in state.items()}
    if len(found) < len(state):
        raise CheckpointError(f"{path} holds two tensors for one parameter, under two names: save one model alone")
    return found


def _refuse_bombs(path: Path) -> None:
    """torch stores what it saves as it is: a file that unfolds to more than its size would fill the memory."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as package:
            unfolded = sum(entry.file_size for entry in package.infolist())
        if unfolded > path.stat().st_size:
            raise CheckpointError(
                f"{path} is a compressed archive of {unfolded} bytes, which torch.save does not make: unpack it, or "
                "save it anew where you trust it"
            )


def _whole(value: Tensor) -> bool:
    """Whether every number of it was in the file: a view of a few could stand for any size."""
    if value.is_nested or value.is_quantized or value.layout != torch.strided or value.device.type != "cpu":
        return False
    return value.untyped_storage().nbytes() >= value.numel() * value.element_size()


def _refuse_others(config: Path) -> None:
    """What the names and shapes of weights do not tell, but changes what they mean."""
    if not config.exists():
        return
    try:
        said = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{config} cannot be read as JSON ({error}): is the download complete?") from error
    if not isinstance(said, dict):
        raise CheckpointError(f"{config} is no configuration: an object with names is wanted")
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
    """Load `state` into `model`. Raises CheckpointError, listing what is missing, unknown, of another shape or nan.

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
    wrong = [k for k in own if k in state and own[k].is_floating_point() and state[k].dtype not in FRACTIONS]
    odd = [k for k in own if k in state and state[k].dtype in FRACTIONS and not state[k].isfinite().all()]
    negative = [k for k in own if k in state and k.endswith("running_var") and bool((state[k] < 0).any())]
    faults = {"missing": missing, "unknown": unknown, "other shapes": shapes, "no fractions": wrong}
    faults |= {"nan or infinite": odd, "variances below zero": negative}
    if any(faults.values()):
        lines = [f"  {what}: {_some(names)}" for what, names in faults.items() if names]
        raise CheckpointError("\n".join([f"{source} does not fit {type(model).__name__}:", *lines]))
    model.load_state_dict(state, strict=False)


def _some(names: list[str], most: int = 4) -> str:
    return plain(", ".join(names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")
