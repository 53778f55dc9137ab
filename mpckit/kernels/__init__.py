"""Kernels: integer work on tensors, defined once in plain torch and made fast per device.

`@kernel` turns a reference body into a function that picks the body of its first tensor's device. A fast body lives
in the module named after its device (here `cpu`, `cuda` and `meta`), loaded at the first call on that device, and
equals the reference bit for bit (`tests/kernels` finds every kernel by itself and checks). Without a body for a
device the reference runs, on meta tensors too.
"""

import functools
import importlib
import importlib.util

KERNELS: dict[str, "Kernel"] = {}
_loaded: set[str] = set()


class Kernel:
    """One definition (`reference`), one body per device type (`bodies`)."""

    def __init__(self, reference):
        functools.update_wrapper(self, reference)
        self.name, self.reference, self.bodies = reference.__name__, reference, {}
        KERNELS[self.name] = self

    def on(self, device: str):
        """Decorator: the decorated function is this kernel's body on `device`."""

        def register(body):
            self.bodies[device] = body
            return body

        return register

    def __call__(self, first, *rest):
        device = first.device.type
        if device not in _loaded:
            load(device)
        return self.bodies.get(device, self.reference)(first, *rest)


def kernel(reference) -> Kernel:
    """Decorator: the decorated function defines a kernel of its name."""
    return Kernel(reference)


def load(device: str) -> None:
    """Import the module with this device's bodies, if the kit has one."""
    _loaded.add(device)
    name = f"{__name__}.{device}"
    if importlib.util.find_spec(name):
        importlib.import_module(name)


from .ends import at_least, dpf_look_up, join_packed, select_truncated, truncated  # noqa: E402  (as below)
from .ggm import dcf_eval, dcf_gen, dpf_all, dpf_eval, dpf_gen, dpf_parity, prg  # noqa: E402  (needs `kernel` above)
from .reference import (  # noqa: E402
    beaver,
    conv,
    digit_compare,
    digit_tables,
    from_planes,
    keystream,
    lookup,
    matmul,
    matmul_two,
    pack,
    packed_bytes,
    select,
    signed_lookup,
    to_planes,
    tree_node,
    unpack,
)

__all__ = [
    "KERNELS", "Kernel", "at_least", "beaver", "conv", "dcf_eval", "dcf_gen", "digit_compare", "digit_tables",
    "dpf_all", "dpf_eval", "dpf_gen", "dpf_look_up", "dpf_parity", "from_planes", "join_packed", "kernel", "keystream",
    "load", "lookup", "matmul", "matmul_two", "pack", "packed_bytes", "prg", "select", "select_truncated",
    "signed_lookup", "to_planes", "tree_node", "truncated", "unpack",
]  # fmt: skip
