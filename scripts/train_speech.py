"""Train the two speech networks of mpckit.zoo on the Free Spoken Digit Dataset; write weights, test clips, checksums.

    python scripts/train_speech.py FSDD.npz                    both, half an hour on one core
    python scripts/train_speech.py FSDD.npz --only keyword     one of them (keyword, letters or clips)

FSDD.npz has the 3,000 recordings one after another: `audio` int16 at 8 kHz (`rate`), and of each its `length`, `digit`,
`speaker` and `take`. Takes 0 to 4 of everybody are the official test set: never trained on, and shipped. The weights
repeat on the same machine and torch build; elsewhere the last bits of a sum may differ, and with them a clip or two.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

import mpckit as mk
from mpckit.zoo.data import DATA, seal
from mpckit.zoo.speech import LETTERS, RATE, Clips, Keyword, Letters, level, log_mel, spell
from mpckit.zoo.speech.clips import joined

SEED = 5
FULL, SHIPPED = 3000, 300


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the full data set as one .npz file (see above)")
    parser.add_argument("--only", choices=["clips", "keyword", "letters"])
    parser.add_argument("--steps", type=int, help="training steps, fewer than usual to try the script out")
    parser.add_argument("--out", type=Path, default=DATA, help="folder to write to (default: the package's data)")
    args = parser.parse_args()
    torch.set_num_threads(1)  # the order of additions, and so the result, depends on the number of threads

    train, test = read(args.data)
    args.out.mkdir(parents=True, exist_ok=True)
    jobs = {"clips": ship, "keyword": train_keyword, "letters": train_letters}
    for name in [args.only] if args.only else jobs:
        jobs[name](train, test, args)


def read(path: Path) -> tuple[Clips, Clips]:
    """Training and test clips."""
    file = np.load(path, allow_pickle=False)
    if len(file["length"]) != FULL or file["rate"] != RATE or file["length"].sum() != len(file["audio"]):
        raise SystemExit(
            f"{path} is not the data set: {FULL} clips at {RATE} Hz, and lengths that add up, are expected"
        )
    clips = Clips.of(file)
    test = file["take"] < 5
    return clips[np.flatnonzero(~test)], clips[np.flatnonzero(test)]


def ship(train: Clips, test: Clips, args):
    """The test clips as the package has them."""
    assert len(test) == SHIPPED
    test.save(args.out / "fsdd_test300.npz")
    seal("fsdd_test300.npz", folder=args.out)


def train_keyword(train: Clips, test: Clips, args):
    steps, batch = args.steps or 4000, 64
    torch.manual_seed(SEED)
    model = with_norms(Keyword())
    optimise = Optimiser(model, 4e-3, steps)
    for step in range(steps):
        rows = torch.randint(len(train), (batch,)).tolist()
        audio = torch.stack([placed(varied(level(train[i][0])), Keyword.samples) for i in rows])
        x = masked(log_mel(noisy(audio), Keyword.hop))[:, None]
        loss = F.cross_entropy(model(x), torch.tensor([train[i][1] for i in rows]), label_smoothing=0.05)
        optimise(loss, step)
    model = halved(without_norms(model))
    with torch.no_grad():
        x = torch.stack([Keyword.features(audio) for audio, _ in test])
        right = (model(x).argmax(1) == test.digits).double().mean().item()
    print(f"keyword: {right:.2%} of {len(test)} test clips", flush=True)
    write(model, "keyword_fsdd.safetensors", args.out)


def train_letters(train: Clips, test: Clips, args):
    steps, batch = args.steps or 3000, 24
    torch.manual_seed(SEED)
    generator = np.random.default_rng(SEED)
    model = with_norms(Letters(), dropout=0.1)
    optimise = Optimiser(model, 3e-3, steps)
    for step in range(steps):
        pairs = [joined(train, generator) for _ in range(batch)]
        audio = [varied(audio) for audio, _ in pairs]
        texts = [torch.tensor([LETTERS.index(c) for c in text]) for _, text in pairs]
        longest = max(map(len, audio))
        whole = noisy(torch.stack([F.pad(a, (0, longest - len(a))) for a in audio]))
        x = masked(torch.stack([log_mel(Letters.surrounded(a), Letters.hop) for a in whole]))
        scores = model(x).log_softmax(1).permute(2, 0, 1)
        took = torch.tensor([Letters.steps(len(a)) for a in audio])
        loss = F.ctc_loss(scores, torch.cat(texts), took, torch.tensor([len(t) for t in texts]), zero_infinity=True)
        optimise(loss, step)
    model = halved(without_norms(model))
    report(model, test)
    write(model, "letters_fsdd.safetensors", args.out)


def report(model: Letters, test: Clips, n: int = 200):
    generator = np.random.default_rng(0)
    wrong = letters = words = all_words = whole = 0
    with torch.no_grad():
        for _ in range(n):
            audio, text = joined(test, generator)
            heard = spell(model(Letters.features(audio)[None])[0])
            wrong, letters = wrong + distance(heard, text), letters + len(text)
            words, all_words = words + distance(heard.split(), text.split()), all_words + len(text.split())
            whole += heard == text
    print(
        f"letters: {wrong / letters:.2%} character errors, {words / all_words:.2%} word errors, "
        f"{whole} of {n} strings right, joined from the test clips",
        flush=True,
    )


def distance(a, b) -> int:
    """Insertions, deletions and substitutions that make b of a."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


