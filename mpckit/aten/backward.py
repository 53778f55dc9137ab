"""Rows that autograd asks for: losses and gradients. What is missing here is composed by torch itself."""

import torch

from ..tensor import SecretError, SecretTensor
from .arithmetic import mul, sub
from .compare import gt
from .reduce import mean, sum_
from .table import apply, beside, is_secret, local, row, session_of


@row("threshold_backward")
def threshold_backward(grad, x, threshold):
    return mul(gt(x, threshold), grad)


@row("sigmoid_backward")
def sigmoid_backward(grad, y):
    return mul(grad, mul(y, sub(1, y)))


@row("tanh_backward")
def tanh_backward(grad, y):
    return mul(grad, sub(1, mul(y, y)))


@row("_softmax_backward_data")
def softmax_backward(grad, y, dim, dtype):
    scaled = mul(grad, y)
    return sub(scaled, mul(y, sum_(scaled, dim, True)))


@row("_log_softmax_backward_data")
def log_softmax_backward(grad, y, dim, dtype):
    total = sum_(grad, dim, True) if is_secret(grad) else grad.sum(dim, True)
    return sub(grad, mul(apply("exp", y), total))


# ---- losses ----------------------------------------------------------------------------------------------------------

REDUCTIONS = {0: lambda x: x, 1: mean, 2: sum_}


@row("mse_loss")
def mse_loss(x, target, reduction=1):
    gap = sub(x, target)
    return REDUCTIONS[reduction](mul(gap, gap))


@row("mse_loss_backward")
def mse_loss_backward(grad, x, target, reduction):
    gap = sub(x, target)
    return mul(mul(gap, 2 / x.numel() if reduction == 1 else 2), grad)


def _picked(target, classes, weight, ignored):
    """Public weight of each row's own class, [N, C]; zero for rows that do not count."""
    if is_secret(target):
        raise SecretError(
            "the class numbers are secret: give cross entropy soft labels, (labels[:, None] == torch.arange(k)).float()"
        )
    hot = torch.zeros((*target.shape, classes), device=target.device)
    hot = hot.scatter(-1, target.clamp(min=0).unsqueeze(-1), (target != ignored).float().unsqueeze(-1))
    return hot if weight is None else hot * weight.to(hot.device)


@row("nll_loss_forward")
def nll_loss(x, target, weight, reduction, ignored):
    """Labels and class weights are public, and so is which score of a row counts."""
    hot = beside(x, _picked(target, x.shape[-1], weight, ignored))
    total = hot.sum()
    picked = local(x, lambda d: -(d * (hot != 0)).sum(-1))
    if weight is not None:
        picked = mul(picked, hot.sum(-1))
    out = picked if reduction == 0 else sum_(picked)
    return (mul(out, 1 / total) if reduction == 1 else out), SecretTensor.constant(total, x.session)


@row("nll_loss_backward")
def nll_loss_backward(grad, x, target, weight, reduction, ignored, total):
    slope = -_picked(target, x.shape[-1], weight, ignored)
    slope = slope / total if reduction == 1 else slope
    grad = grad.unsqueeze(-1) if reduction == 0 else grad
    return mul(SecretTensor.constant(slope, session_of(grad, x)), grad)
