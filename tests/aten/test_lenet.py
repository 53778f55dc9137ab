"""The showpiece: real digits, read while encrypted."""

import pytest
import torch
import torch.nn.functional as F

import mpckit as mk
from mpckit.zoo import digits, lenet
from mpckit.zoo.vision import LeNet


def infer(image, model):
    with torch.no_grad():
        return mk.private(model, owner=1)(mk.secret(image, owner=0)).reveal(to=0)


@pytest.fixture(scope="module")
def model():
    return lenet(pretrained=True)


@pytest.mark.parametrize(("suite", "rounds", "most"), [("bits", 35, 95_000), ("fss", 22, 72_000)])
def test_one_digit_and_its_bill(model, suite, rounds, most):
    image, label = digits()[7]
    plan = mk.plan(infer, image, model, suite=suite)
    with mk.simulate(parties=2, link=mk.WAN, suite=suite) as session:
        session.prepare(plan.draws)
        assert infer(image, model).argmax().item() == label
    report = session.report()
    assert report.unplanned == {} and len(session.store) == 0
    for phase in ("setup", "online"):
        assert (report.rounds(phase), report.sent(phase)) == (plan.report.rounds(phase), plan.report.sent(phase))
    assert report.offline_bytes == plan.report.offline_bytes
    assert report.rounds() == rounds <= 40 and report.sent() < most
    assert list(report.by_layer()) == "secret conv1 pool1 relu1 conv2 pool2 relu2 fc1 relu3 fc2 reveal".split()


def test_a_batch_takes_no_more_rounds(model):
    reports = [mk.plan(infer, torch.zeros(n, 1, 28, 28), model).report for n in (1, 32)]
    assert reports[0].rounds() == reports[1].rounds()
    assert reports[1].sent() < 32 * reports[0].sent()


@pytest.mark.parametrize(("parties", "suite", "count"), [(2, "bits", 1000), (3, "bits", 200), (2, "fss", 200)])
def test_many_digits(model, parties, suite, count):
    images = digits(count).images
    with torch.no_grad(), mk.simulate(parties=parties, suite=suite):
        secret_model = mk.private(model, owner=1)
        got = torch.cat([secret_model(mk.secret(batch, owner=0)).reveal() for batch in images.split(200)])
        want = model(images)
    same = got.argmax(1) == want.argmax(1)
    assert same.all() if count == 200 else same.float().mean() >= 0.995
    assert (got - want).abs().max() < 0.01


def test_weights_are_opened_once(model):
    """At set-up, under their masks. A layer then opens its inputs, and the last one its outputs: no weights.

    Those of the other layers are truncated by the ReLU that follows, for nothing, after the maximum if there is one.
    """
    with torch.no_grad(), mk.simulate(parties=2) as session:
        secret_model = mk.private(model, owner=1)
        for _ in range(2):
            session.meter.ledger.clear()
            secret_model(mk.secret(digits(4).images, owner=0))
            opened = {path: entry.sent[0] - 24 * entry.rounds for (_, path), entry in session.meter.ledger.items()}
            assert opened["fc1/addmm"] == 8 * 4 * 256
            assert opened["fc2/addmm"] == 8 * 4 * (64 + 10)
            assert opened["conv2/convolution"] == 8 * 4 * (8 * 12 * 12)
            assert 8 * 4 * 64 < opened["relu3/relu"] < 13 * 4 * 64


# ---- a step of training ----------------------------------------------------------------------------------------------


SCALE = 256


def step(images, labels, model):
    """The gradients, and the weights after a step with momentum: all of them secret until they are revealed.

    The loss is scaled, as in training with half precision: a gradient of 1e-4 is no more than six units of 2^-16.
    """
    model = mk.private(model, owner=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1 / SCALE, momentum=0.9)
    loss = F.cross_entropy(model(mk.secret(images, owner=0)), mk.secret(labels, owner=0))
    (loss * SCALE).backward()
    optimizer.step()
    return [p.grad.reveal() for p in model.parameters()], [p.detach().reveal() for p in model.parameters()]


@pytest.mark.parametrize("suite", ["bits", "fss"])
def test_a_step_of_training_on_secret_pictures_labels_and_weights(suite):
    torch.manual_seed(4)
    plain, data = LeNet(), digits(32)
    for p in plain.parameters():  # what the ring holds: other weights choose another maximum here and there
        p.data = (p.data * 2**16).round() / 2**16
    labels = F.one_hot(data.labels, 10).float()
    F.cross_entropy(plain(data.images), labels).backward()
    with mk.simulate(parties=2, insecure_seed=2, suite=suite) as session:
        gradients, weights = step(data.images, labels, plain)
    for got, p in zip(gradients, plain.parameters(), strict=True):
        assert (got / SCALE - p.grad).norm() <= 1e-2 * p.grad.norm()
    torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9).step()
    for got, p in zip(weights, plain.parameters(), strict=True):
        assert (got - p.detach()).abs().max() < 2e-4
    planned = mk.plan(step, data.images, labels, LeNet(), suite=suite).report
    assert (planned.rounds(), planned.sent()) == (session.report().rounds(), session.report().sent())
