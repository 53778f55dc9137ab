"""How rows are written: `@row("add.Tensor")` registers a function; helpers bring operands to one unit, run protocols.

Rules that all rows follow: a fixed-point result has the session's unit (a product is truncated at once; what is
pending, see `squares.py`, when a row takes its shares); bits become integers when arithmetic meets them; a public
operand costs no message, and its values never decide what is drawn, or a plan would need them.
"""

from functools import partial

import torch

from ..cell import known
from ..kernels.place import placed
from ..protocols import functions
from ..runtime.session import Session, Shared
from ..tensor import TABLE, SecretError, SecretTensor, secrets_in

aten = torch.ops.aten


def overload(name: str):
    """torch's operator for "add.Tensor" or, without an overload, "relu"."""
    packet, _, kind = name.partition(".")
    return getattr(getattr(aten, packet), kind or "default")


def row(*names: str):
    """Decorator: this function answers these operators, "add.Tensor" or "relu" (for relu.default)."""

    def register(answer):
        for name in names:
            TABLE[overload(name)] = answer
        return answer

    return register


def is_secret(x) -> bool:
    return isinstance(x, SecretTensor)


def is_bits(x) -> bool:
    return is_secret(x) and x.dtype == torch.bool


def is_float(x) -> bool:
    return x.dtype.is_floating_point if isinstance(x, torch.Tensor) else isinstance(x, float)


# ---- running ---------------------------------------------------------------------------------------------------------


def session_of(*operands) -> Session:
    """The session of the first secret among the operands, in lists too."""
    return next(secrets_in(operands)).session


def call(protocol, *operands):
    """Run a protocol on secret tensors and public arguments, in lists too; what it returns is secret tensors again."""
    session = session_of(*operands)
    return _wrap(session.run(protocol, *(_unwrap(o) for o in operands)), session)


def apply(name: str, x: SecretTensor, *args):
    """A function of `protocols/functions.py`, with the session's suite, on fixed-point numbers.

    What is pending is read in its finer unit, where the function takes one.
    """
    if x.cell.pending is not None and (out := x.cell.pending.apply(name)) is not None:
        return out
    return call(partial(getattr(functions, name), x.session.suite), fixed_point(x), *args)


def _wrap(result, session):
    if isinstance(result, Shared):  # contiguous: the same strides on all devices, in dry runs too
        return SecretTensor(result.map(torch.Tensor.contiguous), session)
    return type(result)(_wrap(r, session) for r in result) if isinstance(result, (list, tuple)) else result


def _unwrap(x):
    if is_secret(x):
        return x.shared
    return type(x)(_unwrap(v) for v in x) if type(x) in (list, tuple) else x


def local(x: SecretTensor, linear, *args, **kwargs) -> SecretTensor:
    """Apply a linear map to every share; no message. A persistent mask follows where `linear` is an aten operator."""
    return SecretTensor(x.shared.map(linear, *args, **kwargs), x.session)


def each(x: SecretTensor, change) -> SecretTensor:
    """`change(share) → share` for every party here; no message."""
    return SecretTensor(Shared(tuple(change(s) for s in x.shared.shares)), x.session)


def both(operator, x, y) -> SecretTensor:
    """`operator(data, data)`, linear in both together, on the shares of two secrets; no message."""
    pairs = zip(x.shared.shares, y.shared.shares)
    return SecretTensor(Shared(tuple(a.like(operator(a.data, b.data)) for a, b in pairs)), x.session)


def beside(x: SecretTensor, value):
    """Public tensors where the shares of x are: in a dry run all are shapes."""
    if isinstance(value, torch.Tensor):
        return placed(known(value, x.session), x.session.device)
    return [beside(x, v) for v in value] if isinstance(value, (list, tuple)) else value


def unknown(x) -> torch.Tensor:
    """What torch keeps and nobody knows here, where a maximum was say: a meta tensor, which refuses to be read."""
    return torch.empty(x.shape, dtype=torch.int64, device="meta")


# ---- units -----------------------------------------------------------------------------------------------------------


def unit(x: SecretTensor) -> int:
    """How many fraction bits its shares have: the session's, 0 for integers, more before a truncation."""
    return x.shared.shares[0].frac


def numbers(x: SecretTensor) -> SecretTensor:
    """Bits as integers 0 and 1, anything else as it is."""
    return call(x.session.suite.b2a, x, x.session.ring.at(0)) if is_bits(x) else x


def to_unit(x: SecretTensor, frac: int) -> SecretTensor:
    """A finer unit is a local shift; a coarser one a truncation."""
    x = numbers(x)
    step = frac - unit(x)
    if step == 0:
        return x
    if step > 0:
        return each(x, lambda s: s.like(s.data << step, frac))
    return call(x.session.suite.truncate, x, -step)


def fixed_point(x: SecretTensor) -> SecretTensor:
    """In the session's unit: bits and integers become fixed-point numbers."""
    return to_unit(x, x.session.ring.frac)


def secret_form(x, session) -> SecretTensor:
    """A public operand in the guise of a secret one; a secret one as it is."""
    return x if is_secret(x) else SecretTensor.constant(x, session)


def alike(*operands) -> list[SecretTensor]:
    """Operands of one kind: all fixed-point if one is, else integers; public ones held by party 0 alone."""
    session = session_of(*operands)
    convert = fixed_point if any(is_float(x) for x in operands) else numbers
    return [convert(secret_form(x, session)) for x in operands]


# ---- in place --------------------------------------------------------------------------------------------------------


def become(x: SecretTensor, result) -> SecretTensor:
    """What an in-place operator does: x takes the result's shares."""
    if not is_secret(x):
        raise SecretError(
            "a public tensor cannot take a secret value in place: assign the result to a new name instead"
        )
    if result.shape != x.shape or not torch.can_cast(result.dtype, x.dtype):
        now, was = (f"{str(t.dtype).removeprefix('torch.')} {list(t.shape)}" for t in (result, x))
        raise SecretError(f"a secret {was} cannot become {now} in place: assign the result to a new name instead")
    result = secret_form(result, x.session)
    if result.cell.pending is not None and is_float(x) and result.stride() == x.stride():
        x.cell.write(None, result.cell.pending)
        return x
    result = fixed_point(result) if is_float(x) else result if is_bits(x) else numbers(result)
    x.cell.write(result.shared.map(_laid_out, x.stride()))
    return x


def _laid_out(data, strides):
    if data.stride() == strides:
        return data
    return torch.empty_strided(data.shape, strides, dtype=data.dtype, device=data.device).copy_(data)
