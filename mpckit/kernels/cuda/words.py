"""Gate ends, bits, digits and look-ups on a GPU (`words.cu`)."""

import functools

import torch

from .. import reference as definition
from ..reference import DIGIT
from ..tree import terms
from .launch import launch


def _solid(*tensors):
    return [t.contiguous() for t in tensors]


def _words(like, *shape):
    return torch.empty(shape, dtype=torch.int64, device=like.device)


@definition.beaver.on("cuda")
def beaver(c, d, b, a, e, first):
    if not (c.shape == d.shape == b.shape == a.shape == e.shape):
        return definition.beaver.reference(c, d, b, a, e, first)
    out = _words(c, *c.shape)
    launch("beaver", c.numel(), *_solid(c, d, b, a, e), out, c.numel(), first)
    return out


@definition.select.on("cuda")
def select(x, x_hat, b_hat, s, rs):
    if not (x.shape == x_hat.shape == b_hat.shape == s.shape == rs.shape):
        return definition.select.reference(x, x_hat, b_hat, s, rs)
    out = _words(x, *x.shape)
    launch("choose", x.numel(), *_solid(x, x_hat, b_hat, s, rs), out, x.numel())
    return out


# ---- bits ----------------------------------------------------------------------------------------


@definition.to_planes.on("cuda")
def to_planes(v, bits):
    lead, n = v.shape[:-1], v.shape[-1]
    words = -(-n // 64)
    out = _words(v, bits, *lead, words)
    launch("to_planes", 32 * lead.numel() * words, v.to(torch.int64).contiguous(), out, lead.numel(), n, bits)
    return out


@definition.from_planes.on("cuda")
def from_planes(planes, n):
    bits, lead, words = planes.shape[0], planes.shape[1:-1], planes.shape[-1]
    out = _words(planes, *lead, n)
    launch("from_planes", out.numel(), planes.contiguous(), out, bits, lead.numel(), words, n)
    return out


@definition.pack.on("cuda")
def pack(v, bits):
    n = v.numel()
    v = (v if v.dtype == torch.bool else v.to(torch.int64)).contiguous()
    out = _words(v, -(-n * bits // 64))
    launch("pack", out.numel(), v, out, n, bits, v.element_size())
    return out.view(torch.uint8)[: definition.packed_bytes(n, bits)]


@definition.unpack.on("cuda")
def unpack(data, bits, n):
    data = data.contiguous()
    if data.numel() < definition.packed_bytes(n, bits):
        raise ValueError(f"{n} elements of {bits} bits do not lie in {data.numel()} bytes")
    if bits == 1:
        out = torch.empty(n, dtype=torch.bool, device=data.device)
        launch("unpack_bits", n, data, out, n)
        return out
    out = _words(data, n)
    launch("unpack", n, data, out, n, bits)
    return out


# ---- digits --------------------------------------------------------------------------------------


@definition.digit_tables.on("cuda")
def digit_tables(planes):
    digits, words = planes.shape[0] // DIGIT, planes.shape[1:].numel()
    out = _words(planes, digits, 1 << DIGIT, *planes.shape[1:])
    launch("digit_tables", digits * words, planes.contiguous(), out, digits, words)
    return out


@definition.digit_compare.on("cuda")
def digit_compare(planes, tables):
    digits, (thresholds, words) = planes.shape[0] // DIGIT, planes.shape[1:]
    less, equal = (_words(planes, digits, thresholds, words) for _ in range(2))
    launch("digit_compare", less.numel(), *_solid(planes, tables), less, equal, digits, thresholds, words)
    return less, equal


@definition.tree_node.on("cuda")
def tree_node(opened, dealt, radix, want, first):
    out = _words(opened, len(want), *opened.shape[1:])
    steps, ends = _steps(radix, want, bool(first), opened.device)
    launch("tree_node", out.numel(), *_solid(opened, dealt), steps, ends, out, len(want), opened.shape[1:].numel())
    return out


@functools.cache
def _steps(radix, want, first, device):
    """What `tree_node` in `words.cu` reads; a table stays on the device, so that no call sends one."""
    steps, ends = [], []
    for products in filter(None, terms(radix, want)):
        steps += [[row, *public, *[-1] * (4 - len(public))] for row, public in products if row >= 0 or first]
        ends.append(len(steps))
    return torch.tensor(steps).to(device), torch.tensor(ends).to(device)


# ---- look-ups ------------------------------------------------------------------------------------


@definition.lookup.on("cuda")
def lookup(x_hat, hot, table):
    if not _fits(x_hat, hot, table[None]):
        return definition.lookup.reference(x_hat, hot, table)
    return _chosen(x_hat, hot, table[None], True, False)[0]


@definition.signed_lookup.on("cuda")
def signed_lookup(x_hat, hot, tables, first):
    if not _fits(x_hat, hot, tables):
        return definition.signed_lookup.reference(x_hat, hot, tables, first)
    return _chosen(x_hat, hot, tables, False, not first)


def _fits(x_hat, hot, tables):
    """Whether the loops stay inside their arrays; the definition raises, or takes what it can, where they do not."""
    size = tables.shape[1]
    return size & (size - 1) == 0 < size and hot.shape == (*x_hat.shape, max(1, size // 64))


def _chosen(x_hat, hot, tables, is_xor, negative):
    (count, size), n = tables.shape, x_hat.numel()
    out = _words(x_hat, count, n)
    launch("look_up", 32 * n * count, *_solid(x_hat, hot, tables), out, n, size, count, is_xor, negative)
    return out
