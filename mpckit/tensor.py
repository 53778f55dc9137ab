"""SecretTensor: a torch tensor whose storage is a share.

A wrapper subclass with `__torch_dispatch__`, which lies below torch's own autograd: torch.nn, torch.autograd,
torch.optim and Hugging Face models run unmodified; every operator that reaches the ground is looked up in `TABLE`
(package `aten`).
"""

import contextvars
import weakref

import torch

from .cell import Cell, SecretError
from .ring import Ring
from .runtime.device import room_to_compute
from .runtime.session import Session, Shared
from .share import BShare

TABLE: dict = {}
on_dispatch = contextvars.ContextVar("on_dispatch", default=None)  # stands in for `answer` below, in `nn.check`


class SecretTensor(torch.Tensor):
    """A secret tensor: float32 for fixed-point values, int64 for integers, bool for the results of comparisons.

    `shared` holds the shares of the parties in this process, `session` is the one that it belongs to. A tensor that
    torch makes up on the way (`zeros_like`, the 1 that `backward` begins with) has a `public` value and costs nothing.

    Its `device` is the CPU, also where its shares lie on a GPU, or are shapes in a dry run: torch chooses operators by
    the device, fused attention say, and a program must be the same one everywhere.
    """

    @staticmethod
    def __new__(cls, shared: Shared | None, session: Session, *, cell: Cell | None = None):
        cell = cell or Cell(session, shared)
        data = cell.data
        if cell.public is not None or data.dtype == torch.bool:
            dtype = data.dtype
        else:
            dtype = torch.float32 if cell.pending is not None or cell.shared.shares[0].frac else torch.int64
        out = torch.Tensor._make_wrapper_subclass(
            cls, data.shape, strides=data.stride(), storage_offset=data.storage_offset(), dtype=dtype,
            device="cpu",
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

    @property
    def data(self) -> "SecretTensor":
        """As torch's `data`: the same secret outside of autograd; assigning writes another secret of this shape."""
        return self.detach()

    @data.setter
    def data(self, value):
        if not isinstance(value, SecretTensor) or value.shape != self.shape or value.dtype != self.dtype:
            raise SecretError(
                f"only a secret {self.dtype} tensor of shape {tuple(self.shape)} can take this one's place"
            )
        self.cell.write(value.shared)

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        secrets = list(secrets_in((*args, *kwargs.values())))
        session, base = secrets[0].session, args[0]
        if any(x.session is not session for x in secrets):
            raise SecretError(f"{func} of secrets from two sessions; share both in one")
        if any(x.public is not None for x in secrets):  # rows see constants as the public tensors that they are
            keep = base if func._schema.is_mutable else None
            args, kwargs = (
                replace(v, lambda x: x if x.public is None or x is keep else x.public) for v in (args, kwargs)
            )
        if next(secrets_in((*args, *kwargs.values())), None) is None:
            out = replace(_on_public(func, args, kwargs), lambda x: cls.constant(x, session), torch.Tensor)
        else:
            with session.meter.scope(func.overloadpacket.__name__), session.dry, room_to_compute(session):
                out = (on_dispatch.get() or answer)(func, args, kwargs)
            # What no secret has a part in, the gradient of a bias say, is a constant in the guise of a secret.
            out = replace(out, lambda x: cls.constant(x, session) if _is_public(x) else x, torch.Tensor)
        if func.is_view and isinstance(base, SecretTensor):
            for view in secrets_in(out if isinstance(out, (list, tuple)) else (out,)):
                if view.cell is not base.cell:
                    view.cell.join(base.cell)
                    view.cell.seen = None if kwargs else (weakref.ref(base.cell), func, args[1:])
        return out

    def reveal(self, to: int | None = None) -> torch.Tensor:
        """The plaintext, for everyone or for party `to` alone; a meta tensor where this process may not learn it."""
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

    def __iter__(self):
        return iter(self.unbind(0))

    def __repr__(self, **_):
        kind = {torch.bool: "bits", torch.int64: "integers"}.get(self.dtype, "fixed point")
        return f"SecretTensor(shape={tuple(self.shape)}, {kind}, {self.session.parties} parties; x.reveal() opens it)"

    __str__ = __repr__

    def __format__(self, spec):
        return repr(self)

    def __deepcopy__(self, memo):
        shared = None if self.public is not None else self.shared
        out = memo[id(self)] = SecretTensor(None, self.session, cell=Cell(self.session, shared, self.public))
        return out.requires_grad_(self.requires_grad)


def _refusal(what, instead):
    def refuse(self, *_, **__):
        raise SecretError(f"{what} of a secret tensor {tuple(self.shape)}: {instead}")

    return refuse


_PUBLIC = "which makes it public, or x.reveal(to=0), which tells party 0 alone"
for _name, _what, _instead in (
    ("__bool__", "the truth value", f"compare (x > 0) and use torch.where to stay secret, or x.reveal(), {_PUBLIC}"),
    ("__contains__", "`in`", "use (x == element).any(), which stays secret"),
    ("item", "item()", f"it has no value here; use x.reveal().item(), {_PUBLIC}"),
    ("tolist", "tolist()", f"use x.reveal().tolist(), {_PUBLIC}"),
    ("numpy", "numpy()", f"use x.reveal().numpy(), {_PUBLIC}"),
    ("__array__", "numpy conversion", f"use x.reveal().numpy(), {_PUBLIC}"),
    ("__dlpack__", "DLPack", f"there is no memory to hand on; use x.reveal(), {_PUBLIC}"),
    ("share_memory_", "share_memory_()", "there is no memory to share; each process has its own share already"),
    ("apply_", "apply_()", f"a function of Python's needs the value; use torch's operators, or x.reveal(), {_PUBLIC}"),
    ("__float__", "float()", f"use float(x.reveal()), {_PUBLIC}"),
    ("__complex__", "complex()", f"use complex(x.reveal()), {_PUBLIC}"),
    ("__int__", "int()", f"use int(x.reveal()), {_PUBLIC}"),
    ("__index__", "use as an index", f"use int(x.reveal()), {_PUBLIC}"),
    (
        "__reduce_ex__",
        "pickling or copying",
        "a share belongs to its session; save x.reveal(), or share the plaintext again",
    ),
):
    setattr(SecretTensor, _name, _refusal(_what, _instead))


# ---- making secrets --------------------------------------------------------------------------------------------------


def secret(value, owner: int) -> SecretTensor:
    """Share numbers that party `owner` knows: what `torch.as_tensor` takes; at the other parties a meta tensor.

    Floats are encoded with the session ring's unit, integers stay integers, bools become bits. Raises RangeError at the
    owner, before anything is sent, for what does not fit the ring.
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


# ---- operators -------------------------------------------------------------------------------------------------------


def answer(func, args, kwargs):
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
    if any(t.is_meta for t in _tensors((*args, *kwargs.values()))):
        args, kwargs = (replace(v, lambda t: t.to("meta"), torch.Tensor) for v in (args, kwargs))
    return func(*args, **kwargs)


def replace(value, change, kind=SecretTensor):
    """The same nest of lists, tuples and dicts with `change` applied to every `kind`."""
    if isinstance(value, kind):
        return change(value)
    if type(value) is dict:
        return {k: replace(v, change, kind) for k, v in value.items()}
    return type(value)(replace(v, change, kind) for v in value) if type(value) in (list, tuple) else value


def _is_public(x: torch.Tensor) -> bool:
    return not (isinstance(x, SecretTensor) or x.is_meta)


def _tensors(values):
    for v in values:
        if isinstance(v, torch.Tensor):
            yield v
        elif isinstance(v, (list, tuple)):
            yield from _tensors(v)


def secrets_in(values):
    """The secret tensors among an operator's arguments, in lists too."""
    return (t for t in _tensors(values) if isinstance(t, SecretTensor))


def describe(values) -> str:
    """The shapes among an operator's arguments, for an error message."""
    return ", ".join(f"{('public', 'secret')[isinstance(t, SecretTensor)]} {list(t.shape)}" for t in _tensors(values))


def _kind(value: torch.Tensor) -> torch.dtype:
    return torch.bool if value.dtype == torch.bool else torch.float32 if value.is_floating_point() else torch.int64
