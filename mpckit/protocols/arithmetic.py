"""Arithmetic on additive shares: inputs and products.

Sums and everything else linear are local (`share.py`).
"""

import torch

from ..ask import Draw, Open, Protocol, Send, together
from ..correlations import Bilinear, Mask, Square, SquareTriple, Triple, View
from ..correlations.products import REARRANGEMENTS
from ..once import OneTime, ReuseError
from ..ring import Ring
from ..share import AShare, split

MUL, MATMUL = Bilinear("mul"), Bilinear("matmul")


def input_share(me: int, owner: int, parties: int, shape, ring: Ring, value=None, stream=None) -> Protocol[AShare]:
    """The owner splits ring elements `value` with its own `stream`, keeps a piece and sends each other party one.

    The owner sends whole words, also in a smaller ring; the others send nothing.
    Price: 1 · 64
    """
    if me != owner:
        inbox = yield Send(expect={owner: tuple(shape)})
        return AShare(inbox[owner], me, ring)
    *pieces, own = split(value, [stream] * (parties - 1))
    yield Send(dict(zip((p for p in range(parties) if p != owner), pieces)))
    return AShare(own, me, ring)


def reveal(x, to: int | None = None) -> Protocol[torch.Tensor]:
    """Open a result, to everyone or to party `to` alone.

    Price: 1 · w
    """
    return (yield Open(x, to=to))


# ---- products ------------------------------------------------------------------------------------


class Fixed:
    """A value under a persistent mask: which mask, this party's piece of it, and the public value minus mask."""

    __slots__ = ("view", "mask", "opened")

    def __init__(self, view: View, mask: torch.Tensor, opened: torch.Tensor):
        self.view, self.mask, self.opened = view, mask, opened

    def map(self, operator, *args) -> "Fixed | None":
        """The same rearrangement of all three; the dealer repeats it on its copy of the mask. None if it would not."""
        view = self.moved(operator, args)
        return None if view is None else Fixed(view, operator(self.mask, *args), operator(self.opened, *args))

    def moved(self, operator, args: tuple) -> View | None:
        """The view after one more rearrangement."""
        name = operator.name().removeprefix("aten::")
        name = name if "." in name else f"{name}.default"
        if name not in REARRANGEMENTS:
            return None
        step = name, tuple(tuple(a) if isinstance(a, (list, torch.Size)) else a for a in args)
        return View(self.view.number, self.view.shape, (*self.view.steps, step))


def fix(x: AShare, number: int) -> Protocol[AShare]:
    """x under the persistent mask `number`: every later product with it opens the other factor only.

    A mask is bound to one immutable value; a second one would reveal the difference of both, and raises ReuseError.
    Price: 1 · w
    """
    b = (yield Draw(Mask(number, tuple(x.shape))))[0]
    opened = yield Open(x - b)
    return AShare(x.data, x.party, x.ring, Fixed(View(number, tuple(x.shape)), b.data, opened))


class Room(OneTime):
    """A persistent mask with room for values that come one after another along dimension `dim`: a cache of keys, say.

    Each place hides one value, once, and is struck off before it does. `filled` are those that have one.
    """

    def __init__(self, number: int, mask: AShare, dim: int):
        self.number, self.mask, self.dim, self.used, self.filled = number, mask, dim, 0, 0
        self.data, self.opened = torch.zeros_like(mask.data), torch.zeros_like(mask.data)

    shape = property(lambda self: self.mask.shape)

    def take(self, shape) -> int:
        """Strike off the next places, for values of this shape; the first of them.

        Raises ReuseError where there is no room left, and after a run that ended between striking off and filling;
        ValueError for values that would be broadcast: one mask would hide several.
        """
        self.stay_home()
        first, wanted, dim = self.used, list(self.mask.shape), self.dim
        all_, wanted[dim] = wanted[dim], shape[dim] if len(shape) == len(wanted) else None
        if list(shape) != wanted:
            raise ValueError(f"values {list(shape)} do not fit a room {list(self.mask.shape)} along dimension {dim}")
        if first + shape[dim] > all_:
            raise ReuseError(f"mask {self.number} has {all_} places along dimension {dim}; {first} are taken")
        if first > self.filled:
            raise ReuseError(
                f"mask {self.number} has places that were taken and not filled, since a run ended there: take a new "
                "room, or begin the text again"
            )
        self.used += shape[dim]
        return first


