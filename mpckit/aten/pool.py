"""Rows of pooling. All of them gather the windows of one dimension after the other, by public indices.

Maxima by dimensions take 4 comparisons instead of 8 for a 3×3 window, in as many rounds.
"""

import math

import torch

from .arithmetic import div, mul
from .table import beside, call, local, numbers, row, unknown


def windows(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool):
    """Which entries each window of a dimension joins: positions [count, kernel], some of them outside 0 … size - 1."""
    steps = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (-(-steps // stride) if ceil_mode else steps // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + padding:  # a window must begin inside
        count -= 1
    if count < 1:
        raise ValueError(f"a window of {kernel} entries does not fit a dimension of {size} with padding {padding}")
    return torch.arange(count)[:, None] * stride - padding + torch.arange(kernel) * dilation


def bins(size: int, count: int):
    """The windows of adaptive pooling; a shorter bin is filled up with -1."""
    edges = [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
    widest = max(end - start for start, end in edges)
    return torch.tensor([[*range(start, end), *[-1] * (widest - end + start)] for start, end in edges])


def gather(data, dim, index):
    """[…, size, …] → […, count, …, kernel]"""
    picked = data.index_select(dim, index.reshape(-1).to(data.device))
    return picked.unflatten(dim, index.shape).movedim(dim % data.dim() + 1, -1)


def _inside(index, size):
    return (index >= 0) & (index < size)


def max_over(x, indices):
    """Over the last dimensions, one index [count, kernel] each; an entry outside gives way to one of its window."""
    x = numbers(x)
    for dim, index in enumerate(indices, -len(indices)):
        inside = _inside(index, x.shape[dim])
        first = index.gather(1, inside.int().argmax(1, keepdim=True))
        index = torch.where(inside, index, first)
        x = call(x.session.suite.reduce_max, local(x, gather, dim, index))
    return x


def sum_over(x, indices):
    x = numbers(x)
    for dim, index in enumerate(indices, -len(indices)):
        inside = _inside(index, x.shape[dim])

        kept = beside(x, inside.long()).view(-1, *[1] * (-1 - dim), inside.shape[1])
        x = local(x, lambda data: (gather(data, dim, torch.where(inside, index, 0)) * kept).sum(-1))  # noqa: B023
    return x


def mean_over(x, indices, counts):
    """`counts`: entries of each window, by dimension."""
    total = sum_over(x, indices)
    if all(bool((c == c[0]).all()) for c in counts):
        return div(total, math.prod(int(c[0]) for c in counts))
    area = counts[0] if len(counts) == 1 else counts[0][:, None] * counts[1]
    return mul(total, 1 / area.double())


def _geometry(spatial, *values):
    return zip(*((list(v) * spatial)[:spatial] for v in values))


def _max_pool(spatial):
    def pool(x, kernel, stride=(), padding=(0,), dilation=(1,), ceil_mode=False):
        geometry = _geometry(spatial, kernel, stride or kernel, padding, dilation)
        out = max_over(x, [windows(size, *g, ceil_mode) for size, g in zip(x.shape[-spatial:], geometry)])
        return out, unknown(out)

    return pool


def _average_pool(spatial):
    def pool(x, kernel, stride=(), padding=(0,), ceil_mode=False, count_include_pad=True, divisor_override=None):
        sizes = x.shape[-spatial:]
        geometry = list(_geometry(spatial, kernel, stride or kernel, padding))
        indices = [windows(size, *g, 1, ceil_mode) for size, g in zip(sizes, geometry)]
        if divisor_override:
            return div(sum_over(x, indices), divisor_override)
        reach = [p if count_include_pad else 0 for _, _, p in geometry]
        counts = [((i >= -p) & (i < size + p)).sum(1) for i, size, p in zip(indices, sizes, reach)]
        return mean_over(x, indices, counts)

    return pool


def _adaptive(spatial, largest):
    def pool(x, output_size):
        indices = [bins(size, count) for size, count in zip(x.shape[-spatial:], output_size)]
        if largest:
            out = max_over(x, indices)
            return out, unknown(out)
        return mean_over(x, indices, [(i >= 0).sum(1) for i in indices])

    return pool


row("max_pool2d_with_indices")(_max_pool(2))
row("max_pool1d_with_indices")(_max_pool(1))
row("avg_pool2d")(_average_pool(2))
row("avg_pool1d")(_average_pool(1))
row("_adaptive_avg_pool2d", "adaptive_avg_pool2d")(_adaptive(2, largest=False))
row("adaptive_avg_pool1d")(_adaptive(1, largest=False))
row("adaptive_max_pool2d")(_adaptive(2, largest=True))
row("adaptive_max_pool1d")(_adaptive(1, largest=True))
