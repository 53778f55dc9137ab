"""Rows of layers: convolution and normalisation."""

import weakref
from typing import NamedTuple

import torch
import torch.nn.functional as F

from .. import kernels
from ..tensor import SecretTensor
from .arithmetic import add, bilinear, mul, sub
from .masks import open_once
from .reduce import average, mean, square
from .squares import reshaped
from .table import apply, become, fixed_point, is_secret, row, secret_form, session_of, unknown


@row("convolution")
def convolution(x, w, bias, stride, padding, dilation, transposed, output_padding, groups):
    if transposed:
        raise NotImplementedError("a transposed convolution has no row: upsample (nn.Upsample) and convolve instead")
    if len(stride) > 2:
        raise NotImplementedError("a convolution over three spatial dimensions has no row: one and two have")
    _check_fit(x, w, padding, dilation, groups)
    out = bilinear("conv", kernels.conv, x, w, tuple(stride), tuple(padding), tuple(dilation), groups)
    return out if bias is None else add(out, bias.reshape(-1, *[1] * len(stride)))


def _check_fit(x, w, padding, dilation, groups):
    """Before a message: a kernel would notice only when both factors have been opened."""
    if x.shape[1] != w.shape[1] * groups:
        raise RuntimeError(
            f"a convolution of {w.shape[1] * groups} channels (weights {list(w.shape)}, groups={groups}) cannot take "
            f"the {x.shape[1]} channels of {list(x.shape)}"
        )
    for size, width, pad, step in zip(x.shape[2:], w.shape[2:], padding, dilation):
        if size + 2 * pad < (reach := step * (width - 1) + 1):
            raise RuntimeError(
                f"a window of {reach} entries is more than the {size} of {list(x.shape)}, padded by {pad} on each side"
            )


@row("convolution_backward")
def convolution_backward(grad, x, w, _, stride, padding, dilation, transposed, output_padding, groups, wanted):
    """Both gradients are convolutions again: of the spread-out gradient with flipped filters; of the input with it."""
    dims, by_x, by_w = range(2, x.dim()), None, None
    # The masks follow what happens to these below, so the gradient is opened once, and x and w not again.
    pairs = [*([(grad, w)] if wanted[0] else []), *([(x, grad)] if wanted[1] else [])]
    if factors := [v for pair in pairs for v in pair if all(is_secret(u) for u in pair)]:
        open_once(*factors)
    if wanted[0]:
        spread, edges = grad, []
        for i, d in enumerate(dims):
            spread = _with_gaps(spread, d, stride[i])
            before = dilation[i] * (w.shape[d] - 1) - padding[i]
            edges = [before, x.shape[d] - spread.shape[d] + padding[i], *edges]
        filters = w.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1).flip(list(dims))
        zeros, ones = [0] * len(dims), [1] * len(dims)
        by_x = torch.convolution(F.pad(spread, edges), filters, None, ones, zeros, dilation, False, zeros, groups)
    if wanted[1]:  # the channels of a group take the place of the batch, and the batch that of the channels
        pictures, filters = x.unflatten(1, (groups, -1)).transpose(0, 2).flatten(1, 2), grad.transpose(0, 1)
        by_w = torch.convolution(pictures, filters, None, dilation, padding, stride, False, [0] * len(dims), groups)
        for d in dims:
            by_w = by_w.narrow(d, 0, w.shape[d])
        by_w = by_w.transpose(0, 1)
    return by_x, by_w, grad.sum([0, *dims]) if wanted[2] else None


def _with_gaps(x, dim, step):
    """step - 1 zeros between any two entries."""
    if step == 1:
        return x
    spread = F.pad(x.unsqueeze(dim + 1), [*[0, 0] * (x.dim() - dim - 1), 0, step - 1]).flatten(dim, dim + 1)
    return spread.narrow(dim, 0, step * (x.shape[dim] - 1) + 1)


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


