"""CIFAR-10 from the archive that its author publishes:

    cifar10("cifar-10-binary.tar.gz", n=200)
"""

import contextlib
import io
import pickle
import random
import tarfile

import numpy as np
import pytest
import torch

from mpckit.zoo import CIFAR, cifar10, picture
from mpckit.zoo.vision import cifar

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
Y = np.array([3, 8, 0, 9, 1])
RECORDS = b"".join(bytes([y]) + x.transpose(2, 0, 1).tobytes() for x, y in zip(X, Y))


def archive(path, name, content):
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def official(tmp_path):
    return archive(tmp_path / "cifar-10-binary.tar.gz", "cifar-10-batches-bin/test_batch.bin", RECORDS)


def test_the_example(official):
    data = cifar10(official, n=4)
    assert len(data) == 4 and data.images.shape == (4, 3, 32, 32) and data.labels.tolist() == [3, 8, 0, 9]
    image, label = data[1]
    assert data.names[label] == "ship" and len(data[:2]) == 2 and len(list(data)) == 4
    pixel = X[1, 5, 7] / 255  # row 5, column 7
    want = torch.tensor((pixel - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], dtype=torch.float32)
    torch.testing.assert_close(image[:, 5, 7], want)


def test_three_forms_of_the_same(official, tmp_path):
    (tmp_path / "test_batch.bin").write_bytes(RECORDS)
    np.savez(tmp_path / "some.npz", x=X, y=Y)
    first, *others = (cifar10(p) for p in (official, tmp_path / "test_batch.bin", tmp_path / "some.npz"))
    assert len(first) == 5
    assert all(o.images.equal(first.images) and o.labels.equal(first.labels) for o in others)


def test_as_from_a_file_of_its_own(official):
    image = pytest.importorskip("PIL.Image", reason="mpckit[images] is not installed")
    torch.testing.assert_close(picture(image.fromarray(X[2]), CIFAR)[0], cifar10(official)[2][0])


def test_nothing_is_unpickled(tmp_path):
    path = archive(tmp_path / "cifar-10-python.tar.gz", "cifar-10-batches-py/test_batch", pickle.dumps({}))
    with pytest.raises(ValueError, match="the version for Python, a pickle: take cifar-10-binary.tar.gz"):
        cifar10(path)
    np.savez(tmp_path / "objects.npz", x=np.array([{}]), y=np.array([0]))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        cifar10(tmp_path / "objects.npz")


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="states no licence, so it is not shipped.*cifar-10-binary.tar.gz"):
        cifar10(tmp_path / "absent.tar.gz")
    (tmp_path / "half.tar.gz").write_bytes(b"\x1f\x8b garbage")
    with pytest.raises(ValueError, match="no archive of CIFAR-10 .* is the download complete"):
        cifar10(tmp_path / "half.tar.gz")
    whole = archive(tmp_path / "whole.tar.gz", "cifar-10-batches-bin/test_batch.bin", RECORDS).read_bytes()
    for length in range(0, len(whole), 997):
        (tmp_path / "half.tar.gz").write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is the download complete"):
            cifar10(tmp_path / "half.tar.gz")
    with pytest.raises(ValueError, match="has no test_batch.bin; wanted is cifar-10-binary.tar.gz"):
        cifar10(archive(tmp_path / "other.tar.gz", "data.bin", b""))
    (tmp_path / "short.bin").write_bytes(RECORDS[:-1])
    with pytest.raises(ValueError, match="15364 bytes are not a whole number of records of 3073 bytes"):
        cifar10(tmp_path / "short.bin")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": X, "labels": Y}, "has images, labels; wanted are x uint8"),
        ({"x": X.transpose(0, 3, 1, 2), "y": Y}, r"has x uint8 \[5, 3, 32, 32\]"),
        ({"x": X.astype(np.float32), "y": Y}, r"has x float32"),
        ({"x": X, "y": Y[:3]}, r"and y \[3\]; wanted"),
        ({"x": X, "y": Y + 5}, "labels in .* lie in 5…14, those of CIFAR-10 in 0…9"),
    ],
)
def test_other_arrays(arrays, message, tmp_path):
    np.savez(tmp_path / "some.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        cifar10(tmp_path / "some.npz")


def test_arrays_that_unfold_and_damaged_ones(tmp_path, monkeypatch):
    """What a file says of its size is compared before it is unpacked; whatever a reader raises, the file is named."""
    monkeypatch.setattr(cifar, "LONGEST", 1 << 20)
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros((400, 32, 32, 3), np.uint8), y=np.zeros(400))
    assert (tmp_path / "bomb.npz").stat().st_size < 1 << 13
    with pytest.raises(ValueError, match="bomb.npz has an array of 1228928 bytes; wanted are"):
        cifar10(tmp_path / "bomb.npz")
    long = archive(tmp_path / "bomb.tar.gz", "cifar-10-batches-bin/test_batch.bin", bytes(3 << 20))
    with pytest.raises(ValueError, match="1048576 bytes are not a whole number of records"):
        cifar10(long)
    np.savez(tmp_path / "good.npz", x=X, y=Y)
    good, rng = (tmp_path / "good.npz").read_bytes(), random.Random(3)
    for _ in range(300):
        content = bytearray(good)
        for at in rng.choices([*range(300), *range(len(good) - 300, len(good))], k=3):
            content[at] = rng.randrange(256)
        (tmp_path / "damaged.npz").write_bytes(content[: rng.choice([len(content), rng.randrange(len(content))])])
        with contextlib.suppress(ValueError):
            cifar10(tmp_path / "damaged.npz")


@pytest.mark.parametrize("n", [-1, 6])
def test_more_than_there_are(n, official):
    with pytest.raises(ValueError, match=f"{n} pictures are wanted, and .* has 5"):
        cifar10(official, n)
