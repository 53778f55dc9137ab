"""A picture of 32×32, seen by a network with 20 layers while encrypted:

    model = mk.fold(resnet20(pretrained=True))
    mk.private(model, owner=1)(mk.secret(picture, owner=0)).reveal()
"""

import os

import pytest
import torch
from torch import nn

import mpckit as mk
from mpckit.nn import check
from mpckit.zoo import cifar10, resnet18, resnet20, resnet50
from mpckit.zoo.vision.resnet import Basic, Bottleneck, ResNet

CIFAR = os.environ.get("MPCKIT_CIFAR10")
with_cifar = pytest.mark.skipif(
    not CIFAR, reason="MPCKIT_CIFAR10 names no file: CIFAR-10 cannot be shipped; cifar-10-binary.tar.gz or an .npz do"
)


def pictures(n: int, size: int = 32) -> torch.Tensor:
    """Smooth blobs: real networks answer noise with logits near zero, where agreement would say little."""
    coarse = torch.randn(n, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(coarse, size=(size, size), mode="bicubic") * 1.5


def lively(model: nn.Module) -> nn.Module:
    """Statistics as after training: fresh ones would let a fold that ignores them pass."""
    torch.manual_seed(0)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            for t, low, high in ((m.weight, 0.5, 1), (m.bias, -0.3, 0.3), (m.running_mean, -0.3, 0.3)):
                nn.init.uniform_(t, low, high)
            nn.init.uniform_(m.running_var, 0.3, 2)
    return model.eval()


def encrypted(model, x, **options):
    with torch.no_grad(), mk.simulate(**options) as session:
        out = mk.private(model, owner=1)(mk.secret(x, owner=0)).reveal()
    return out, session.report()


@pytest.mark.parametrize(("suite", "rounds", "most"), [("bits", 119, 5.4e6), ("fss", 102, 4.7e6)])
def test_the_example(suite, rounds, most):
    model, x = resnet20(pretrained=True), pictures(2)
    folded = mk.fold(model)
    with torch.no_grad():
        want = model(x)
    assert want.std() > 1
    got, report = encrypted(folded, x, suite=suite)
    torch.testing.assert_close(got, want, atol=0.02, rtol=0)
    assert got.argmax(1).equal(want.argmax(1))
    one = mk.plan(lambda m, x: mk.private(m, 1)(mk.secret(x, 0)).reveal(), folded, x[:1], suite=suite).report
    assert one.rounds() == report.rounds() <= rounds and one.sent() <= most


@with_cifar
def test_shipped_weights_know_real_pictures():
    """In plaintext, and so that another normalisation than the one of `cifar10` does worse."""
    data, model = cifar10(CIFAR, 200), resnet20(pretrained=True)
    with torch.no_grad():
        right = (model(data.images).argmax(1) == data.labels).float().mean()
        off = (model(data.images * 1.5).argmax(1) == data.labels).float().mean()
    assert right >= 0.89 and right > off


@with_cifar
@pytest.mark.parametrize(("suite", "parties"), [("bits", 2), ("fss", 2), ("bits", 3)])
def test_real_pictures_encrypted(suite, parties):
    data, model = cifar10(CIFAR, 3), resnet20(pretrained=True)
    got, _ = encrypted(mk.fold(model), data.images, suite=suite, parties=parties)
    with torch.no_grad():
        torch.testing.assert_close(got, model(data.images), atol=0.02, rtol=0)


def test_resnet20_has_the_published_size():
    model = resnet20()
    assert sum(p.numel() for p in model.parameters()) == 269_722 and not model.training


@pytest.mark.parametrize(("build", "size"), [(resnet18, 11_689_512), (resnet50, 25_557_032)])
def test_the_large_ones_have_torchvisions_size_and_every_operator_has_a_row(build, size):
    with torch.device("meta"):
        model = build()
    assert sum(p.numel() for p in model.parameters()) == size
    found = check(mk.fold(model), torch.empty(1, 3, 224, 224, device="meta"))
    assert found and found.plan.stopped is None


@pytest.mark.parametrize("suite", ["bits", "fss"])
@pytest.mark.parametrize(("block", "depths"), [(Basic, (2, 2, 2, 2)), (Bottleneck, (1, 2, 1, 1))])
@pytest.mark.parametrize("pool", ["max", "average"])
def test_narrow_ones_agree_with_plaintext(block, depths, suite, pool):
    model, x = lively(ResNet(block, depths, classes=5, width=4, pool=pool)), pictures(2, 40)
    with torch.no_grad():
        want = model(x)
    got, _ = encrypted(mk.fold(model), x, suite=suite)
    torch.testing.assert_close(got, want, atol=0.01, rtol=1e-3)


@pytest.mark.skipif("MPCKIT_LARGE" not in os.environ, reason="MPCKIT_LARGE is not set: a minute, 3 GB of memory")
@pytest.mark.parametrize("suite", ["bits", "fss"])
@pytest.mark.parametrize("build", [resnet18, resnet50])
def test_full_size_agrees_with_plaintext(build, suite):
    """Random weights of the real shape, at 224×224."""
    model, x = lively(build()), pictures(1, 224)
    with torch.no_grad():
        want = model(x)
    got, _ = encrypted(mk.fold(model), x, suite=suite)
    assert got.argmax() == want.argmax()
    assert (got - want).abs().max() < 0.01 * want.abs().max()


def test_the_choice_of_a_pool_is_visible_in_the_bill():
    """An average needs no comparison: a row of another name, and a cheaper one."""
    bills = {}
    for pool in ("max", "average"):
        model = ResNet(Basic, (1, 1), classes=5, width=4, pool=pool).eval()
        bills[pool] = encrypted(model, pictures(1, 40))[1].by_layer()
    dear, cheap = bills["max"]["maxpool"], bills["average"]["meanpool"]
    assert cheap.sent < dear.sent / 2 and cheap.rounds < dear.rounds
    assert "meanpool" not in bills["max"] and "maxpool" not in bills["average"]


def test_pooling_before_relu_changes_no_value():
    model, x = lively(ResNet(Basic, (1, 1), classes=5, width=4)), pictures(2, 40)
    z = model.bn1(model.conv1(x))
    assert torch.equal(model.relu(model.maxpool(z)), nn.functional.max_pool2d(z.relu(), 3, 2, 1))


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (resnet20, (1, 3, 28, 28), r"28×28, but this model takes \[n, 3, 32, 32\]: resize or crop"),
        (resnet20, (1, 1, 32, 32), r"have 1 channels \(grey\), but this model takes \[n, 3, 32, 32\]"),
        (resnet20, (1, 32, 32, 3), r"Channels come first: x.movedim\(-1, -3\)"),
        (resnet20, (3, 32, 32), r"without a batch axis.*x\[None\]"),
        (resnet20, (3072,), r"\[3072\] is no batch of pictures"),
        (resnet18, (1, 4, 224, 224), r"have 4 channels \(colours and transparency\)"),
        (resnet50, (1, 3, 16, 224), r"16×224, but this model takes \[n, 3, 32 or more, 32 or more\]"),
    ],
)
def test_other_pictures_are_refused_before_anything_is_sent(model, shape, message):
    def program(model, x):
        return mk.private(model, owner=1)(mk.secret(x, owner=0)).reveal(to=0)

    with torch.device("meta"):
        model = model()
    with pytest.raises(ValueError, match=message):  # a plan knows shapes only: no party has said a word
        mk.plan(program, model, torch.empty(shape, device="meta"))


def test_bytes_are_no_pictures():
    with pytest.raises(ValueError, match="pictures of torch.uint8: scale and normalise them first"):
        resnet20()(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


def test_a_pool_is_max_or_average():
    with pytest.raises(ValueError, match="pool='min': windows are reduced by 'max' or 'average'"):
        ResNet(Basic, (1,), pool="min")