@row("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit.no_stats")
def native_batch_norm(x, weight, bias, *rest):
    *statistics, training, momentum, eps = rest
    if not training:
        return batch_norm_inference(x, weight, bias, *statistics, momentum, eps)
    x, dims = _beside_secrets(x, weight, bias, *statistics), [d for d in range(x.dim()) if d != 1]
    center = mean(x, dims, True)
    squares = square(sub(x, center))
    scale = apply("rsqrt", add(mean(squares, dims, True), eps))
    out = mul(sub(x, center), scale)
    out = out if weight is None else mul(out, _channels(weight, x))
    out = out if bias is None else add(out, _channels(bias, x))
    spread = average(squares, dims, True, max(x.numel() // x.shape[1] - 1, 1))
    for running, new in zip(statistics, (center, spread)):
        if running is not None:
            become(running, add(mul(running, 1 - momentum), mul(new.reshape(-1), momentum)))
    return out, center.reshape(-1), reshaped(scale, -1)


def _beside_secrets(x, *others):
    """A public x in the guise of a secret, where only the layer's own numbers are secret."""
    return secret_form(x, session_of(x, *others))


def _will_go_back(*sources):
    """Whether a gradient will ask for the mean and the deviation: that of the input does, and that of the weight."""
    return torch.is_grad_enabled() and any(s is not None and s.requires_grad for s in sources)


def _normalised(x, dims, eps, keep):
    """(x - mean) / deviation; the mean and 1 / deviation too if they are to keep for the backward pass."""
    if not keep:
        nobody = unknown(x).float()
        return apply("normalise", x, dims, eps), nobody, nobody
    center = mean(x, dims, True)
    scale = apply("rsqrt", add(mean(square(sub(x, center)), dims, True), eps))
    return mul(sub(x, center), scale), center, scale


@row("native_layer_norm")
def layer_norm(x, shape, weight, bias, eps):
    x = _beside_secrets(x, weight, bias)
    dims, keep = tuple(range(x.dim() - len(shape), x.dim())), _will_go_back(x, weight)
    if is_secret(weight) and not keep:
        out, center, scale = apply("normalise", x, dims, eps, fixed_point(weight)), *[unknown(x).float()] * 2
    else:
        out, center, scale = _normalised(x, dims, eps, keep)
        out = out if weight is None else mul(out, weight)
    return out if bias is None else add(out, bias), center, scale


def rms_norm(layer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What nn.RMSNorm, or a class of transformers like it, says of x: by one protocol, which torch's own composition of
    squares, a mean, a root and two products never becomes. Where gradients go back it stays composed.
    """
    weight = layer.weight
    goes_back = torch.is_grad_enabled() and any(v.requires_grad for v in (x, weight) if v is not None)
    if not (is_secret(x) and is_secret(weight) and x.dtype.is_floating_point) or goes_back:
        return type(layer).forward(layer, x)
    eps = getattr(layer, "variance_epsilon", None) or getattr(layer, "eps", None) or torch.finfo(x.dtype).eps
    dims = tuple(range(x.dim() - weight.dim(), x.dim()))
    with x.session.meter.scope("rms_norm"):
        return apply("rms_norm", x, dims, eps, fixed_point(weight))


@row("native_group_norm")
def group_norm(x, weight, bias, n, channels, size, groups, eps):
    x = _beside_secrets(x, weight, bias)
    out, center, scale = _normalised(x.reshape(n, groups, -1), (2,), eps, _will_go_back(x, weight))
    out = out.reshape(x.shape)
    out = out if weight is None else mul(out, _channels(weight, x))
    out = out if bias is None else add(out, _channels(bias, x))
    return out, center.reshape(n, -1), reshaped(scale, n, -1)


# ---- recurrence ------------------------------------------------------------------------------------------------------

LSTM = 2  # what torch calls it among the kinds of a recurrent layer


@row("mkldnn_rnn_layer")
def lstm(x, w_in, w_kept, b_in, b_kept, h, c, reverse, sizes, kind, width, layers, has_biases, *_):
    """nn.LSTM's layers in one direction, which torch fuses on CPUs: x [length, n, size] → (h of all steps, h, c)."""
    if kind != LSTM or sizes:
        raise NotImplementedError("a fused recurrent layer over packed sequences has no row: pad them, one length")
    x = _beside_secrets(x, w_in, h)
    gates = F.linear(x, w_in, add(b_in, b_kept) if has_biases else None)
    out = []
    for step in reversed(gates.unbind()) if reverse else gates.unbind():
        step = step + F.linear(h, w_kept)
        kept, other, new = step[..., : 2 * width], step[..., 3 * width :], step[..., 2 * width : 3 * width].tanh()
        take, keep, show = torch.cat((kept, other), -1).sigmoid().split(width, -1)
        c = keep * c + take * new
        h = show * c.tanh()
        out.append(h)
    return torch.stack(out[::-1] if reverse else out), h, c, x.new_empty(0)
