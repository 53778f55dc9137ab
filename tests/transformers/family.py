"""A tiny model of a family, with random weights and unmodified: on secrets, as planned, and compared with plaintext."""

import pytest
import torch

import mpckit as mk

transformers = pytest.importorskip("transformers")  # the `test` extra installs it
transformers.utils.logging.set_verbosity_error()

SUITES = pytest.mark.parametrize(("suite", "parties"), [("bits", 2), ("bits", 3), ("fss", 2)])
WORDS = 50
SMALL = {"vocab_size": WORDS, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
TOKENS = torch.tensor([[3, 14, 15, 9, 26, 5, 35], [8, 9, 7, 9, 3, 2, 38]])
LEFT = torch.tensor([[1] * 7, [0] * 3 + [1] * 4])  # padding masks: where to look
RIGHT = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])


def build(auto: str, config, seed=0):
    """What the `auto` class makes of a configuration; all weights random, also those that begin as 0 or 1."""
    torch.manual_seed(seed)
    model = getattr(transformers, auto).from_config(config).eval()
    for p in model.parameters():
        p.data += 0.1 * torch.randn(p.shape)
    return model


def same(f, model, *inputs, parties=2, seen=..., tolerance=5e-3, **options):
    """f(model, *inputs) → a tensor: with secret weights as in plaintext, at the bill that its plan foretold.

    Floating inputs are secret, and integers if `options` say secret_ids. Returns the report.
    """
    secret_ids = options.pop("secret_ids", False)

    def program(model, *inputs):
        with torch.no_grad():
            model = mk.private(model, owner=parties - 1)
            return f(model, *(mk.secret(x, owner=0) if secret_ids or x.is_floating_point() else x for x in inputs))

    with torch.no_grad():
        want = f(model, *inputs)
    assert want.abs().max() > 0.05, "there is something to compare"
    plan = mk.plan(lambda *a: program(*a).reveal(), model, *inputs, parties=parties, **options)
    assert plan.stopped is None
    with mk.simulate(parties, insecure_seed=1, **options) as session:
        session.prepare(plan.draws)
        got = program(model, *inputs).reveal()
    torch.testing.assert_close(got[seen], want[seen], atol=tolerance, rtol=0)
    report = session.report()
    assert report.unplanned == {} and len(session.store) == 0
    for phase in ("setup", "online"):
        assert (report.rounds(phase), report.sent(phase)) == (plan.report.rounds(phase), plan.report.sent(phase))
    return report


def logits(model, x, **options):
    return model(x, **options).logits


def embedded(model, x):
    """The caller looks its tokens up by itself."""
    return model(inputs_embeds=x).logits


def in_two_steps(model, x):
    """The last token with what was kept of those before it."""
    kept = model(x[:, :-1], use_cache=True).past_key_values
    return model(x[:, -1:], past_key_values=kept).logits


def score(model, x):
    """Cross entropy of a text that is public."""
    return model(x, labels=x).loss
