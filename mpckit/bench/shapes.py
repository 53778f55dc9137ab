"""`python -m mpckit bench shapes [NAME …] [--device cuda]`: transformers of well-known shapes, unmodified.

Weights are random, none of them zero, and party 1's; the 128 tokens are secret and party 0's, so that the look-up of
embeddings counts, and so do the last norm and the head. Both parties run here, one after the other. What is dealt is
dealt when it is drawn, used and forgotten: so keys never take more room than one layer's. Those seconds are offline.
Where all pieces of the weights would not fit a GPU, one public word each is kept, there or on the host. What is
compared is promised to have `RANGE` bits. The answer is compared with plaintext torch. Needs mpckit[hf].
"""

import json
import time

import torch
from torch.overrides import TorchFunctionMode

from ..nn import private
from ..runtime.device import settle, usable
from ..runtime.meter import Link
from ..runtime.report import duration, size
from ..runtime.session import Session
from ..tensor import secret
from .options import Options

TAKES = ("device", "suite", "json")
KEYS = (
    "case online_s offline_s lan_s wan_s sent_bytes rounds key_bytes offline_bytes max_err same_answer failed".split()
)
TOKENS, RANGE = 128, 40
WARM = {
    "vocab_size": 64,
    "n_positions": 8,
    "n_embd": 16,
    "n_layer": 1,
    "n_head": 2,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
FAST, SLOW = Link("LAN", 0.05e-3, 9.4e9 / 8), Link("WAN", 60e-3, 305e6 / 8)  # as SIGMA measured on
CAUSAL = "AutoModelForCausalLM"
SHAPES = {  # name: (what transformers makes of it, its configuration, what differs from the configuration's default)
    "bert-base": ("AutoModelForSequenceClassification", "BertConfig", {}),
    "gpt2": (CAUSAL, "GPT2Config", {}),
    "gpt-neo-1.3b": (CAUSAL, "GPTNeoConfig", {}),
    "llama2-7b": (CAUSAL, "LlamaConfig", {}),
    "llama2-13b": (
        CAUSAL, "LlamaConfig",
        {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40, "num_attention_heads": 40},
    ),
}  # fmt: skip


class Unfilled(TorchFunctionMode):
    """While this is active, nobody draws numbers for weights: thirteen billion would take minutes."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        drawing = getattr(func, "__module__", None) == "torch.nn.init" or getattr(func, "__name__", "") in (
            "normal_",
            "uniform_",
        )
        target = kwargs.get("tensor", args[0] if args else None)
        return target if drawing and isinstance(target, torch.nn.Parameter) else func(*args, **kwargs)


def build(auto: str, config: str, different: dict, device: str = "cpu") -> torch.nn.Module:
    """The model, on the CPU, with random weights, also those that begin as 0 or 1; drawn on `device`, which is faster.

    Matrices are normal with the deviation that transformers' own have after a step or two, norms near 1.
    """
    import transformers  # heavy, and no other bench wants it

    torch.manual_seed(0)
    transformers.utils.logging.set_verbosity_error()
    with Unfilled():
        model = getattr(transformers, auto).from_config(getattr(transformers, config)(**different)).eval()
    with torch.no_grad():
        for module in model.modules():
            for name, p in module.named_parameters(recurse=False):
                if not p.is_meta:
                    norm = p.dim() == 1 and name == "weight"
                    p.copy_(torch.randn(p.shape, device=device) * (0.02 if p.dim() == 1 else 0.028) + norm)
    return model


def room_for(model: torch.nn.Module, device: torch.device) -> int | None:
    """The session's `weight_memory`: None where all pieces of both parties fit."""
    if device.type != "cuda":
        return None
    free, pieces = torch.cuda.mem_get_info(device)[0], 5 * 8 * sum(p.numel() for p in model.parameters())
    return None if pieces < free * 0.6 else int(free * 0.65)


def measure(
    model: torch.nn.Module, tokens: torch.Tensor, device: str = "cpu", suite: str = "fss",
    weight_memory: int | None = None,
) -> dict:  # fmt: skip
    """What one inference costs, by the names in `KEYS` from the second on to `same_answer`."""
    everywhere = torch.ones_like(tokens)  # without it some models look for padding among the tokens
    with torch.no_grad():
        expected = model(tokens, attention_mask=everywhere).logits
        options = {"device": device, "suite": suite, "range_bits": RANGE, "weight_memory": weight_memory}
        with Session(2, **options) as session:
            ready = private(model, owner=1)
            dealt, start = session.report().offline_seconds, time.perf_counter()
            out = ready(secret(tokens, owner=0), attention_mask=everywhere).logits.reveal(to=0)
            settle(session.device)
            spent, report = time.perf_counter() - start, session.report()
    out = out.cpu()
    same = (out.argmax(-1) == expected.argmax(-1)).double().mean()
    return {
        "online_s": spent - (report.offline_seconds - dealt),
        "offline_s": report.offline_seconds,
        "lan_s": report.seconds(FAST),
        "wan_s": report.seconds(SLOW),
        "sent_bytes": report.sent(),
        "rounds": report.rounds(),
        "key_bytes": report.key_bytes,
        "offline_bytes": report.offline_bytes,
        "max_err": float((out - expected).abs().max()),
        "same_answer": float(same),
    }


def rows(names: list[str], device: str, suite: str):
    """A row for each model; one that finds no room, or meets another error of the card's, says so under `failed`."""
    where = usable(device)
    if where.type != "cpu":  # what is compiled or loaded at its first use is no part of an inference
        measure(build(CAUSAL, "GPT2Config", WARM, device), torch.tensor([[5, 6, 7]]), device, suite)
    for name in names:
        row = dict.fromkeys(KEYS) | {"case": name}
        try:
            model = build(*SHAPES[name], device)
            tokens = torch.randint(5, model.config.vocab_size, (1, TOKENS))
            row |= measure(model, tokens, device, suite, room_for(model, where))
        except (MemoryError, torch.OutOfMemoryError) as error:
            row["failed"] = str(error).splitlines()[0]
        except RuntimeError as error:  # what was measured before is not lost with it
            row["failed"] = f"{type(error).__name__}: {f'{error} '.splitlines()[0].strip()}"
        model = None  # before the next one is made
        if where.type == "cuda":
            torch.cuda.empty_cache()
        yield row


def line(row: dict) -> str:
    if row["failed"]:
        return f"{row['case']:14} failed: {row['failed']}"
    times = "".join(f"{duration(row[key]):>10}" for key in ("online_s", "offline_s", "lan_s", "wan_s"))
    volumes = f"{size(row['sent_bytes']):>10}{row['rounds']:>8}{size(row['key_bytes']):>10}"
    return f"{row['case']:14}{times}{volumes}{row['max_err']:>11.2g}{row['same_answer']:>7.0%}"


def main(names: list[str], options: Options) -> int:
    """Print a table, or one JSON object per line. Returns the exit status."""
    if unknown := [name for name in names if name not in SHAPES]:
        print(f"no shape {', '.join(unknown)}; shapes are: {' '.join(SHAPES)}")
        return 2
    if not options.json:
        print(
            f"{'shape':14}{'online':>10}{'offline':>10}{'on LAN':>10}{'on WAN':>10}{'sent':>10}{'rounds':>8}"
            f"{'keys':>10}{'max error':>11}{'same':>7}"
        )
    for row in rows(names or list(SHAPES), options.device or "cpu", options.suite or "fss"):
        print(json.dumps(row) if options.json else line(row), flush=True)
    return 0
