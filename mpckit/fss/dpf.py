"""A distributed point function: two keys that hide alpha; the values under both, xored, are 1{x = alpha}.   [BGI16]

*Definition.* `gen(alpha, bits, streams)` → (key 0, key 1), where for every x below 2^bits
    eval(key 0, x) ⊕ eval(key 1, x) = 1{x = alpha}        less_than(key 0, x) ⊕ less_than(key 1, x) = 1{x < alpha}
and either key alone is computationally independent of alpha. x and alpha are unsigned, modulo 2^bits.

*Correctness.* Each party's key spans a binary tree of 128-bit blocks, the lowest bit of a block being its control bit.
On the path to alpha the parties' blocks differ by one Δ whose lowest bit is 1, so exactly one party adds the level's
correction word; off it the blocks are equal, and what both parties add cancels. A node's children are H(s) and H(s) ⊕ s
[HalfTree], and the word H(s0) ⊕ H(s1) ⊕ (1 - a)·Δ, a being alpha's next bit, makes the child off the path equal and
leaves the other at distance Δ. (Printed versions that multiply Δ by a are in error: both statements would be swapped.)
Seven levels early a block becomes the table of its 128 leaves by a call of its own, since the lowest bit of the block
itself is the control bit and would say in the leaf correction whether alpha mod 128 = 0. A subtree's parity is the xor
of the control bits at its root, hence 1{alpha ≤ x}, the parity of the leaves 0 … x, from one walk  [Grotto].

*Privacy.* Party 0 knows its blocks on the path, but of Δ = root 0 ⊕ root 1 only the lowest bit, since party 1's root
comes from a stream that it has not. Every correction is then a value that it can compute, xored with H(w ⊕ Δ) ⊕ b·Δ for
a block w of its own, no two of them alike except with probability about levels² / 2^128, which is what an oracle for
circular correlation robustness answers. H(x) = π(σ(x)) ⊕ σ(x) is circular correlation robust for a random permutation
π [GKWY20], so all corrections are indistinguishable from uniform blocks, whatever alpha; likewise for party 1.

Up to 7 bits a key is the shared table itself, party 0's uniform, and no assumption is needed.
"""

from dataclasses import dataclass

import torch

from .. import kernels
from ..kernels.ggm import LEAF_BITS, one_hot, parity, up_to
from ..ring import lsr, ones, signed
from . import keys

KIND = b"DPF1"
MOST = 30  # bits for which all values are spelt out


def key_bits(bits: int) -> int:
    """The size of one party's key: a table, or a root, a correction per level and one for the leaf block."""
    return 1 << bits if bits <= LEAF_BITS else 128 * (bits - LEAF_BITS) + 2 * 128


