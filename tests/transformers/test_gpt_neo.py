"""GPT-Neo: layers that see all of the past, and layers that see a window of it."""

import pytest
from family import LEFT, SMALL, SUITES, TOKENS, build, in_two_steps, logits, same, transformers


@pytest.fixture(scope="module")
def model():
    config = transformers.GPTNeoConfig(
        **SMALL, max_position_embeddings=16, hidden_size=32, num_layers=2, num_heads=4, intermediate_size=64,
        attention_types=[[["global", "local"], 1]], window_size=4,
    )  # fmt: skip
    return build("AutoModelForCausalLM", config)


@SUITES
def test_logits(model, suite, parties):
    same(logits, model, TOKENS, suite=suite, parties=parties)


def test_padded_batches(model):
    same(lambda m, x: logits(m, x, attention_mask=LEFT), model, TOKENS, suite="fss", seen=LEFT.bool())


def test_a_cache(model):
    same(in_two_steps, model, TOKENS)
