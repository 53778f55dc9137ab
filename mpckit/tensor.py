"""SecretTensor: a torch tensor whose storage is a share.

A wrapper subclass with `__torch_dispatch__`, which lies below torch's own autograd: torch.nn, torch.autograd, torch.optim and
Hugging Face models run unmodified, and every operator that reaches the ground is looked up in `TABLE` (package `aten`).
"""

import contextvars
import weakref

import torch

from .ring import Ring
from .runtime.session import Session, Shared
from .share import AShare, BShare

TABLE: dict = {}
on_missing = contextvars.ContextVar("what a dry run does with an operator that has no row: (operator, args, kwargs, session) → result", default=None)


class SecretError(TypeError):
    """Something was asked of a secret that only a value has; the message names the next step."""


class Cell:
    """What a secret tensor holds: shares, or a public constant that becomes shares when somebody asks for them.

    A tensor and its `detach` are one cell, as they are one memory in torch. `family`: this cell and the views that torch
    would keep in the same memory.
    """

    __slots__ = ("_shared", "public", "session", "family", "__weakref__")

    def __init__(self, session: Session, shared: Shared | None = None, public: torch.Tensor | None = None):
        self._shared, self.public, self.session, self.family = shared, public, session, None

    @property
    def shared(self) -> Shared:
        if self._shared is None:
            self._shared = constant_shares(self.public, self.session)
        return self._shared

    @property
    def data(self) -> torch.Tensor:
        """One of the tensors inside, for its layout."""
        return self._shared.shares[0].data if self.public is None else self.public

    def copy(self) -> "Cell":
        return Cell(self.session, self._shared, self.public)

    def join(self, base: "Cell"):
        """From now on this cell is a view of `base`."""
        if base.family is None:
            base.family = weakref.WeakSet((base,))
        self.family = base.family
        self.family.add(self)

    def write(self, shared: Shared):
        """Another value takes the place of this one; a persistent mask that hid the old one is left behind, never used again.

        Raises SecretError where torch would change other tensors that are still alive along with this one.
        """
        if any(other is not self and _overlap(self.data, other.data) for other in self.family or ()):
            raise SecretError(
                f"in-place write into a secret tensor {tuple(self.data.shape)} that is a view, or of which views are alive: they share "
                "no memory; write out of place (torch.where, torch.cat), or drop the views first"
            )
        if self.family is not None:
            self.family.discard(self)
        self._shared, self.public, self.family = Shared(tuple(s.like(s.data) for s in shared.shares)), None, None


