"""A GPT that writes plays one character at a time, in plain torch: nothing here knows that it will run on shares."""

import gzip

import torch
import torch.nn.functional as F
from safetensors.torch import load
from torch import Tensor, nn

from ..data import checked

LETTERS = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Characters:
    """Text to ids and back: the 65 characters of the plays, each one token."""

    def __len__(self) -> int:
        return len(LETTERS)

    def encode(self, text: str) -> Tensor:
        """Ids, int64 [len(text)]. Raises ValueError naming characters that the model has never seen."""
        if unknown := sorted(set(text) - set(LETTERS)):
            raise ValueError(
                f"{', '.join(map(repr, unknown))}: not among the {len(LETTERS)} characters of this model, which are "
                f"{LETTERS!r}; leave them out, or write them with these"
            )
        return torch.tensor([LETTERS.index(c) for c in text], dtype=torch.int64)

    def decode(self, ids) -> str:
        """The text of ids, a tensor or numbers."""
        return "".join(LETTERS[int(i)] for i in ids)


def plays(held_out: bool = True) -> str:
    """Shakespeare: the last tenth of the text, on which no model here was trained, or the nine tenths before it."""
    text = gzip.decompress(checked("tinyshakespeare.txt.gz")).decode()
    cut = len(text) * 9 // 10
    return text[cut:] if held_out else text[:cut]


class Attention(nn.Module):
    """Each position looks back at those before it and at itself."""

    def __init__(self, width: int, heads: int, layer: int):
        super().__init__()
        self.heads, self.layer = heads, layer
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, cache=None) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        if cache is not None:
            k, v = cache.update(k, v, self.layer)
        new, known = q.shape[-2], k.shape[-2]
        # One new position may see all there are, so it needs no mask; the first ones of all see a triangle.
        mask = torch.ones(new, known, dtype=torch.bool).tril(known - new) if 1 < new < known else None
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=1 < new == known)
        return self.out(y.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Look around, then think: attention and two linear layers, each added to what was there."""

    def __init__(self, width: int, heads: int, layer: int):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads, layer)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, cache=None) -> Tensor:
        x = x + self.attention(self.norm1(x), cache)
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """Ids [batch, n], or rows that choose one [batch, n, tokens] → logits [batch, n, tokens] of what comes next.

    With a cache (`mpckit.generate.Cache`), x holds only the positions that it does not know yet. `logits_to_keep=1`: of
    the last position only.
    As it is shipped: 4 layers of width 128, at most 128 positions; the matrix that reads tokens also writes them.
    """

    def __init__(self, tokens=65, length=128, layers=4, width=128, heads=4):
        super().__init__()
        self.length, self.vocabulary = length, tokens
        self.tokens, self.positions = nn.Embedding(tokens, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads, i) for i in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, tokens, bias=False)
        self.head.weight = self.tokens.weight
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            elif weight.dim() == 2:  # what is added to the residual stream starts small, as there are many of them
                small = name.endswith(("out.weight", "mlp.2.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * layers) ** 0.5 if small else 0.02)

    def forward(self, x: Tensor, cache=None, logits_to_keep: int = 0) -> Tensor:
        known = cache.get_seq_length() if cache is not None else 0
        if known + x.shape[1] > self.length:
            raise ValueError(f"{known + x.shape[1]} positions: this model has {self.length}")
        chosen = self.tokens(x) if x.dim() == 2 else x @ self.tokens.weight
        x = chosen + self.positions.weight[known : known + x.shape[1]]
        for block in self.blocks:
            x = block(x, cache)
        return self.head(self.norm(x[:, -logits_to_keep:]))


def gpt(pretrained: bool = False) -> GPT:
    """A GPT in evaluation mode; `pretrained=True` loads the shipped weights (made by scripts/train_gpt.py).

    Raises ChecksumError when the weights are damaged.
    """
    model = GPT().eval()
    if pretrained:
        weights = {name: t.float() for name, t in load(checked("gpt_shakespeare.safetensors")).items()}
        model.load_state_dict(weights | {"head.weight": weights["tokens.weight"]})  # tied, so written once
    return model
