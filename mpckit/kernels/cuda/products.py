"""Products modulo 2^64 on a GPU, whose fast units multiply other numbers: words in pieces that these take exactly.

*Digits*, for large matrices on tensor cores. x = Σ x_i·2^(8i) with eight digits x_i in [-128, 128), modulo 2^64. Of the
64 products of digits 36 count, in eight sums by their power of two:

    x·y = Σ_s 2^(8s) · (x_s·y_0 + x_(s-1)·y_1 + … + x_0·y_s)

Digits side by side, [x_7 | … | x_0] against [y_0; …; y_7], make each sum one product of int8 matrices, with int32 sums
of at most 8K products of at most 2^14: exact below K = 2^14.

*Limbs*, for several smaller matrices at once, or on cards without such cores. x = x0 + x1·2^22 + x2·2^44 with x0 and
x1 in [-2^21, 2^21) and x2 in [-2^19, 2^19]. Of the nine products of limbs six count, in three sums:

    x·y = x0·y0 + (x0·y1 + x1·y0)·2^22 + (x0·y2 + x1·y1 + x2·y0)·2^44

Over K terms the sums are at most K·2^42, 2K·2^42 and 1.5K·2^42, so that up to K = 1024 every partial sum, in whatever
order, is an integer of at most 2^53 and exact in float64. Limbs side by side, [x0 | x1 | x2] against [y2; y1; y0], make
each sum one product of matrices: the parts that belong together lie together in both.
"""

import functools

import torch
import torch.nn.functional as F

from .. import reference as definition
from .launch import launch

DIGITS, BIAS = 8, -0x7F7F7F7F7F7F7F80  # 0x8080…80 as a word: 128 in each digit
TERMS = (1 << 14) - 16  # of a sum of digits: below 2^14, and a multiple of 16 as tensor cores like them
MACS = 1 << 22  # from which eight launches pay
FEW_MATRICES = 4
LIMB = 22
EXACT = 1024  # terms of a sum
LARGE = 64  # rows, terms and columns from which limbs pay
FEW_ROWS = 32
COLUMNS = 1 << 28  # words of unfolded input at once: 2 GB


@definition.matmul.on("cuda")
def matmul(a, b):
    if a.dim() == 0 or b.dim() == 0 or a.shape[-1] != b.shape[-2 if b.dim() > 1 else 0]:
        return torch.matmul(a.to("meta"), b.to("meta"))  # which says what does not fit
    if a.dim() == 1:
        return matmul(a[None], b).squeeze(-2 if b.dim() > 1 else 0)
    if b.dim() == 1:
        return matmul(a, b[:, None]).squeeze(-1)
    rows, columns, inner = a.shape[-2], b.shape[-1], a.shape[-1]
    if b.dim() == 2:  # one matrix for all rows
        rows, lead = a.shape[:-1].numel(), a.shape[:-1]
        return _product(a.reshape(1, rows, inner), b[None]).reshape(*lead, columns)
    lead = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (t.expand(*lead, *t.shape[-2:]).reshape(lead.numel(), *t.shape[-2:]) for t in (a, b))
    return _product(a, b).reshape(*lead, rows, columns)


@definition.matmul_two.on("cuda")
def matmul_two(a, b, c, d):
    alike = a.shape == c.shape and b.shape == d.shape and b.dim() == 2 <= a.dim() and a.shape[-1] == b.shape[0]
    rows = a.shape[:-1].numel()
    if not alike or min(rows, *b.shape) < LARGE or not _pays(a.device, rows, *b.shape):
        return matmul(a, b) + matmul(c, d)
    pairs = [(v.reshape(rows, v.shape[-1]), w) for v, w in ((a, b), (c, d))]
    return by_digits(*pairs).reshape(*a.shape[:-1], b.shape[1])


