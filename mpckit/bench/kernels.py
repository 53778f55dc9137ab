"""`python -m mpckit bench kernels [--device cuda]`: what one device does in a second, kernel by kernel.

Figures are the best of several runs on one batch, by the device's own clock; a batch fills a GPU. On a CPU the same
cases run on small batches and one thread.
"""

import json
import time

import torch

from .. import kernels
from ..fss import dcf, dpf
from ..runtime.device import settle, usable
from ..stream import Stream, fresh_seed
from .options import Options

TAKES = ("device", "repeat", "json")
KEYS = "case unit per_second".split()
FULL, SMALL = 1 << 24, 1 << 14  # elements of a batch: on a GPU, on a CPU


def cases(device: torch.device, n: int):
    """(name, unit, how many of it one run does, run) for batches of about n elements."""

    def words(*shape):
        return torch.randint(-(2**63), 2**63 - 1, shape, device=device)

    def streams():
        return [Stream(fresh_seed(), f"bench {p}", device) for p in (0, 1)]

    blocks = words(n, 2)
    yield "prg", "G blocks", n, lambda: kernels.prg(blocks, 0)
    key = torch.arange(16, dtype=torch.uint8, device=device)
    yield "keystream", "GB", 16 * n, lambda: kernels.keystream(key, 0, n)
    some = n // 8
    alpha, x, beta = words(some), words(some), words(some)
    for bits in (32, 40, 64):
        ours, _ = dpf.gen(alpha, bits, streams())
        yield f"comparison, keys, {bits} bits", "G", some, lambda bits=bits: dpf.gen(alpha, bits, streams())
        yield f"comparison, {bits} bits", "G", some, lambda ours=ours: dpf.less_than(ours, x)
    ours, _ = dpf.gen(alpha, 40, streams())
    sign = alpha < 0
    yield "ReLU's sign, 41 bits", "G", some, lambda ours=ours: dpf.at_least(ours, x, sign, (0,))
    ours, _ = dcf.gen(alpha, beta, 40, streams())
    yield "comparison with payload, keys, 40 bits", "G", some, lambda: dcf.gen(alpha, beta, 40, streams())
    yield "comparison with payload, 40 bits", "G", some, lambda: dcf.eval(ours, x)
    few = n // 64
    for bits in (8, 10, 12):
        ours, _ = dpf.gen(alpha[:few], bits, streams())
        table = words(1, 1 << bits)
        yield (
            f"look-up, {bits} bits", "G", few,
            lambda ours=ours, table=table: dpf.look_up(ours, x[:few], table),
        )  # fmt: skip
    side = 1 << (n.bit_length() + 11) // 3  # 4096 for a full batch
    for rows, inner, columns in ((side,) * 3, (128, 768, 3072), (1, 768, 50257 if n >= FULL else 3072)):
        a, b = words(rows, inner), words(inner, columns)
        macs = rows * inner * columns
        yield f"matmul {rows} x {inner} x {columns}", "TMAC", macs, lambda a=a, b=b: kernels.matmul(a, b)
    images, filters = words(max(1, n >> 20), 64, 56, 56), words(64, 64, 3, 3)
    macs = images.numel() * filters[0].numel()
    yield "conv 64 -> 64, 3 x 3", "TMAC", macs, lambda: kernels.conv(images, filters, (1, 1), (1, 1), (1, 1), 1)
    five, bits = [words(n) for _ in range(5)], words(n) > 0
    yield "beaver", "GB", 48 * n, lambda: kernels.beaver(*five, True)
    yield "select", "GB", 41 * n, lambda: kernels.select(*five[:2], bits, *five[2:4])
    yield "truncation", "GB", 32 * n, lambda: kernels.truncated(*five[:3], 64, 16, True)
    yield "ReLU's end", "GB", 65 * n, lambda: kernels.select_truncated(five[0], bits, *five, 64, 16, True)
    packed = kernels.pack(five[0], 40)
    yield "message joined, 40 bits", "GB", 21 * n, lambda: kernels.join_packed(five[0], packed, 40, False)
    yield "pack, 40 bits", "GB", 13 * n, lambda: kernels.pack(five[0], 40)
    yield "unpack, 40 bits", "GB", 13 * n, lambda: kernels.unpack(packed, 40, n)
    yield "bit planes, 40 bits", "GB", 13 * n, lambda: kernels.to_planes(five[0], 40)


def seconds(run, device: torch.device, repeat: int) -> float:
    run()  # kernels are compiled at their first call
    spent = []
    for _ in range(repeat):
        settle(device)
        start = time.perf_counter()
        run()
        settle(device)
        spent.append(time.perf_counter() - start)
    return min(spent)


def rates(device: torch.device, n: int, repeat: int):
    """A row {case, unit, per_second} for each case."""
    scale = {"G": 1e9, "G blocks": 1e9, "GB": 1e9, "TMAC": 1e12}
    for name, unit, amount, run in cases(device, n):
        yield dict(zip(KEYS, (name, unit, amount / seconds(run, device, repeat) / scale[unit])))


def main(names: list[str], options: Options) -> int:
    """Print a table, or one JSON object per line. Returns the exit status."""
    if names:
        print(f"`bench kernels` has no parts to choose from, so nothing is named {', '.join(names)}")
        return 2
    device = usable(options.device or "cpu")
    torch.set_num_threads(1)
    for row in rates(device, FULL if device.type == "cuda" else SMALL, options.repeat or 5):
        if options.json:
            print(json.dumps(row), flush=True)
        else:
            print(f"{row['case']:40}{row['per_second']:>12.4g} {row['unit']}/s", flush=True)
    return 0
