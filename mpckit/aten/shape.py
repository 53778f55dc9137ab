"""Rows that move elements. All local: linear maps commute with taking a secret apart."""

from functools import partial
from itertools import accumulate

import torch
from torch.utils._mode_utils import no_dispatch

from ..cell import Cell, SecretError, finite
from ..runtime.session import Shared
from ..tensor import SecretTensor
from .table import (
    alike,
    aten,
    beside,
    both,
    each,
    fixed_point,
    is_float,
    is_secret,
    local,
    numbers,
    overload,
    row,
    secret_form,
    session_of,
)
from .waiting import seen

# A persistent mask follows a view, and what moves each element to one place: the dealer repeats these on its copy.
VIEWS = """
    t transpose.int permute expand unsqueeze squeeze squeeze.dim squeeze.dims slice.Tensor select.int diagonal unfold
    flip
"""
# as_strided counts in memory: it asks for the shares themselves, laid out as torch was told.
MOVES = """
    as_strided
    roll repeat index_select gather tril triu index.Tensor pixel_shuffle pixel_unshuffle channel_shuffle rot90
    diag_embed take slice_backward select_backward unfold_backward diagonal_backward
    repeat_interleave.self_int
"""
# torch has these for floating point only: they say where each element comes from by moving the element numbers.
NUMBERED = """
    reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d upsample_nearest1d upsample_nearest2d im2col
"""
# One secret into another, at public places; here stands which argument is the second.
PLACES = {
    "slice_scatter": 1, "select_scatter": 1, "diagonal_scatter": 1, "as_strided_scatter": 1,
    "index_put": 2, "index_add": 3, "index_copy": 3, "scatter.src": 3, "scatter_add": 3,
}  # fmt: skip
MEMORY = {"memory_format", "layout", "pin_memory", "implicit"}


def _register(names: str, answer):
    for name in names.split():
        row(name)(partial(answer, overload(name)))


def view(operator, x, *args, **kwargs):
    kwargs = {k: v for k, v in kwargs.items() if k not in MEMORY}
    out = None if kwargs else seen(x, operator, *args)
    return local(x, operator, *args, **kwargs) if out is None else out


def move(operator, x, *args, **kwargs):
    args = public_index(operator, x, args)
    return local(x, lambda data: operator(data, *args, **kwargs))


def public_index(operator, x, args):
    """The other arguments, indices where the shares are; refuses secret ones."""
    if not is_secret(x) or any(is_secret(a) for v in args for a in (v if isinstance(v, (list, tuple)) else (v,))):
        raise SecretError(
            f"{operator}: the index must be public and the data secret; look a secret index up with a one-hot product, "
            "(index[..., None] == torch.arange(k)).float() @ data"
        )
    return [beside(x, [places for v in a for places in _places(v)] if isinstance(a, list) else a) for a in args]


def _places(index):
    """A public mask as the places where it holds, while its values are at hand: a dry run's shapes have none."""
    is_mask = isinstance(index, torch.Tensor) and index.dtype == torch.bool and not index.is_meta
    return index.nonzero(as_tuple=True) if is_mask else [index]


def renumber(operator, x, *args, **kwargs):
    def moved(data):
        places = torch.arange(1, data.numel() + 1, dtype=torch.float64, device=data.device).view(data.shape)
        places = operator(places, *args, **kwargs).long()  # 0: padding
        return torch.cat((data.new_zeros(1), data.reshape(-1)))[places]

    return local(x, moved)


def view_in_place(operator, twin, x, *args):
    """`squeeze_` and its like: the same memory in another shape."""
    old, x.cell = x.cell, view(operator, x, *args).cell
    x.cell.join(old)
    with no_dispatch():
        return twin(x, *args)  # the wrapper's own sizes


_register(VIEWS, view)
for _name, _twin in {
    "t": "t_", "transpose.int": "transpose_", "unsqueeze": "unsqueeze_",
    "squeeze": "squeeze_", "squeeze.dim": "squeeze_.dim", "squeeze.dims": "squeeze_.dims",
    "as_strided": "as_strided_",
}.items():  # fmt: skip
    row(_twin)(partial(view_in_place, overload(_name), overload(_twin)))
_register(MOVES, move)
_register(NUMBERED, renumber)


@row("view", "_unsafe_view", "_reshape_alias")
def reshape(x, shape, *_):
    return view(aten.reshape.default, x, shape)


@row("unbind.int")
def unbind(x, dim=0):
    return [local(x, aten.select.int, dim, i) for i in range(x.shape[dim])]


@row("split.Tensor", "unsafe_split.Tensor")
def split(x, size, dim=0):
    return [local(x, aten.slice.Tensor, dim, at, at + size) for at in range(0, max(x.shape[dim], 1), size)]


@row("split_with_sizes", "split_with_sizes_copy", "unsafe_split_with_sizes")
def split_with_sizes(x, sizes, dim=0):
    ends = list(accumulate(sizes))
    return [local(x, aten.slice.Tensor, dim, end - size, end) for size, end in zip(sizes, ends)]


