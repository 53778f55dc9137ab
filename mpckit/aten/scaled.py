"""Secrets times public numbers, whose truncation waits: of a sum of such products only the sum is truncated.

A rotary embedding is x·cos + y·sin, cos and sin being public. Each product has two short limbs (`products.scale`), each
of which would be brought home by itself; here they wait, and what is added to them is added limb by limb. Whoever takes
the shares truncates, for the price of one product.
"""

from functools import partial
from typing import NamedTuple

import torch

from ..cell import Cell
from ..protocols import products
from ..runtime.shared import Shared
from ..tensor import SecretTensor
from .table import both, call


class Scaled(NamedTuple):
    """What stands in a cell until somebody takes its shares; booked on `path` then.

    parts   `products.in_limbs`: the first has the session's unit, the others are finer, in every product by as much
    """

    parts: tuple[SecretTensor, ...]
    path: tuple[str, ...]

    layout = property(lambda self: self.parts[0].shared.shares[0].layout)

    def apply(self, name: str) -> None:
        return None

    def settle(self) -> SecretTensor:
        whole, *finer = self.parts
        session = whole.session
        with session.meter.at(self.path):
            return call(partial(products.brought_home, session.suite), whole, finer, session.ring.frac)


def times(x: SecretTensor, factor: torch.Tensor) -> SecretTensor:
    """x · factor, pending, for x in the session's unit and a public tensor of numbers with a fraction.

    Domain: x and the result below 2^(w-17-frac); a sum of two such products, below half of that.
    """
    columns = zip(*(products.in_limbs(share, factor) for share in x.shared.shares))
    parts = [SecretTensor(Shared(column).map(torch.Tensor.contiguous), x.session) for column in columns]
    return _pending(parts, x.session.meter.where())


def plus(x, y) -> SecretTensor | None:
    """x + y, pending, if both are and have one shape."""
    kept = [v.cell.pending if isinstance(v, SecretTensor) else None for v in (x, y)]
    if not all(isinstance(v, Scaled) for v in kept) or x.shape != y.shape or x.session is not y.session:
        return None
    return _pending([both(torch.add, a, b) for a, b in zip(kept[0].parts, kept[1].parts)], kept[0].path)


def _pending(parts, path) -> SecretTensor:
    session = parts[0].session
    return SecretTensor(None, session, cell=Cell(session, pending=Scaled(tuple(parts), path)))
