"""`python -m mpckit bench plan [name …]`: the bill of a language model of full size, from shapes alone.

Weights are meta tensors, so that seven billion of them take no memory. The client embeds its text by itself, and the
head is left out: the figures are those of the blocks, which published ones are about. Fixed point as there: 12 fraction
bits in a ring of 52, packed on the wire, exact truncation, and a declared range of 32 bits for what is compared.
"""

import json
import time
from dataclasses import dataclass

import torch

from ..nn import private
from ..offline.plan import plan
from ..ring import Ring
from ..runtime.report import size
from ..tensor import secret
from ..zoo.hugging import skeleton
from .options import Options

TAKES = ("suite", "json")
TOKENS = 128
RING, RANGE = Ring(52, 12), 32
KEYS = "model tokens layers rounds sent_bytes received_bytes key_bytes offline_bytes setup_bytes seconds".split()


@dataclass(frozen=True)
class Shape:
    """`config` names a class of `transformers`; `options` what it is made with."""

    config: str
    options: dict
    width: int


MODELS = {
    "gpt2": Shape("GPT2Config", {}, 768),
    "bert-base": Shape("BertConfig", {}, 768),
    "llama2-7b": Shape("LlamaConfig", {"max_position_embeddings": 4096}, 4096),
}


def bill(name: str, layers: int | None = None, suite: str = "fss") -> dict:
    """One row of the table, by the names in `KEYS`: of one inference on 128 tokens, by one party."""
    import transformers

    start, shape = time.perf_counter(), MODELS[name]
    config = getattr(transformers, shape.config)(**shape.options)
    if layers is not None:
        config.num_hidden_layers = layers
    model = skeleton(config, "AutoModel")
    x = torch.empty(1, TOKENS, shape.width, device="meta")
    found = plan(infer, model, x, suite=suite, truncation="exact", ring=RING, range_bits=RANGE)
    if found.stopped:
        raise RuntimeError(f"the plan of {name} stopped: {found.stopped}")
    report = found.report
    sent = report.sent()
    row = name, TOKENS, config.num_hidden_layers, report.rounds(), sent, sent  # two parties: as much comes as goes
    volumes = report.key_bytes, report.offline_bytes, report.sent("setup"), time.perf_counter() - start
    return dict(zip(KEYS, (*row, *volumes)))


def infer(model, x):
    with torch.no_grad():
        return private(model, owner=1)(inputs_embeds=secret(x, owner=0)).last_hidden_state


def main(names: list[str], options: Options) -> int:
    """Print a table, or one JSON object per line. Returns the exit status."""
    if unknown := [name for name in names if name not in MODELS]:
        print(f"no model {', '.join(unknown)}; there are {', '.join(MODELS)}")
        return 2
    suite = options.suite or "fss"
    if not options.json:
        print(f"two parties, suite {suite}, exact truncation, {RING}, {TOKENS} tokens; sent and received by one party")
        print(
            f"{'model':12}{'layers':>7}{'rounds':>8}{'sent+rec.':>11}"
            f"{'keys':>10}{'dealt':>10}{'set-up':>10}{'planned in':>12}"
        )
    for name in names or MODELS:
        row = bill(name, suite=suite)
        if options.json:
            print(json.dumps(row), flush=True)
            continue
        volumes = (
            row["sent_bytes"] + row["received_bytes"],
            row["key_bytes"],
            row["offline_bytes"],
            row["setup_bytes"],
        )
        print(
            f"{name:12}{row['layers']:>7}{row['rounds']:>8}{size(volumes[0]):>11}"
            f"{''.join(f'{size(v):>10}' for v in volumes[1:])}{row['seconds']:>10.0f} s",
            flush=True,
        )
    return 0
