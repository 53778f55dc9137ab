"""Models: `private` makes a torch module's weights secret; the module itself stays torch's own."""

import copy

import torch

from .runtime.session import Session
from .tensor import SecretTensor


def private(model: torch.nn.Module, owner: int) -> torch.nn.Module:
    """A copy of `model` whose parameters and floating buffers are secret; `owner` knows the plaintext, the others pass meta tensors.

    The set-up phase of a run: weights are shared, and matrices and filters put under persistent masks, once per model; each
    inference then opens activations only. The architecture, shapes and integer buffers (masks, positions) become public.
    The plaintext model is left as it was. Tied weights stay tied.
    """
    session = Session.current()
    plain = _unique([*model.parameters(), *model.buffers()])
    floats = [t for t in plain if t.is_floating_point()]
    with session.meter.phase_of("setup"), session.scope("private"):
        shared = session.share_all([t.detach() for t in floats], owner)
        # A product meets matrices and filters; a vector is added, or multiplied once in a while.
        matrices = [i for i, t in enumerate(floats) if t.dim() >= 2 and isinstance(t, torch.nn.Parameter)]
        for i, fixed in zip(matrices, session.fix(*(shared[i] for i in matrices))):
            shared[i] = fixed
        memo = {id(t): session.publish(t, owner) for t in plain if not t.is_floating_point()}
    for t, value in zip(floats, shared):
        out = SecretTensor(value, session)
        if isinstance(t, torch.nn.Parameter):
            out = torch.nn.Parameter(out, t.requires_grad)
            out.shared, out.session, out.is_window = value, session, False
        memo[id(t)] = out
    secret_model = copy.deepcopy(model, memo)
    _name_layers(secret_model, session)
    return secret_model


def _unique(tensors) -> list[torch.Tensor]:
    return list({id(t): t for t in tensors}.values())


def _name_layers(module: torch.nn.Module, session: Session, prefix: str = "") -> None:
    """Book costs on the module that causes them: its name is on the meter's path while its forward runs."""
    for name, child in module.named_children():
        if isinstance(child, (torch.nn.ModuleList, torch.nn.ModuleDict)):  # never called themselves
            _name_layers(child, session, f"{prefix}{name}.")
            continue
        child.register_forward_pre_hook(lambda *_, name=prefix + name: session.meter.push(name))
        child.register_forward_hook(lambda *_: session.meter.pop(), always_call=True)
        _name_layers(child, session)
