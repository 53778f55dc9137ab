"""CIFAR-10, which states no licence and so is not shipped: read from the archive that its author publishes."""

import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ...runtime.sockets import plain
from ..data import Labelled
from .pictures import MEAN, STD  # of ImageNet, which is what the shipped ResNet-20 was trained with

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
LONGEST = 1 << 30  # bytes that are read of a file that unfolds; the official one has 30 MB
RECORD = 1 + 3 * 32 * 32  # a label, then red, green and blue


@dataclass(frozen=True, eq=False)
class Pictures(Labelled):
    """`images` float32 [n, 3, 32, 32], normalised for `resnet20`; `labels` int64 [n]; `names` of the classes.

    `pictures[7]` is the pair (image, label as an int), as torch's DataLoader wants it; `pictures[:20]` is a smaller
    `Pictures`.
    """

    names: tuple[str, ...] = CIFAR10

    def __repr__(self) -> str:
        return f"Pictures({len(self)} of 32×32)"


def cifar10(path: str | Path, n: int | None = None) -> Pictures:
    """The first `n` test pictures (all where None) from a file that you have.

    `path`: the official `cifar-10-binary.tar.gz`, its `test_batch.bin`, or an `.npz` with `x` uint8 [n, 32, 32, 3] and
    `y` [n]. The archive "for Python" is a pickle, which could run code, and is refused.
    Raises FileNotFoundError, or ValueError for a file that is none of these or has fewer than `n`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"there is no file {path}: CIFAR-10 states no licence, so it is not shipped. Its author offers "
            "cifar-10-binary.tar.gz at https://www.cs.toronto.edu/~kriz/cifar.html; give the path where it lies"
        )
    if path.suffix == ".npz":
        x, y = _npz(path)
    elif path.suffix == ".bin":
        x, y = _records(path.read_bytes(), path)
    else:
        x, y = _records(_member(path), path)
    n = len(y) if n is None else n
    if not 0 <= n <= len(y):
        raise ValueError(f"{n} pictures are wanted, and {path} has {len(y)}")
    if (labels := torch.from_numpy(y[:n]).long()).numel() and not 0 <= labels.min() <= labels.max() <= 9:
        raise ValueError(f"labels in {path} lie in {labels.min()}…{labels.max()}, those of CIFAR-10 in 0…9")
    scaled = torch.from_numpy(x[:n]).float().div(255)
    images = (scaled - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    return Pictures(images, labels)


def _npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    wanted = "wanted are x uint8 [n, 32, 32, 3] and y [n]"
    try:
        with zipfile.ZipFile(path) as package:
            longest = max((entry.file_size for entry in package.infolist()), default=0)
        with np.load(path, allow_pickle=False) as file:
            names = list(file)
            arrays = [file[name] for name in "xy"] if {"x", "y"} <= set(names) and longest <= LONGEST else None
    except Exception as error:  # what a damaged file leads to: BadZipFile, zlib.error, SyntaxError, MemoryError …
        raise ValueError(f"{path} cannot be read as arrays ({type(error).__name__}: {error}); {wanted}") from error
    if arrays is None:
        what = plain(", ".join(names)) or "nothing"
        raise ValueError(f"{path} has {what if longest <= LONGEST else f'an array of {longest} bytes'}; {wanted}")
    x, y = arrays
    if x.dtype != np.uint8 or x.shape[1:] != (32, 32, 3) or y.shape != x.shape[:1]:
        raise ValueError(
            f"{path} has x {x.dtype} {list(x.shape)} and y {list(y.shape)}; wanted are uint8 [n, 32, 32, 3] and [n]"
        )
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)), y.astype(np.int64)


def _member(path: Path) -> bytes:
    try:
        with tarfile.open(path) as archive:
            names = {Path(m.name).name: m for m in archive.getmembers() if m.isfile()}
            if "test_batch.bin" in names:
                return archive.extractfile(names["test_batch.bin"]).read(LONGEST)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        why = str(error).splitlines()[0]
        raise ValueError(f"{path} is no archive of CIFAR-10 ({why}): is the download complete?") from error
    hint = "that is the version for Python, a pickle: take " if "test_batch" in names else "wanted is "
    raise ValueError(f"{path} has no test_batch.bin; {hint}cifar-10-binary.tar.gz")


def _records(content: bytes, path: Path) -> tuple[np.ndarray, np.ndarray]:
    if not content or len(content) % RECORD:
        raise ValueError(f"{path}: {len(content)} bytes are not a whole number of records of {RECORD} bytes")
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32).copy(), records[:, 0].astype(np.int64)
