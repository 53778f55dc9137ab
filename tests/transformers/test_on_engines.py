"""Several families on one team of engines: the client's text, the server's weights, and nobody else sees either."""

import pytest
import torch
from family import RIGHT, SMALL, TOKENS, build, transformers

import mpckit as mk


def classify(model, ids, mask):
    with torch.no_grad():
        model = mk.private(model, owner=1)
        return model(mk.secret(ids, owner=0), attention_mask=mask).logits.reveal(to=0)


def guess_next(model, ids):
    with torch.no_grad():
        return mk.private(model, owner=1)(mk.secret(ids, owner=0)).logits[:, -1].reveal(to=0)


@pytest.mark.parametrize(("suite", "parties"), [("fss", 2), ("bits", 3)])
def test_families(suite, parties):
    bert = build(
        "AutoModelForSequenceClassification",
        transformers.BertConfig(
            **SMALL, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64,
            max_position_embeddings=16,
        ),
    )  # fmt: skip
    llama = build(
        "AutoModelForCausalLM",
        transformers.LlamaConfig(
            **SMALL | {"pad_token_id": None}, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=16,
        ),
    )  # fmt: skip
    with mk.cluster(parties=parties, suite=suite) as team, torch.no_grad():
        ids = mk.only(0, TOKENS)
        (found, *others), report = team.run(classify, mk.only(1, bert), ids, RIGHT)
        torch.testing.assert_close(found, bert(TOKENS, attention_mask=RIGHT).logits, atol=5e-3, rtol=0)
        assert not report.unplanned and all(other.is_meta for other in others)
        (found, *_), report = team.run(guess_next, mk.only(1, llama), ids)
        torch.testing.assert_close(found, llama(TOKENS).logits[:, -1], atol=5e-3, rtol=0)
        assert not report.unplanned
        with pytest.raises(IndexError, match="no row 99"):  # public ids: planning stops before any engine hears of it
            team.run(guess_next_of_public, mk.only(1, llama), TOKENS + 61)


def guess_next_of_public(model, ids):
    with torch.no_grad():
        return mk.private(model, owner=1)(ids).logits.reveal(to=0)