# ---- what is varied, so that a network does not learn the takes by heart ---------------------------------------------


def varied(audio: torch.Tensor) -> torch.Tensor:
    """Up to 12 % slower or faster (with the pitch), and up to 12 dB quieter or 6 dB louder."""
    length = max(1, round(len(audio) * torch.empty(()).uniform_(0.88, 1.12).item()))
    audio = F.interpolate(audio[None, None], length, mode="linear", align_corners=False)[0, 0]
    return (audio * 10 ** torch.empty(()).uniform_(-0.6, 0.3)).clamp(-1, 1)


def placed(audio: torch.Tensor, samples: int) -> torch.Tensor:
    """Somewhere in so many samples, rather near the middle."""
    spare = samples - len(audio)
    before = int(spare * torch.empty(()).uniform_(0.3, 0.7).item())
    return F.pad(audio, (before, spare - before))


def noisy(audio: torch.Tensor) -> torch.Tensor:
    """White noise under all of it, 40 to 100 dB below full scale."""
    return audio + torch.randn_like(audio) * 10 ** torch.empty(len(audio), 1).uniform_(-5, -2)


def masked(x: torch.Tensor) -> torch.Tensor:
    """A band of up to 6 of the 40 mels silenced in each example."""
    low, width = torch.randint(0, 40, (len(x), 1)), torch.randint(0, 7, (len(x), 1))
    mels = torch.arange(40)
    return x.masked_fill(((mels >= low) & (mels < low + width))[:, :, None], 0)


# ---- training --------------------------------------------------------------------------------------------------------


class Optimiser:
    def __init__(self, model, rate, steps):
        self.model, self.steps = model, steps
        self.adam = torch.optim.AdamW(model.parameters(), rate, weight_decay=1e-2)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.adam, rate, steps)

    def __call__(self, loss, step):
        self.adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5)
        self.adam.step()
        self.schedule.step()
        if step % 100 == 99 or step + 1 == self.steps:
            print(f"step {step + 1}: loss {loss.item():.4f}", flush=True)


def with_norms(model: nn.Sequential, dropout: float = 0) -> nn.Sequential:
    """The same layers, with a batch norm behind every convolution but the last: a help in training only."""
    norms = {nn.Conv1d: nn.BatchNorm1d, nn.Conv2d: nn.BatchNorm2d}
    inner = nn.Sequential()
    last = list(model)[-1]
    for name, layer in model.named_children():
        inner.add_module(name, layer)
        if type(layer) in norms and layer is not last:
            inner.add_module(f"norm_{name}", norms[type(layer)](layer.out_channels))
        if dropout and isinstance(layer, nn.ReLU):
            inner.add_module(f"drop_{name}", nn.Dropout(dropout))
    inner.plain = type(model)
    return inner


def without_norms(model: nn.Sequential) -> nn.Sequential:
    """Batch norms multiplied into the convolutions before them: the network that is shipped."""
    plain = model.plain()
    plain.load_state_dict(mk.fold(model.eval()).state_dict())
    return plain.eval().requires_grad_(False)


def halved(model: nn.Module) -> nn.Module:
    """Weights rounded to float16, as they are stored: what is measured is what is shipped."""
    return model.half().float()


def write(model: nn.Module, name: str, folder: Path):
    save_file({k: v.half() for k, v in model.state_dict().items()}, folder / name)
    seal(name, folder=folder)


if __name__ == "__main__":
    main()
