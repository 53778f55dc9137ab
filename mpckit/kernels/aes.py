"""Trees on a CPU: sixteen keys walk side by side in vector registers, through the processor's own AES rounds.

Loops and the instructions they are made of stay in one file: numba's cache does not notice edits in an imported module.
`ggm_cpu` runs them on tensors. `Blocks` is an LLVM vector of sixteen 128-bit blocks, which LLVM spreads over registers
of any width; only `hashed` must know how wide they are. Which way a process takes is decided once, from the features
that numba compiles for, or by MPCKIT_AES:

    vaes512, vaes256    four or two blocks to an instruction
    aesni               one block to an instruction
    openssl             no loop: `cryptography` and the definitions in `ggm`, on any CPU
"""

import os

import numpy as np
from numba import njit, types
from numba.core import config
from numba.core.cgutils import ir  # the llvmlite that this numba came with
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic, models, register_model

from .ggm import CHILD, KEY, LEAF, LEAF_BITS, VALUE
from .reference import _round_keys

GROUP = 16  # keys side by side: four 512-bit registers keep the AES units busy
WORDS = 2 * GROUP
NEEDS = {
    "vaes512": {"vaes", "avx512f", "avx512bw"},
    "vaes256": {"vaes", "avx2"},
    "aesni": {"aes", "sse2"},
    "openssl": set(),
}
# How many blocks a register holds, as the length of a tuple: a type, so that numba compiles each way by itself.
LANES = {"vaes512": (0,) * 4, "vaes256": (0,) * 2, "aesni": (0,)}


def ways() -> list[str]:
    """What this CPU can do, fastest first."""
    text = config.CPU_FEATURES if config.CPU_FEATURES is not None else get_host_cpu_features()
    have = {feature[1:] for feature in text.split(",") if feature.startswith("+")}
    return [way for way, needs in NEEDS.items() if needs <= have]


def choose(name: str | None) -> str:
    """The way called `name`, or the fastest. ValueError where there is none, so that no instruction is met unknown."""
    if name and name not in ways():
        raise ValueError(f"MPCKIT_AES={name}: this CPU offers {', '.join(ways())}")
    return name or ways()[0]


way = choose(os.environ.get("MPCKIT_AES"))


# ---- sixteen blocks as one value -----------------------------------------------------------------


class _Blocks(types.Type):
    def __init__(self):
        super().__init__("Blocks")


BLOCKS, WORD, VECTOR = _Blocks(), ir.IntType(64), ir.VectorType(ir.IntType(64), WORDS)


@register_model(_Blocks)
class _Model(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, VECTOR)


def _place(context, builder, signature, args, count):
    data = context.make_array(signature.args[0])(context, builder, args[0]).data
    return builder.bitcast(builder.gep(data, [args[1]]), ir.VectorType(WORD, count).as_pointer())


def _shuffle(builder, v, order):
    return builder.shuffle_vector(v, v, ir.Constant(ir.VectorType(ir.IntType(32), len(order)), list(order)))


def _constant(*words):
    """The same words over and over."""
    return ir.Constant(VECTOR, list(words) * (WORDS // len(words)))


def _everywhere(builder, v):
    one = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), v, ir.Constant(ir.IntType(32), 0))
    return _shuffle(builder, one, [0] * WORDS)


@intrinsic
def load(typing, array, at):
    """Sixteen blocks from word `at` on of a flat array of int64."""

    def code(context, builder, signature, args):
        return builder.load(_place(context, builder, signature, args, WORDS), align=8)

    return BLOCKS(array, types.intp), code


