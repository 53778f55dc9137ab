"""A checkpoint on disk that only its owner opens; the others build the model from the configuration."""

import os

import pytest
import torch
from family import SMALL, TOKENS, build, transformers

import mpckit as mk
from mpckit.zoo.hugging import configuration, load, pretrained, skeleton, tokens


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("owner") / "tiny"
    config = transformers.LlamaConfig(
        **SMALL | {"pad_token_id": None}, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=16, tie_word_embeddings=True,
    )  # fmt: skip
    build("AutoModelForCausalLM", config).save_pretrained(folder)
    return folder


def test_the_example(path):
    config = configuration(path)
    with mk.simulate(parties=2) as session, torch.no_grad():
        model = pretrained(config, path, owner=1)
        logits = model(tokens(TOKENS, config, owner=0)).logits.reveal(to=0)
        torch.testing.assert_close(logits, load(path)(TOKENS).logits, atol=5e-3, rtol=0)
        assert model.lm_head.weight is model.model.embed_tokens.weight  # tied: shared once
        shared = sum(p.numel() for p in load(path).parameters())
        assert session.report().sent("setup") < 8 * 2 * shared + 24 * 3 + 8 * 64


def test_a_skeleton_has_shapes_and_no_weights(path):
    hollow, model = skeleton(configuration(path)), load(path)
    assert all(t.is_meta for t in (*hollow.parameters(), *hollow.buffers()))
    assert [(n, p.shape) for n, p in hollow.named_parameters()] == [(n, p.shape) for n, p in model.named_parameters()]


def infer(config, folder, ids):
    """The path is one from the owner's folder: the others are elsewhere."""
    (me,) = mk.Session.current().here if not mk.Session.current().meta else (None,)
    if me is not None:
        os.chdir(folder if me == 1 else os.sep)
    with torch.no_grad():
        model = pretrained(config, "tiny", owner=1)
        return model(tokens(ids, config, owner=0)).logits.reveal(to=0)


def test_nobody_but_the_owner_opens_it(path):
    with mk.cluster(parties=2) as team, torch.no_grad():
        (logits, other), report = team.run(infer, configuration(path), str(path.parent), mk.only(0, TOKENS))
        torch.testing.assert_close(logits, load(path)(TOKENS).logits, atol=5e-3, rtol=0)
        assert other.is_meta and not report.unplanned
        with pytest.raises(ValueError, match="17 tokens are more than the 16 positions"):
            team.run(infer, configuration(path), str(path.parent), mk.only(0, torch.zeros(1, 17, dtype=torch.long)))


def test_what_does_not_fit_is_named_before_anything_is_sent(path):
    config = configuration(path)
    with mk.simulate(parties=2) as session, torch.no_grad():
        with pytest.raises(IndexError, match="token 53 is unknown to this model: it knows 0 to 49"):
            tokens(TOKENS + 39, config, owner=0)
        wider = configuration(path)
        wider.intermediate_size = 65
        with pytest.raises(
            ValueError, match=r"no checkpoint of this configuration: .*\(64, 32\) there, \(65, 32\) here"
        ):
            pretrained(wider, path, owner=1)
        with pytest.raises(ValueError, match="has no weights for score.weight"):
            pretrained(config, path, owner=1, kind="AutoModelForSequenceClassification")
        assert session.report().sent("setup") == session.report().sent() == 0
        model = pretrained(config, path, owner=1)
        before = session.report().sent()
        with pytest.raises(IndexError, match="token 50 is unknown"):
            model(torch.tensor([[1, 50]]))
        with pytest.raises(ValueError, match="17 tokens are more than"):
            model(torch.zeros(1, 17, dtype=torch.long))
        assert session.report().sent() == before
