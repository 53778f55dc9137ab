"""Operators on tensors without values, for plans and for parties that expand pieces whose values they do not know.

torch works most of these shapes out in Python, and for that each process imports its compiler: a second and 50 MB or
more, which three engines and a notebook would all pay. Sums, products, bit operators and what joins tensors need none.
"""

from collections.abc import Callable

import torch
from torch.utils._python_dispatch import TorchDispatchMode

PLAIN = (torch.Tensor, torch.nn.Parameter)
RULES: dict[torch._ops.OpOverload, Callable] = {}


class Dry(TorchDispatchMode):
    """While this is active, operators in RULES are answered here where their operands are plain meta tensors."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch would import its compiler to be told that it is not wanted here

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = answered(func, args, kwargs)
        return func(*args, **kwargs) if out is None else out


def answered(func, args: tuple, kwargs: dict) -> torch.Tensor | None:
    """What the operator would return, strides included; None where it is for torch to say."""
    rule = RULES.get(func)
    return None if rule is None else rule(*args, **kwargs)


def _rule(*names: str):
    def register(answer):
        for name in names:
            packet, _, overload = name.partition(".")
            RULES[getattr(getattr(torch.ops.aten, packet), overload or "default")] = answer
        return answer

    return register


def _is_dry(x) -> bool:
    return type(x) in PLAIN and x.is_meta


def _empty(shape, dtype) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


# ---- element by element ----------------------------------------------------------------------------------------------


def _elementwise(*operands) -> tuple[torch.Size, tuple[int, ...]] | None:
    """Shape and strides of what torch makes of tensors and numbers element by element."""
    if not all(isinstance(x, (int, float)) or _is_dry(x) for x in operands):
        return None
    tensors = [x for x in operands if not isinstance(x, (int, float))]
    n = max(x.dim() for x in tensors)
    shapes = [(1,) * (n - x.dim()) + tuple(x.shape) for x in tensors]
    sizes = [max(column, key=lambda size: size != 1) for column in zip(*shapes)]
    if any(size not in (1, to) for shape in shapes for size, to in zip(shape, sizes)):
        return None  # torch says what does not fit
    first = tensors[0]
    if all(x.shape == first.shape and x.stride() == first.stride() for x in tensors[1:]) and _is_dense(first):
        return first.shape, first.stride()
    channels_last = n in (4, 5) and all(x.dim() == n and _channels_last(x) for x in tensors)
    if channels_last and sizes[1] > 1:
        return None
    order = list(range(n))
    if not channels_last and not all(x.is_contiguous() for x in tensors):
        steps = [
            (0,) * (n - x.dim())
            + tuple(0 if a == 1 != b else s for a, b, s in zip(x.shape, sizes[n - x.dim() :], x.stride()))
            for x in tensors
        ]
        order = _order(sizes, steps)
    strides, step = [0] * n, 1
    for dim in reversed(order):
        strides[dim], step = step, step * max(sizes[dim], 1)
    return torch.Size(sizes), tuple(strides)


def _channels_last(x) -> bool:
    """A layout that torch keeps where it can, whatever the strides say."""
    return x.is_contiguous(memory_format=torch.channels_last if x.dim() == 4 else torch.channels_last_3d)


def _is_dense(x) -> bool:
    """Do the elements fill a piece of memory, in whatever order?"""
    return x.is_contiguous() or all(
        step == expected
        for step, expected in _expected(sorted((s, size) for s, size in zip(x.stride(), x.shape) if size > 1))
    )


def _expected(pairs):
    expected = 1
    for step, size in pairs:
        yield step, expected
        expected *= size


def _order(sizes, steps) -> list[int]:
    """The dimensions from the slowest to the fastest, as the first operand that has a say has them."""
    out = list(range(len(sizes)))[::-1]
    for at in range(1, len(out)):
        for before in reversed(range(at)):
            swap = _later(sizes, steps, out[before], out[at])
            if swap < 0:
                break
            if swap > 0:
                out[before], out[at], at = out[at], out[before], before
    return out[::-1]


def _later(sizes, steps, a: int, b: int) -> int:
    for step in steps:
        if step[a] and step[b]:
            if step[a] != step[b]:
                return -1 if step[a] < step[b] else 1
            if sizes[a] > sizes[b]:
                return 1
    return 0


def _like(layout, dtype) -> torch.Tensor | None:
    return None if layout is None else torch.empty_strided(*layout, dtype=dtype, device="meta")


SIMPLE = "add sub mul bitwise_and bitwise_or bitwise_xor __and__ __or__ __xor__ __lshift__ __rshift__ rsub".split()
COMPARISONS = "eq ne lt le gt ge".split()


def _both(names):
    return (f"{name}.{kind}" for name in names for kind in ("Tensor", "Scalar"))


@_rule(*_both(SIMPLE))
def combined(x, y, alpha=1):
    return None if alpha != 1 else _like(_elementwise(x, y), torch.result_type(x, y))


@_rule(*_both(COMPARISONS))
def compared(x, y):
    return _like(_elementwise(x, y), torch.bool)


@_rule("where.self", "where.ScalarSelf", "where.ScalarOther")
def where(condition, x, y):
    return _like(_elementwise(condition, x, y), torch.result_type(x, y))


@_rule("neg", "bitwise_not")
def turned(x):
    return _like(_elementwise(x), x.dtype)


# ---- what is as large as an operand ----------------------------------------------------------------------------------

USUAL = (None, False, torch.strided, torch.preserve_format, torch.device("meta"), "meta")


@_rule("clone", "_to_copy", "empty_like", "zeros_like", "ones_like")
def copied(x, dtype=None, **options):
    return None if any(v not in USUAL for v in options.values()) else _like(_elementwise(x), dtype or x.dtype)


@_rule("full_like")
def filled(x, value, dtype=None, **options):
    return copied(x, dtype, **options)


@_rule("flip")
def flip(x, dims):
    return copied(x)


@_rule("index_copy", "index_add")
def indexed(x, dim, index, source, alpha=1):
    return copied(x) if _is_dry(source) and _is_dry(index) else None


@_rule("scatter_.src")
def scatter_(x, dim, index, source):
    return x if all(map(_is_dry, (x, index, source))) else None


# ---- what has another shape ------------------------------------------------------------------------------------------


@_rule("arange")
def arange(end, dtype=None, device=None, **options):
    if torch.device(device or "cpu").type != "meta" or type(end) is not int or end < 0:
        return None
    return _empty((end,), dtype or torch.int64)


@_rule("mm", "bmm", "matmul")
def matmul(a, b):
    alike = _is_dry(a) and _is_dry(b) and a.dtype == b.dtype and a.dim() == b.dim() >= 2
    if not alike or a.shape[-1] != b.shape[-2] or a.shape[:-2] != b.shape[:-2]:
        return None
    return _empty((*a.shape[:-1], b.shape[-1]), a.dtype)


@_rule("sum.dim_IntList")
def total(x, dims, keepdim=False, dtype=None):
    if not _is_dry(x) or not _in_order(x) or not dims or x.dtype != torch.int64 or dtype is not None:
        return None
    dims = {d % x.dim() for d in dims}
    return _empty([1 if d in dims else n for d, n in enumerate(x.shape) if keepdim or d not in dims], x.dtype)


def _in_order(x) -> bool:
    steps = [step for size, step in zip(x.shape, x.stride()) if size > 1]
    return steps == sorted(steps, reverse=True)


@_rule("cat")
def cat(tensors, dim=0):
    if not _join(tensors) or not tensors[0].dim():
        return None
    dim %= tensors[0].dim()
    if len({(*x.shape[:dim], -1, *x.shape[dim + 1 :]) for x in tensors}) > 1:
        return None
    shape = list(tensors[0].shape)
    shape[dim] = sum(x.shape[dim] for x in tensors)
    return _empty(shape, tensors[0].dtype)


@_rule("stack")
def stack(tensors, dim=0):
    if not _join(tensors) or len({x.shape for x in tensors}) > 1:
        return None
    shape = list(tensors[0].shape)
    shape.insert(dim % (len(shape) + 1), len(tensors))
    return _empty(shape, tensors[0].dtype)


def _join(tensors) -> bool:
    """Are these shapes of one kind, and none with channels last, which torch would keep last?"""
    return (
        all(map(_is_dry, tensors))
        and len({x.dtype for x in tensors}) == 1
        and all(x.dim() not in (4, 5) or x.is_contiguous() or x.stride(1) != 1 for x in tensors)
    )
