"""`python -m mpckit bench shapes [NAME …] [--device cuda]`: transformers of well-known shapes, unmodified.

Weights are random, none of them zero, and party 1's; the 128 tokens are secret and party 0's, so that the look-up of
embeddings counts, and so do the last norm and the head. Both parties run here, one after the other. What is dealt is
dealt when it is drawn, used and forgotten: so keys never take more room than one layer's. Those seconds are offline.
The answer is compared with plaintext torch. Needs `pip install 'mpckit[hf]'`.
"""

import json
import time

import torch

from ..nn import private
from ..runtime.device import settle
from ..runtime.meter import Link
from ..runtime.report import duration, size
from ..runtime.session import Session
from ..tensor import secret
from .options import Options

TAKES = ("device", "suite", "json")
KEYS = (
    "case online_s offline_s lan_s wan_s sent_bytes rounds key_bytes offline_bytes max_err same_answer failed".split()
)
TOKENS = 128
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


def build(auto: str, config: str, different: dict) -> torch.nn.Module:
    """The model with random weights, also those that begin as 0 or 1."""
    import transformers  # heavy, and no other bench wants it

    torch.manual_seed(0)
    transformers.utils.logging.set_verbosity_error()
    model = getattr(transformers, auto).from_config(getattr(transformers, config)(**different)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p), alpha=0.02)
    return model


def measure(model: torch.nn.Module, tokens: torch.Tensor, device: str = "cpu", suite: str = "fss") -> dict:
    """What one inference costs, by the names in `KEYS` from the second on to `same_answer`."""
    everywhere = torch.ones_like(tokens)  # without it some models look for padding among the tokens
    with torch.no_grad():
        expected = model(tokens, attention_mask=everywhere).logits
        with Session(2, device=device, suite=suite) as session:
            ready = private(model, owner=1)
            dealt, start = session.meter.dealt_seconds, time.perf_counter()
            out = ready(secret(tokens, owner=0), attention_mask=everywhere).logits.reveal(to=0)
            settle(session.device)
            spent, dealt = time.perf_counter() - start, session.meter.dealt_seconds - dealt
            report = session.report()
    out = out.cpu()
    same = (out.argmax(-1) == expected.argmax(-1)).double().mean()
    return {
        "online_s": spent - dealt,
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
    """A row for each model; one that finds no room says so under `failed`."""
    for name in names:
        row = dict.fromkeys(KEYS) | {"case": name}
        try:
            model = build(*SHAPES[name])
            tokens = torch.randint(5, model.config.vocab_size, (1, TOKENS))
            row |= measure(model, tokens, device, suite)
        except (MemoryError, torch.OutOfMemoryError) as error:
            row["failed"] = str(error).splitlines()[0]
        model = None  # before the next one is made
        yield row


def line(row: dict) -> str:
    if row["failed"]:
        return f"{row['case']:14} no room: {row['failed']}"
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
