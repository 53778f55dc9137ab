"""A vision transformer, by Hugging Face's transformers."""

from pathlib import Path

from torch import Tensor, nn

from ..hugging import read
from .checkpoint import CheckpointError


class Logits(nn.Module):
    """A classifier of Hugging Face's that gives its logits [n, classes], as other models here do."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(pixel_values=x).logits


def vit_b16(checkpoint: str | Path | None = None, classes: int = 1000) -> Logits:
    """ViT-B/16 in evaluation mode: pictures [n, 3, 224, 224] → logits; needs transformers (mpckit[hf]).

    `checkpoint` is a folder of `save_pretrained` or a name on the hub, such as "google/vit-base-patch16-224", with
    safetensors; without one the weights are random, for `classes` classes. Raises CheckpointError for one that cannot
    be found, is not in safetensors, or lacks a part of the classifier; ModuleNotFoundError without transformers.
    """
    try:
        from transformers import ViTConfig, ViTForImageClassification
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("a ViT needs transformers: pip install 'mpckit[hf]'", name="transformers") from error
    if checkpoint is None:
        return Logits(ViTForImageClassification(ViTConfig(num_labels=classes))).eval()
    try:
        model, found = read(ViTForImageClassification, checkpoint, use_safetensors=True, output_loading_info=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{checkpoint} cannot be loaded as a vision transformer: {error}") from error
    if lacking := sorted(found["missing_keys"]):
        raise CheckpointError(f"{checkpoint} has no weights for {', '.join(lacking[:4])}: take one made to classify")
    return Logits(model).eval()
