"""Llama: rotary positions, RMSNorm, SwiGLU, and several heads of q to one of k and v."""

import pytest
import torch
from family import LEFT, SMALL, SUITES, TOKENS, build, in_two_steps, logits, same, score, transformers

import mpckit as mk


def llama(**options):
    config = transformers.LlamaConfig(
        **SMALL, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=16, **options,
    )  # fmt: skip
    return build("AutoModelForCausalLM", config)


@pytest.fixture(scope="module")
def model():
    return llama(num_key_value_heads=2)


@SUITES
def test_logits(model, suite, parties):
    same(logits, model, TOKENS, suite=suite, parties=parties)


@pytest.mark.parametrize("heads", [1, 4])
def test_one_head_for_all_and_one_for_each(heads):
    same(logits, llama(num_key_value_heads=heads, tie_word_embeddings=True), TOKENS)


def test_secret_tokens(model):
    same(logits, model, TOKENS, suite="fss", secret_ids=True)


@SUITES
def test_padded_batches(model, suite, parties):
    same(lambda m, x: logits(m, x, attention_mask=LEFT), model, TOKENS, suite=suite, parties=parties, seen=LEFT.bool())


@pytest.mark.parametrize("f", [in_two_steps, score])
def test_a_cache_and_a_score(model, f):
    same(f, model, TOKENS)


def test_frequencies_are_public_since_no_checkpoint_has_them(model):
    with mk.simulate(parties=2):
        rotary = mk.private(model, owner=1).model.rotary_emb
    assert not isinstance(rotary.inv_freq, mk.SecretTensor)
    assert torch.equal(rotary.inv_freq, model.model.rotary_emb.inv_freq)


def test_a_norm_is_one_protocol(model):
    """Squares and weights from one opening of its input: nine rounds with keys, where torch composes twelve."""
    report = same(logits, model, TOKENS, suite="fss")
    norms = [line for line in report.lines if line.path.endswith("/rms_norm")]
    assert len(norms) == 5 and {line.rounds for line in norms} == {9}
    assert not any(line.path.endswith(("/rsqrt", "/pow")) for line in report.lines)


NORMS = [torch.nn.RMSNorm(6, eps=1e-5), transformers.models.llama.modeling_llama.LlamaRMSNorm(6)]


@pytest.mark.parametrize("norm", NORMS)
def test_a_norm_that_learns_stays_composed(norm):
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(2))
    norm(x).square().sum().backward()
    with mk.simulate(insecure_seed=1):
        private = mk.private(norm, owner=1)
        private(mk.secret(x, owner=0)).square().sum().backward()
        assert (private.weight.grad.reveal() - norm.weight.grad).abs().max() < 1e-2
    norm.weight.grad = None
