"""Rows that move elements and add them up. All local: linear maps commute with taking shares apart."""

import torch

from ..tensor import SecretTensor
from .table import constant, fixed_point, is_bits, is_secret, local, numbers, overload, row, session_of

VIEWS = """
    t view _unsafe_view reshape alias detach _reshape_alias transpose.int permute expand unsqueeze squeeze squeeze.dim squeeze.dims
    slice.Tensor select.int narrow diagonal unfold as_strided movedim.int swapaxes
""".split()
MOVES = """
    flip roll repeat index_select gather tril triu constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d
    replication_pad2d index.Tensor pixel_shuffle pixel_unshuffle im2col col2im upsample_nearest1d upsample_nearest2d
    channel_shuffle rot90 diag_embed trace slice_backward select_backward unfold_backward diagonal_backward
    embedding take masked_select upsample_nearest1d.vec upsample_nearest2d.vec
""".split()


def _register(names, is_window):
    for name in names:
        try:
            operator = overload(name)
        except AttributeError:  # not in this torch release
            continue

        def move(x, *args, _operator=operator, **kwargs):
            refuse_secret_index(_operator, x, args)
            out = local(x, _operator, *args, **{k: v for k, v in kwargs.items() if k not in ("memory_format", "layout")})
            out.is_window = is_window
            return out

        row(name)(move)


def refuse_secret_index(operator, x, args):
    if not is_secret(x) or any(is_secret(a) for a in args):
        raise TypeError(
            f"{operator}: the index must be public and the data secret; look a secret index up with a one-hot product "
            "((index[..., None] == torch.arange(k)) @ data)"
        )


_register(VIEWS, is_window=True)
_register(MOVES, is_window=False)


@row("clone", "contiguous", "lift_fresh_copy")
def clone(x, **_):
    return local(x, torch.clone)


@row("_to_copy", "to.dtype")
def to_copy(x, dtype=None, **_):
    if dtype is None or dtype == x.dtype:
        return local(x, torch.clone)
    if dtype == torch.bool:
        from .compare import nonzero

        return nonzero(x)
    if dtype.is_floating_point:
        return fixed_point(x)
    if x.dtype.is_floating_point:
        raise TypeError("a fixed-point secret has no cheap integer part; use torch.floor(x) first, or reveal it")
    return numbers(x)


def _register_lists(names):
    for name in names:
        operator = overload(name)

        def take_apart(x, *args, _operator=operator, **kwargs):
            parts = [_operator(s.data, *args, **kwargs) for s in x.shared.shares]
            shares = [[s.like(p) for p in part] for s, part in zip(x.shared.shares, parts)]
            out = [SecretTensor(type(x.shared)(tuple(column)), x.session) for column in zip(*shares)]
            for o in out:
                o.is_window = True
            return out

        row(name)(take_apart)


_register_lists(["unbind.int", "split.Tensor", "split_with_sizes", "chunk"])


def _alike(tensors):
    """Public ones become secret in form; all bits, or all numbers, of one unit."""
    like = next(t for t in tensors if is_secret(t))
    tensors = [t if is_secret(t) else constant(t, like) for t in tensors]
    if all(is_bits(t) for t in tensors):
        return tensors
    if any(t.dtype.is_floating_point for t in tensors):
        return [fixed_point(t) for t in tensors]
    return [numbers(t) for t in tensors]


def _join(operator):
    def join(tensors, dim=0):
        tensors = _alike(tensors)
        session = session_of(*tensors)
        columns = zip(*(t.shared.shares for t in tensors))
        return SecretTensor(type(tensors[0].shared)(tuple(c[0].like(operator([s.data for s in c], dim)) for c in columns)), session)

    return join


row("cat")(_join(torch.cat))
row("stack")(_join(torch.stack))


# ---- sums --------------------------------------------------------------------------------------------------------------------


@row("sum", "sum.dim_IntList")
def sum_(x, dim=None, keepdim=False, dtype=None):
    dims = list(range(x.dim())) if dim is None or len(dim) == 0 else list(dim)
    return local(numbers(x), torch.sum, dims, keepdim) if dims else local(numbers(x), torch.clone)


@row("cumsum")
def cumsum(x, dim, dtype=None):
    return local(numbers(x), torch.cumsum, dim)


@row("index_put", "index_put_")
def index_put(x, indices, values, accumulate=False):
    raise TypeError("index assignment on a secret tensor is not in place here; build the result with torch.where or torch.cat")


@row("masked_fill.Scalar", "masked_fill.Tensor")
def masked_fill(x, mask, value):
    from .compare import where

    return where(mask, value, x)


def _register_likes():
    for name in "new_zeros zeros_like new_ones ones_like full_like new_full empty_like new_empty rand_like randn_like".split():
        operator = overload(name)

        def like(x, *args, _operator=operator, **kwargs):
            data = x.shared.shares[0].data
            shell = torch.empty(x.shape, dtype=x.dtype, device=data.device)
            kwargs = {k: v for k, v in kwargs.items() if v is not None and k not in ("pin_memory", "memory_format", "layout", "device")}
            return _operator(shell, *args, **kwargs)

        row(name)(like)


_register_likes()
