"""Fast bodies for CPU tensors: numba loops over words, torch where its own int64 code wins, OpenSSL for masks.

Numba code stays in the file of its kernel: numba's cache does not notice edits in an imported module. Inner loops run
over contiguous words in blocks that fit the first-level cache, so that LLVM turns them into vector code.
"""

import numpy as np
import torch
import torch.nn.functional as F
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numba import njit

from . import ends_cpu, ggm_cpu, lookups  # noqa: F401  (they register their bodies)
from . import reference as definition
from .reference import DIGIT
from .tree import terms

BLOCK = 64  # words per block
FEW_ROWS = 64  # below this torch's int64 matmul repacks all of b for little work


def _flat(*tensors):
    return [t.contiguous().view(-1).numpy() for t in tensors]


def _row(t):
    """All elements in a row, one next to the other: `contiguous` leaves a lone element the stride that it had."""
    flat = t.contiguous().view(-1)
    return flat.as_strided(flat.shape, (1,))


# ---- products ------------------------------------------------------------------------------------


@definition.matmul.on("cpu")
def matmul(a, b):
    if a.dim() < 2 or b.dim() != 2 or not a.numel() or not b.numel() or a.shape[-1] != b.shape[0]:
        return torch.matmul(a, b)  # which raises for shapes that do not fit; the loops below would read beyond the end
    rows = a.reshape(-1, a.shape[-1])
    if rows.shape[0] > FEW_ROWS:  # torch is six times slower on a transposed right operand
        return torch.matmul(a, b.contiguous())
    out = np.zeros((rows.shape[0], b.shape[1]), np.int64)
    if b.stride(0) == 1 and b.shape[0] > 1:
        _rows_by_columns(rows.contiguous().numpy(), b.mT.numpy(), out)
    else:
        _rows_by_matrix(rows.contiguous().numpy(), b.contiguous().numpy(), out)
    return torch.from_numpy(out).reshape(*a.shape[:-1], b.shape[1])


@definition.matmul_two.on("cpu")
def matmul_two(a, b, c, d):
    return matmul(a, b).add_(matmul(c, d))


@njit(cache=True)
def _rows_by_matrix(a, b, out):
    for n0 in range(0, b.shape[1], 4096):
        n1 = min(n0 + 4096, b.shape[1])
        for m in range(a.shape[0]):
            for k in range(a.shape[1]):
                factor = a[m, k]
                for n in range(n0, n1):
                    out[m, n] += factor * b[k, n]


@njit(cache=True)
def _rows_by_columns(a, columns, out):
    for n in range(columns.shape[0]):
        for m in range(a.shape[0]):
            total = np.int64(0)
            for k in range(a.shape[1]):
                total += a[m, k] * columns[n, k]
            out[m, n] = total


@definition.conv.on("cpu")
def conv(x, w, stride, padding, dilation, groups):
    return (F.conv1d if len(stride) == 1 else F.conv2d)(x, w, None, stride, padding, dilation, groups)


@definition.beaver.on("cpu")
def beaver(c, d, b, a, e, first):
    if not (c.shape == d.shape == b.shape == a.shape == e.shape):
        return definition.beaver.reference(c, d, b, a, e, first)
    out = np.empty(c.numel(), np.int64)
    _beaver(*_flat(c, d, b, a, e), np.int64(first), out)
    return torch.from_numpy(out).view(c.shape)


@njit(cache=True)
def _beaver(c, d, b, a, e, first, out):
    for i in range(out.size):
        out[i] = c[i] + d[i] * b[i] + (a[i] + first * d[i]) * e[i]


@definition.select.on("cpu")
def select(x, x_hat, b_hat, s, rs):
    if not (x.shape == x_hat.shape == b_hat.shape == s.shape == rs.shape):
        return definition.select.reference(x, x_hat, b_hat, s, rs)
    out = np.empty(x.numel(), np.int64)
    _select(*_flat(x, x_hat, b_hat, s, rs), out)
    return torch.from_numpy(out).view(x.shape)


@njit(cache=True)
def _select(x, x_hat, b_hat, s, rs, out):
    for i in range(out.size):
        product = x_hat[i] * s[i] - rs[i]
        out[i] = x[i] - product if b_hat[i] else product


# ---- bits ----------------------------------------------------------------------------------------


@njit(cache=True)
def _transpose64(a):
    """In place, 64×64 bits: swap halves of halves of … (Hacker's Delight §7-3), least significant bit first."""
    j, mask = 32, np.uint64(0x00000000FFFFFFFF)
    while j:
        shift = np.uint64(j)
        k = 0
        while k < 64:
            swap = ((a[k] >> shift) ^ a[k + j]) & mask
            a[k + j] ^= swap
            a[k] ^= swap << shift
            k = (k + j + 1) & ~j
        j >>= 1
        mask ^= mask << np.uint64(j) if j else np.uint64(0)


