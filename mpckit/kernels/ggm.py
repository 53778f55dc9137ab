"""The definitions of the trees under function secret sharing: a hash, point functions, comparisons with a payload.

Frozen, so that a dealer on a CPU serves an evaluator on a GPU (`tests/vectors/fss.json`):
* A block is 128 bits: int64 [..., 2], word 0 the low half. In memory, and so for AES, it is little-endian: byte 0 is
  the lowest. Its lowest bit, bit 0 of word 0, is the control bit t.
* H(x) = π(σ(x)) ⊕ σ(x), where π is AES-128 under the key of FIPS-197 appendix C.1, for ever, and σ(high ‖ low) =
  (high ⊕ low) ‖ high, a linear orthomorphism. π alone could be inverted, and without "⊕ σ(x)" H as well.
* A call for a purpose adds its tweak to the low word: H(s ⊕ tweak). CHILD 0, LEAF 2, VALUE 4, 8, 12, … for value blocks
  0, 1, 2, … No tweak touches the control bit.
* Children: left = H(s), right = H(s) ⊕ s, and where t(s) = 1 both ⊕ the level's correction word  [HalfTree].
* Bits of alpha and x are read from the most significant down. A leaf block covers 128 neighbours: bit x mod 128 of it.
* Corrections are level by level, [levels, N, 2]: all keys' words for one level lie together.

Where a fast body is missing these run as they stand, level by level over the whole batch.
"""

import numpy as np
import torch

from . import kernel
from .reference import _aes128

KEY = bytes(range(16))
CHILD, LEAF, VALUE = 0, 2, 4
LEAF_BITS = 7  # a leaf block is a table of 2^7 bits


@kernel
def prg(blocks, tweak):
    """H(s ⊕ tweak) for blocks [..., 2].   [GKWY20]"""
    low, high = blocks.unbind(-1)
    low = low ^ tweak
    mixed = torch.stack((high, high ^ low), -1)
    if mixed.is_meta:
        return mixed
    key, plain = np.frombuffer(KEY, np.uint8), mixed.cpu().numpy().reshape(-1, 2).view(np.uint8)
    return (
        torch.from_numpy(_aes128(key, plain).reshape(-1).view(np.int64)).reshape(mixed.shape).to(mixed.device) ^ mixed
    )


def control(s):
    """All ones where t(s) = 1: [..., 2] → [..., 1]."""
    return -(s[..., :1] & 1)


def path(x, level, bits):
    """All ones where x goes right at `level` (0 is the root): [...] → [..., 1]."""
    return -((x >> (bits - 1 - level)) & 1)[..., None]


def descend(s, right, cw):
    """One step down: `right` as `path` gives it, cw the level's correction words."""
    return prg(s, CHILD) ^ (s & right) ^ (cw & control(s))


def one_hot(at):
    """A block with bit `at` mod 128 set: [...] → [..., 2]."""
    bit, low = torch.ones_like(at) << (at & 63), (at & 64) == 0
    return torch.stack((torch.where(low, bit, 0), torch.where(low, 0, bit)), -1)


def up_to(at):
    """A block with bits 0 … `at` mod 128 set."""
    bit, low = (torch.full_like(at, 2) << (at & 63)) - 1, (at & 64) == 0
    return torch.stack((torch.where(low, bit, -1), torch.where(low, 0, bit)), -1)


def parity(words):
    """The parity of all bits in the last dimension, as 0 or 1."""
    total = words[..., 0] ^ words[..., 1]
    for shift in (32, 16, 8, 4, 2, 1):
        total = total ^ (total >> shift)
    return total & 1


# ---- point functions -----------------------------------------------------------------------------


@kernel
def dpf_gen(alpha, root0, root1, bits):
    """Correction words of 1{x = alpha}: alpha [N], roots [N, 2] → [bits - 6, N, 2], the last those of the leaves.
    bits ≥ 7.

    root0's control bit is 0, root1's is 1. On the path to alpha the parties' blocks differ by Δ = root0 ⊕ root1 at
    every level, off it they are equal: one word per level makes the child that alpha does not take equal on both sides.
    """
    s0, s1, delta, out = root0, root1, root0 ^ root1, []
    for level in range(bits - LEAF_BITS):
        right = path(alpha, level, bits)
        out.append(prg(s0, CHILD) ^ prg(s1, CHILD) ^ (delta & ~right))
        s0, s1 = descend(s0, right, out[-1]), descend(s1, right, out[-1])
    return torch.stack([*out, prg(s0, LEAF) ^ prg(s1, LEAF) ^ one_hot(alpha)])


