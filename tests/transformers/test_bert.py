"""BERT and DistilBERT: a text is classified; both sides of a word are looked at."""

import pytest
import torch
from family import RIGHT, SMALL, SUITES, TOKENS, build, logits, same, transformers

BERT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
DISTIL = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
TWO_TEXTS = torch.tensor([[0] * 4 + [1] * 3] * 2)


def bert(auto="AutoModelForSequenceClassification"):
    return build(auto, transformers.BertConfig(**SMALL, **BERT, max_position_embeddings=16))


def distilbert(auto="AutoModelForSequenceClassification"):
    return build(auto, transformers.DistilBertConfig(**SMALL, **DISTIL, max_position_embeddings=16))


@SUITES
@pytest.mark.parametrize("family", [bert, distilbert])
def test_a_padded_text_is_classified(family, suite, parties):
    same(lambda m, x: logits(m, x, attention_mask=RIGHT), family(), TOKENS, suite=suite, parties=parties)


def test_secret_tokens_of_two_texts():
    same(
        lambda m, x: logits(m, x, attention_mask=RIGHT, token_type_ids=TWO_TEXTS), bert(), TOKENS, suite="fss",
        secret_ids=True,
    )  # fmt: skip


@pytest.mark.parametrize("family", [bert, distilbert])
def test_words_are_guessed(family):
    same(lambda m, x: logits(m, x, attention_mask=RIGHT), family("AutoModelForMaskedLM"), TOKENS, seen=RIGHT.bool())


def test_a_sentence_becomes_a_vector():
    """As MiniLM does: the mean of what the encoder says of the words that are there, at length 1."""

    def sentence(model, x):
        out = model(x, attention_mask=RIGHT).last_hidden_state
        total = (out * RIGHT[..., None]).sum(1) / RIGHT.sum(1, keepdim=True)
        return torch.nn.functional.normalize(total, dim=1)

    same(sentence, bert("AutoModel"), TOKENS, suite="fss")