def room(number: int, shape, dim: int) -> Protocol[Room]:
    """Room of `shape` under the persistent mask `number`, for `fill`.

    Price: 0 · 0
    """
    return Room(number, (yield Draw(Mask(number, tuple(shape))))[0], dim)


def fill(x: AShare, room: Room) -> Protocol[AShare]:
    """All values in the room, x the newest of them, as `fix` would give them; those before are not opened again.

    Price: 1 · w
    """
    first, count = room.take(x.shape), x.shape[room.dim]
    opened = yield Open(x - room.mask.map(torch.narrow, room.dim, first, count))
    for whole, part in ((room.data, x.data), (room.opened, opened)):  # views given out before end where these begin
        whole.narrow(room.dim, first, count).copy_(part)
    room.filled += count
    view = View(room.number, tuple(room.mask.shape))
    fixed = Fixed(view, room.mask.data, room.opened).map(torch.ops.aten.slice.Tensor, room.dim, 0, first + count)
    return AShare(room.data.narrow(room.dim, 0, first + count), x.party, x.ring, fixed)


def fill_all(values: list[AShare], rooms: list[Room]) -> Protocol[list[AShare]]:
    """`fill` for several rooms in one round.

    Price: 1 · w
    """
    return (yield from together(*map(fill, values, rooms)))


def product(op: Bilinear, x: AShare, y: AShare) -> Protocol[AShare]:
    """op(x, y) modulo 2^w; the units add. What was fixed before is not opened again.   [Bea91]

    Price: 1 · w * (x + y) / n
    Price (y fixed): 1 · w * x / n
    Price (both fixed): 0 · 0
    """
    operands = [v.fixed.view if v.fixed else tuple(v.shape) for v in (x, y)]
    *drawn, c = yield Draw(Triple(op, *operands))
    fresh = [v for v in (x, y) if not v.fixed]
    opened = (yield Open(*(v - mask for v, mask in zip(fresh, drawn)))) if fresh else ()
    public, masks = list(opened if len(fresh) > 1 else [opened]), list(drawn)
    d, a = (x.fixed.opened, x.fixed.mask) if x.fixed else (public.pop(0), masks.pop(0).data)
    e, b = (y.fixed.opened, y.fixed.mask) if y.fixed else (public.pop(0), masks.pop(0).data)
    return x.like(op.combine(c.data, d, b, a, e, x.first), x.frac + y.frac)


def mul(x: AShare, y: AShare) -> Protocol[AShare]:
    """x · y elementwise, with broadcasting: open x - a and y - b, then c + d·b + a·e + d·e.   [Bea91]

    Price: 1 · w * (x + y) / n
    """
    return product(MUL, x, y)


def square(x: AShare) -> Protocol[AShare]:
    """x²: one opening, since both factors share a mask.

    Price: 1 · w
    """
    a, c = yield Draw(Square(tuple(x.shape)))
    d = yield Open(x - a)
    out = c.data + 2 * d * a.data
    return x.like(out + d * d if x.first else out, 2 * x.frac)


def square_and_product(x: AShare, y: AShare) -> Protocol[tuple[AShare, AShare]]:
    """(x², x · y) elementwise, with broadcasting, from one opening of x.

    Price: 1 · w * (n + y) / n
    Price (y fixed): 1 · w
    """
    a, squared, *own, c = yield Draw(SquareTriple(tuple(x.shape), y.fixed.view if y.fixed else tuple(y.shape)))
    opened = yield Open(x - a, *(y - b for b in own))
    d, e = opened if own else (opened, y.fixed.opened)
    b = own[0].data if own else y.fixed.mask
    square_ = squared.data + 2 * d * a.data
    square_ = x.like(square_ + d * d if x.first else square_, 2 * x.frac)
    return square_, x.like(MUL.combine(c.data, d, b, a.data, e, x.first), x.frac + y.frac)


def matmul(x: AShare, y: AShare) -> Protocol[AShare]:
    """x @ y as torch.matmul: opens as many elements as go in, not as many products as are formed.   [Bea91]

    Price: 1 · w * (x + y) / n
    """
    return product(MATMUL, x, y)


def conv(x: AShare, w: AShare, stride, padding, dilation, groups) -> Protocol[AShare]:
    """Convolution over one or two spatial dimensions: x [N, C, …], w [O, C/groups, …]; tuples, one entry per dimension.

    Price: 1 · w * (x + y) / n
    """
    return product(Bilinear("conv", (tuple(stride), tuple(padding), tuple(dilation), groups)), x, w)
