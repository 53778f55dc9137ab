"""ViT: pictures cut into patches by a convolution."""

import pytest
import torch
from family import SUITES, build, logits, same, transformers

PICTURES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model():
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=16, patch_size=4
    )
    return build("AutoModelForImageClassification", config)


@SUITES
def test_logits(model, suite, parties):
    same(logits, model, PICTURES, suite=suite, parties=parties)
