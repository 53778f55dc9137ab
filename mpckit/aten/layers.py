"""Rows of layers: convolution and normalisation."""

import weakref
from typing import NamedTuple

from .. import kernels
from ..tensor import SecretError, SecretTensor
from .arithmetic import add, bilinear, mul, sub
from .reduce import mean, square
from .table import apply, become, is_secret, row, unknown


@row("convolution")
def convolution(x, w, bias, stride, padding, dilation, transposed, output_padding, groups):
    if transposed:
        raise NotImplementedError("a transposed convolution has no row: upsample (nn.Upsample) and convolve instead")
    if len(stride) > 2:
        raise NotImplementedError("a convolution over three spatial dimensions has no row: one and two have")
    out = bilinear("conv", kernels.conv, x, w, tuple(stride), tuple(padding), tuple(dilation), groups)
    return out if bias is None else add(out, bias.reshape(-1, *[1] * len(stride)))


# ---- normalisation ---------------------------------------------------------------------------------------------------


class Folded(NamedTuple):
    """A batch norm's statistics and weights as one factor and one summand, while its `sources` keep their values."""

    factor: SecretTensor
    summand: SecretTensor
    eps: float
    sources: list

    @staticmethod
    def of(factor, summand, eps, sources):
        return Folded(factor, summand, eps, [None if s is None else s.shared for s in sources])

    def holds(self, eps, *now) -> bool:
        return eps == self.eps and all(
            (a is None and b is None) or (is_secret(a) and a.shared is b) for a, b in zip(now, self.sources)
        )


FOLDED = weakref.WeakKeyDictionary()  # the cell of a running variance → Folded


def _channels(v, x):
    """A vector, one number for each channel of x [N, C, …]."""
    return v if v is None else v.reshape(-1, *[1] * (x.dim() - 2))


def batch_norm(x, weight, bias, mean_, var, eps):
    """With known statistics. `nn.private` has the owner fold them into one factor and one summand, once per model."""
    folded = FOLDED.get(var.cell) if is_secret(var) else None
    if folded and folded.holds(eps, weight, bias, mean_, var):
        factor, summand = folded.factor, folded.summand
    else:
        factor = (var + eps).rsqrt() if not is_secret(var) else apply("rsqrt", add(var, eps))
        factor = factor if weight is None else mul(factor, weight)
        summand = mul(factor, -mean_)
        summand = summand if bias is None else add(summand, bias)
    return add(mul(x, _channels(factor, x)), _channels(summand, x))


@row("_native_batch_norm_legit_no_training")
def batch_norm_inference(x, weight, bias, mean_, var, momentum, eps):
    return batch_norm(x, weight, bias, mean_, var, eps), x.new_empty(0), x.new_empty(0)


@row(
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit.no_stats",
    "_native_batch_norm_legit_functional",
)
def native_batch_norm(x, weight, bias, *rest):
    *statistics, training, momentum, eps = rest
    if not training:
        return batch_norm_inference(x, weight, bias, *statistics, momentum, eps)
    dims = [d for d in range(x.dim()) if d != 1]
    center = mean(x, dims, True)
    spread = mean(square(sub(x, center)), dims, True)
    scale = apply("rsqrt", add(spread, eps))
    out = mul(sub(x, center), scale)
    out = out if weight is None else mul(out, _channels(weight, x))
    out = out if bias is None else add(out, _channels(bias, x))
    count = x.numel() // x.shape[1]
    for running, new in zip(statistics, (center, mul(spread, count / max(count - 1, 1)))):
        if running is not None:
            if not is_secret(running):
                raise SecretError(
                    "running statistics of secret data are secret too: make the model private, mk.private(model, owner)"
                )
            become(running, add(mul(running, 1 - momentum), mul(new.reshape(-1), momentum)))
    return out, center.reshape(-1), scale.reshape(-1)


@row("native_layer_norm")
def layer_norm(x, shape, weight, bias, eps):
    out = apply("normalise", x, tuple(range(x.dim() - len(shape), x.dim())), eps)
    out = out if weight is None else mul(out, weight)
    return out if bias is None else add(out, bias), unknown(x), unknown(x)


@row("native_group_norm")
def group_norm(x, weight, bias, n, channels, size, groups, eps):
    out = apply("normalise", x.reshape(n, groups, -1), (2,), eps).reshape(x.shape)
    out = out if weight is None else mul(out, _channels(weight, x))
    return out if bias is None else add(out, _channels(bias, x)), unknown(x), unknown(x)
