"""GPT-2: learned positions, one matrix for q, k and v, the token table at both ends."""

import pytest
import torch
from family import LEFT, SMALL, SUITES, TOKENS, build, embedded, in_two_steps, logits, same, score, transformers

import mpckit as mk
from mpckit.nn import check


@pytest.fixture(scope="module")
def model():
    config = transformers.GPT2Config(**SMALL | {"pad_token_id": None}, n_positions=16, n_embd=32, n_layer=2, n_head=4)
    return build("AutoModelForCausalLM", config)


def test_the_example(model):
    with mk.simulate(parties=2), torch.no_grad():
        secret_model = mk.private(model, owner=1)  # transformers, unmodified
        got = secret_model(mk.secret(TOKENS, owner=0)).logits.reveal(to=0)
        torch.testing.assert_close(got, model(TOKENS).logits, atol=5e-3, rtol=0)


@SUITES
def test_logits(model, suite, parties):
    same(logits, model, TOKENS, suite=suite, parties=parties)


def test_secret_tokens_cost_their_one_hot_code(model):
    public, secret = (same(logits, model, TOKENS, suite="fss", secret_ids=s) for s in (False, True))
    ids, words = TOKENS.numel(), 50
    # Sharing the ids; 6 bits of each opened; the code's bits, then its words.
    more = ids * 8 + -(-ids * 6 // 8) + -(-ids * words // 8) + ids * words * 8
    assert secret.sent() - public.sent() == more + 24 * (secret.rounds() - public.rounds())
    assert secret.rounds() - public.rounds() == 4


@SUITES
def test_padded_batches(model, suite, parties):
    same(lambda m, x: logits(m, x, attention_mask=LEFT), model, TOKENS, suite=suite, parties=parties, seen=LEFT.bool())


@pytest.mark.parametrize("f", [in_two_steps, score])
def test_a_cache_and_a_score(model, f):
    same(f, model, TOKENS)


def test_a_client_that_embeds_by_itself(model):
    same(embedded, model, model.transformer.wte.weight.detach()[TOKENS])


def test_eager_attention(model):
    model.set_attn_implementation("eager")
    same(logits, model, TOKENS, suite="fss")
    model.set_attn_implementation("sdpa")


def test_tied_tables_are_shared_once(model):
    assert model.lm_head.weight is model.transformer.wte.weight
    report = same(logits, model, TOKENS)
    weights = list(model.parameters())  # a tied one once
    shared, fixed = sum(w.numel() for w in weights), sum(w.numel() for w in weights if w.dim() > 1)
    assert report.sent("setup") == 8 * (shared + fixed) + 24 * report.rounds("setup")  # by their owner


def test_what_does_not_fit_is_named_before_anything_is_sent(model):
    too_long = torch.zeros(1, 17, dtype=torch.long)
    for ids, words in ((TOKENS + 40, "no row 78"), (TOKENS - 5, "no row -3"), (too_long, "its 16 positions")):
        with pytest.raises(IndexError, match=words):
            check(model, ids)


def test_check_foretells_the_bill(model):
    found = check(model, TOKENS, suite="fss")
    assert found and "every operator has a row" in str(found) and found.plan.report.key_bytes > 0


@pytest.mark.parametrize("secret_ids", [True, False])
def test_a_padding_token_is_not_looked_for_among_secrets(model, secret_ids, monkeypatch):
    """transformers would warn where it sees padding and no mask; without one all tokens are text, as in plaintext."""
    monkeypatch.setattr(model.config, "pad_token_id", 0)
    same(logits, model, TOKENS, suite="fss", secret_ids=secret_ids)
