"""A distributed comparison function: two keys that hide alpha and beta; the values add up to beta·1{x < alpha}.
[BCG+21]

*Definition.* `gen(alpha, beta, bits, streams)` → (key 0, key 1), where for every x below 2^bits
    eval(key 0, x) + eval(key 1, x) = beta·1{x < alpha}   modulo 2^width, in each word of beta
and either key alone is computationally independent of alpha and beta. x and alpha are unsigned, modulo 2^bits.

*Correctness.* The tree is that of `dpf`, down to single leaves. Every node has a value, H of its block under a tweak of
its own; a party whose control bit is 1 adds the level's value correction, and party 1 negates its sum. Off alpha's path
blocks and control bits are equal, so that the values cancel; on it the correction makes them differ by
beta·(a_i - a_{i-1}), with a_i the bit that alpha takes at depth i and a = 0 before the first and after the last. The
sum over the nodes from the root to x telescopes to beta·a_i at the first i where x and alpha part: beta if alpha goes
right there, so x < alpha, and 0 if it goes left; for x = alpha everything cancels. ([BCG+21] gives each child a value
of its own; one value per node, as in an incremental point function, is enough for this.)

*Privacy.* As for `dpf`: a value correction is, up to sign, a known word plus half of H(w ⊕ Δ) at a block w that no
other call uses, since the tweaks differ, so it is indistinguishable from a uniform word, whatever alpha and beta.

One round for a ReLU instead of two, at about twice the calls and 2.5 times the key of the point function: the form for
links with long round trips.
"""

from dataclasses import dataclass

import torch

from .. import kernels
from . import keys

KIND = b"DCF1"


def key_bits(bits: int, words: int = 1, width: int = 64) -> int:
    """The size of one party's key: a root, a correction per level, and `words` value corrections per depth."""
    return 128 * (1 + bits) + (bits + 1) * words * width


def signed(v: torch.Tensor, width: int) -> torch.Tensor:
    """The signed representative modulo 2^width."""
    return v if width == 64 else (v << (64 - width)) >> (64 - width)


