"""Rows of layers: convolution, pooling, normalisation, activations."""

import torch
import torch.nn.functional as F

from .. import kernels
from .arithmetic import add, bilinear
from .table import call, each, numbers, row


@row("convolution")
def convolution(x, w, bias, stride, padding, dilation, transposed, output_padding, groups):
    if transposed:
        raise NotImplementedError("a transposed convolution has no row: upsample (nn.Upsample) and convolve instead")
    if len(stride) > 2:
        raise NotImplementedError("convolution over one or two spatial dimensions; three have no kernel yet")
    out = bilinear("conv", kernels.conv, x, w, tuple(stride), tuple(padding), tuple(dilation), groups)
    return out if bias is None else add(out, bias.view(-1, *[1] * len(stride)))


@row("relu")
def relu(x):
    return call(x.session.suite.relu, x)


# ---- pooling ---------------------------------------------------------------------------------------------------------------


@row("max_pool2d_with_indices")
def max_pool(x, kernel, stride=(), padding=(0,), dilation=(1,), ceil_mode=False):
    """One dimension after the other: 4 comparisons instead of 8 for a 3×3 window, in as many rounds."""
    spatial = 2
    kernel, stride, padding, dilation = (list(v) * (spatial // len(v)) for v in (kernel, stride or kernel, padding, dilation))
    for i in range(spatial):
        x = _max_along(x, i - spatial, kernel[i], stride[i], padding[i], dilation[i], ceil_mode)
    return x, torch.empty(x.shape, dtype=torch.int64, device="meta")  # nobody knows where the maxima are


def _max_along(x, dim, kernel, stride, padding, dilation, ceil_mode):
    size, span = x.shape[dim], dilation * (kernel - 1) + 1
    steps = size + 2 * padding - span
    count = (-(-steps // stride) if ceil_mode else steps // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + padding:  # a window must begin inside
        count -= 1
    after = max((count - 1) * stride + span - padding - size, 0)
    lowest = -(1 << (x.shared.shares[0].bits - 2))  # loses against every number, and their difference still fits the ring

    def windows(share):
        data = _padded(share.data, dim, padding, after, lowest if share.first else 0)
        return share.like(torch.stack([_every(data, dim, k * dilation, stride, count) for k in range(kernel)], -1))

    return call(x.session.suite.reduce_max, each(numbers(x), windows))


def _padded(data, dim, before, after, value):
    return F.pad(data, (0, 0) * (-1 - dim) + (before, after), value=value) if before or after else data


def _every(data, dim, start, step, count):
    """`count` entries of a dimension, from `start` on, `step` apart."""
    return data.movedim(dim, -1)[..., start : start + step * (count - 1) + 1 : step].movedim(-1, dim)
