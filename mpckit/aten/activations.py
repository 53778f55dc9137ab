"""Rows of activation functions: one line each, where `protocols/functions.py` has the protocol."""

import math

import torch

from .arithmetic import add, mul, sub
from .compare import gt, where
from .table import apply, call, numbers, row


def _register(names: str):
    for name in names.split():
        row(name)(lambda x, _name=name: apply(_name, x))


_register("exp log sigmoid tanh erf sqrt rsqrt silu")


@row("relu")
def relu(x):
    return call(x.session.suite.relu, numbers(x))


@row("gelu")
def gelu(x, approximate="none"):
    return apply("gelu", x)


@row("log2")
def log2(x):
    return mul(apply("log", x), 1 / math.log(2))


@row("log10")
def log10(x):
    return mul(apply("log", x), 1 / math.log(10))


@row("log1p")
def log1p(x):
    return apply("log", add(x, 1))


@row("expm1")
def expm1(x):
    return sub(apply("exp", x), 1)


@row("_softmax")
def softmax(x, dim, half_to_float=False):
    return apply("softmax", x.movedim(dim, -1)).movedim(-1, dim)


@row("_log_softmax")
def log_softmax(x, dim, half_to_float=False):
    return apply("log_softmax", x.movedim(dim, -1)).movedim(-1, dim)


# ---- made of ReLUs -----------------------------------------------------------------------------------------------------------


@row("clamp", "hardtanh")
def clamp(x, min=-1.0, max=1.0):
    if min is None or max is None:
        return clamp_min(x, min) if max is None else clamp_max(x, max)
    return apply("clamp", x, float(min), float(max))


@row("clamp_min")
def clamp_min(x, low):
    return add(relu(sub(x, low)), low)


@row("clamp_max")
def clamp_max(x, high):
    return sub(high, relu(sub(high, x)))


@row("clamp.Tensor", "clamp_min.Tensor", "clamp_max.Tensor")
def clamp_tensor(x, min=None, max=None):
    x = x if min is None else clamp_min(x, min)
    return x if max is None else clamp_max(x, max)


@row("relu6")
def relu6(x):
    return clamp(x, 0.0, 6.0)


@row("hardsigmoid")
def hardsigmoid(x):
    return clamp(add(mul(x, 1 / 6), 0.5), 0.0, 1.0)


@row("hardswish")
def hardswish(x):
    return mul(x, hardsigmoid(x))


@row("leaky_relu")
def leaky_relu(x, slope=0.01):
    return add(mul(x, slope), mul(relu(x), 1 - slope))


@row("_prelu_kernel")
def prelu(x, weight):
    positive = relu(x)
    return add(positive, mul(sub(x, positive), weight))


@row("elu")
def elu(x, alpha=1, scale=1, input_scale=1):
    below = mul(sub(apply("exp", mul(x, input_scale)), 1), alpha * scale)
    return where(gt(x, 0), mul(x, scale), below)


@row("softplus")
def softplus(x, beta=1, threshold=20):
    y = mul(x, beta)
    magnitude = apply("absolute", y)
    tail = apply("log", add(apply("exp", mul(magnitude, -1)), 1))  # log(1 + exp(-|y|)), between 0 and log 2
    return mul(add(mul(add(y, magnitude), 0.5), tail), 1 / beta)


@row("threshold")
def threshold_(x, limit, value):
    return where(gt(x, limit), x, torch.as_tensor(float(value)))
