"""A real digit, a real model:

    image, label = digits()[7]
    lenet(pretrained=True)(image).argmax() == label
"""

import importlib.util
import shutil
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import mpckit as mk
from mpckit.zoo import digits, lenet
from mpckit.zoo.data import DATA, ChecksumError, checked, checksums, seal

SCRIPT = Path(__file__).parents[2] / "scripts" / "train_lenet.py"


def test_the_example():
    image, label = digits()[7]
    assert image.shape == (1, 28, 28) and isinstance(label, int)
    assert lenet(pretrained=True)(image).argmax().item() == label


@pytest.mark.parametrize("pool", ["max", "average"])
def test_shipped_weights_classify_the_shipped_digits(pool):
    data = digits()
    with torch.no_grad():
        right = lenet(pretrained=True, pool=pool)(data.images).argmax(1) == data.labels
    assert right.float().mean() >= 0.98


@pytest.mark.parametrize("suite", ["bits", "fss"])
def test_swap_the_pools_and_read_the_bill(suite):
    """An average needs no comparison. The rest of the network costs the same, whichever it is."""
    data, bills = digits(20), {}
    for pool in ("max", "average"):
        model = lenet(pretrained=True, pool=pool)
        with torch.no_grad(), mk.simulate(suite=suite) as session:
            got = mk.private(model, owner=1)(mk.secret(data.images, owner=0)).reveal()
            torch.testing.assert_close(got, model(data.images), atol=0.01, rtol=0)
        bills[pool] = session.report().by_layer()
    most, mean = bills["max"], bills["average"]
    for name in most:
        if name.startswith("pool"):
            assert mean[name].sent < most[name].sent and mean[name].rounds < most[name].rounds
        else:
            assert (mean[name].sent, mean[name].rounds) == (most[name].sent, most[name].rounds)


def test_a_pool_is_max_or_average():
    with pytest.raises(ValueError, match="pool='min': windows are reduced by 'max' or 'average'"):
        lenet(pool="min")


def test_lenet_has_the_published_size_and_is_ready_for_inference():
    model = lenet()
    assert sum(p.numel() for p in model.parameters()) == 20_522
    assert not model.training


def test_pooling_before_relu_changes_no_value():
    model, image = lenet(pretrained=True), digits()[0][0]
    z = model.conv1(image)
    assert torch.equal(model.relu1(model.pool1(z)), F.max_pool2d(z.relu(), 2))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 1, 32, 32), r"pictures \[1, 1, 32, 32\] are 32×32, but this model takes \[\[n,\] 1, 28, 28\]"),
        ((3, 28, 28), r"pictures \[3, 28, 28\] have 3 channels \(red, green and blue\)"),
        ((28, 28), r"a tensor \[28, 28\] is no batch of pictures"),
    ],
)
def test_other_pictures_are_refused_before_anything_is_sent(shape, message):
    def program(model, x):
        return mk.private(model, owner=1)(mk.secret(x, owner=0)).reveal(to=0)

    with pytest.raises(ValueError, match=message):
        mk.plan(program, lenet(), torch.empty(shape))


def test_digits_are_a_torch_dataset():
    data = digits(20)
    assert len(data) == 20 and len(data[5:8]) == 3
    assert data.images.dtype == torch.float32 and data.labels.dtype == torch.int64
    assert data.images.min() == 0 and data.images.max() == 1
    assert len(list(data)) == 20  # iteration ends: an index past the end raises IndexError
    batch, labels = next(iter(torch.utils.data.DataLoader(data, batch_size=4)))
    assert batch.shape == (4, 1, 28, 28) and labels.tolist() == [7, 2, 1, 0]


@pytest.mark.parametrize("n", [-1, 1001])
def test_more_digits_than_shipped_are_refused(n):
    with pytest.raises(ValueError, match="1,000 digits are shipped"):
        digits(n)


def test_checksums_cover_every_shipped_file_and_hold():
    assert set(checksums()) == {p.name for p in DATA.iterdir()} - {"CHECKSUMS", "NOTICE"}
    for name in checksums():
        checked(name)


@pytest.mark.parametrize("name", ["digits1000.npz", "lenet_mnist.safetensors"])
def test_one_flipped_bit_is_refused(name, tmp_path):
    shutil.copy(DATA / "CHECKSUMS", tmp_path)
    content = bytearray((DATA / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ChecksumError) as error:
        checked(name, tmp_path)
    seal(name, folder=tmp_path)  # what a training script does after writing a file
    assert checked(name, tmp_path) == content
    for part in (name, checksums()[name], checksums(tmp_path)[name], "reinstall"):
        assert part in str(error.value)


def test_an_unlisted_file_is_refused(tmp_path):
    with pytest.raises(KeyError, match="NOTICE is not listed"):
        checked("NOTICE")


def test_the_training_script_is_the_origin_of_the_shipped_files():
    spec = importlib.util.spec_from_file_location("train_lenet", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    notice = (DATA / "NOTICE").read_text()
    assert script.ARCHIVE in notice and script.ARCHIVE_SHA256 in notice
    data = digits()
    raw = data.images.squeeze(1).mul(255).round().to(torch.uint8).numpy()
    assert script.digest(raw, data.labels.to(torch.uint8).numpy()) == script.DIGITS_SHA256
