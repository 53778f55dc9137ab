"""SecretTensor: a torch tensor whose storage is a share.

A wrapper subclass with `__torch_dispatch__`, which lies below torch's own autograd: torch.nn, torch.autograd, torch.optim and
Hugging Face models run unmodified, and every operator that reaches the ground is looked up in `TABLE` (package `aten`).
"""

import torch

from .runtime.session import Session, Shared
from .share import BShare

TABLE: dict = {}


class SecretError(TypeError):
    """Something was asked of a secret that only a value has; the message names the next step."""


class SecretTensor(torch.Tensor):
    """A secret tensor: float32 for fixed-point values, int64 for integers, bool for the results of comparisons.

    `shared` holds the shares of the parties in this process, `session` is the one that it belongs to.
    """

    @staticmethod
    def __new__(cls, shared: Shared, session: Session):
        share = shared.shares[0]
        dtype = torch.bool if isinstance(share, BShare) else torch.float32 if share.ring.frac else torch.int64
        data = share.data
        return torch.Tensor._make_wrapper_subclass(
            cls, data.shape, strides=data.stride(), storage_offset=data.storage_offset(), dtype=dtype,
            device="cpu" if data.is_meta else data.device,
        )  # fmt: skip

    def __init__(self, shared: Shared, session: Session):
        self.shared, self.session, self.is_window = shared, session, False

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        row = TABLE.get(func)
        if row is None:
            name = str(func).removeprefix("aten.")
            raise NotImplementedError(
                f"torch operator aten.{name} has no row for secret tensors ({_shapes(args)}): add one in mpckit/aten, "
                "or compose the step from operators that have one (`mpckit.aten.TABLE` lists them)"
            )
        session = next(_secrets((*args, *(kwargs or {}).values()))).session
        with session.meter.scope(func.overloadpacket.__name__):
            return row(*args, **(kwargs or {}))

    # ---- what leaves the secret world -----------------------------------------------------------------------------------

    def reveal(self, to: int | None = None) -> torch.Tensor:
        """The plaintext tensor, for everyone or for party `to` alone; a meta tensor where this process may not learn it."""
        self._same_session()
        value = self.session.open(self.shared, to)
        if value.dtype == torch.bool:
            return value
        ring = self.shared.shares[0].ring
        if value.is_meta:
            return torch.empty(value.shape, dtype=self.dtype, device="meta")
        return ring.decode(value, self.dtype)

    def _same_session(self):
        if Session.current() is not self.session:
            raise SecretError("this secret belongs to another session; share it again in this one")

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
        out = memo[id(self)] = SecretTensor(self.shared, self.session)
        if self.requires_grad:
            out.requires_grad_()
        return out


def secret(value, owner: int) -> SecretTensor:
    """Share numbers that party `owner` knows: a tensor or anything `torch.as_tensor` takes; at the other parties a meta tensor.

    Floats are encoded with the session ring's unit, integers stay integers, bools become 0 or 1. Raises RangeError at the
    owner, before anything is sent, for what does not fit the ring.
    """
    session = Session.current()
    value = torch.as_tensor(value)
    if isinstance(value, SecretTensor):
        raise SecretError("this tensor is secret already")
    ring = session.ring if value.is_floating_point() else session.ring.at(0)
    with session.scope("secret"):
        return SecretTensor(session.share(value.detach(), owner, ring), session)


def reveal(x: SecretTensor, to: int | None = None) -> torch.Tensor:
    return x.reveal(to)


def _secrets(values):
    for v in values:
        if isinstance(v, SecretTensor):
            yield v
        elif isinstance(v, (list, tuple)):
            yield from _secrets(v)


def _shapes(args):
    return ", ".join(f"{'secret' if isinstance(a, SecretTensor) else 'public'} {list(a.shape)}" for a in args if isinstance(a, torch.Tensor))
