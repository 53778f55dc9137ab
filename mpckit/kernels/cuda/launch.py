"""How a kernel in `*.cu` is run: CuPy compiles them at first use (NVRTC, no compiler needed) and starts them on torch's
current stream, on the tensors' own memory. CuPy is imported here, at the first launch, and nowhere else.
"""

import functools
from pathlib import Path

import numpy as np
import torch

from .. import ggm
from ..reference import _BOX, DIGIT, _doubled, _round_keys

FILES = ("base", "aes", "trees", "words", "products", "ends")  # in the order in which they need each other
OPTIONS = ("-std=c++17",)
BLOCK = 256  # threads
BLOCKS = 16  # of them for each multiprocessor, at most: what a block does once, filling its table, is then little
MOST_BELOW = 12  # levels under a node that one thread spells out

runner = None  # the tests put one here that runs the same sources on the host


@functools.cache
def source() -> str:
    """All of the device code, as one text: the constants, which are the reference's, and the files."""
    table = (_doubled(_BOX) | _words(_BOX, 8) | _words(_BOX, 16) | _words(_doubled(_BOX) ^ _BOX, 24)).tolist()
    keys = np.concatenate(_round_keys(np.frombuffer(ggm.KEY, np.uint8))).view("<u4").tolist()
    names = {
        "TABLE_VALUES": _listed(table), "ROUND_KEY_VALUES": _listed(keys), "CHILD": ggm.CHILD, "LEAF": ggm.LEAF,
        "VALUE": ggm.VALUE, "LEAF_BITS": ggm.LEAF_BITS, "DIGIT": DIGIT, "MOST_BELOW": MOST_BELOW,
    }  # fmt: skip
    head = "".join(f"#define {name} {value}\n" for name, value in names.items())
    text = head + "".join(Path(__file__).with_name(f"{name}.cu").read_text(encoding="utf-8") for name in FILES)
    return text.encode("ascii", "replace").decode()  # CuPy writes it to a file in whatever the locale's encoding is


def _words(octets, up):
    return octets.astype(np.uint32) << up


def _listed(words):
    return "{" + ",".join(f"{word:#x}u" for word in words) + "}"


def launch(name: str, threads: int, *args) -> None:
    """Run kernel `name` with about `threads` threads on contiguous tensors and integers, in the order of the source.

    A kernel takes a tensor's address and nothing else that DLPack would say of it, so that is handed over by itself.
    All tensors are on one device. Raises ImportError without CuPy, saying how to get it.
    """
    if threads:
        device = next(a.device for a in args if isinstance(a, torch.Tensor))
        values = [a.data_ptr() if isinstance(a, torch.Tensor) else int(a) for a in args]
        (runner or _on_card)(device, name, -(-threads // BLOCK), values)


def _on_card(device, name, blocks, values):
    with load_cupy().cuda.Device(device.index), _stream(torch.cuda.current_stream(device)):
        most, function = _ready(device.index, name)
        function((min(blocks, most),), (BLOCK,), tuple(map(np.int64, values)))


@functools.cache
def _ready(index, name):
    """(how many blocks at most, the kernel) on a card, which is the current one: looked up once."""
    most = BLOCKS * torch.cuda.get_device_properties(index).multi_processor_count
    return most, _module(index).get_function(name)


@functools.lru_cache(64)
def _stream(stream):
    return load_cupy().cuda.Stream.from_external(stream)


@functools.cache
def _module(index):
    return load_cupy().RawModule(code=source(), options=OPTIONS)


def load_cupy():
    """The module `cupy`. ImportError where it is missing, or cannot find its libraries."""
    try:
        import cupy
    except ImportError as error:
        raise ImportError(
            f"tensors on a GPU need CuPy, which runs the kernels there ({error}): pip install 'mpckit[cuda]', or take "
            "device='cpu'"
        ) from error
    return cupy
