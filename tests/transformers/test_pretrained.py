"""A checkpoint on disk that only its owner opens; the others build the model from the configuration."""

import json
import os
import pickle
import shutil

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


# what somebody else's folder may hold


class Code:
    def __reduce__(self):
        return print, ("code ran",)


def as_pickle(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"model.norm.weight": Code()}))


def as_pieces(where):
    def change(folder):
        (folder / "model.safetensors").rename(folder.parent / "elsewhere.safetensors")
        names = dict.fromkeys(["model.norm.weight"], where.format(folder.parent))
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))

    return change


def index(text):
    def change(folder):
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_text(text)

    return change


def cut(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-4])


def said(**more):
    def change(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | more))
        (folder / "code.py").write_text("print('code ran')")

    return change


FOLDERS = [
    (as_pickle, "has its weights in a pickle, which could run code, and no safetensors: where you trust it"),
    (as_pieces("../elsewhere.safetensors"), "names '../elsewhere.safetensors', which is no file of weights in its own"),
    (as_pieces("{}/elsewhere.safetensors"), "names '/.*elsewhere.safetensors', which is no file of weights in its own"),
    (as_pieces("pytorch_model.bin"), "names 'pytorch_model.bin', which is no file of weights"),
    (index("{nonsense"), "index.json is no list of weights .JSONDecodeError."),
    (index('{"weight_map": [1]}'), "index.json is no list of weights .AttributeError."),
    (cut, "cannot be read .SafetensorError"),
    (said(model_type="new", auto_map={"AutoConfig": "code.C"}), "cannot be read .ValueError: .*custom code"),
    (
        said(_attn_implementation="somebody/kernels"),
        "asks for code from elsewhere for its attention .somebody/kernels.",
    ),
    (said(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}), "is that of quantized weights"),
]


@pytest.mark.parametrize(("change", "message"), FOLDERS)
def test_a_folder_runs_no_code_and_reaches_no_other_file(change, message, path, tmp_path, capsys, monkeypatch):
    """And nobody is asked at the terminal whether it may."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody was asked"))
    folder = tmp_path / "other"
    shutil.copytree(path, folder)
    change(folder)
    with pytest.raises(ValueError, match=message):
        load(folder)
    assert "code ran" not in capsys.readouterr().out


def test_whole_pieces_beside_their_list_are_read(path, tmp_path):
    load(path).save_pretrained(tmp_path / "pieces", max_shard_size="10kB")
    assert len(list((tmp_path / "pieces").glob("*.safetensors"))) > 1
    assert torch.equal(load(tmp_path / "pieces")(TOKENS).logits, load(path)(TOKENS).logits)


def test_a_folder_that_is_not_there_and_a_class_that_is_none(path, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder .*download the checkpoint first"):
        configuration(tmp_path / "absent")
    with pytest.raises(ValueError, match="transformers has no class of models 'os'"):
        load(path, "os")
    config = configuration(path)
    config._attn_implementation = "sdpa"
    config.quantization_config = {"quant_method": "gptq"}
    with pytest.raises(ValueError, match="this configuration is that of quantized weights"):
        skeleton(config)
