"""Batch norms folded into the layer before them, by the owner, in plaintext: a norm then costs nothing at all.

With known statistics a batch norm is a factor and a summand for each channel. `private` shares them as such, which
leaves one product of secrets per layer, an opening of the whole activation and a truncation. What precedes the norm is
mostly a convolution, linear too: the owner multiplies its filters by the factors, and parties never see a norm.
The price is paid in precision: filters that a factor has made smaller lose more to the ring's unit. With ResNet-20,
whose logits are about 5, the worst error of 40 pictures is 0.004 instead of 0.002.
"""

import copy

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import fusion

from .tensor import SecretError, SecretTensor

AXES = {nn.Linear: 2, nn.Conv1d: 3, nn.Conv2d: 4}  # of a layer's output, where its second one is that of the channels


class Gone(nn.Module):
    """Where a norm was that is now part of `layer`: passes on what came, if its channels are where they should be."""

    def __init__(self, layer: str, axes: int):
        super().__init__()
        self.layer, self.axes = layer, axes

    def forward(self, x):
        if x.dim() != self.axes:
            raise ValueError(
                f"the norm after {self.layer} was folded for batches with {self.axes} axes, but the output there is "
                f"{list(x.shape)}, whose second axis are no channels of {self.layer}: leave out fold for this model"
            )
        return x


class _Layers(fx.Tracer):
    """Looks into modules that contain a batch norm, and takes all others as one step each."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return not any(isinstance(inner, _BatchNorm) and inner is not module for inner in module.modules())


def fold(model: nn.Module) -> nn.Module:
    """A copy of `model` (in evaluation mode) that computes the same with its batch norms folded away.

    A norm with running statistics goes into the convolution or linear layer whose output nobody but that norm reads; a
    `Gone` takes its place, so that `forward` and the names of layers stay. Norms elsewhere stay as they are.
    Works on meta tensors too: all parties fold, as all of them call `private`. Raises ValueError for a model in
    training mode, where a norm depends on the batch, and for one whose forward torch.fx cannot trace; SecretError for a
    private one.
    """
    if any(isinstance(p, SecretTensor) for p in model.parameters()):
        raise SecretError("this model is private already: its owner folds it before, private(fold(model), owner)")
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m is not model]
    if any(m.training for m in norms):
        raise ValueError("a batch norm in training mode depends on its batch: fold(model.eval())")
    model = copy.deepcopy(model)
    if not norms:
        return model
    try:
        steps = list(_Layers().trace(model).nodes)
    except Exception as error:  # a forward is any Python, and fails in any way when it meets a stand-in for its input
        raise ValueError(
            f"{type(model).__name__}.forward branches on its input, so torch.fx cannot say which layer feeds which "
            f"norm ({error}): leave out fold, and private keeps each norm as a factor and a summand"
        ) from error
    # Modules by name, once for each time that they are called, or that a forward reads their weights by itself.
    calls = [step.target for step in steps if step.op == "call_module"]
    calls += [step.target.rpartition(".")[0] for step in steps if step.op == "get_attr"]
    for step in steps:
        if step.op == "call_module" and isinstance(model.get_submodule(step.target), _BatchNorm):
            before = step.args[0] if step.args else None
            if not (isinstance(before, fx.Node) and before.op == "call_module" and len(before.users) == 1):
                continue
            layer, norm = model.get_submodule(before.target), model.get_submodule(step.target)
            once = calls.count(before.target) == 1 and calls.count(step.target) == 1
            if once and _fits(layer, norm) and not _is_tied(model, layer) and not _is_listed(model, layer, norm):
                fuse = fusion.fuse_linear_bn_eval if type(layer) is nn.Linear else fusion.fuse_conv_bn_eval
                _replace(model, layer, fuse(layer, norm))
                _replace(model, norm, Gone(before.target, AXES[type(layer)]))
    return model


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Under all of its names: a forward may use another one than torch lists first."""
    for module in list(model.modules()):
        for name, child in module._modules.items():
            if child is old:
                setattr(module, name, new)


def _fits(layer: nn.Module, norm: _BatchNorm) -> bool:
    """Is the norm, with known statistics, a factor and a summand for each of this layer's channels?

    Neither may do more than its class: a norm with an activation of its own say, or a hook that makes the weights anew.
    """
    if type(norm).forward is not _BatchNorm.forward or any(
        m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in (layer, norm)
    ):
        return False
    channels = layer.out_features if type(layer) is nn.Linear else getattr(layer, "out_channels", None)
    return type(layer) in AXES and norm.running_var is not None and norm.num_features == channels


def _is_listed(model: nn.Module, *modules: nn.Module) -> bool:
    """Does a plain list or dict keep one of these, where it would stay as it was?"""
    for module in model.modules():
        for name, kept in vars(module).items():
            items = kept.values() if isinstance(kept, dict) else kept if isinstance(kept, (list, tuple)) else ()
            if name != "_modules" and any(item is m for item in items for m in modules):
                return True
    return False


def _is_tied(model: nn.Module, layer: nn.Module) -> bool:
    """Does another layer use this one's weights?"""
    own = {id(p) for p in layer.parameters()}
    return any(id(p) in own for m in model.modules() if m is not layer for p in m.parameters(recurse=False))
