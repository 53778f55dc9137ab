"""Real data that travels with the package, each file checked against `data/CHECKSUMS` before it is read.

Origin and licence of every file: `data/NOTICE`.
"""

from dataclasses import dataclass, replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

DATA = Path(__file__).parent / "data"
SUMS = "CHECKSUMS"  # the format of sha256sum, so `sha256sum -c CHECKSUMS` works as well


class ChecksumError(RuntimeError):
    """A shipped file is not the file that was published."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """`images` [n, …] and `labels` [n]: item i is a pair, a slice is a smaller one of the same kind."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i):
        if isinstance(i, slice):
            return replace(self, images=self.images[i], labels=self.labels[i])
        return self.images[i], int(self.labels[i])


class Digits(Labelled):
    """Handwritten digits: `images` float32 [n, 1, 28, 28] in [0, 1], `labels` int64 [n].

    `digits[7]` is the pair (image [1, 28, 28], label as an int), so torch's DataLoader takes it too;
    `digits[:20]` is a smaller `Digits`.
    """

    def __repr__(self) -> str:
        return f"Digits({len(self)} images of 28×28)"


def digits(n: int = 1000) -> Digits:
    """The first `n` of the 10,000 MNIST test digits; 1,000 are shipped. No model in the zoo was trained on them.

    Raises ValueError for `n` outside 0…1000, ChecksumError when the file is damaged.
    """
    if not 0 <= n <= 1000:
        raise ValueError(f"digits({n}): 1,000 digits are shipped, so n must be in 0…1000")
    file = np.load(BytesIO(checked("digits1000.npz")), allow_pickle=False)
    images = torch.from_numpy(file["images"][:n]).float().div(255).unsqueeze(1)
    return Digits(images, torch.from_numpy(file["labels"][:n]).long())


def checked(name: str, folder: Path = DATA) -> bytes:
    """The bytes of a shipped file. The bytes that were checked are returned, so nothing can change in between.

    Raises ChecksumError (naming both sums) when they differ from CHECKSUMS, KeyError for a file that is not listed.
    """
    sums = checksums(folder)
    if name not in sums:
        raise KeyError(f"{name} is not listed in {folder / SUMS}; it lists {', '.join(sums) or 'nothing'}")
    content = (folder / name).read_bytes()
    found = sha256(content).hexdigest()
    if found != sums[name]:
        raise ChecksumError(
            f"{folder / name} has changed:\n  sha256 expected {sums[name]}\n  sha256 found    {found}\n"
            "Restore it (`git checkout` the file, or reinstall mpckit). "
            "If you made it anew with a script in scripts/, that script writes CHECKSUMS too: run it to its end."
        )
    return content


def checksums(folder: Path = DATA) -> dict[str, str]:
    """What CHECKSUMS says: file name → sha256 in hexadecimal."""
    path = folder / SUMS
    lines = path.read_text().splitlines() if path.exists() else []
    return {name: digest for digest, name in (line.split() for line in lines)}


def seal(*names: str, folder: Path = DATA) -> None:
    """Write the sums of these files into CHECKSUMS, keeping the other lines. For the scripts that make the files."""
    sums = checksums(folder) | {name: sha256((folder / name).read_bytes()).hexdigest() for name in names}
    (folder / SUMS).write_text("".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))
