"""The showpiece: real digits, read while encrypted."""

import pytest
import torch

import mpckit as mk
from mpckit.zoo import digits, lenet


def infer(image, model):
    with torch.no_grad():
        return mk.private(model, owner=1)(mk.secret(image, owner=0)).reveal(to=0)


@pytest.fixture(scope="module")
def model():
    return lenet(pretrained=True)


@pytest.mark.parametrize(("suite", "rounds", "most"), [("bits", 38, 145_000), ("fss", 28, 250_000)])
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
    """At set-up, under their masks. A layer then opens its inputs and, to truncate, its outputs: no weights."""
    with torch.no_grad(), mk.simulate(parties=2) as session:
        secret_model = mk.private(model, owner=1)
        for _ in range(2):
            session.meter.ledger.clear()
            secret_model(mk.secret(digits(4).images, owner=0))
            headers = 2 * 24
            opened = {path: entry.sent[0] - headers for (_, path), entry in session.meter.ledger.items()}
            assert opened["fc1/addmm"] == 8 * 4 * (256 + 64)
            assert opened["fc2/addmm"] == 8 * 4 * (64 + 10)
            assert opened["conv2/convolution"] == 8 * 4 * (8 * 12 * 12 + 16 * 8 * 8)
