"""Products whose truncation waits: a ReLU has it for nothing, a maximum leaves fewer numbers to truncate.

A matrix product or a convolution of fixed-point numbers has twice their fraction bits. Its row hands it out pending, as
`squares.py` does: whoever takes its shares truncates it, for the price that it always had, booked on the layer of the
product. What is added meanwhile, a bias, a residual, another product, is kept beside it. Then
- a ReLU of the sum is one gate with the truncation (`gates.relu_truncated`): one word is opened instead of two;
- a maximum over windows is taken of the sum as it is, and only what has won is truncated;
- a mean over 2^k numbers is their sum in a unit that is finer by k bits, truncated once.
So a ReLU of such a sum waits too, until its shares are taken.
"""

import weakref
from functools import partial, reduce

import torch

from ..cell import Cell
from ..tensor import SecretTensor
from .table import both, call, each, fixed_point, is_secret, local, secret_form, unit

CONTIGUOUS = torch.Tensor.contiguous


class Sum:
    """product + summand, the product `more` bits finer than the session's unit. Computed once, whatever asks first."""

    def __init__(self, product: SecretTensor, more: int, summand: SecretTensor | None, home):
        # Contiguous, as what a protocol returns: torch asks for strides now, and they must still hold then.
        self.product, self.more, self.summand, self.home = local(product, CONTIGUOUS), more, summand, home
        self.session, self.layout = product.session, self.product.shared.shares[0].data
        self._plain = self._rectified = None
        self.asked = weakref.WeakSet()  # who may still ask for the sum itself

    @property
    def waits(self) -> bool:
        return self._plain is None and self._rectified is None

    def pending(self, kind: type["Waiting"], path: tuple[str, ...]) -> SecretTensor:
        out = kind(self, path)
        if kind is Product:
            self.asked.add(out)
        return SecretTensor(None, self.session, cell=Cell(self.session, pending=out))

    def finer(self) -> SecretTensor:
        """The sum in the product's unit.   Domain: below 2^(w-2) there, 2^30 for 64 bits and two factors of 16."""
        if self.summand is None:
            return self.product
        shifted = each(self.summand, lambda s: s.like(s.data << self.more, s.frac + self.more))
        return both(torch.add, self.product, shifted)

    def plain(self) -> SecretTensor:
        if self._plain is None:
            out = self.home(self.product)
            self._plain = out if self.summand is None else local(both(torch.add, out, self.summand), CONTIGUOUS)
        return self._plain

    def rectified(self) -> SecretTensor:
        """max(sum, 0); the sum itself comes with it, and is kept where somebody may still ask for it."""
        if self._rectified is None and self._plain is not None:
            self._rectified = call(self.session.suite.relu, self._plain)
        elif self._rectified is None:
            gate = partial(self.session.suite.relu_truncated, by=self.more, keep=len(self.asked) > 0)
            self._rectified, self._plain = call(gate, self.finer())
        return self._rectified


class View(Sum):
    """The same sum in another shape: one memory, so whatever is asked for is asked of the whole."""

    def __init__(self, whole: Sum, operator, args):
        self.whole, self.move = whole, (operator, *args)
        self.session, self.more, self.home, self.asked = whole.session, whole.more, whole.home, whole.asked
        self.layout = operator(whole.layout, *args)

    waits = property(lambda self: self.whole.waits)
    product = property(lambda self: local(self.whole.product, *self.move))

    @property
    def summand(self):
        beside = self.whole.summand
        return (
            None if beside is None else local(local(beside, torch.Tensor.expand, self.whole.layout.shape), *self.move)
        )

    def plain(self):
        return local(self.whole.plain(), *self.move)

    def rectified(self):
        return local(self.whole.rectified(), *self.move)


class Waiting:
    """What stands in a cell until somebody takes its shares (`Cell.pending`): booked on `path` then."""

    def __init__(self, sum_: Sum, path: tuple[str, ...]):
        self.sum, self.path, self.layout = sum_, path, sum_.layout

    def apply(self, name: str) -> None:
        return None

    def settle(self) -> SecretTensor:
        with self.sum.session.meter.at(self.path):
            return self.value()


class Product(Waiting):
    """The sum itself."""

    def value(self) -> SecretTensor:
        return self.sum.plain()


class Rectified(Waiting):
    """Its ReLU."""

    def value(self) -> SecretTensor:
        return self.sum.rectified()


def waiting(x, kind=Waiting) -> Waiting | None:
    """What x waits for, if it does."""
    kept = x.cell.pending if is_secret(x) else None
    return kept if isinstance(kept, kind) and kept.sum.waits else None


def wait(product: SecretTensor, home) -> SecretTensor:
    """A product of two factors with fractions, pending; home(product) truncates. Others, and local truncation: now."""
    session = product.session
    more = unit(product) - session.ring.frac
    if more <= 0 or session.suite.truncation == "local":
        return home(product)
    return Sum(product, more, None, home).pending(Product, session.meter.where())


def plus(x, y) -> SecretTensor | None:
    """x + y, pending, if one of them is and the other fits beside it."""
    if waiting(x, Product) is None:
        x, y = y, x
    kept, other = waiting(x, Product), waiting(y, Product)
    if kept is None or torch.broadcast_shapes(x.shape, getattr(y, "shape", ())) != x.shape:
        return None
    product, summands = kept.sum.product, [kept.sum.summand]
    if other is not None and other.sum.more == kept.sum.more and y.shape == x.shape:
        product, summands = both(torch.add, product, other.sum.product), [*summands, other.sum.summand]
    else:
        beside = fixed_point(secret_form(y, x.session))
        summands.append(SecretTensor(beside.shared, x.session))  # its value now, whatever is written into it later
    summands = [s for s in summands if s is not None]
    summand = reduce(partial(both, torch.add), summands) if summands else None
    return Sum(product, kept.sum.more, summand, kept.sum.home).pending(Product, kept.path)


def seen(x, operator, *args) -> SecretTensor | None:
    """operator(x, *args), a view of all elements, pending, if x is."""
    kept = waiting(x)
    if kept is None:
        return None
    view = View(kept.sum, operator, args)
    return view.pending(type(kept), kept.path) if view.layout.numel() == kept.layout.numel() else None


def rectified(x) -> SecretTensor | None:
    """Its ReLU, pending, if it is."""
    kept = waiting(x, Product)
    return None if kept is None else kept.sum.pending(Rectified, x.session.meter.where())


def largest(x, maximum) -> SecretTensor | None:
    """maximum(x in its finer unit, how many bits that has more), pending, if x is."""
    kept = waiting(x, Product)
    if kept is None:
        return None
    won = maximum(kept.sum.finer(), kept.sum.more)
    return Sum(won, kept.sum.more, None, kept.sum.home).pending(Product, kept.path)


def mean(x, summed, count: int) -> SecretTensor | None:
    """summed(x in its finer unit) by a power of two, pending, if x is.   Domain: 2^30 by `count`, as `Sum.finer`."""
    kept, bits = waiting(x, Product), count.bit_length() - 1
    if kept is None or count != 1 << bits:
        return None
    x.session.meter.entry().calls += 1  # the bill has a line for it, and nothing on it
    total = each(summed(kept.sum.finer()), lambda s: s.like(s.data, s.frac + bits))
    return Sum(total, kept.sum.more + bits, None, kept.sum.home).pending(Product, kept.path)