def _overlap(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Do two views of one memory have an element in common?"""
    if a.untyped_storage()._cdata != b.untyped_storage()._cdata or not a.numel() or not b.numel():
        return False
    size = 1 + max(v.storage_offset() + sum((n - 1) * k for n, k in zip(v.shape, v.stride())) for v in (a, b))
    touched = torch.zeros(size, dtype=torch.bool)
    touched.as_strided(a.shape, a.stride(), a.storage_offset()).fill_(True)
    return bool(touched.as_strided(b.shape, b.stride(), b.storage_offset()).any())


class SecretTensor(torch.Tensor):
    """A secret tensor: float32 for fixed-point values, int64 for integers, bool for the results of comparisons.

    `shared` holds the shares of the parties in this process, `session` is the one that it belongs to. A tensor that torch makes
    up on the way (`torch.zeros_like(x)`, the 1 that `backward()` begins with) has a `public` value and costs nothing.
    """

    @staticmethod
    def __new__(cls, shared: Shared | None, session: Session, *, cell: Cell | None = None):
        cell = cell or Cell(session, shared)
        if cell.public is None:
            share = cell.shared.shares[0]
            dtype = torch.bool if isinstance(share, BShare) else torch.float32 if share.ring.frac else torch.int64
            data = share.data
        else:
            data, dtype = cell.public, _kind(cell.public)
        out = torch.Tensor._make_wrapper_subclass(
            cls, data.shape, strides=data.stride(), storage_offset=data.storage_offset(), dtype=dtype,
            device="cpu" if data.is_meta else data.device,
        )  # fmt: skip
        out.cell = cell
        return out

    def __init__(self, shared: Shared | None, session: Session, *, cell: Cell | None = None):
        self.session = session

    @classmethod
    def constant(cls, value, session: Session) -> "SecretTensor":
        """Public numbers in the guise of a secret. Costs nothing, hides nothing."""
        value = torch.as_tensor(value)
        return cls(None, session, cell=Cell(session, public=value.to(_kind(value))))

    @property
    def shared(self) -> Shared:
        return self.cell.shared

    @property
    def public(self) -> torch.Tensor | None:
        return self.cell.public

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        secrets = list(_secrets((*args, *kwargs.values())))
        session, base = secrets[0].session, args[0]
        if any(x.public is not None for x in secrets):  # rows see constants as the public tensors that they are
            keep = base if func._schema.is_mutable else None
            args, kwargs = (
                replace(v, lambda x: x.public if x.public is not None and x is not keep else x) for v in (args, kwargs)
            )
        if next(_secrets((*args, *kwargs.values())), None) is None:
            out = replace(_on_public(func, args, kwargs), lambda x: cls.constant(x, session), torch.Tensor)
        else:
            with session.meter.scope(func.overloadpacket.__name__):
                out = _answer(func, args, kwargs, session)
        if func.is_view and isinstance(base, SecretTensor):
            for view in _secrets(out if isinstance(out, (list, tuple)) else (out,)):
                if view.cell is not base.cell:
                    view.cell.join(base.cell)
        return out

    # ---- what leaves the secret world -----------------------------------------------------------------------------------

    def reveal(self, to: int | None = None) -> torch.Tensor:
        """The plaintext tensor, for everyone or for party `to` alone; a meta tensor where this process may not learn it."""
        if Session.current() is not self.session:
            raise SecretError("this secret belongs to another session; share it again in this one")
        if to is not None and not 0 <= to < self.session.parties:
            raise ValueError(f"party {to} is none of the parties 0 to {self.session.parties - 1}")
        value = self.session.open(self.shared, to)
        if value.dtype == torch.bool:
            return value
        if value.is_meta:
            return torch.empty(value.shape, dtype=self.dtype, device="meta")
        return self.shared.shares[0].ring.decode(value, self.dtype)

    def _refuse(self, what, instead):
        raise SecretError(f"{what} of a secret tensor {tuple(self.shape)}: {instead}")

    def __bool__(self):
        self._refuse("the truth value", "compare (x > 0) and use torch.where to stay secret, or x.reveal() to make it public first")

    def item(self):
        self._refuse("item()", "it has no value here; x.reveal().item() makes it public, x.reveal(to=0) tells party 0 alone")

    def tolist(self):
        self._refuse("tolist()", "use x.reveal().tolist(), which makes it public")

    def numpy(self, **_):
        self._refuse("numpy()", "use x.reveal().numpy(), which makes it public")

    def __array__(self, *_, **__):
        self._refuse("numpy conversion", "use x.reveal().numpy(), which makes it public")

    def __float__(self):
        self._refuse("float()", "use float(x.reveal()), which makes it public")

    def __int__(self):
        self._refuse("int()", "use int(x.reveal()), which makes it public")

    __index__ = __complex__ = __int__

    def __contains__(self, element):
        self._refuse("`in`", "use (x == element).any(), which stays secret")

    def __iter__(self):
        return iter(self.unbind(0))

    def __repr__(self, **_):
        kind = {torch.bool: "bits", torch.int64: "integers"}.get(self.dtype, "fixed point")
        return f"SecretTensor(shape={tuple(self.shape)}, {kind}, {self.session.parties} parties; x.reveal() opens it)"

    __str__ = __repr__

    def __format__(self, spec):
        return repr(self)

    def __reduce_ex__(self, protocol):
        self._refuse("pickling", "a share belongs to its session; reveal the result, or share the plaintext again where it is needed")

    def __deepcopy__(self, memo):
        out = memo[id(self)] = SecretTensor(None, self.session, cell=self.cell.copy())
        return out.requires_grad_(self.requires_grad)


# ---- making secrets --------------------------------------------------------------------------------------------------------


def secret(value, owner: int) -> SecretTensor:
    """Share numbers that party `owner` knows: a tensor or anything `torch.as_tensor` takes; at the other parties a meta tensor.

    Floats are encoded with the session ring's unit, integers stay integers, bools become bits. Raises RangeError at the owner,
    before anything is sent, for what does not fit the ring.
    """
    session = Session.current()
    value = torch.as_tensor(value)
    if isinstance(value, SecretTensor):
        raise SecretError("this tensor is secret already")
    with session.scope("secret"):
        if value.dtype == torch.bool:  # a sum modulo 2 is an xor
            shared = session.share(-value.to(torch.int64), owner, Ring(bits=1, frac=0))
            return SecretTensor(Shared(tuple(BShare((s.data & 1).bool(), s.party) for s in shared.shares)), session)
        ring = session.ring if value.is_floating_point() else session.ring.at(0)
        return SecretTensor(session.share(value.detach(), owner, ring), session)


def reveal(x: SecretTensor, to: int | None = None) -> torch.Tensor:
    """As `x.reveal(to)`."""
    return x.reveal(to)


INFINITY = 2.0**20  # what stands for ±inf, and for a float's lowest number: masked scores that any softmax takes for zero


def constant_shares(public: torch.Tensor, session: Session) -> Shared:
    """Party 0 holds the value, the others hold zero."""
    public = public.to("meta") if session.meta else public
    ring = session.ring.at(session.ring.frac if public.is_floating_point() else 0)
    if public.dtype == torch.bool:
        return Shared(tuple(BShare(public if p == 0 else torch.zeros_like(public), p) for p in session.here))
    if public.is_floating_point():
        public = torch.where(public.abs() >= torch.finfo(public.dtype).max, INFINITY * public.sign(), public)
    encoded = ring.encode(public)
    return Shared(tuple(AShare(encoded if p == 0 else torch.zeros_like(encoded), p, ring) for p in session.here))


# ---- operators -------------------------------------------------------------------------------------------------------------


def _answer(func, args, kwargs, session):
    handler = on_missing.get()
    try:
        return _row_or_definition(func, args, kwargs)
    except NotImplementedError as error:
        if handler is None or "meta" in str(error):  # so torch says that a program asked a shape for its value
            raise
        return handler(func, args, kwargs, session)


def _row_or_definition(func, args, kwargs):
    """A row; or torch's own definition by other operators; or an error that says what is missing."""
    if (row := TABLE.get(func)) is not None:
        return row(*args, **kwargs)
    if (out := func.decompose(*args, **kwargs)) is not NotImplemented:
        return out
    inner = None
    if (definition := torch._decomp.decomposition_table.get(func)) is not None:
        try:
            return definition(*args, **kwargs)
        except NotImplementedError as error:
            inner = error
    raise NotImplementedError(
        f"torch operator {func} has no row for secret tensors ({describe((*args, *kwargs.values()))}): add one in "
        "mpckit/aten, or compose the step from operators that have one (`mpckit.aten.TABLE` lists them)"
    ) from inner


def _on_public(func, args, kwargs):
    """All operands are public: torch computes. Some may be shapes only (a dry run), then all are."""
    tensors = [t for v in (*args, *kwargs.values()) for t in (v if isinstance(v, (list, tuple)) else (v,)) if isinstance(t, torch.Tensor)]
    if any(t.is_meta for t in tensors):
        args = replace(args, lambda t: t.to("meta"), torch.Tensor)
        kwargs = replace(kwargs, lambda t: t.to("meta"), torch.Tensor)
    return func(*args, **kwargs)


def replace(value, change, kind=SecretTensor):
    if isinstance(value, kind):
        return change(value)
    if type(value) is dict:
        return {k: replace(v, change, kind) for k, v in value.items()}
    return type(value)(replace(v, change, kind) for v in value) if type(value) in (list, tuple) else value


def _secrets(values):
    for v in values:
        if isinstance(v, SecretTensor):
            yield v
        elif isinstance(v, (list, tuple)):
            yield from _secrets(v)


def describe(args):
    tensors = (t for v in args for t in (v if isinstance(v, (list, tuple)) else (v,)) if isinstance(t, torch.Tensor))
    return ", ".join(f"{'secret' if isinstance(t, SecretTensor) else 'public'} {list(t.shape)}" for t in tensors)


def _kind(value: torch.Tensor) -> torch.dtype:
    return torch.bool if value.dtype == torch.bool else torch.float32 if value.is_floating_point() else torch.int64
