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


def test_one_digit_and_its_bill(model):
    image, label = digits()[7]
    plan = mk.plan(infer, image, model)
    with mk.simulate(parties=2, link=mk.WAN) as session:
        session.prepare(plan.draws)
        assert infer(image, model).argmax().item() == label
    report = session.report()
    assert report.unplanned == {} and len(session.store) == 0
    for phase in ("setup", "online"):
        assert (report.rounds(phase), report.sent(phase)) == (plan.report.rounds(phase), plan.report.sent(phase))
    assert report.offline_bytes == plan.report.offline_bytes
    assert report.rounds() == 38 and report.sent() < 145_000
    assert list(report.by_layer()) == "secret conv1 pool1 relu1 conv2 pool2 relu2 fc1 relu3 fc2 reveal".split()


def test_a_batch_takes_no_more_rounds(model):
    reports = [mk.plan(infer, torch.zeros(n, 1, 28, 28), model).report for n in (1, 32)]
    assert reports[0].rounds() == reports[1].rounds()
    assert reports[1].sent() < 32 * reports[0].sent()


@pytest.mark.parametrize("parties", [2, 3])
def test_a_thousand_digits(model, parties):
    images = digits().images if parties == 2 else digits(200).images
    with torch.no_grad(), mk.simulate(parties=parties):
        secret_model = mk.private(model, owner=1)
        got = torch.cat([secret_model(mk.secret(batch, owner=0)).reveal() for batch in images.split(200)])
        want = model(images)
    assert (got.argmax(1) == want.argmax(1)).float().mean() >= 0.995
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
