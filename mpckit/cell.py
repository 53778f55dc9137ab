"""Cells: what secret tensors hold, and which of them are one memory.

Shares; a public constant, which becomes shares when somebody asks for them; or something that waits for its truncation.
"""

import weakref

import torch

from .kernels.place import placed
from .runtime.session import Session, Shared
from .share import AShare, BShare


class SecretError(RuntimeError):
    """Something was asked of a secret that only a value has; the message names the next step.

    No TypeError: torch's `x + y` would swallow it.
    """


class Cell:
    """What a secret tensor holds: shares, or a public constant that becomes shares when somebody asks for them.

    Or something `pending` (`aten/squares.py`), a square say, whose truncation waits until somebody asks.
    A tensor and its `detach` are one cell, as they are one memory in torch; `family`: with its views. A view knows
    what it was `seen` of: (a weak reference to that cell, the operator, its other arguments).
    """

    __slots__ = ("_shared", "public", "pending", "session", "family", "seen", "__weakref__")

    def __init__(
        self, session: Session, shared: Shared | None = None, public: torch.Tensor | None = None, pending=None
    ):
        self._shared, self.public, self.pending, self.session = shared, public, pending, session
        self.family = self.seen = None

    @property
    def shared(self) -> Shared:
        if self.pending is not None:
            self._shared, self.pending = self.pending.settle().shared, None
        elif self._shared is None:
            self._shared = constant_shares(self.public, self.session)
        return self._shared

    @property
    def data(self) -> torch.Tensor:
        """One of the tensors inside, for its layout."""
        if self.pending is not None:
            return self.pending.layout
        return self._shared.shares[0].layout if self.public is None else self.public

    def put_under_mask(self, shared: Shared):
        """The same value, which a persistent mask hides from now on: products do not open it again."""
        self._shared = shared

    def join(self, base: "Cell"):
        """From now on this cell is a view of `base`."""
        if base.family is None:
            base.family = weakref.WeakSet((base,))
        self.family = base.family
        self.family.add(self)

    def write(self, shared: Shared | None, pending=None):
        """Another value takes this one's place; a persistent mask that hid the old one is left behind for good.

        Raises SecretError where torch would change other tensors that are still alive along with this one.
        """
        if any(other is not self and _overlap(self.data, other.data) for other in self.family or ()):
            raise SecretError(
                f"in-place write into a secret tensor {tuple(self.data.shape)} that is a view, or has views: they "
                "share no memory; write out of place (torch.where, torch.cat), or drop the views first"
            )
        if self.family is not None:
            self.family.discard(self)
        self._shared = None if shared is None else Shared(tuple(s.like(s.data) for s in shared.shares))
        self.public, self.pending, self.family, self.seen = None, pending, None, None


def _overlap(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Do two views of one memory have an element in common?"""
    if not a.numel() or not b.numel():
        return False
    if a.untyped_storage()._cdata != b.untyped_storage()._cdata:
        return True  # the shares of one have been taken, the other waits for them: a view of all elements
    size = 1 + max(v.storage_offset() + sum((n - 1) * k for n, k in zip(v.shape, v.stride())) for v in (a, b))
    touched = torch.zeros(size, dtype=torch.bool)
    touched.as_strided(a.shape, a.stride(), a.storage_offset()).fill_(True)
    return bool(touched.as_strided(b.shape, b.stride(), b.storage_offset()).any())


# ---- public constants ------------------------------------------------------------------------------------------------


def constant_shares(public: torch.Tensor, session: Session) -> Shared:
    """Party 0 holds the value, the others zero."""
    public = finite(known(public, session), session)  # checked and encoded where it is: nobody waits for a GPU
    if public.dtype == torch.bool:
        public = placed(public, session.device)
        return Shared(tuple(BShare(public if p == 0 else torch.zeros_like(public), p) for p in session.here))
    ring = session.ring.at(session.ring.frac if public.is_floating_point() else 0)
    encoded = placed(ring.encode(public), session.device)
    return Shared(tuple(AShare(encoded if p == 0 else torch.zeros_like(encoded), p, ring) for p in session.here))


def known(public: torch.Tensor, session: Session) -> torch.Tensor:
    """A public operand; SecretError where this party has only its shape."""
    if public.is_meta and not session.meta:
        raise SecretError(
            f"a public tensor of shape {tuple(public.shape)} has no values at this party, only its shape: if a model "
            "keeps it as a plain attribute, make it a buffer, register_buffer(name, tensor), which private shares"
        )
    return public


def finite(public: torch.Tensor, session: Session) -> torch.Tensor:
    """±inf and a float's last numbers as the end of what has room, mostly ±2^30: so scores are masked for a softmax."""
    if not public.is_floating_point():
        return public
    largest = session.suite.largest(session.ring)
    return torch.where(public.abs() > 1e38, largest * public.sign(), public)