@intrinsic
def load_pairs(typing, array, at):
    """Sixteen words, each twice in a row."""

    def code(context, builder, signature, args):
        words = builder.load(_place(context, builder, signature, args, GROUP), align=8)
        return _shuffle(builder, words, [i // 2 for i in range(WORDS)])

    return BLOCKS(array, types.intp), code


@intrinsic
def store(typing, array, at, v):
    def code(context, builder, signature, args):
        builder.store(args[2], _place(context, builder, signature, args, WORDS), align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, BLOCKS), code


def _binary(operation):
    @intrinsic
    def function(typing, a, b):
        return BLOCKS(BLOCKS, BLOCKS), lambda context, builder, signature, args: operation(builder, *args)

    return function


xor, both, add, sub = (_binary(getattr(ir.IRBuilder, name)) for name in ("xor", "and_", "add", "sub"))


@intrinsic
def zero(typing):
    return BLOCKS(), lambda context, builder, signature, args: _constant(0)


@intrinsic
def bit(typing, v, i):
    """All ones in each word whose bit i is 1."""

    def code(context, builder, signature, args):
        up = builder.sub(ir.Constant(WORD, 63), args[1])
        return builder.ashr(builder.shl(args[0], _everywhere(builder, up)), _constant(63))

    return BLOCKS(BLOCKS, types.int64), code


@intrinsic
def control(typing, v):
    """All ones in each block whose control bit is 1."""

    def code(context, builder, signature, args):
        low = _shuffle(builder, args[0], [i & ~1 for i in range(WORDS)])
        return builder.ashr(builder.shl(low, _constant(63)), _constant(63))

    return BLOCKS(BLOCKS), code


@intrinsic
def hashed(typing, v, tweak, lanes):
    """H(v ⊕ tweak) for every block."""
    per = len(lanes)
    suffix = {1: "", 2: ".256", 4: ".512"}[per]
    register = ir.VectorType(WORD, 2 * per)
    at_once = min(8, GROUP // per)  # registers in flight
    keys = [key.view(np.int64).tolist() for key in _round_keys(np.frombuffer(KEY, np.uint8))]

    def code(context, builder, signature, args):
        shape = ir.FunctionType(register, [register, register])
        middle, last = (
            builder.module.declare_intrinsic(f"llvm.x86.aesni.{name}{suffix}", (), shape)
            for name in ("aesenc", "aesenclast")
        )
        tweak = builder.mul(_everywhere(builder, args[1]), _constant(1, 0))
        v = builder.xor(args[0], tweak)
        swapped = _shuffle(builder, v, [i ^ 1 for i in range(WORDS)])
        mixed = builder.xor(swapped, builder.and_(v, _constant(0, -1)))
        state, done = builder.xor(mixed, _constant(*keys[0])), []
        for start in range(0, WORDS, 2 * per * at_once):
            part = [
                _shuffle(builder, state, range(start + 2 * per * j, start + 2 * per * (j + 1))) for j in range(at_once)
            ]
            for number, key in enumerate(keys[1:], 1):
                key = ir.Constant(register, key * per)
                part = [builder.call(middle if number < 10 else last, [p, key]) for p in part]
            done += part
        while len(done) > 1:  # join neighbours until all are one vector
            double = range(2 * done[0].type.count)
            mask = ir.Constant(ir.VectorType(ir.IntType(32), len(double)), list(double))
            done = [builder.shuffle_vector(a, b, mask) for a, b in zip(done[::2], done[1::2])]
        return builder.xor(done[0], mixed)

    return BLOCKS(BLOCKS, types.int64, lanes), code


# ---- walks: n keys in groups of sixteen, all arrays flat ------------------------------------------


@njit(cache=True)
def prg(blocks, out, n, tweak, lanes):
    for at in range(0, 2 * (n - n % GROUP), WORDS):
        store(out, at, hashed(load(blocks, at), tweak, lanes))


@njit(cache=True)
def again(blocks, times, lanes):
    """H over and over, in place and in the first-level cache: what the AES units give at best, for `mpckit bench`."""
    for _ in range(times):
        for at in range(0, blocks.size, WORDS):
            store(blocks, at, hashed(load(blocks, at), CHILD, lanes))


@njit(cache=True)
def _down(s, right, cw, lanes):
    return xor(xor(hashed(s, CHILD, lanes), both(s, right)), both(cw, control(s)))


@njit(cache=True)
def dpf_gen(alpha, root0, root1, out, n, bits, lanes):
    leaf = bits - LEAF_BITS
    for at in range(0, n - n % GROUP, GROUP):
        a, s0, s1 = load_pairs(alpha, at), load(root0, 2 * at), load(root1, 2 * at)
        delta = xor(s0, s1)
        for level in range(leaf):
            right = bit(a, bits - 1 - level)
            h0, h1 = hashed(s0, CHILD, lanes), hashed(s1, CHILD, lanes)
            cw = xor(xor(h0, h1), xor(delta, both(delta, right)))
            store(out, 2 * (level * n + at), cw)
            s0 = xor(xor(h0, both(s0, right)), both(cw, control(s0)))
            s1 = xor(s0, delta)
        store(out, 2 * (leaf * n + at), xor(hashed(s0, LEAF, lanes), hashed(s1, LEAF, lanes)))
        for i in range(at, at + GROUP):
            out[2 * (leaf * n + i) + ((alpha[i] >> 6) & 1)] ^= np.int64(1) << (alpha[i] & 63)


@njit(cache=True)
def _parity(v):
    """The parity of a word's bits, in its lowest bit."""
    v ^= v >> 32
    v ^= v >> 16
    v ^= v >> 8
    v ^= v >> 4
    v ^= v >> 2
    v ^= v >> 1
    return v


@njit(cache=True)
def dpf_points(x, root, cw, out, n, points, bits, prefix, lanes):
    leaf, one, side = bits - LEAF_BITS, np.int64(1), np.int64(prefix)
    mask, left = np.empty(WORDS, np.int64), np.empty(2 * WORDS, np.int64)
    for at in range(0, n - n % GROUP, GROUP):
        for start in range(at, at + points * n, n):
            s, xs, total, before = load(root, 2 * at), load_pairs(x, start), zero(), zero()
            for level in range(leaf):
                right = bit(xs, bits - 1 - level)
                total = xor(total, both(xor(right, before), control(s)))
                s, before = _down(s, right, load(cw, 2 * (level * n + at)), lanes), right
            for i in range(GROUP):
                place, high = x[start + i] & 63, -((x[start + i] >> 6) & 1)
                if prefix:
                    turned = -((x[start + i] >> LEAF_BITS) & 1) if leaf else np.int64(0)
                    some = (np.int64(2) << place) - 1
                    mask[2 * i], mask[2 * i + 1] = (some | high) ^ turned, (some & high) ^ turned
                else:
                    mask[2 * i], mask[2 * i + 1] = (one << place) & ~high, (one << place) & high
            table = xor(hashed(s, LEAF, lanes), both(load(cw, 2 * (leaf * n + at)), control(s)))
            store(left, 0, both(table, load(mask, 0)))
            store(left, WORDS, total)
            for i in range(GROUP):
                v = _parity(left[2 * i] ^ left[2 * i + 1])
                out[start + i] = (v ^ (left[WORDS + 2 * i] & side)) & 1


@njit(cache=True)
def at_least(x_hat, sign, thresholds, root, cw, out, n, bits, width, by, first, lanes):
    """`dpf_points` with a prefix, where points come from x̂ and what is public is added on the way out (`ends.py`)."""
    leaf, keep = bits - LEAF_BITS, np.int64(-1) if by == 0 else (np.int64(1) << (width - by)) - 1
    ys, mask, left = np.empty(GROUP, np.int64), np.empty(WORDS, np.int64), np.empty(2 * WORDS, np.int64)
    for at in range(0, n - n % GROUP, GROUP):
        root_, last = load(root, 2 * at), load(cw, 2 * (leaf * n + at))
        for k in range(thresholds.size):
            for i in range(GROUP):
                ys[i] = ((x_hat[at + i] >> by) & keep) - thresholds[k]
            s, xs, total, before = root_, load_pairs(ys, 0), zero(), zero()
            for level in range(leaf):
                right = bit(xs, bits - 1 - level)
                total = xor(total, both(xor(right, before), control(s)))
                s, before = _down(s, right, load(cw, 2 * (level * n + at)), lanes), right
            for i in range(GROUP):
                high = -((ys[i] >> 6) & 1)
                turned = -((ys[i] >> LEAF_BITS) & 1) if leaf else np.int64(0)
                some = (np.int64(2) << (ys[i] & 63)) - 1
                mask[2 * i], mask[2 * i + 1] = (some | high) ^ turned, (some & high) ^ turned
            store(left, 0, both(xor(hashed(s, LEAF, lanes), both(last, control(s))), load(mask, 0)))
            store(left, WORDS, total)
            for i in range(GROUP):
                v = _parity(left[2 * i] ^ left[2 * i + 1])
                public = 1 ^ (first & (ys[i] >> bits))
                out[k * n + at + i] = (v ^ left[WORDS + 2 * i] ^ sign[at + i] ^ public) & 1


@njit(cache=True)
def dpf_all(root, cw, out, n, bits, lanes):
    leaf = bits - LEAF_BITS
    row = 2 << leaf
    nodes = np.empty(WORDS << leaf, np.int64)  # node j of sixteen keys at j · WORDS
    for at in range(0, n - n % GROUP, GROUP):
        store(nodes, 0, load(root, 2 * at))
        for level in range(leaf):
            word = load(cw, 2 * (level * n + at))
            for j in range((1 << level) - 1, -1, -1):  # from the last, so that children overwrite no parent to come
                s = load(nodes, j * WORDS)
                child = xor(hashed(s, CHILD, lanes), both(word, control(s)))
                store(nodes, 2 * j * WORDS, child)
                store(nodes, (2 * j + 1) * WORDS, xor(child, s))
        word = load(cw, 2 * (leaf * n + at))
        for j in range(1 << leaf):
            s = load(nodes, j * WORDS)
            store(nodes, j * WORDS, xor(hashed(s, LEAF, lanes), both(word, control(s))))
        for i in range(GROUP):
            for j in range(1 << leaf):
                out[(at + i) * row + 2 * j] = nodes[j * WORDS + 2 * i]
                out[(at + i) * row + 2 * j + 1] = nodes[j * WORDS + 2 * i + 1]


@njit(cache=True)
def dcf_gen(alpha, beta, root0, root1, cws, sums, n, blocks, bits, lanes):
    for at in range(0, n - n % GROUP, GROUP):
        a, s0, s1, before = load_pairs(alpha, at), load(root0, 2 * at), load(root1, 2 * at), zero()
        delta = xor(s0, s1)
        for level in range(bits + 1):
            right = bit(a, bits - 1 - level) if level < bits else zero()
            t0 = control(s0)
            for j in range(blocks):
                payload = load(beta, 2 * (j * n + at))
                tweak = VALUE * (1 + j)
                missing = sub(both(payload, right), both(payload, before))
                missing = sub(add(missing, hashed(s1, tweak, lanes)), hashed(s0, tweak, lanes))
                # t1 = 1 - t0: where party 0 has no control bit, party 1 takes the correction and subtracts it.
                kept = both(missing, t0)
                store(sums, 2 * ((level * blocks + j) * n + at), sub(add(kept, kept), missing))
            if level < bits:
                h0, h1 = hashed(s0, CHILD, lanes), hashed(s1, CHILD, lanes)
                cw = xor(xor(h0, h1), xor(delta, both(delta, right)))
                store(cws, 2 * (level * n + at), cw)
                s0 = xor(xor(h0, both(s0, right)), both(cw, t0))
                s1, before = xor(s0, delta), right


@njit(cache=True)
def dcf_eval(x, root, cw, vcw, out, n, points, blocks, bits, lanes):
    for at in range(0, n - n % GROUP, GROUP):
        for k in range(points):
            s, xs = load(root, 2 * at), load_pairs(x, k * n + at)
            for level in range(bits + 1):
                t = control(s)
                for j in range(blocks):
                    sums = 2 * ((k * blocks + j) * n + at)
                    total = load(out, sums) if level else zero()
                    value = both(load(vcw, 2 * ((level * blocks + j) * n + at)), t)
                    store(out, sums, add(total, add(value, hashed(s, VALUE * (1 + j), lanes))))
                if level < bits:
                    s = _down(s, bit(xs, bits - 1 - level), load(cw, 2 * (level * n + at)), lanes)
