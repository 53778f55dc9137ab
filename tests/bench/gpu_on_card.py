"""`mpckit bench --device cuda` on a device that stands in for a GPU, for `test_bench_gpu.py`: all cases, small ones."""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "kernels"))
from card import DEVICE, Card  # noqa: E402  (changes torch: only in a process of its own)
from host import build  # noqa: E402

from mpckit.__main__ import main  # noqa: E402
from mpckit.bench import gpu, kernels, shapes  # noqa: E402
from mpckit.runtime import device as devices  # noqa: E402

BERT = {"vocab_size": 40, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
GPT = shapes.WARM | {"n_embd": 8}
NEO = {"hidden_size": 8, "num_layers": 2, "attention_types": [[["global", "local"], 1]], "num_heads": 2} | {
    "vocab_size": 40, "max_position_embeddings": 8, "intermediate_size": 16, "window_size": 4,
}  # fmt: skip
LLAMA = BERT | {"num_key_value_heads": 2, "max_position_embeddings": 8}
SMALL = {
    "bert-base": BERT,
    "gpt2": GPT,
    "gpt-neo-1.3b": NEO,
    "llama2-7b": LLAMA,
    "llama2-13b": LLAMA | {"hidden_size": 16},
}


def usable(name, rank=None):
    return DEVICE


if __name__ == "__main__":
    for module in (devices, kernels, shapes):
        module.usable = usable
    shapes.SHAPES = {name: (*shapes.SHAPES[name][:2], small) for name, small in SMALL.items()}
    shapes.TOKENS, kernels.FULL = 3, 1 << 7
    shapes.room_for = lambda model, device: 1000 if type(model).__name__ == "LlamaForCausalLM" else None
    gpu.here = lambda device: f"Measured on: a stand-in, {device}"
    with tempfile.TemporaryDirectory() as folder:
        runner = build(Path(folder))
    with Card(runner):
        sys.exit(main(["bench", "--device", "cuda", "--repeat", "1"]))
