"""Train the GPT of mpckit.zoo on Shakespeare's plays and write its weights (float16) with their checksum.

    python scripts/train_gpt.py

About seven minutes on one core. It repeats on the same machine and torch build; elsewhere the last bits of a sum may
differ, and so may the weights.
"""

import argparse
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from mpckit.zoo.data import DATA, seal
from mpckit.zoo.language.gpt import GPT, Characters, plays

SEED, STEPS, BATCH, WARM = 1, 2500, 16, 100
RATE_MATRIX, RATE_OTHER, DECAY = 0.02, 3e-3, 0.05


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DATA, help="folder to write to (default: the package's data)")
    parser.add_argument("--steps", type=int, default=STEPS)
    args = parser.parse_args()

    text, held_out = (Characters().encode(plays(held_out=part)) for part in (False, True))
    model = train(text, held_out, args.steps)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "gpt_shakespeare.safetensors"
    weights = model.state_dict()
    del weights["head.weight"]  # tied: the same as tokens.weight
    save_file({name: t.half().contiguous() for name, t in weights.items()}, path)
    seal(path.name, folder=args.out)
    model.load_state_dict({name: t.float() for name, t in load_file(path).items()}, strict=False)
    print(f"as written: {loss_of(model, held_out):.4f} nats per character of held-out text")


def train(text: torch.Tensor, held_out: torch.Tensor, steps: int) -> GPT:
    """Matrices by Muon, which wants few steps; all else by Adam. The rate rises for a while, then falls to nothing."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # the order of additions, and so the result, depends on the number of threads
    model = GPT()
    matrices = [w for name, w in model.blocks.named_parameters() if w.dim() == 2]
    others = [w for w in model.parameters() if all(w is not m for m in matrices)]
    optimizers = [
        torch.optim.Muon(matrices, RATE_MATRIX, weight_decay=DECAY),
        torch.optim.AdamW(others, RATE_OTHER, betas=(0.9, 0.99), weight_decay=0.0),
    ]
    schedules = [torch.optim.lr_scheduler.LambdaLR(o, lambda t: rate_at(t, steps)) for o in optimizers]
    start, mean = time.perf_counter(), None
    for step in range(steps):
        at = torch.randint(len(text) - model.length, (BATCH,))
        rows = torch.stack([text[i : i + model.length + 1] for i in at])
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        loss.backward()
        for o, schedule in zip(optimizers, schedules):
            o.step()
            schedule.step()
            o.zero_grad()
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        if (step + 1) % 250 == 0:
            some = loss_of(model, held_out[:20_000])
            print(f"step {step + 1}: {mean:.3f}, held out {some:.3f}, {time.perf_counter() - start:.0f} s", flush=True)
    return model.eval()


def rate_at(step: int, steps: int) -> float:
    return (step + 1) / WARM if step < WARM else 0.5 * (1 + math.cos(math.pi * (step - WARM) / (steps - WARM)))


@torch.no_grad()
def loss_of(model: GPT, ids: torch.Tensor) -> float:
    """Mean nats per character, in windows of the model's length side by side."""
    count = (len(ids) - 1) // model.length
    x, y = (ids[k : k + count * model.length].view(count, -1).split(64) for k in (0, 1))
    total = sum(F.cross_entropy(model(a).flatten(0, 1), b.flatten(), reduction="sum").item() for a, b in zip(x, y))
    return total / (count * model.length)


if __name__ == "__main__":
    main()
