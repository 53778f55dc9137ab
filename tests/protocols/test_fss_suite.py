"""What the suite of keys sends and is dealt:

with Session(2, suite="fss", range_bits=40) as session: …      # comparisons on 40 bits
Session(2, suite=FssSuite(relu="dcf"))                         # a ReLU in one round, at 2.5 times the key
"""

import pytest
import torch
from desk import edges, numbers

from mpckit.protocols import functions
from mpckit.protocols.fss_suite import FssSuite
from mpckit.ring import Ring
from mpckit.runtime.session import Session

N = 100_000


def relu(session, x):
    """The report of relu alone, after a check of its result."""
    shared = session.share(x, 0, session.ring.at(0))
    session.meter.ledger.clear()
    out = session.run(session.suite.relu, shared)
    report = session.report()
    assert torch.equal(session.open(out), x.relu())
    return report


@pytest.mark.parametrize(
    "bits, suite, options, rounds, megabytes",
    [
        (64, "fss", {}, 2, 0.9),
        (40, "fss", {}, 2, 0.55),
        (64, "fss", {"range_bits": 40}, 2, 0.9),
        (64, FssSuite(relu="dcf"), {}, 1, 0.85),
        (64, FssSuite(relu="dcf", range_bits=40), {}, 1, 0.85),
    ],
)
def test_the_bill_of_a_hundred_thousand_relus(bits, suite, options, rounds, megabytes):
    torch.manual_seed(bits)
    declared = options.get("range_bits") or getattr(suite, "range_bits", None) or bits
    x = numbers(declared, N)[-N:]
    x = x[x > -(1 << declared - 1)]  # the promise: |x| < 2^(declared - 1)
    report = relu(Session(2, ring=Ring(bits, 0), suite=suite, insecure_seed=1, **options), x)
    key, dealt = report.key_bytes / len(x), report.offline_bytes / len(x)
    print(
        f"\n{report.rounds()} rounds, {report.sent() / 1e6:.3f} MB, keys {key:.0f} B, dealt {dealt:.0f} B per element"
    )
    assert report.rounds() == rounds and report.sent() <= megabytes * 1e6
    if suite == "fss" and declared == 40:
        assert key <= 620 and dealt <= 620


@pytest.mark.parametrize("form", ["dpf", "dcf"])
@pytest.mark.parametrize("bits", [8, 16, 32, 40, 64])
def test_both_forms_of_relu_and_maximum(form, bits):
    torch.manual_seed(bits)
    suite, x = FssSuite(relu=form), numbers(bits, 500, slack=1)
    session = Session(2, ring=Ring(bits, 0), suite=suite, insecure_seed=1)
    relu(session, x)
    y = edges(bits, slack=1)[torch.randint(0, len(edges(bits, slack=1)), x.shape)]
    found = session.run(suite.maximum, *(session.share(v, 0) for v in (x, y)))
    assert torch.equal(session.open(found), x.maximum(y))
    pairs = torch.stack((x, y, x.flip(0)), -1)
    found = session.run(suite.reduce_max, session.share(pairs, 0))
    assert torch.equal(session.open(found), pairs.amax(-1))
    best, index = session.run(suite.argmax, session.share(pairs, 0))
    assert torch.equal(session.open(best), pairs.amax(-1))
    first = (pairs == pairs.amax(-1, keepdim=True)).int().argmax(-1)
    assert torch.equal(session.open(index), first)


def test_a_promise_that_is_broken_is_not_noticed():
    """`range_bits` is a promise: one bit more, and the sign that is compared is another."""
    session = Session(2, ring=Ring(64, 0), suite=FssSuite(range_bits=10), insecure_seed=1)
    x = torch.tensor([511, -511, 512, -513])
    assert session.open(session.run(session.suite.relu, session.share(x, 0))).tolist() == [511, 0, 0, -513]


TRUTH = {  # the function, and its stated bound
    "sigmoid": (torch.sigmoid, lambda y: 1.5e-4),
    "gelu": (torch.nn.functional.gelu, lambda y: 1e-4),
    "rsqrt": (torch.rsqrt, lambda y: (3e-4 * y).clamp(min=4 * 2.0**-16)),
    "softmax": (lambda x: torch.softmax(x, -1), lambda y: 3e-4),
}


@pytest.mark.parametrize("name", TRUTH)
def test_functions_under_a_promise(name):
    """46 bits: |x| < 2^29 with 16 fraction bits. The masks of both runs differ, so both are held against the truth."""
    x = torch.linspace(0.01, 500, 4096, dtype=torch.float64).reshape(64, 64)
    outs, bills = [], []
    for bits in (None, 46):
        session = Session(2, suite="fss", range_bits=bits, insecure_seed=1)
        shared = session.share(x, 0)
        session.meter.ledger.clear()
        out = session.run(getattr(functions, name), session.suite, shared)
        bills.append(session.report())
        outs.append(session.ring.decode(session.open(out), torch.float64))
    function, bound = TRUTH[name]
    truth = function(torch.round(x * 2**16) / 2**16)
    assert all(bool(((out - truth).abs() <= bound(truth)).all()) for out in outs)
    assert bills[0].rounds() == bills[1].rounds() and bills[1].key_bytes < bills[0].key_bytes