@kernel
def dpf_eval(x, root, cw, bits):
    """A share of 1{x = alpha}: points x [K, N] on keys root [N, 2], cw [bits - 6, N, 2] → bool [K, N]."""
    s = root.expand(*x.shape, 2)
    for level in range(bits - LEAF_BITS):
        s = descend(s, path(x, level, bits), cw[level])
    leaf = prg(s, LEAF) ^ (cw[-1] & control(s))
    return parity(leaf & one_hot(x)).bool()


@kernel
def dpf_parity(x, root, cw, bits):
    """A share of 1{alpha ≤ x}, the parity of the leaves 0 … x: arguments as for `dpf_eval`.   [Grotto]

    A subtree's parity is the xor of the parties' control bits at its root, so going down to x is enough: wherever the
    path turns, the node's control bit enters, and at the end one side of the leaf block.
    """
    s, total, before = root.expand(*x.shape, 2), torch.zeros_like(x), torch.zeros_like(x)[..., None]
    for level in range(bits - LEAF_BITS):
        right = path(x, level, bits)
        total = total ^ ((right ^ before) & control(s))[..., 0]
        s, before = descend(s, right, cw[level]), right
    leaf = prg(s, LEAF) ^ (cw[-1] & control(s))
    return ((total & 1) ^ parity(leaf & (up_to(x) ^ before))).bool()


@kernel
def dpf_all(root, cw, bits):
    """Shares of the whole one-hot code of alpha: → int64 [N, 2^bits / 64], bit v % 64 of word v // 64 for x = v."""
    s = root[:, None]
    for level in range(bits - LEAF_BITS):
        left = prg(s, CHILD) ^ (cw[level][:, None] & control(s))
        s = torch.stack((left, left ^ s), 2).flatten(1, 2)
    return (prg(s, LEAF) ^ (cw[-1][:, None] & control(s))).flatten(1)


# ---- comparisons with a payload ------------------------------------------------------------------


def values(s, blocks):
    """The words that a node adds to a sum, before correction: [..., N, 2] → [..., blocks, N, 2]."""
    return torch.stack([prg(s, VALUE * (1 + j)) for j in range(blocks)], -3)


@kernel
def dcf_gen(alpha, beta, root0, root1, bits):
    """Correction words of beta·1{x < alpha}: alpha [N], beta [B, N, 2], roots [N, 2] → cw [bits, N, 2],
    vcw [bits + 1, B, N, 2].

    The node at depth i on alpha's path carries beta·(a_i - a_{i-1}), with a_i the bit that alpha takes there and 0
    before the first and after the last, nodes off the path nothing. The sum from the root to where x leaves the path is
    beta times the bit that alpha took there and x did not, which is 1 just when x < alpha; for x = alpha it is 0.
    """
    s0, s1, delta, out, sums = root0, root1, root0 ^ root1, [], []
    before = torch.zeros_like(alpha)[:, None]
    for level in range(bits + 1):
        right = path(alpha, level, bits) if level < bits else torch.zeros_like(before)
        # Both parties' sums together make the payload; party 1 subtracts (`dcf_eval`), so the corrected one has a sign.
        payload = (beta & right) - (beta & before)
        missing, negative = payload - values(s0, len(beta)) + values(s1, len(beta)), control(s1)
        sums.append((missing ^ negative) - negative)
        if level < bits:
            out.append(prg(s0, CHILD) ^ prg(s1, CHILD) ^ (delta & ~right))
            s0, s1, before = descend(s0, right, out[-1]), descend(s1, right, out[-1]), right
    return torch.stack(out), torch.stack(sums)


@kernel
def dcf_eval(x, root, cw, vcw):
    """The sum along the path to x: points x [K, N], keys as `dcf_gen` makes them → [K, B, N, 2]. Party 0's minus party
    1's is beta·1{x < alpha}, modulo 2^64 in each word.
    """
    s, bits, total = root.expand(*x.shape, 2), len(cw), 0
    for level in range(bits + 1):
        total = total + values(s, vcw.shape[1]) + (vcw[level] & control(s)[..., None, :, :])
        if level < bits:
            s = descend(s, path(x, level, bits), cw[level])
    return total
