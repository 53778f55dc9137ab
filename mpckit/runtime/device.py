"""Where a session computes: on the CPU, or on an NVIDIA GPU, if there is one and CuPy to run the kernels there."""

import contextlib

import torch

from ..offline.spool import BESIDE, MEMORY
from .units import size


def usable(name: str | torch.device, rank: int | None = None) -> torch.device:
    """The device of that name: "cpu", "cuda", "cuda:1". "cuda" is the current card, or for process number `rank` of a
    team a card of its own, as long as there are enough: then they share.

    ValueError for another kind, RuntimeError where no such GPU is here, ImportError without CuPy.
    """
    device = torch.device(name)
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"a session computes on 'cpu' or on 'cuda', not on {str(device)!r}")
    if device.type == "cpu":
        return device
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= count:
        raise RuntimeError(
            f"device={str(device)!r}: torch {torch.__version__} sees {count or 'no'} GPU{'s' * (count > 1)} here; "
            "take device='cpu', or look what nvidia-smi and torch.cuda.is_available() say"
        )
    from ..kernels.cuda.launch import load_cupy  # what no CPU needs is not imported before somebody asks for it

    load_cupy()
    if device.index is None:
        return torch.device("cuda", torch.cuda.current_device() if rank is None else rank % count)
    return device


def nearest(rank: int) -> torch.device:
    """The card of process number `rank`, or the CPU where there is none to use."""
    try:
        return usable("cuda", rank)
    except (RuntimeError, ImportError):
        return torch.device("cpu")


def to_host(tensor: torch.Tensor) -> torch.Tensor:
    """The same on the host, by way of memory that a card writes by itself, at the full speed of its link."""
    if tensor.device.type != "cuda":
        return tensor.cpu()
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    host.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(tensor.device).synchronize()
    return host


def received(host: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Bytes that have come (uint8) on the device: what they lay in may go at once."""
    if torch.device(device).type != "cuda" or not host.numel():
        return host.to(device)
    pinned = torch.empty(host.shape, dtype=host.dtype, pin_memory=True)  # which torch keeps until it has been read
    pinned.copy_(host)
    return pinned.to(device, non_blocking=True)


def key_memory(device: torch.device, alone: bool = True) -> int:
    """How many bytes of keys and pieces may wait in the device's memory, unless a session says otherwise.

    alone   all parties are in this process, and none has its own beside it
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    return MEMORY if alone else BESIDE


def settle(device: torch.device) -> None:
    """Wait until the device has done what it was given, so that a clock says what it took."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextlib.contextmanager
def room(session, what):
    """Where the session's GPU has no room: MemoryError that says what was asked for, as `what()` describes it, and
    which budget to lower.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        said, keys, weights = str(error).splitlines()[0], size(session.key_memory), session.weights
        stay = (
            "of a model's weights all pieces stay there, give it a weight_memory to keep what is public alone"
            if weights is None
            else f"{size(weights.held)} of weights stay there, its weight_memory of {size(weights.memory)} may be lower"
        )
        raise MemoryError(
            f"no room on {session.device} for {what()} ({said}): waiting keys may take {keys} there, give the session "
            f"a lower key_memory; {stay}; or share fewer rows at once, or take suite='bits', which is dealt a tenth"
        ) from error


def room_to_compute(session):
    """`room` for what runs now, by its layer and operator."""
    return room(session, lambda: f"what {session.meter.path or 'the program'} computes")
