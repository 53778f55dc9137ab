"""Rows of activation functions: one line each, where `protocols/functions.py` has the protocol."""

import math
from functools import partial

import torch

from ..protocols import functions
from .arithmetic import add, mul, neg, sub
from .compare import gt, lt, where
from .table import apply, call, fixed_point, is_float, numbers, row, secret_form, session_of, unknown
from .waiting import rectified


def _register(names: str):
    for name in names.split():
        row(name)(lambda x, _name=name: apply(_name, x))


_register("exp log sigmoid tanh erf sqrt rsqrt silu")


@row("relu")
def relu(x):
    out = rectified(x)
    return call(x.session.suite.relu, numbers(x)) if out is None else out


@row("gelu")
def gelu(x, approximate="none"):
    return apply("gelu", x, approximate)


@row("log2")
def log2(x):
    return mul(apply("log", x), 1 / math.log(2))


@row("log10")
def log10(x):
    return mul(apply("log", x), 1 / math.log(10))


@row("log1p")
def log1p(x):
    return apply("log", add(x, 1))


@row("exp2")
def exp2(x):
    return apply("exp", mul(x, math.log(2)))


@row("expm1")
def expm1(x):
    return sub(apply("exp", x), 1)


@row("_softmax")
def softmax(x, dim, half_to_float=False):
    return apply("softmax", x, dim)


@row("_log_softmax")
def log_softmax(x, dim, half_to_float=False):
    return apply("log_softmax", x, dim)


# ---- made of ReLUs ---------------------------------------------------------------------------------------------------


@row("clamp", "clamp.Tensor")
def clamp(x, min=None, max=None):
    if all(v is None or not isinstance(v, torch.Tensor) for v in (min, max)):
        x = fixed_point(x) if is_float(min) or is_float(max) else numbers(x)
        return call(partial(functions.clamp, x.session.suite), x, min, max)
    x = x if min is None else add(relu(sub(x, min)), min)
    return x if max is None else sub(max, relu(sub(max, x)))


row("hardtanh")(lambda x, low=-1.0, high=1.0: clamp(x, low, high))
row("clamp_min", "clamp_min.Tensor")(lambda x, low: clamp(x, low, None))
row("clamp_max", "clamp_max.Tensor")(lambda x, high: clamp(x, None, high))


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
    x = secret_form(x, session_of(x, weight))
    positive = relu(x)
    return add(positive, mul(sub(x, positive), weight))


@row("elu")
def elu(x, alpha=1, scale=1, input_scale=1):
    below = mul(sub(apply("exp", mul(x, input_scale)), 1), alpha * scale)
    return where(gt(x, 0), mul(x, scale), below)


@row("softplus")
def softplus(x, beta=1, threshold=20):
    return mul(apply("softplus", mul(x, beta)), 1 / beta)


@row("log_sigmoid_forward")
def log_sigmoid(x):
    return neg(apply("softplus", neg(x))), unknown(x)


@row("sign", "sgn")
def sign(x):
    out = sub(gt(x, 0), lt(x, 0))
    return fixed_point(out) if is_float(x) else out


@row("threshold")
def threshold_(x, limit, value):
    return where(gt(x, limit), x, torch.as_tensor(float(value)))
