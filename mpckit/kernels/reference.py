"""The definitions: every kernel in plain torch, written to be read.

Tensors are int64 words or bool bits unless said otherwise.
"""

import numpy as np
import torch
import torch.nn.functional as F

from . import kernel
from .tree import terms

DIGIT = 4  # bits per digit of a comparison: a table of 16 bits per digit


# ---- products modulo 2^64 ------------------------------------------------------------------------


@kernel
def matmul(a, b):
    """a @ b modulo 2^64, with torch.matmul's batching and broadcasting."""
    return torch.matmul(a, b)


@kernel
def matmul_two(a, b, c, d):
    """a @ b + c @ d modulo 2^64, a shaped as c and b as d: the products of a masked product."""
    return torch.matmul(a, b) + torch.matmul(c, d)


@kernel
def conv(x, w, stride, padding, dilation, groups):
    """Convolution modulo 2^64: x [N, C, L] or [N, C, H, W], w [O, C/groups, …].

    stride, padding and dilation are tuples with one entry per spatial dimension.
    """
    spatial = len(stride)
    x = F.pad(x, [p for p in reversed(padding) for _ in (0, 1)])
    span = [d * (k - 1) + 1 for d, k in zip(dilation, w.shape[2:])]
    for i in range(spatial):  # [N, C, *out, *kernel], a view
        x = x.unfold(2 + i, span[i], stride[i])
    x = x[(..., *(slice(None, None, d) for d in dilation))]
    n, c, out = x.shape[0], x.shape[1], x.shape[2 : 2 + spatial]
    columns = x.reshape(n, groups, c // groups, *x.shape[2:]).movedim(2, 2 + spatial)
    size = w.shape[1:].numel()
    columns = columns.reshape(n, groups, out.numel(), size)
    rows = w.reshape(groups, w.shape[0] // groups, size).mT
    return (columns @ rows).movedim(2, 3).reshape(n, w.shape[0], *out)


@kernel
def beaver(c, d, b, a, e, first):
    """One party's share of a masked product, elementwise: c + d·b + a·e, and d·e for the first party alone."""
    return c + d * b + (a + d if first else a) * e


@kernel
def select(x, x_hat, b_hat, s, rs):
    """A share of b·x, given x̂ = x + r, b̂ = b ⊕ s (bool, public) and shares of s and r·s."""
    product = x_hat * s - rs  # s·x
    return torch.where(b_hat, x - product, product)


# ---- bits ----------------------------------------------------------------------------------------


@kernel
def to_planes(v, bits):
    """Transpose bits: v [..., N] int64 or bool → [bits, ..., ceil(N / 64)].

    Bit j of word k of plane i is bit i of v[64k + j].
    """
    v = v.to(torch.int64)
    n = v.shape[-1]
    v = F.pad(v, (0, -n % 64)).reshape(*v.shape[:-1], -(-n // 64), 64)
    place = torch.arange(64, device=v.device)
    return torch.stack([(((v >> i) & 1) << place).sum(-1) for i in range(bits)])


@kernel
def from_planes(planes, n):
    """The inverse of `to_planes`: [bits, ..., W] → [..., n] non-negative below 2^bits (for 64 bits: any int64)."""
    place = torch.arange(64, device=planes.device)
    v = torch.zeros((*planes.shape[1:], 64), dtype=torch.int64, device=planes.device)
    for i, plane in enumerate(planes):
        v = v | (((plane[..., None] >> place) & 1) << i)
    return v.flatten(-2)[..., :n]


@kernel
def pack(v, bits):
    """The low `bits` of each element of v (int64 or bool) as ceil(numel · bits / 8) bytes for the wire.

    Least significant first.
    """
    place = torch.arange(bits, device=v.device)
    stream = ((v.to(torch.int64).reshape(-1, 1) >> place) & 1).reshape(-1)
    stream = F.pad(stream, (0, -stream.numel() % 8)).reshape(-1, 8)
    return (stream << torch.arange(8, device=v.device)).sum(-1).to(torch.uint8)


def packed_bytes(n: int, bits: int) -> int:
    """How many bytes `pack` makes of n elements."""
    return -(-n * bits // 8)


@kernel
def unpack(data, bits, n):
    """The inverse of `pack`: uint8 → n elements, bool where bits is 1, else int64.

    An int64 element is the signed representative modulo 2^bits.
    """
    stream = ((data.to(torch.int64)[:, None] >> torch.arange(8, device=data.device)) & 1).reshape(-1)[: n * bits]
    v = (stream.reshape(n, bits) << torch.arange(bits, device=data.device)).sum(-1)
    return v.bool() if bits == 1 else (v << (64 - bits)) >> (64 - bits)


@kernel
def digit_tables(planes):
    """One-hot code of every 4-bit digit: planes [4·D, W] (least significant first) → [D, 16, W]."""
    b = planes.unflatten(0, (planes.shape[0] // DIGIT, DIGIT))
    hot = torch.full_like(b[:, :1], -1)
    for j in range(DIGIT):  # doubling: entry v of the next table has bit j of v
        bit = b[:, j : j + 1]
        hot = torch.cat((hot & ~bit, hot & bit), 1)
    return hot


@kernel
def digit_compare(planes, tables):
    """Compare public digits v with dealt digits r, of which each party has a share of the one-hot code.

    planes [4·D, T, W], tables [D, 16, W] → (less, equal), each [D, T, W].
    Shares of 1{v < r} and 1{v = r} by walking down a binary tree over the 16 entries: the parity of a one-hot half
    says whether r lies in it. This is prefix parity [Grotto] on a table small enough to be dealt whole, and for any
    number of parties.
    """
    b = planes.unflatten(0, (planes.shape[0] // DIGIT, DIGIT))
    table, less = tables[:, :, None].expand(-1, -1, planes.shape[1], -1), torch.zeros_like(b[:, 0])
    for j in reversed(range(DIGIT)):
        low, high = table.chunk(2, 1)
        above = high[:, 0]
        for entry in high.unbind(1)[1:]:
            above = above ^ entry
        bit = b[:, j]
        less = less ^ (above & ~bit)  # v goes left, and r lies to the right: v < r
        table = low ^ ((low ^ high) & bit[:, None])
    return less, table[:, 0]


@kernel
def tree_node(opened, dealt, radix, want, first):
    """A share of what a node of the comparison tree gives (`tree.py`): [len(want), …].

    opened [I, …] are the masked inputs, dealt [I + M, …] the masks and the products of masks.
    G comes without its linear term g_top.
    """
    out = []
    for products in terms(radix, want):
        if not products:
            continue
        total = torch.zeros_like(opened[0])
        for row, public in products:
            if row < 0 and not first:
                continue
            term = torch.full_like(total, -1) if row < 0 else dealt[row]
            for i in public:
                term = term & opened[i]
            total = total ^ term
        out.append(total)
    return torch.stack(out)


@kernel
def lookup(x_hat, hot, table):
    """Xor share of table[x]: x̂ = x + r [N], hot [N, words] shares of the one-hot code of r, public table [2^k] → [N].

    ⊕_v hot_v · table[(x̂ - v) mod 2^k]: linear over bits, so shares of the one-hot code give shares of the entry.
    """
    size = table.numel()
    out = torch.zeros_like(x_hat)
    for v in range(size):
        bit = (hot[:, v // 64] >> (v % 64)) & 1
        out = out ^ (table[(x_hat - v) & (size - 1)] & -bit)
    return out


@kernel
def signed_lookup(x_hat, hot, tables, first):
    """One party's sum of the entries that its bits choose: x̂ [N] modulo 2^k, hot [N, words] as in `lookup` a share of
    the one-hot code of r, public tables [T, 2^k] → int64 [T, N], negated for all but the first party.

    ±Σ_v hot_v · tables[t][(x̂ - v) mod 2^k]. Where both parties' bits are equal their terms cancel, and they differ at r
    alone: the two results add up to u·tables[t][(x̂ - r) mod 2^k] modulo 2^64, with u = 1 where the first party's bit at
    r is 1, else u = -1. Whoever dealt the shares knows u.
    """
    size = tables.shape[1]
    out = tables.new_zeros((tables.shape[0], x_hat.shape[0]))
    for v in range(size):
        bit = (hot[:, v // 64] >> (v % 64)) & 1
        out = out + tables[:, (x_hat - v) & (size - 1)] * bit
    return out if first else -out


# ---- masks ---------------------------------------------------------------------------------------


@kernel
def keystream(key, first_block, blocks):
    """AES-128 in counter mode (SP 800-38A): key uint8 [16] → int64 [2 · blocks]; or several [P, 16] → [P, 2 · blocks].

    Words are little-endian, the counter is a big-endian number of 128 bits.
    """
    if key.is_meta or not key.numel():
        return torch.empty((*key.shape[:-1], 2 * blocks), dtype=torch.int64, device=key.device)
    if key.dim() == 2:
        return torch.stack([keystream.reference(k, first_block, blocks) for k in key])
    counters = b"".join(((first_block + i) % (1 << 128)).to_bytes(16, "big") for i in range(blocks))
    masks = _aes128(key.cpu().numpy(), np.frombuffer(counters, np.uint8).reshape(-1, 16))
    return torch.from_numpy(masks.reshape(-1).view(np.int64)).to(key.device)


def _doubled(b):
    """Times x in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1."""
    return (b << 1) ^ np.where(b & 0x80, 0x1B, 0).astype(np.uint8)


def _substitution_box():
    """FIPS-197 §5.1.1: inverse in GF(2^8), then an affine map over bits."""
    power, powers = np.uint8(1), []
    for _ in range(255):  # 3 generates the multiplicative group
        powers.append(int(power))
        power = power ^ _doubled(power)
    box = np.zeros(256, np.uint8)
    for exponent, value in enumerate(powers):
        inverse = powers[-exponent % 255]
        rotations = [((inverse << k) | (inverse >> (8 - k))) & 0xFF for k in range(5)]
        box[value] = rotations[0] ^ rotations[1] ^ rotations[2] ^ rotations[3] ^ rotations[4] ^ 0x63
    box[0] = 0x63
    return box


_BOX = _substitution_box()
_SHIFT_ROWS = np.array([(i + 4 * (i % 4)) % 16 for i in range(16)])


def _round_keys(key):
    """FIPS-197 §5.2: uint8 [16] → eleven of them."""
    keys, constant = [key], np.uint8(1)
    for _ in range(10):
        last = keys[-1].reshape(4, 4)
        word = _BOX[np.roll(last[3], -1)]
        word[0] ^= constant
        constant = _doubled(constant)
        keys.append(np.bitwise_xor.accumulate(np.vstack((last[:1] ^ word, last[1:])), axis=0).reshape(16))
    return keys


def _aes128(key, blocks):
    """FIPS-197 on uint8 [N, 16]."""
    keys = _round_keys(key)
    state = blocks ^ keys[0]
    for number, round_key in enumerate(keys[1:], 1):
        state = _BOX[state][:, _SHIFT_ROWS]
        if number < 10:
            a = state.reshape(-1, 4, 4)
            everything = a[..., :1] ^ a[..., 1:2] ^ a[..., 2:3] ^ a[..., 3:]
            state = (a ^ everything ^ _doubled(a ^ np.roll(a, -1, 2))).reshape(-1, 16)
        state = state ^ round_key
    return state
