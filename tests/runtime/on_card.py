"""Programs on the CPU and on a card, for `test_device.py`, which runs this file in a process of its own: one JSON
object a program, with what was equal, what ran, and how often the host waited for a value between two rounds.
"""

import importlib.util
import json
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

import mpckit as mk
from mpckit import nn
from mpckit.correlations import masked
from mpckit.runtime import device as devices
from mpckit.runtime.connect import answering
from mpckit.runtime.dealing import DealerClient, serve
from mpckit.runtime.doors import listen
from mpckit.runtime.wire import TCPWire

sys.path.insert(0, str(Path(__file__).parent))
from beside import TOKEN, in_threads  # noqa: E402


def normal(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def small_net():
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(),
        torch.nn.Linear(48, 5),
    )  # fmt: skip


def inference(x):
    return mk.private(small_net(), owner=1)(x)


def training(x):
    model = mk.private(small_net(), owner=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    (model(x) ** 2).mean().backward()
    optimizer.step()
    return model[4].weight


def attention(x):
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu").eval()
    torch.manual_seed(2)
    for p in layer.parameters():
        torch.nn.init.normal_(p, std=0.3)
    with torch.no_grad():
        return mk.private(layer, owner=1)(x)


def transformer(kind, **options):
    """A tiny one of Hugging Face, on secret tokens."""

    def program(x):
        import transformers

        config = {
            "vocab_size": 40, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "max_position_embeddings": 8, "pad_token_id": 0, "bos_token_id": 0,
        }  # fmt: skip
        torch.manual_seed(3)
        model = getattr(transformers, f"{kind}Model")(
            getattr(transformers, f"{kind}Config")(**config, **options)
        ).eval()
        with torch.no_grad():
            private = mk.private(model, owner=1)
            return private(x, attention_mask=torch.tensor([[1, 1, 0]])).last_hidden_state

    return program


PROGRAMS = {
    "products": (lambda x: (x @ x.mT * x.sum() - x.square() @ x).mean(), normal(6, 6)),
    "compare": (lambda x: torch.where((x > 0.3) & (x != 1), x, -1.0), normal(70)),
    "maximum": (lambda x: x.max(-1).values, normal(3, 5)),
    "top": (lambda x: torch.topk(x, 2).values, normal(2, 4)),
    "softmax": (lambda x: torch.softmax(x.masked_fill(torch.eye(4).bool(), -torch.inf), -1), normal(4, 4)),
    "functions": (lambda x: F.gelu(x) + x.sigmoid() + (x * x + 1).rsqrt() + (x * x + 1).log(), normal(9)),
    "norm": (lambda x: F.layer_norm(x, (6,)), normal(3, 6)),
    "pieces": (lambda x: torch.cat((x[1:, ::2], x.flip(0)[:2, 1:3]), 1).cumsum(0), normal(3, 4)),
    "inference": (inference, normal(1, 1, 8, 8)),
    "training": (training, normal(2, 1, 8, 8)),
    "attention": (attention, normal(1, 3, 8)),
    "bert": (transformer("Bert"), torch.tensor([[5, 6, 0]])),
    "llama": (transformer("Llama", num_key_value_heads=1), torch.tensor([[5, 6, 0]])),
}
SESSIONS = {
    "bits": {"suite": "bits"},
    "three parties": {"parties": 3, "suite": "bits"},
    "exact": {"suite": "bits", "truncation": "exact"},
    "fss": {"suite": "fss"},
    "fss, keys on disk": {"suite": "fss", "key_memory": 0},
    "fss, weights on the host": {"suite": "fss", "weight_memory": 300},
}
BITS_ONLY = ("pieces", "top", "bert", "llama")  # what else is in them differs between the suites as elsewhere
RUNS = [(p, s) for p in PROGRAMS for s in ("bits", "fss") if s == "bits" or p not in BITS_ONLY]
RUNS += [("compare", s) for s in SESSIONS if s not in ("bits", "fss", "fss, weights on the host")]
APART = ("compare", "softmax", "functions")  # no models, whose making threads would mix up
RUNS += [(p, "fss, weights on the host") for p in ("inference", "training", "attention")]


def run(program, x, device, card=None, **options):
    with mk.simulate(device=device, insecure_seed=5, **options) as session:
        x = mk.secret(x, owner=0)
        if card is not None:
            card.looks.clear()
        out = program(x)
        looks = list(card.looks) if card is not None else []
        return out.reveal(), session, looks


def apart(program, x, device, around, **options):
    """The same by two parties who are joined by sockets, and a dealer: [(result, its session)]."""
    doors = [listen() for _ in range(3)]
    places = [door.address for door in doors]

    def party(p):
        with around(), TCPWire.connect(doors[p], p, places[:2], TOKEN) as wire:
            line = DealerClient(places[2], p, TOKEN)
            session = mk.Session(2, here=(p,), wire=wire, dealer=line, device=device, insecure_seed=5, **options)
            with session:
                out = program(mk.secret(x if p == 0 else x.to("meta"), owner=0)).reveal()
            wire.finish()
            line.close()
            return out.cpu(), session

    dealer = partial(serve, doors[2], TOKEN, range(2), answering(2))
    *found, _ = in_threads([partial(party, 0), partial(party, 1), dealer])
    if errors := [e for e in found if isinstance(e, BaseException)]:
        raise errors[0]
    return found


def main():
    sys.path.insert(0, str(Path(__file__).parents[1] / "kernels"))
    from card import DEVICE, Card, cards  # changes torch: only in a process of its own
    from host import build

    nn.AT_ONCE = 100  # words of weights: several groups, and of the small net one stays on the card and one does not
    masked.CHUNK = 32  # elements: several chunks of keys, which a card evaluates together
    devices.usable = lambda name, rank=None: DEVICE if name == "card" else torch.device(name)
    devices.settle = lambda device: cards and cards[-1].looks.append("settle")
    with tempfile.TemporaryDirectory() as folder:
        runner = build(Path(folder))
    for name, kind in RUNS:
        if name in ("bert", "llama") and importlib.util.find_spec("transformers") is None:
            continue  # the test says that it is skipped
        (program, x), options = PROGRAMS[name], SESSIONS[kind]
        expected, here, _ = run(program, x, "cpu", record=True, **options)
        with Card(runner) as card:
            found, there, _ = run(program, x, "card", record=True, **options)
            again, _, looks = run(program, x, "card", card, **options)
            same = [torch.equal(expected, v.cpu()) for v in (found, again)]
        row = {
            "program": name, "session": kind, "device": str(found.device), "equal": same, "looks": looks,
            "transcript": list(here.transcript) == list(there.transcript), "messages": len(here.transcript),
            "fetched": there.weights.fetched if there.weights else 0,
            "kernels": sorted(set(card.launched)), "bill": here.report().sent() == there.report().sent(),
        }  # fmt: skip
        print(json.dumps(row), flush=True)
    turns = threading.Lock()  # what stands in for a GPU runs one kernel at a time

    def one_by_one(*args):
        with turns:
            runner(*args)

    for name in APART:
        (program, x), options = PROGRAMS[name], {"suite": "fss", "record": True}
        expected, here, _ = run(program, x, "cpu", **options)
        found = apart(program, x, "card", lambda: Card(one_by_one), **options)
        row = {
            "program": name, "session": "apart", "device": str(found[0][1].device),
            "equal": [torch.equal(expected, v) for v, _ in found],
            "transcript": [m for m in here.transcript if m[0] == 0] == list(found[0][1].transcript)
            and [m for m in here.transcript if m[0] == 1] == list(found[1][1].transcript),
        }  # fmt: skip
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