def _product(a, b):
    """[Z, rows, inner] by [Z, inner, columns] → [Z, rows, columns]."""
    batch, rows, inner = a.shape
    columns = b.shape[-1]
    if min(rows, inner, columns) >= LARGE:
        if batch <= FEW_MATRICES and _pays(a.device, rows, inner, columns):
            return torch.stack([by_digits(pair) for pair in zip(a, b)]) if batch > 1 else by_digits((a[0], b[0]))[None]
        return by_limbs(a, b)
    out = torch.zeros((batch, rows, columns), dtype=torch.int64, device=a.device)
    if not out.numel() or not inner:
        return out
    if batch > 1 or rows > FEW_ROWS:
        tiles = batch * -(-rows // 64) * -(-columns // 64)
        launch("matmul_tiles", 256 * tiles, a.contiguous(), b.contiguous(), out, batch, rows, inner, columns)
    elif b.stride(1) == 1 and b.stride(2) == inner > 1:
        launch("rows_by_columns", 32 * columns, a.contiguous(), b, out, rows, inner, columns)
    else:
        pieces = -(-inner // 256)
        launch("rows_by_matrix", columns * pieces, a.contiguous(), b.contiguous(), out, rows, inner, columns)
    return out


def _pays(device, rows, inner, columns) -> bool:
    return rows * inner * columns >= MACS and _multiplies_digits(device)


@functools.cache
def _multiplies_digits(device) -> bool:
    """Whether its tensor cores take int8, as those of an A100 and of later cards do, and torch has them: asked once."""
    if device.type != "cuda":
        return True
    if torch.cuda.get_device_capability(device) < (8, 0):
        return False
    a, b = (torch.arange(i, i + 64 * 96, device=device) << 33 for i in (5, 7))
    a, b = a.view(64, 96), b.view(96, 64)
    try:
        return torch.equal(by_digits((a, b)), by_limbs(a, b))
    except RuntimeError:  # a build of torch, or of its library, without such products: limbs serve
        return False


def digits(some: list[torch.Tensor], turned: bool = False) -> torch.Tensor:
    """int8 [R, 8·K'] of words [R, K], several side by side: all of digit 0, then all of digit 1, …; or `turned` from
    the highest digit down. K' is the next multiple of 16 to their columns; what is added is 0.
    """
    rows, terms = len(some[0]), sum(x.shape[1] for x in some)
    out, at = some[0].new_zeros((rows, DIGITS, -(-terms // 16) * 16), dtype=torch.int8), 0
    for x in some:
        # With 128 more in each digit there is no borrow between them, and a flipped top bit takes the 128 away again.
        split = (x.reshape(-1) + BIAS).bitwise_xor_(BIAS).view(torch.int8).view(*x.shape, DIGITS).mT
        out[..., at : at + x.shape[1]] = split.flip(1) if turned else split
        at += x.shape[1]
    return out.flatten(1)


def by_digits(*pairs: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """The sum of a @ b over all pairs, modulo 2^64, by products of int8 ones: [M, K] · [K, N] each, M from 17 on."""
    (rows, inner), columns = pairs[0][0].shape, pairs[0][1].shape[1]
    total = pairs[0][0].new_zeros((rows, -(-columns // 8) * 8))
    spare, most = total.shape[1] - columns, TERMS // len(pairs)
    for k in range(0, inner if columns else 0, most):
        left = digits([a[:, k : k + most] for a, _ in pairs], turned=True)
        right = digits([b[k : k + most].mT for _, b in pairs])
        right = F.pad(right, (0, 0, 0, spare)) if spare else right
        each = left.shape[1] // DIGITS
        for power in range(DIGITS):
            terms = (power + 1) * each
            part = torch._int_mm(left[:, left.shape[1] - terms :], right[:, :terms].mT)
            total.add_(part, alpha=1 << (8 * power))
    return total[:, :columns]


def limbs(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """float64 x0, x1, x2, exact."""
    half, spare = 1 << (LIMB - 1), 64 - LIMB
    x0 = (x << spare) >> spare  # the signed representative modulo 2^22
    rest = (x >> LIMB) + ((x >> (LIMB - 1)) & 1)  # (x - x0) / 2^22, without the overflow of x - x0
    x1 = (rest << spare) >> spare
    x2 = (rest + half) >> LIMB
    return x0.double(), x1.double(), x2.double()


def by_limbs(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a @ b modulo 2^64 by products of float64 matrices, with torch.matmul's batching: [..., M, K] · [..., K, N]."""
    total, inner = None, a.shape[-1]
    for k in range(0, inner, EXACT):
        end = min(k + EXACT, inner)
        left = torch.cat(limbs(a[..., k:end]), -1)
        right = torch.cat(limbs(b[..., k:end, :])[::-1], -2)
        for power in range(3):
            terms = (power + 1) * (end - k)
            part = torch.matmul(left[..., :terms], right[..., right.shape[-2] - terms :, :]).to(torch.int64)
            total = part if total is None else total.add_(part << (LIMB * power))
    return total


@definition.conv.on("cuda")
def conv(x, w, stride, padding, dilation, groups):
    """By products of unfolded input: cuDNN's convolutions in float64 may go through transforms, which are not exact."""
    x = F.pad(x, [p for p in reversed(padding) for _ in (0, 1)])
    size, spatial = w.shape[1:].numel(), len(stride)
    out = [(x.shape[2 + i] - dilation[i] * (w.shape[2 + i] - 1) - 1) // stride[i] + 1 for i in range(spatial)]
    each = max(1, x.shape[1] * size // w.shape[1] * torch.Size(out).numel())
    rows = w.reshape(1, groups, w.shape[0] // groups, size)
    some = max(1, COLUMNS // each)
    made = [_unfolded(part, w, stride, dilation, groups, rows, out) for part in x.split(some)] if len(x) else []
    return torch.cat(made) if made else x.new_empty((0, w.shape[0], *out))


def _unfolded(x, w, stride, dilation, groups, rows, out):
    n, c, spatial = x.shape[0], x.shape[1], len(stride)
    for i in range(spatial):  # [N, C, *out, *kernel], a view
        x = x.unfold(2 + i, dilation[i] * (w.shape[2 + i] - 1) + 1, stride[i])
    x = x[(..., *(slice(None, None, d) for d in dilation))]
    x = x.reshape(n, groups, c // groups, *x.shape[2:])
    x = x.movedim(tuple(range(3, 3 + spatial)), tuple(range(-spatial, 0)))  # [N, groups, C / groups, *kernel, *out]
    columns = x.reshape(n, groups, rows.shape[-1], torch.Size(out).numel())
    return matmul(rows, columns).reshape(n, w.shape[0], *out)
