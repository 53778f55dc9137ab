"""Rows of in-place operators: `add_` is `add`, whose result the tensor takes. Optimizers are made of them."""

import warnings

import torch

from ..tensor import TABLE, SecretError
from .arithmetic import add, div, mul, sub
from .table import aten, become, is_secret, row, secret_form


@row("lerp.Scalar", "lerp.Tensor")
def lerp(start, end, weight):
    return add(start, mul(sub(end, start), weight))


@row("addcmul")
def addcmul(x, a, b, value=1):
    return add(x, mul(mul(a, b), value))


@row("addcdiv")
def addcdiv(x, a, b, value=1):
    return add(x, mul(div(a, b), value))


@row("add_.Tensor")
def add_(x, y, alpha=1):
    if isinstance(y, float) and y and is_secret(x) and abs(y) < 2.0 ** -(x.session.ring.frac + 1):
        warnings.warn(  # Adam's eps, say: without it a small denominator may be 0, and the step huge
            f"adding {y:g} has no effect on a secret whose unit is 2^-{x.session.ring.frac}: "
            "take a larger one, an optimizer's eps=1e-3 say, or a session with more fraction bits",
            stacklevel=2,
        )
    return become(x, add(x, y, alpha))


@row("copy_")
def copy_(x, source, non_blocking=False):
    if not is_secret(x):
        raise SecretError(
            "a public tensor cannot take a secret value in place; assign the secret to a new name instead"
        )
    return become(x, secret_form(source, x.session).expand(x.shape))


@row("detach_")
def detach_(x):
    return x


@row("zero_")
def zero_(x):
    return become(x, torch.zeros(x.shape, dtype=x.dtype))


@row("fill_.Scalar", "fill_.Tensor")
def fill_(x, value):
    return become(x, torch.as_tensor(value, dtype=x.dtype).expand(x.shape))


def register() -> None:
    """An in-place twin for every row that has one in torch; those that only move elements have theirs in `shape`."""
    for operator, answer in list(TABLE.items()):
        packet = getattr(aten, operator._schema.name.removeprefix("aten::") + "_", None)
        twin = getattr(packet, operator._overloadname, None)
        if twin is not None and twin._schema.is_mutable and torch.Tag.inplace_view not in twin.tags:
            TABLE.setdefault(twin, lambda x, *args, _answer=answer, **kwargs: become(x, _answer(x, *args, **kwargs)))