@row("detach", "alias", "lift_fresh")
def detach(x):
    return SecretTensor(None, x.session, cell=x.cell)


@row("clone", "lift_fresh_copy")
def clone(x, **_):
    return local(x, aten.clone.default)


@row("copy")
def copy(x, source, non_blocking=False):
    return secret_form(source, session_of(x, source)).expand(x.shape)


@row("col2im")
def col2im(x, size, kernel, dilation, padding, stride):
    def summed(data):
        lead = data.shape[: data.dim() - 2]
        count = data.shape[-2] // (kernel[0] * kernel[1]) * size[0] * size[1]
        places = torch.arange(1, count + 1, dtype=torch.float64, device=data.device).view(1, -1, *size)
        places = aten.im2col(places, kernel, dilation, padding, stride).long().reshape(-1)
        rows = data.reshape(lead.numel(), -1)
        out = rows.new_zeros(rows.shape[0], count + 1).index_add(1, places, rows)[:, 1:]
        return out.reshape(*lead, -1, *size)

    return local(numbers(x), summed)


@row("constant_pad_nd")
def constant_pad(x, pad, value=0):
    if value == 0:
        return local(x, aten.constant_pad_nd.default, pad)
    fill = finite(torch.as_tensor(value, dtype=torch.float64), x.session)
    fill = x.session.ring.at(x.shared.shares[0].frac).encode(fill).item()  # party 0 alone holds the constant
    return each(x, lambda s: s.like(aten.constant_pad_nd(s.data, pad, fill if s.first else 0)))


@row("_to_copy")
def to_copy(x, dtype=None, **_):
    if dtype is None or dtype == x.dtype or (dtype.is_floating_point and is_float(x)):
        return clone(x)
    if dtype == torch.bool:
        return torch.ne(x, 0)
    if dtype.is_complex:
        raise SecretError(f"a secret has no complex numbers ({dtype}): compute with the real and the imaginary part")
    if dtype.is_floating_point:
        return fixed_point(x)
    if is_float(x):
        raise SecretError(
            "a fixed-point secret has no integer part without a protocol; use torch.floor or torch.trunc, or reveal it"
        )
    return clone(numbers(x))


def put(operator, at, x, *args, **kwargs):
    if not (is_secret(x) or is_secret(args[at - 1])):
        public_index(operator, x, args)  # the index is, and refused
    x, source = alike(x, args[at - 1])
    before, after = (public_index(operator, x, part) for part in (args[: at - 1], args[at:]))
    return both(lambda a, b: operator(a, *before, b, *after, **kwargs), x, source)


for _name, _at in PLACES.items():
    row(_name)(partial(put, overload(_name), _at))


@row("scatter.value")
def scatter_value(x, dim, index, value):
    return torch.scatter(x, dim, index, torch.full(index.shape, value, dtype=x.dtype, device=index.device))


@row("cat")
def cat(tensors, dim=0):
    return _join(torch.cat, [t for t in tensors if t.dim() != 1 or t.numel()] or tensors, dim)  # torch ignores [0]


@row("stack")
def stack(tensors, dim=0):
    return _join(torch.stack, tensors, dim)


def _join(operator, tensors, dim):
    if not all(t.dtype == torch.bool for t in tensors):
        tensors = alike(*tensors)
    session = session_of(*tensors)
    columns = zip(*(secret_form(t, session).shared.shares for t in tensors))
    return SecretTensor(Shared(tuple(c[0].like(operator([s.data for s in c], dim)) for c in columns)), session)


# ---- public tensors of a secret's shape ------------------------------------------------------------------------------


def _like(operator, x, *args, dtype=None, **_):
    """Public, but in the guise of a secret: an optimizer's state begins so, and becomes secret in place."""
    shape = [] if "new_" in operator.name() else [torch.empty(x.shape, dtype=x.dtype)]
    made = (
        operator(*shape, *args, dtype=dtype) if shape else operator(torch.empty(0, dtype=x.dtype), *args, dtype=dtype)
    )
    return SecretTensor(None, x.session, cell=Cell(x.session, public=made))


_register("new_zeros zeros_like new_ones ones_like full_like new_full", _like)


@row("empty_like", "new_empty", "new_empty_strided")
def empty_like(x, size=None, *_, dtype=None, **__):
    return SecretTensor.constant(torch.zeros(x.shape if size is None else size, dtype=dtype or x.dtype), x.session)


RANDOM = """
    rand_like randn_like randint_like bernoulli bernoulli.p native_dropout normal_functional bernoulli_.float
    bernoulli_.Tensor uniform_ normal_ random_ exponential_
"""


@row(*RANDOM.split())
def random(x, *_, **__):
    raise SecretError(
        "random numbers for a secret tensor: each party would draw its own. Let one party draw, "
        "mk.secret(torch.rand(…), owner=0); and put a model with dropout into evaluation mode, model.eval()"
    )
