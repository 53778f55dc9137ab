"""Values in a finer unit, whose truncation waits: squares, means of squares, and what one table makes of those.

The square of a fixed-point number has twice its fraction bits. The rows that square hand it out pending: whoever takes
its shares truncates it, once, for the price that it always had. Only a mean over dimensions, a variance, and a public
number added to them leave it as it is. A root, a logarithm or a reciprocal then reads the sum itself, in one table with
factor and summand inside (`functions.of_squares`): a mean square of 1e-3 has 22 bits there instead of 6, and it takes
two rounds fewer. Of √ and log the result has the session's unit; of 1/√ and 1/x it has 6 more bits, as in a division,
until it has been multiplied: 1/100 would have 10.

What takes the shares: a plain sum, or in the double unit it would end at 2^(w-2-2·frac) instead of 2^(w-2-frac); and a
view, because the base and it must stay one memory.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import torch

from ..cell import Cell
from ..protocols import functions
from ..tensor import SecretTensor
from .table import call, is_float, local, unit

MEAN_BITS = 16  # that a square keeps beyond the session's for a mean: so its sum has half the room that the mean had
INVERSE_BITS = 6  # as `functions.division`


class Squares(NamedTuple):
    """factor · (the sum of `product` over dims) + offset.

    product  squares in the double unit
    spare    bits to cut off them before the sum, so that this has room
    layout   a tensor with the result's shape and device
    settle   () → the same in the session's unit, as it would have been without waiting; asked twice, computed once
    """

    product: SecretTensor
    dims: tuple[int, ...]
    keepdim: bool
    spare: int
    factor: float
    offset: float
    layout: torch.Tensor
    settle: Callable[[], SecretTensor]

    @property
    def is_plain(self) -> bool:
        return not self.dims and self.offset == 0

    def apply(self, name: str) -> SecretTensor | None:
        """A function of this, by one table. None: it is none of those.

        Price: 4 rounds, 1 more with `spare` bits
        """
        if name not in functions.OF_SQUARES:
            return None
        total, session = self.product, self.product.session
        if self.spare:
            total = call(session.suite.truncate, total, self.spare)
        if self.dims:
            total = local(total, torch.sum, self.dims, self.keepdim)
        more = INVERSE_BITS if name in ("rsqrt", "reciprocal") else 0
        protocol = partial(functions.of_squares, session.suite)
        out = call(protocol, total, name, session.ring.frac, more, self.factor, self.offset)
        if not more:
            return out
        return _pending(Inverse(out, _data(out), cache(partial(call, session.suite.truncate, out, more))), session)


class Inverse(NamedTuple):
    """1/x or 1/√x: `value` has INVERSE_BITS more fraction bits than the session; `layout`, `settle`: as in Squares."""

    value: SecretTensor
    layout: torch.Tensor
    settle: Callable[[], SecretTensor]

    def apply(self, name: str) -> None:
        return None


def _pending(what, session) -> SecretTensor:
    return SecretTensor(None, session, cell=Cell(session, pending=what))


def _data(x):
    return x.shared.shares[0].data


def square_of(x: SecretTensor, home) -> SecretTensor:
    """x², whose truncation waits where there is one; home(product) does it.

    Price: 1 round; 1 more when its shares are taken
    """
    product = call(x.session.suite.square, x)
    if not unit(product):
        return product
    return _pending(Squares(product, (), False, 0, 1.0, 0.0, _data(product), cache(partial(home, product))), x.session)


def mean_of(x, dims, keepdim: bool, n: int, average) -> SecretTensor | None:
    """The sum of squares over dims, by n, pending; average(squares) is what it settles to. None: x is no square."""
    return _reduced(x, dims, keepdim, max(0, x.session.ring.frac - MEAN_BITS), 1 / n, average) if n else None


def sum_of(x, dims, keepdim: bool, add_up) -> SecretTensor | None:
    """As `mean_of`, a sum, as fine as leaves it the room that it has in the session's unit."""
    count = torch.Size(x.shape[d] for d in dims).numel()
    return _reduced(x, dims, keepdim, min(max(count - 1, 0).bit_length(), x.session.ring.frac), 1.0, add_up)


def _reduced(x, dims, keepdim, spare, factor, reduce):
    kept = x.cell.pending
    if not (isinstance(kept, Squares) and kept.is_plain and dims and x.numel()):
        return None
    layout = kept.layout.new_empty([1 if d in dims else n for d, n in enumerate(x.shape) if keepdim or d not in dims])
    settle = cache(lambda: reduce(kept.settle()))
    return _pending(Squares(kept.product, tuple(dims), keepdim, spare, factor, 0.0, layout, settle), x.session)


def plus(x, number: float, add) -> SecretTensor | None:
    """Pending squares and a public number, pending; None: x is none, or the number none where a table could begin."""
    kept = x.cell.pending if isinstance(x, SecretTensor) else None
    if not (isinstance(kept, Squares) and 0 <= number < 2.0 ** (x.session.ring.bits - 2 - 2 * x.session.ring.frac)):
        return None
    settle = cache(lambda: add(kept.settle(), number))
    return _pending(kept._replace(offset=kept.offset + number, settle=settle), x.session)


def finer(x: SecretTensor, y: SecretTensor) -> tuple[SecretTensor, SecretTensor]:
    """Two factors, one of them in its finer unit if it is an inverse.   Domain then: |x·y| < 2^(w-8-2·frac)."""
    if isinstance(y.cell.pending, Inverse) and is_float(x):
        return x, y.cell.pending.value
    if isinstance(x.cell.pending, Inverse) and is_float(y):
        return x.cell.pending.value, y
    return x, y


def reshaped(x: SecretTensor, *shape: int) -> SecretTensor:
    """x.reshape(shape) for a result that nobody writes into: an inverse stays pending."""
    kept = x.cell.pending if isinstance(x, SecretTensor) else None
    if not isinstance(kept, Inverse):
        return x.reshape(shape)
    value = local(kept.value, torch.reshape, shape)
    return _pending(Inverse(value, _data(value), cache(lambda: kept.settle().reshape(shape))), x.session)
