"""`only(owner, value)`: an argument that one party has, and of which the others get the shape."""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import cloudpickle
import numpy as np
import torch


@dataclass(frozen=True)
class Only:
    """A value for party `owner`; see `only`."""

    owner: int
    value: object

    def __repr__(self):
        return f"only({self.owner}, {type(self.value).__name__})"

    def __reduce_ex__(self, protocol):
        # Where `resolve` did not find it, in an object or a closure, it would reach all parties with the value inside.
        raise TypeError(
            f"only({self.owner}, …) is an argument of Team.run, by itself or in a list, tuple or dict; inside another "
            "object, or named by the program, all parties would get the value: pass it as an argument of its own"
        )


def only(owner: int, value) -> Only:
    """An argument of `Team.run` that reaches party `owner` alone; the others get its shape: tensors on the meta device.

    `value`: a tensor, a module, or a list, tuple or mapping of such. Raises TypeError for anything that would tell the
    others more than shapes and names, such as a number.
    """
    if isinstance(owner, bool) or not isinstance(owner, int) or owner < 0:
        raise ValueError(f"an owner is the number of a party, not {owner!r}")
    _check(value)
    return Only(owner, value)


def resolve(argument, party: int | None):
    """`argument` as `party` gets it (None: as nobody's, for planning): each `only` in it is its value or its shape."""
    if isinstance(argument, Only):
        return argument.value if argument.owner == party else shape_of(argument.value)
    if isinstance(argument, Mapping):
        if any(isinstance(v, (Only, Mapping, list, tuple)) for v in argument.values()):
            return {key: resolve(value, party) for key, value in argument.items()}
        return argument
    if isinstance(argument, tuple) and hasattr(argument, "_fields"):
        return type(argument)(*(resolve(value, party) for value in argument))
    if type(argument) in (list, tuple):
        return type(argument)(resolve(value, party) for value in argument)
    return argument


def owners(argument) -> set[int]:
    """Who owns something in `argument`."""
    if isinstance(argument, Only):
        return {argument.owner}
    inside = (
        argument.values() if isinstance(argument, Mapping) else argument if isinstance(argument, (list, tuple)) else ()
    )
    return set().union(*(owners(value) for value in inside))


def shape_of(value):
    """A copy without the data: every tensor in it, at any depth, is on the meta device.

    A module is copied by taking it apart and blanking every tensor met on the way: `module.to("meta")` would leave
    tensors that a module keeps as plain attributes, and with them the owner's data.
    """
    buffer = io.BytesIO()
    _Blanking(buffer).dump(value)
    return cloudpickle.loads(buffer.getvalue())


class _Blanking(cloudpickle.Pickler):
    def reducer_override(self, obj):
        if isinstance(obj, torch.Tensor):
            trained = obj.requires_grad if obj.is_leaf else False
            return _blank, (
                tuple(obj.shape),
                tuple(obj.stride()),
                obj.dtype,
                isinstance(obj, torch.nn.Parameter),
                trained,
            )
        if isinstance(obj, np.ndarray):
            return np.zeros, (obj.shape, obj.dtype)
        return super().reducer_override(obj)


def _blank(shape, stride, dtype, parameter, trained):
    tensor = torch.empty_strided(shape, stride, dtype=dtype, device="meta")
    return torch.nn.Parameter(tensor, trained) if parameter else tensor.requires_grad_(trained)


def _check(value):
    if value is None or isinstance(value, (torch.Tensor, torch.nn.Module)):
        return
    if isinstance(value, Mapping):
        inside = value.values()
    elif isinstance(value, (list, tuple)):
        inside = value
    elif isinstance(value, np.ndarray):
        raise TypeError("only() takes tensors: torch.from_numpy(array)")
    else:
        raise TypeError(
            f"only() hides tensors and modules; the others would see this {type(value).__name__}: make it a tensor"
        )
    for item in inside:
        _check(item)
