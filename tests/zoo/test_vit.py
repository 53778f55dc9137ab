"""A vision transformer of Hugging Face's, as a plain module from pictures to logits:

    vit_b16("google/vit-base-patch16-224")
"""

import sys

import pytest
import torch

import mpckit as mk
from mpckit.zoo import vit_b16
from mpckit.zoo.vision import CheckpointError

X = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def small():
    transformers = pytest.importorskip("transformers", reason="mpckit[hf] is not installed")
    config = transformers.ViTConfig(
        image_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_labels=3
    )
    torch.manual_seed(0)
    return transformers.ViTForImageClassification(config).eval()


def test_the_example(small, tmp_path):
    small.save_pretrained(tmp_path)
    model = vit_b16(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(model(X), small(X).logits)
    assert not model.training


@pytest.mark.parametrize("suite", ["bits", "fss"])
def test_encrypted(small, suite, tmp_path):
    small.save_pretrained(tmp_path)
    model = vit_b16(tmp_path)
    with torch.no_grad(), mk.simulate(suite=suite):
        got = mk.private(model, owner=1)(mk.secret(X, owner=0)).reveal()
        torch.testing.assert_close(got, model(X), atol=2e-3, rtol=0)


def test_it_has_the_published_size():
    pytest.importorskip("transformers", reason="mpckit[hf] is not installed")
    with torch.device("meta"):
        model = vit_b16()
    assert sum(p.numel() for p in model.parameters()) == 86_567_656


def test_other_pictures_are_refused(small, tmp_path):
    small.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="size"):
        vit_b16(tmp_path)(torch.zeros(1, 3, 28, 28))
    with pytest.raises(ValueError, match="channel"):
        vit_b16(tmp_path)(torch.zeros(1, 1, 32, 32))


def test_a_checkpoint_without_a_classifier_is_refused(small, tmp_path):
    small.vit.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="has no weights for classifier.bias, classifier.weight: take one"):
        vit_b16(tmp_path)


def test_pickles_are_not_read(small, tmp_path):
    small.config.save_pretrained(tmp_path)
    torch.save(small.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="cannot be loaded as a vision transformer: .*safetensors"):
        vit_b16(tmp_path)


def test_without_transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError, match=r"a ViT needs transformers: pip install 'mpckit\[hf\]'"):
        vit_b16()
