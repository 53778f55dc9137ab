"""A GPU for those who have none: a device "card" whose memory is the host's, but whose tensors meet no others.

    with Card(runner) as card:               # `runner` as `host.build` gives it
        torch.empty(3, device="card")

As on a GPU, an operator of tensors on two devices is an error, unless the other is a single number; kernels run from
the CUDA sources, compiled for the host. `card.looks` says when the host would wait for a GPU: for a value of its, or
until it has fetched one that was not promised to stay where it is. torch allows one device of this kind in a process,
for good: use it in a process of its own.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from mpckit import kernels
from mpckit.kernels.cuda import launch

_setup_privateuseone_for_python_backend("card")
DEVICE = torch.device("card:0")
ASKED = {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select"}  # what they answer is on the host
cards = []  # those in use


class OnCard(torch.Tensor):
    """A tensor of the card; `here` is where its values really are."""

    @staticmethod
    def __new__(cls, here):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=DEVICE,
        )

    def __init__(self, here):
        self.here = here

    def data_ptr(self):
        return self.here.data_ptr()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if any(not issubclass(cls, kind) for kind in types):
            return NotImplemented  # a secret beside it: its own rows come first
        raise RuntimeError(f"{func} met a tensor of the card outside of `with Card(…)`")


# What `torch.tensor(numbers, device="card")` asks of a device, past all modes.
_library = torch.library.Library("aten", "IMPL")


@torch.library.impl(_library, "empty_strided", "PrivateUse1")
def _empty(size, stride, dtype=None, layout=None, device=None, pin_memory=None):
    return OnCard(torch.empty_strided(size, stride, dtype=dtype))


@torch.library.impl(_library, "_copy_from", "PrivateUse1")
def _copy(source, destination, non_blocking=False):
    if cards and not non_blocking:
        cards[-1].looks.append("a tensor made on the host")
    destination.here.copy_(source)
    return destination


class Card(TorchDispatchMode):
    def __init__(self, runner):
        super().__init__()
        self.looks, self.launched = [], []

        def run(device, name, blocks, values):
            assert device == DEVICE, f"{name} was launched for tensors on {device}"
            self.launched.append(name)
            runner(torch.device("cpu"), name, blocks, values)

        launch.runner = run
        for kernel in kernels.KERNELS.values():
            kernel.bodies["card"] = kernel.bodies["cuda"]

    def __enter__(self):
        cards.append(self)
        return super().__enter__()

    def __exit__(self, *args):
        cards.remove(self)
        return super().__exit__(*args)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, written = kwargs or {}, args[0] if args else None
        leaves = tree_flatten((args, kwargs))[0]
        tensors = [t for t in leaves if isinstance(t, torch.Tensor)]
        if any(type(t) not in (torch.Tensor, torch.nn.Parameter, OnCard) for t in tensors):
            return NotImplemented  # a secret: its own rows come first
        mine, to = any(isinstance(t, OnCard) for t in tensors), [d for d in leaves if isinstance(d, torch.device)]
        if mine and func is not torch.ops.aten.copy_.default:
            strangers = [t for t in tensors if not isinstance(t, OnCard) and (t.dim() or t.is_meta)]
            assert not strangers, f"{func}: tensors on card:0 and on {strangers[0].device}, {list(strangers[0].shape)}"
        home = func is torch.ops.aten.copy_.default and not isinstance(written, OnCard)
        asked = func._schema.name.removeprefix("aten::") in ASKED or torch.device("cpu") in to
        fetched = tensors and not mine and DEVICE.type in [d.type for d in to] and not kwargs.get("non_blocking")
        if mine and (home or asked) or fetched:
            self.looks.append(str(func))
        mine = DEVICE.type == to[0].type if to else mine
        args, kwargs = tree_map_only(OnCard, lambda t: t.here, (args, kwargs))
        args, kwargs = tree_map_only(torch.device, lambda d: torch.device("cpu") if mine else d, (args, kwargs))
        out = func(*args, **kwargs)
        if func._schema.is_mutable:
            return written
        return tree_map_only(torch.Tensor, OnCard, out) if mine else out
