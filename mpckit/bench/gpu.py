"""`python -m mpckit bench --device cuda > docs/gpu.md`: that page, with all its figures measured here.

Rows of `bench kernels` and of `bench shapes`, beside what a card is thought to be able to do and what the project
demands of an H200. On the CPU the page has no figures and says so.
"""

import importlib.metadata
import platform
import subprocess
import sys

import torch

from . import kernels, shapes
from .options import Options

TAKES = ("device", "suite", "repeat")
MISSING = "not measured yet"
DEMANDED = {  # on an H200
    "prg": ">= 8", "comparison, 40 bits": ">= 0.25", "matmul 4096 x 4096 x 4096": ">= 4",
}  # fmt: skip
CEILING = {  # estimates from the H200's data sheet
    "prg": "8-15", "comparison, 40 bits": "0.45-1.3", "matmul 4096 x 4096 x 4096": "12-16",
}  # fmt: skip
ONLINE = {"gpt2": "<= 1.0 s", "bert-base": "<= 1.1 s"}
COMMAND = "python -m mpckit bench --device cuda > docs/gpu.md"

PAGE = """# What a GPU does

    {command}

measures everything on this page and writes it anew; it needs an NVIDIA GPU and `pip install 'mpckit[cuda,hf]'`.

{where}

## Kernels

Best of several runs on one large batch. Demanded and possible are for an H200; possible is an estimate.

| kernel | measured | unit | demanded | possible |
|---|--:|---|--:|--:|
{kernels}

## Transformers

128 secret tokens, random weights, suite {suite}, both parties on the one card, one after the other; embedding, last
norm and head included. LAN is 9.4 Gbit/s and 0.05 ms, WAN 305 Mbit/s and 60 ms; both are modelled. Bytes are those that
one party sends, keys those of one party. Error is against plaintext torch, and "same" says at how many places the
largest output is the same. Largest Llama2 shape that ran: {largest}.

| shape | online | demanded | offline | LAN | WAN | sent | rounds | keys | error | same |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
{shapes}

## What is there, and what is not

Both parties in one process on one card, which is what is measured above. Parties in processes of their own,
`cluster(device="cuda")`: each takes a card of its own, and so does the dealer, and they share where there are too few;
messages go by pinned host memory and TCP. There is no NCCL: nobody has had two cards to try it on. Between two messages
the host waits for no card; what a card computes is clocked by its own events.

A gate's end is one kernel: its message is unpacked and joined with the own share in one, the walk to all thresholds
with what makes a sign of it in one, truncation and selection in one. Look-ups spell a key's code out and add the table
up in one, by a warp, and store no code. Products of matrices go through int8 tensor cores, several small ones at once
through float64, few rows through a kernel of the kit's own. Weights that do not fit as two copies are kept as one
public word each (`weight_memory=`), and stream from host memory beyond that.

There are no CUDA graphs between exchanges, and no ChaCha beside AES.
"""


def here(device: torch.device) -> str:
    """Which card, driver and versions."""
    from ..kernels.cuda.launch import load_cupy  # what no CPU needs

    card, python = torch.cuda.get_device_name(device), platform.python_version()
    versions = f"torch {torch.__version__}, cupy {load_cupy().__version__}, transformers {_version('transformers')}"
    return f"Measured on: {card}, driver {_driver()}; CUDA {torch.version.cuda}; Python {python}; {versions}."


def _driver() -> str:
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]  # one for all cards
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown (nvidia-smi does not say)"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def kernel_line(name: str, unit: str, figure: float | None) -> str:
    measured = MISSING if figure is None else f"{figure:.3g}"
    return f"| {name} | {measured} | {unit}/s | {DEMANDED.get(name, '')} | {CEILING.get(name, '')} |"


def shape_line(name: str, row: dict | None) -> str:
    demanded = ONLINE.get(name, "")
    if row is None:
        return f"| {name} | {MISSING} | {demanded} |" + " |" * 8
    if row["failed"]:
        return f"| {name} | failed: {row['failed']} | {demanded} |" + " |" * 8
    online, offline, lan, wan = (shapes.duration(row[key]) for key in ("online_s", "offline_s", "lan_s", "wan_s"))
    sent, keys = (shapes.size(row[key]) for key in ("sent_bytes", "key_bytes"))
    return (
        f"| {name} | {online} | {demanded} | {offline} | {lan} | {wan} | {sent} | {row['rounds']} | {keys} "
        f"| {row['max_err']:.2g} | {row['same_answer']:.0%} |"
    )


def page(where: str, kernel_lines, shape_lines, suite: str = "fss", largest: str = MISSING) -> str:
    return PAGE.format(
        command=COMMAND, where=where, kernels="\n".join(kernel_lines), shapes="\n".join(shape_lines), suite=suite,
        largest=largest,
    )  # fmt: skip


def told(line: str) -> str:
    """The line, which whoever waits sees at once: the page comes last."""
    print(line, file=sys.stderr, flush=True)
    return line


def unmeasured() -> str:
    """The page as it is before anybody has run the command."""
    where = "**No figure on this page has been measured yet**: nobody has run this command on a card so far."
    names = [(name, unit) for name, unit, *_ in kernels.cases(torch.device("meta"), kernels.FULL)]
    return page(where, [kernel_line(*name, None) for name in names], [shape_line(s, None) for s in shapes.SHAPES])


def main(names: list[str], options: Options) -> int:
    """Print the page, also where a model has failed, which its row says. Returns the exit status."""
    if names:
        print(f"`bench gpu` writes the whole page, so nothing is named {', '.join(names)}; see kernels and shapes")
        return 2
    device = kernels.usable(options.device or "cpu")
    if device.type == "cpu":
        print(unmeasured(), end="")
        return 0
    suite, where = options.suite or "fss", here(device)
    measured = kernels.rates(device, kernels.FULL, options.repeat or 5)
    lines = [told(kernel_line(row["case"], row["unit"], row["per_second"])) for row in measured]
    torch.cuda.empty_cache()
    models, largest, failed = [], "none", False
    for row in shapes.rows(list(shapes.SHAPES), str(device), suite):
        models.append(told(shape_line(row["case"], row)))
        failed |= row["failed"] is not None
        if row["case"].startswith("llama") and not row["failed"]:
            largest = row["case"]
    print(page(where, lines, models, suite, largest), end="")
    return int(failed)
