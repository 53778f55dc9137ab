"""Fixed values of which only the public part is kept: value minus mask. The rest is expanded anew when it is needed.

A party's piece of a persistent mask comes from its own seed, and with it and what is public a piece of the value: so a
weight takes one word, which all parties here share, instead of two and a half for each of them, and that word may
wait in other memory. No mask meets a second value by this: it is the same mask and the same value every time.
"""

from collections.abc import Callable

import torch

from ..correlations.products import View, rearrange
from ..share import AShare
from .arithmetic import Fixed


class Kept(Fixed):
    """As `Fixed`; `mask()` and `opened()` give what it is made of, before the view's rearrangements."""

    __slots__ = ("_mask", "_opened")

    def __init__(self, view: View, mask: Callable[[], torch.Tensor], opened: Callable[[], torch.Tensor]):
        self.view, self._mask, self._opened = view, mask, opened

    mask = property(lambda self: self._arranged(self._mask()))
    opened = property(lambda self: self._arranged(self._opened()))

    def _arranged(self, v: torch.Tensor) -> torch.Tensor:
        for name, args in self.view.steps:
            v = rearrange(v, name, args)
        return v

    def map(self, operator, *args) -> "Kept | None":
        view = self.moved(operator, args)
        return None if view is None else Kept(view, self._mask, self._opened)


class KeptShare(AShare):
    """The share of such a value: its `data` is made when somebody asks; its `layout` is there, as a meta tensor."""

    __slots__ = ("layout",)

    def __init__(self, layout: torch.Tensor, party: int, ring, fixed: Kept):
        self.layout, self.party, self.ring, self.fixed = layout.to("meta"), party, ring, fixed

    @property
    def data(self) -> torch.Tensor:
        # The value is what is public and all masks: party 0 alone adds what is public.
        return self.fixed.opened + self.fixed.mask if self.first else self.fixed.mask

    shape = property(lambda self: self.layout.shape)

    def map(self, view, *args, **kwargs) -> AShare:
        if isinstance(view, torch._ops.OpOverload) and not kwargs:
            fixed = self.fixed.map(view, *args)
            if fixed is not None:
                return KeptShare(view(self.layout, *args), self.party, self.ring, fixed)
        return self.like(view(self.data, *args, **kwargs))