@dataclass(frozen=True, eq=False)
class Key:
    """One party's keys for N functions. ValueError where a shape or a control bit does not fit.

    root [N, 2]; cw [bits, N, 2]; vcw [bits + 1, ceil(words / 2), N, 2]: word j of the payload is half j % 2 of value
    block j // 2. The corrections are the same for both parties. `width`: the ring of the payload is Z_2^width.
    """

    party: int
    bits: int
    words: int
    width: int
    root: torch.Tensor
    cw: torch.Tensor
    vcw: torch.Tensor

    def __post_init__(self):
        keys.check_points(self.root[..., 0], self.bits, name="root")
        if not 1 <= self.width <= 64 or not 1 <= self.words <= 255:
            raise ValueError(f"a payload has 1 to 255 words of 1 to 64 bits, not {self.words} of {self.width}")
        shape, blocks = (len(self.root), 2), -(-self.words // 2)
        keys.check_fields(
            self.party,
            root=(self.root, shape),
            cw=(self.cw, (self.bits, *shape)),
            vcw=(self.vcw, (self.bits + 1, blocks, *shape)),
        )
        keys.check_control(self.party, self.root)

    def __len__(self):
        return len(self.root)

    def _with(self, root, cw, vcw) -> "Key":
        return Key(self.party, self.bits, self.words, self.width, root, cw, vcw)

    def __getitem__(self, some: slice) -> "Key":
        return self._with(self.root[some], self.cw[:, some], self.vcw[:, :, some])

    @property
    def size(self) -> int:
        """Bytes of all keys."""
        return -(-len(self) * key_bits(self.bits, self.words, self.width) // 8)

    @property
    def nbytes(self) -> int:
        """Bytes on the wire, with the head."""
        return keys.HEAD.size + self.size

    def to(self, device) -> "Key":
        return self._with(self.root.to(device), self.cw.to(device), self.vcw.to(device))

    def to_bytes(self) -> bytes:
        start = keys.head(KIND, self.party, self.bits, self.words, self.width, len(self))
        values = _words(self.vcw, self.words)
        return start + keys.to_bytes(self.root) + keys.to_bytes(self.cw) + keys.to_bytes(values, self.width)

    @staticmethod
    def from_bytes(
        data: bytes,
        party: int | None = None,
        bits: int | None = None,
        words: int | None = None,
        width: int | None = None,
        count: int | None = None,
    ) -> "Key":
        """ValueError where bytes are missing or left over, or where a field is not the expected one."""
        f, rest = keys.read_head(data, KIND, key_bits, party=party, bits=bits, words=words, width=width, count=count)
        n, bits, blocks = f["count"], f["bits"], 16 * f["count"]
        root, cw = (
            keys.from_bytes(rest[:blocks], (n, 2)),
            keys.from_bytes(rest[blocks : blocks * (1 + bits)], (bits, n, 2)),
        )
        values = keys.from_bytes(rest[blocks * (1 + bits) :], (bits + 1, f["words"], n), f["width"])
        return Key(f["party"], bits, f["words"], f["width"], root, cw, _blocks(signed(values, f["width"])))


def _blocks(words):
    """[..., W, N] → [..., ceil(W / 2), N, 2], the last half 0 where W is odd."""
    if words.shape[-2] % 2:
        words = torch.cat((words, torch.zeros_like(words[..., :1, :])), -2)
    return words.unflatten(-2, (-1, 2)).movedim(-2, -1).contiguous()


def _words(blocks, count):
    """The inverse: [..., B, N, 2] → [..., count, N]."""
    return blocks.movedim(-1, -2).flatten(-3, -2)[..., :count, :]


def corrections(key: Key) -> list[tuple[torch.Tensor, int, bool]]:
    """What of `gen`'s keys travels: (words, their bits, whether to both parties)."""
    return [(key.cw, 64, True), (_words(key.vcw, key.words), key.width, True)]


def expand(party: int, count: int, bits: int, words: int, width: int, stream, received) -> Key:
    """A party's keys from its own stream and from `received(shape, width)`, which gives the words that travelled."""
    root = keys.root(party, count, stream)
    cw, values = received((bits, count, 2), 64), received((bits + 1, words, count), width)
    return Key(party, bits, words, width, root, cw, _blocks(signed(values.to(torch.int64), width)))


def gen(alpha: torch.Tensor, beta: torch.Tensor, bits: int, streams, width: int = 64) -> tuple[Key, Key]:
    """Both parties' keys for beta·1{x < alpha}: alpha [N] int64, modulo 2^bits; beta [N] or [words, N] int64, modulo
    2^width; `streams` are one per party.

    key_bits(bits, words, width) bits per key; party p expands `keys.root(p, N, streams[p])` by itself, so only cw and
    vcw need travel. 2·(bits + (bits + 1)·ceil(words / 2)) calls of H.
    """
    keys.check_points(alpha, bits, name="alpha")
    payload = beta[None] if beta.dim() == 1 else beta
    if payload.dtype != torch.int64 or payload.dim() != 2 or payload.shape[1] != len(alpha):
        raise ValueError(f"beta must be int64 [N] or [words, N], N = {len(alpha)}, not {beta.dtype} {list(beta.shape)}")
    n, words = len(alpha), len(payload)
    roots = [keys.root(p, n, streams[p]) for p in (0, 1)]
    cw, vcw = kernels.dcf_gen(alpha, _blocks(payload), *roots, bits)
    vcw = _blocks(signed(_words(vcw, words), width)) if width < 64 or words % 2 else vcw
    return tuple(Key(p, bits, words, width, roots[p], cw, vcw) for p in (0, 1))


def eval(key: Key, x: torch.Tensor) -> torch.Tensor:
    """A share of beta·1{x < alpha}: x [N] → [words, N], or x [K, N] for K points on each key → [K, words, N]; signed
    modulo 2^width.   bits + (bits + 1)·ceil(words / 2) calls of H a point
    """
    keys.check_points(x, key.bits, len(key))
    total = _words(kernels.dcf_eval(x if x.dim() == 2 else x[None], key.root, key.cw, key.vcw), key.words)
    share = signed(-total if key.party else total, key.width)
    return share[0] if x.dim() == 1 else share
