"""`python -m mpckit bench fss`: keys per second and core, and what the bare AES units would allow.

Every figure is CPU time of one thread, the best of several runs on one chunk of a batch: the others are slower where
the allocator hands out memory that was never touched (7 keys fill a page, and a page fault may cost more than they).
"of AES" is the number of hash calls per second over that of a loop with nothing but hash calls.
"""

import json
import time

import torch

from .. import kernels
from ..fss import dcf, dpf
from ..kernels import aes, ggm_cpu
from ..stream import Stream, fresh_seed
from .options import Options

CHUNK = 1 << 12  # keys: 2.3 MB at 40 bits
TAKES = ("repeat", "json")
KEYS = "case bits way per_second of_aes key_bytes".split()


def seconds(run, repeat: int) -> float:
    run()  # warms up: kernels come from numba's cache at their first call
    spent = []
    for _ in range(repeat):
        start = time.process_time()
        run()
        spent.append(time.process_time() - start)
    return min(spent)


def aes_rate(repeat: int = 9) -> float:
    """H calls per second and core: in registers and the first-level cache; for OpenSSL on batches as it likes them."""
    count, times = (256, 2000) if aes.way != "openssl" else (1 << 15, 20)
    blocks = torch.randint(-(2**63), 2**63 - 1, (count, 2))
    return count * times / seconds(lambda: ggm_cpu.ceiling(blocks, times), repeat)


def streams():
    return Stream(fresh_seed(), "bench 0"), Stream(fresh_seed(), "bench 1")


def cases():
    """(name, bits, what to run on a chunk, hash calls per key, bytes of a key)"""
    words = torch.randint(-(2**63), 2**63 - 1, (4, CHUNK))
    alpha, x, beta, tables = words[0], words[1], words[2:], words[3:]
    for bits in (32, 40, 64):
        key, _ = dpf.gen(alpha, bits, streams())
        size, calls = dpf.key_bits(bits) / 8, bits - 6
        yield "dpf gen", bits, lambda bits=bits: dpf.gen(alpha, bits, streams()), 2 * calls, size
        yield "dpf eval", bits, lambda key=key: dpf.eval(key, x), calls, size
        yield "dpf less_than", bits, lambda key=key: dpf.less_than(key, x), calls, size
    for bits in (32, 40, 64):
        key, _ = dcf.gen(alpha, beta, bits, streams())
        size, calls = dcf.key_bits(bits, 2) / 8, 2 * bits + 1
        yield "dcf gen", bits, lambda bits=bits: dcf.gen(alpha, beta, bits, streams()), 2 * calls, size
        yield "dcf eval", bits, lambda key=key: dcf.eval(key, x), calls, size
    for bits in (8, 10, 12):
        key, _ = dpf.gen(alpha, bits, streams())
        some, size, calls = tables[:, : 1 << bits], dpf.key_bits(bits) / 8, (1 << bits - 6) - 1
        yield "dpf eval_all", bits, lambda key=key: dpf.eval_all(key), calls, size
        yield "lut", bits, lambda key=key, t=some[0]: kernels.lookup(x, dpf.eval_all(key), t), calls, size
        yield "lut signed", bits, lambda k=key, t=some: kernels.signed_lookup(x, dpf.eval_all(k), t, True), calls, size


def main(names: list[str], options: Options) -> int:
    """Print a table, or one JSON object per line. Returns the exit status."""
    if names:
        print(f"`bench fss` has no parts to choose from, so nothing is named {', '.join(names)}")
        return 2
    repeat = max(options.repeat or 9, 9)
    torch.set_num_threads(1)
    rate = aes_rate(repeat)
    if not options.json:
        print(f"one core, {aes.way}: {rate / 1e6:.0f} M hash calls/s; payload of dcf: two 64-bit words")
        print(f"{'case':16}{'bits':>5}{'M keys/s':>10}{'of AES':>9}{'key':>10}")
    for name, bits, run, calls, size in cases():
        speed = CHUNK / seconds(run, repeat)
        row = dict(zip(KEYS, (name, bits, aes.way, speed, speed * calls / rate, size)))
        if options.json:
            print(json.dumps(row), flush=True)
        else:
            print(f"{name:16}{bits:>5}{speed / 1e6:>10.2f}{row['of_aes']:>9.0%}{size:>8.0f} B", flush=True)
    return 0
