"""How rows are written: `@row("add.Tensor")` registers a function; these helpers bring operands to one unit and run protocols.

Rules that all rows follow: a fixed-point result has the session's unit (a product is truncated at once); bits become integers when
arithmetic meets them; a public operand costs no message.
"""

import torch

from ..ring import Ring
from ..runtime.session import Session, Shared
from ..share import AShare, BShare
from ..tensor import TABLE, SecretError, SecretTensor

aten = torch.ops.aten


def overload(name: str):
    packet, _, kind = name.partition(".")
    return getattr(getattr(aten, packet), kind or "default")


def row(*names: str):
    """Decorator: this function answers these operators, "add.Tensor" or "relu" (for relu.default)."""

    def register(function):
        for name in names:
            TABLE[overload(name)] = function
        return function

    return register


def is_secret(x) -> bool:
    return isinstance(x, SecretTensor)


def session_of(*operands) -> Session:
    return next(x.session for x in operands if is_secret(x))


def wrap(result, session):
    """Shared → SecretTensor, inside lists and tuples too."""
    if isinstance(result, Shared):
        return SecretTensor(result, session)
    return type(result)(wrap(r, session) for r in result) if isinstance(result, (list, tuple)) else result


def run(session: Session, protocol, *operands):
    """Run a protocol on secret tensors (their shares) and public arguments; results are wrapped again."""
    return wrap(session.run(protocol, *(_unwrap(o) for o in operands)), session)


def call(protocol, *operands):
    """`run` in the session of the first secret operand."""
    return run(session_of(*operands), protocol, *operands)


def _unwrap(x):
    if is_secret(x):
        return x.shared
    return type(x)(_unwrap(v) for v in x) if isinstance(x, (list, tuple)) and not isinstance(x, torch.Size) else x


def local(x: SecretTensor, view, *args, **kwargs) -> SecretTensor:
    """Apply a linear map to every share; no message."""
    return SecretTensor(x.shared.map(view, *args, **kwargs), x.session)


def each(x: SecretTensor, function) -> SecretTensor:
    """`function(share) → share` for every party here; no message."""
    return SecretTensor(Shared(tuple(function(s) for s in x.shared.shares)), x.session)


def numbers(x: SecretTensor) -> SecretTensor:
    """Bits as integers 0 and 1, anything else as it is."""
    if not is_bits(x):
        return x
    return run(x.session, x.session.suite.b2a, x, x.session.ring.at(0))


def is_bits(x) -> bool:
    return is_secret(x) and isinstance(x.shared.shares[0], BShare)


def is_float(x) -> bool:
    return x.dtype.is_floating_point if isinstance(x, torch.Tensor) else isinstance(x, float)


def unit(x: SecretTensor) -> int:
    return x.shared.shares[0].frac


def to_unit(x: SecretTensor, frac: int) -> SecretTensor:
    """A finer unit is a local shift; a coarser one a truncation."""
    x = numbers(x)
    step = frac - unit(x)
    if step == 0:
        return x
    if step > 0:
        return each(x, lambda s: s.like(s.data << step, frac))
    return run(x.session, x.session.suite.truncate, x, -step)


def fixed_point(x: SecretTensor) -> SecretTensor:
    return to_unit(x, x.session.ring.frac)


def encode(value, like: SecretTensor) -> torch.Tensor | int:
    """A public number or tensor as ring elements of `like`'s unit."""
    return Ring(like.shared.shares[0].bits, unit(like)).encode(value)


def constant(value, like: SecretTensor) -> SecretTensor:
    """A public tensor in the guise of a secret one: party 0 holds it, the others hold zero. Costs nothing, hides nothing."""
    value = torch.as_tensor(value)
    session = like.session
    ring = session.ring.at(session.ring.frac if value.is_floating_point() else 0)
    if value.dtype == torch.bool:
        pieces = [BShare(value if p == 0 else torch.zeros_like(value), p) for p in session.here]
    else:
        encoded = ring.encode(value)
        pieces = [AShare(encoded if p == 0 else torch.zeros_like(encoded), p, ring) for p in session.here]
    return SecretTensor(Shared(tuple(pieces)), session)


def become(x: SecretTensor, result: SecretTensor) -> SecretTensor:
    """An in-place operator: x takes the result's shares, and a persistent mask that hid the old value is left behind."""
    if not is_secret(x):
        raise SecretError("a public tensor cannot take a secret value in place; assign the result to a new name instead")
    if x.is_window:
        raise SecretError("in-place write into a view of a secret tensor; use torch.where, torch.cat or index_put out of place")
    if result.shape != x.shape:
        raise SecretError(f"in-place result has shape {tuple(result.shape)}, the tensor {tuple(x.shape)}")
    result = fixed_point(result) if x.dtype.is_floating_point else result
    x.shared = Shared(tuple(s.like(s.data) for s in result.shared.shares))
    return x