@definition.to_planes.on("cpu")
def to_planes(v, bits):
    lead, n = v.shape[:-1], v.shape[-1]
    words = -(-n // 64)
    if bits == 1:
        raw = np.packbits((v if v.dtype == torch.bool else (v & 1).bool()).numpy(), axis=-1, bitorder="little")
        out = np.zeros((*lead, words * 8), np.uint8)
        out[..., : raw.shape[-1]] = raw
        return torch.from_numpy(out.view(np.int64))[None]
    out = np.empty((bits, lead.numel(), words), np.uint64)
    _to_planes(v.to(torch.int64).reshape(lead.numel(), n).contiguous().numpy().view(np.uint64), out)
    return torch.from_numpy(out.view(np.int64)).view(bits, *lead, words)


@njit(cache=True)
def _to_planes(v, out):
    block = np.empty(64, np.uint64)
    for row in range(v.shape[0]):
        for word in range(out.shape[2]):
            for j in range(64):
                i = 64 * word + j
                block[j] = v[row, i] if i < v.shape[1] else np.uint64(0)
            _transpose64(block)
            for plane in range(out.shape[0]):
                out[plane, row, word] = block[plane]


@definition.from_planes.on("cpu")
def from_planes(planes, n):
    bits, lead, words = planes.shape[0], planes.shape[1:-1], planes.shape[-1]
    out = np.empty((lead.numel(), n), np.uint64)
    _from_planes(planes.contiguous().numpy().view(np.uint64).reshape(bits, lead.numel(), words), out)
    return torch.from_numpy(out.view(np.int64)).view(*lead, n)


@njit(cache=True)
def _from_planes(planes, out):
    block = np.empty(64, np.uint64)
    for row in range(out.shape[0]):
        for word in range(planes.shape[2]):
            for plane in range(64):
                block[plane] = planes[plane, row, word] if plane < planes.shape[0] else np.uint64(0)
            _transpose64(block)
            for j in range(min(64, out.shape[1] - 64 * word)):
                out[row, 64 * word + j] = block[j]


@definition.pack.on("cpu")
def pack(v, bits):
    if bits == 64:
        return _row(v).view(torch.uint8)
    if bits == 1:
        flat = v.reshape(-1)
        return torch.from_numpy(
            np.packbits((flat if v.dtype == torch.bool else (flat & 1).bool()).numpy(), bitorder="little")
        )
    flat = _row(v.to(torch.int64))
    if bits % 8 == 0:
        return flat.view(torch.uint8).view(-1, 8)[:, : bits // 8].reshape(-1)
    out = np.zeros(-(-flat.numel() * bits // 8) + 8, np.uint8)
    _pack(flat.numpy().view(np.uint64), bits, out)
    return torch.from_numpy(out[:-8])


@njit(cache=True)
def _pack(v, bits, out):
    mask = (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    pending, held, at = np.uint64(0), 0, 0
    for i in range(v.size):
        value, left = v[i] & mask, bits
        while left:
            take = min(left, 64 - held)
            pending |= value << np.uint64(held)
            value = value >> np.uint64(take) if take < 64 else np.uint64(0)
            held, left = held + take, left - take
            while held >= 8:
                out[at] = np.uint8(pending & np.uint64(0xFF))
                pending >>= np.uint64(8)
                held, at = held - 8, at + 1
    if held:
        out[at] = np.uint8(pending & np.uint64(0xFF))


@definition.unpack.on("cpu")
def unpack(data, bits, n):
    if bits == 64:
        data = _row(data if data.storage_offset() % 8 == 0 else data.clone())
        return data[: 8 * n].view(torch.int64)
    if bits == 1:
        return torch.from_numpy(np.unpackbits(data.numpy(), count=n, bitorder="little").view(np.bool_))
    out = np.empty(n, np.int64)
    _unpack(data.contiguous().numpy(), bits, out)
    return torch.from_numpy(out)


@njit(cache=True)
def _unpack(data, bits, out):
    spare = np.int64(64 - bits)
    for i in range(out.size):
        value, position, left, got = np.uint64(0), i * bits, bits, 0
        while left:
            take = min(left, 8 - position % 8)
            piece = (np.uint64(data[position // 8]) >> np.uint64(position % 8)) & (
                (np.uint64(1) << np.uint64(take)) - np.uint64(1)
            )
            value |= piece << np.uint64(got)
            position, left, got = position + take, left - take, got + take
        out[i] = (np.int64(value) << spare) >> spare


@definition.digit_tables.on("cpu")
def digit_tables(planes):
    digits, words = planes.shape[0] // DIGIT, planes.shape[1:].numel()
    out = np.empty((digits, 16, words), np.int64)
    _digit_tables(planes.contiguous().numpy().reshape(digits, DIGIT, words), out)
    return torch.from_numpy(out).view(digits, 16, *planes.shape[1:])


@njit(cache=True)
def _digit_tables(b, out):
    for digit in range(out.shape[0]):
        for w0 in range(0, out.shape[2], BLOCK):
            w1 = min(w0 + BLOCK, out.shape[2])
            out[digit, 0, w0:w1] = -1
            for j in range(DIGIT):
                for v in range(1 << j):
                    for w in range(w0, w1):
                        hot = out[digit, v, w]
                        out[digit, v + (1 << j), w] = hot & b[digit, j, w]
                        out[digit, v, w] = hot & ~b[digit, j, w]


@definition.digit_compare.on("cpu")
def digit_compare(planes, tables):
    digits, thresholds, words = planes.shape[0] // DIGIT, planes.shape[1], planes.shape[2]
    out = np.empty((2, digits, thresholds, words), np.int64)
    _digit_compare(
        planes.contiguous().numpy().reshape(digits, DIGIT, thresholds, words), tables.contiguous().numpy(), out
    )
    return torch.from_numpy(out).unbind(0)


@njit(cache=True)
def _digit_compare(b, tables, out):
    table = np.empty((16, BLOCK), np.int64)
    above = np.empty(BLOCK, np.int64)
    for digit in range(b.shape[0]):
        for t in range(b.shape[2]):
            for w0 in range(0, b.shape[3], BLOCK):
                size = min(BLOCK, b.shape[3] - w0)
                for v in range(16):
                    for w in range(size):
                        table[v, w] = tables[digit, v, w0 + w]
                less = out[0, digit, t, w0 : w0 + size]
                less[:] = 0
                for j in range(DIGIT - 1, -1, -1):
                    half = 1 << j
                    bit = b[digit, j, t, w0 : w0 + size]
                    above[:] = 0
                    for v in range(half):
                        for w in range(size):
                            high = table[v + half, w]
                            above[w] ^= high
                            table[v, w] ^= (table[v, w] ^ high) & bit[w]
                    for w in range(size):
                        less[w] ^= above[w] & ~bit[w]
                out[1, digit, t, w0 : w0 + size] = table[0, :size]


@definition.tree_node.on("cpu")
def tree_node(opened, dealt, radix, want, first):
    shape = opened.shape[1:]
    out = np.zeros((len(want), shape.numel()), np.int64)
    groups = [g for g in terms(radix, want) if g]
    table = [(which, row, inputs) for which, group in enumerate(groups) for row, inputs in group if row >= 0 or first]
    inputs = np.full((len(table), 4), -1, np.int64)
    for i, (_, _, public) in enumerate(table):
        inputs[i, : len(public)] = public
    head = np.array([(which, row) for which, row, _ in table], np.int64)
    _tree_node(
        opened.reshape(opened.shape[0], shape.numel()).contiguous().numpy(),
        dealt.reshape(dealt.shape[0], shape.numel()).contiguous().numpy(),
        head,
        inputs,
        out,
    )
    return torch.from_numpy(out).view(len(want), *shape)


@njit(cache=True)
def _tree_node(opened, dealt, head, inputs, out):
    term = np.empty(BLOCK, np.int64)
    for w0 in range(0, out.shape[1], BLOCK):
        size = min(BLOCK, out.shape[1] - w0)
        for i in range(head.shape[0]):
            which, row = head[i, 0], head[i, 1]
            for w in range(size):
                term[w] = -1 if row < 0 else dealt[row, w0 + w]
            for k in range(4):
                d = inputs[i, k]
                if d >= 0:
                    for w in range(size):
                        term[w] &= opened[d, w0 + w]
            for w in range(size):
                out[which, w0 + w] ^= term[w]


# ---- masks ---------------------------------------------------------------------------------------


@definition.keystream.on("cpu")
def keystream(key, first_block, blocks):
    if key.dim() == 2:
        parts = [keystream(k.contiguous(), first_block, blocks) for k in key]
        return torch.stack(parts) if parts else key.new_empty((0, 2 * blocks), dtype=torch.int64)
    counter = int(first_block).to_bytes(16, "big")
    encryptor = Cipher(algorithms.AES(key.numpy().tobytes()), modes.CTR(counter)).encryptor()
    out = np.empty(2 * blocks + 2, np.int64)  # update_into asks for a spare block
    encryptor.update_into(np.zeros(16 * blocks, np.uint8), out.view(np.uint8))
    return torch.from_numpy(out[: 2 * blocks])