@dataclass(frozen=True, eq=False)
class Key:
    """One party's keys for N functions. ValueError where a shape or a control bit does not fit.

    root [N, 2]; cw [bits - 6, N, 2], the corrections of the levels and last that of the leaves, the same for both
    parties. Up to 7 bits: root is the table, bit v for x = v, and cw is [0, N, 2].
    """

    party: int
    bits: int
    root: torch.Tensor
    cw: torch.Tensor

    def __post_init__(self):
        keys.check_points(self.root[..., 0], self.bits, name="root")
        small = self.bits <= LEAF_BITS
        shape = (len(self.root), 2)
        levels = 0 if small else self.bits - LEAF_BITS + 1
        keys.check_fields(self.party, root=(self.root, shape), cw=(self.cw, (levels, *shape)))
        if not small:
            keys.check_control(self.party, self.root)

    def __len__(self):
        return len(self.root)

    def __getitem__(self, some: slice) -> "Key":
        return Key(self.party, self.bits, self.root[some], self.cw[:, some])

    @property
    def size(self) -> int:
        """Bytes of all keys."""
        return -(-len(self) * key_bits(self.bits) // 8)

    @property
    def nbytes(self) -> int:
        """Bytes on the wire, with the head."""
        return keys.HEAD.size + self.size

    def to(self, device) -> "Key":
        return Key(self.party, self.bits, self.root.to(device), self.cw.to(device))

    def to_bytes(self) -> bytes:
        start = keys.head(KIND, self.party, self.bits, 1, 1, len(self))
        if self.bits < LEAF_BITS:
            return start + keys.to_bytes(self.root[:, 0], 1 << self.bits)
        return start + keys.to_bytes(self.root) + keys.to_bytes(self.cw)

    @staticmethod
    def from_bytes(data: bytes, party: int | None = None, bits: int | None = None, count: int | None = None) -> "Key":
        """ValueError where bytes are missing or left over, or where party, bits or count are not the expected ones."""

        def size(bits, words, width):
            return key_bits(bits)

        fields, rest = keys.read_head(data, KIND, size, party=party, bits=bits, count=count, words=1, width=1)
        party, bits, n = fields["party"], fields["bits"], fields["count"]
        if bits < LEAF_BITS:
            table = _narrow_table(keys.from_bytes(rest, (n,), 1 << bits), bits)
            return Key(party, bits, table, table.new_empty((0, n, 2)))
        levels = 0 if bits == LEAF_BITS else bits - LEAF_BITS + 1
        return Key(
            party, bits, keys.from_bytes(rest[: 16 * n], (n, 2)), keys.from_bytes(rest[16 * n :], (levels, n, 2))
        )


def corrections(key: Key) -> list[tuple[torch.Tensor, int, bool]]:
    """What of `gen`'s second key travels: (words, their bits, whether to both parties)."""
    if key.bits < LEAF_BITS:
        return [(key.root[:, 0], 1 << key.bits, False)]
    return [(key.root, 64, False)] if key.bits == LEAF_BITS else [(key.cw, 64, True)]


def expand(party: int, count: int, bits: int, stream, received) -> Key:
    """A party's keys from its own stream and from `received(shape, width)`, which gives the words that travelled."""
    if bits > LEAF_BITS:
        return Key(party, bits, keys.root(party, count, stream), received((bits - LEAF_BITS + 1, count, 2), 64))
    if party == 0:
        table = _table(stream, count, bits)
    elif bits == LEAF_BITS:
        table = received((count, 2), 64)
    else:
        table = _narrow_table(received((count,), 1 << bits), bits)
    return Key(party, bits, table, table.new_empty((0, count, 2)))


def _table(stream, count, bits):
    """Party 0's table, uniform."""
    words = stream.words((count, 2))
    return words & up_to(torch.full_like(words[:, 0], (1 << bits) - 1))


def _narrow_table(words, bits):
    words = words & ones(1 << bits)
    return torch.stack((words, torch.zeros_like(words)), -1)


def gen(alpha: torch.Tensor, bits: int, streams) -> tuple[Key, Key]:
    """Both parties' keys for 1{x = alpha}: alpha [N] int64, modulo 2^bits; `streams` are one per party.

    key_bits(bits) bits per key; party p expands `keys.root(p, N, streams[p])` by itself, so only `cw` need travel (up
    to 7 bits: party 1's table). 2·(bits - 6) calls of H.
    """
    keys.check_points(alpha, bits, name="alpha")
    n = len(alpha)
    if bits <= LEAF_BITS:
        table = _table(streams[0], n, bits)
        empty = table.new_empty((0, n, 2))
        return Key(0, bits, table, empty), Key(1, bits, table ^ one_hot(alpha & ones(bits)), empty)
    roots = [keys.root(p, n, streams[p]) for p in (0, 1)]
    cw = kernels.dpf_gen(alpha, *roots, bits)
    return Key(0, bits, roots[0], cw), Key(1, bits, roots[1], cw)


def eval(key: Key, x: torch.Tensor) -> torch.Tensor:
    """A share of 1{x = alpha} (bool): x [N], or [K, N] for K points on each key.   bits - 6 calls of H a point"""
    return _at(key, x, kernels.dpf_eval, one_hot)


def less_than(key: Key, x: torch.Tensor) -> torch.Tensor:
    """A share of 1{x < alpha} (bool), unsigned: x [N], or [K, N].   bits - 6 calls of H a point   [Grotto]"""
    return _at(key, x, kernels.dpf_parity, up_to) ^ bool(key.party)  # the parity is that of 1{alpha ≤ x}


def _at(key, x, kernel, mask):
    keys.check_points(x, key.bits, len(key))
    if key.bits <= LEAF_BITS:
        return parity(key.root & mask(x & ones(key.bits))).bool()
    return kernel(x if x.dim() == 2 else x[None], key.root, key.cw, key.bits).view(x.shape)


def eval_all(key: Key) -> torch.Tensor:
    """Shares of all values: int64 [N, max(1, 2^bits / 64)], bit v % 64 of word v // 64 for x = v, as `kernels.lookup`
    reads them.   2^(bits - 6) - 1 calls of H, one per inner node and per leaf block
    """
    if key.bits > MOST:
        raise ValueError(f"2^{key.bits} values do not fit: eval_all is for at most {MOST} bits")
    if key.bits <= LEAF_BITS:
        return key.root if key.bits == LEAF_BITS else key.root[:, :1]
    return kernels.dpf_all(key.root, key.cw, key.bits)


def at_least(key: Key, x_hat: torch.Tensor, sign: torch.Tensor, thresholds, width: int = 64, by: int = 0):
    """A share of 1{z ≥ c} for each threshold c, where z + r = (x_hat mod 2^width) >> by is public, alpha is r mod
    2^bits, and `sign` a share of bit `bits` of r: x_hat [N], sign [N] → bool [len(thresholds), N].   bits - 6 calls of
    H a threshold   [Grotto, SIGMA]
    """
    keys.check_points(x_hat, key.bits, len(key))
    thresholds, first = tuple(signed(c) for c in thresholds), key.party == 0
    if key.bits > LEAF_BITS:
        return kernels.at_least(x_hat, sign, key.root, key.cw, key.bits, thresholds, width, by, first)
    z = lsr(x_hat & ones(width), by) if by else x_hat
    y = torch.stack([z - c for c in thresholds])
    out = ~(less_than(key, y) ^ (not first) ^ sign)
    return out ^ ((y >> key.bits) & 1).bool() if first else out


def look_up(key: Key, x: torch.Tensor, tables: torch.Tensor) -> torch.Tensor:
    """Party 0's and party 1's add up to u·tables[:, x - alpha]: x [N], tables [T, 2^bits] → int64 [T, N]; u is 1 where
    party 0's bit at alpha is 1, else -1.   2^(bits - 6) - 1 calls of H   [Pika]
    """
    if key.bits <= LEAF_BITS or key.bits > MOST:
        return kernels.signed_lookup(x, eval_all(key), tables, key.party == 0)
    return kernels.dpf_look_up(x, key.root, key.cw, tables, key.bits, key.party == 0)
