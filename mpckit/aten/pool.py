"""Rows of pooling. All of them gather the windows of one dimension after the other, by public indices.

Maxima by dimensions take 4 comparisons instead of 8 for a 3×3 window, in as many rounds.
"""

import math

import torch

from ..kernels.place import placed
from .arithmetic import div, mul
from .table import beside, call, local, numbers, row, secret_form, session_of, unknown
from .waiting import largest, mean


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
    picked = data.index_select(dim, placed(index.reshape(-1), data.device))
    return picked.unflatten(dim, index.shape).movedim(dim % data.dim() + 1, -1)


def _inside(index, size):
    return (index >= 0) & (index < size)


def spread(data, dim, index, size):
    """The adjoint of `gather`: […, count, …, kernel] → […, size, …], each entry added to the place it came from."""
    dim = dim % (data.dim() - 1)
    data = data.movedim(-1, dim + 1).flatten(dim, dim + 1)
    shape = [size if d == dim else n for d, n in enumerate(data.shape)]
    return data.new_zeros(shape).index_add(dim, placed(index.reshape(-1), data.device), data)


def _valid(index, size):
    """The index with an entry outside replaced by one inside the same window."""
    inside = _inside(index, size)
    return torch.where(inside, index, index.gather(1, inside.int().argmax(1, keepdim=True)))


def max_over(x, indices):
    """Over the last dimensions, one index [count, kernel] each."""

    def maximum(x, spare=0):
        for dim, index in enumerate(indices, -len(indices)):
            places = _valid(index, x.shape[dim])
            x = call(x.session.suite.reduce_max, local(x, gather, dim, places), spare)
        return x

    out = largest(x, maximum)
    return maximum(numbers(x)) if out is None else out


def max_over_backward(grad, x, indices):
    """The tournament again, with the places of its winners: both dimensions at once, since one place is asked for."""
    sizes = x.shape[-2:]
    rows, columns = (_valid(index, size) for index, size in zip(indices, sizes))
    places = (rows[:, None, :, None] * sizes[1] + columns[None, :, None, :]).flatten(2).flatten(0, 1)
    _, winner = call(x.session.suite.argmax, local(x.flatten(-2), gather, -1, places))
    hot = torch.eq(winner.unsqueeze(-1), torch.arange(places.shape[1]))
    parts = mul(hot, grad.flatten(-2).unsqueeze(-1))
    return local(parts, spread, -1, places, sizes.numel()).unflatten(-1, sizes)


def _ones_inside(x, index, dim):
    inside = _inside(index, x.shape[dim])
    return torch.where(inside, index, 0), beside(x, inside.long()).view(-1, *[1] * (-1 - dim), inside.shape[1])


def sum_over(x, indices):
    x = numbers(x)
    for dim, index in enumerate(indices, -len(indices)):
        places, kept = _ones_inside(x, index, dim)
        x = local(x, lambda data: (gather(data, dim, places) * kept).sum(-1))  # noqa: B023
    return x


def sum_over_backward(grad, x, indices):
    for dim, index in enumerate(indices, -len(indices)):
        places, kept = _ones_inside(x, index, dim)
        grad = local(grad, lambda data: spread(data.unsqueeze(-1) * kept, dim, places, x.shape[dim]))  # noqa: B023
    return grad


def _one_count(counts) -> int | None:
    """How many entries all windows have, if it is one number."""
    same = all(bool((c == c[0]).all()) for c in counts)
    return math.prod(int(c[0]) for c in counts) if same else None


def averaged(x, counts):
    """x over the entries of its window; `counts` by dimension."""
    if (count := _one_count(counts)) is not None:
        return div(x, count)
    return mul(x, 1 / (counts[0] if len(counts) == 1 else counts[0][:, None] * counts[1]).double())


# ---- rows ------------------------------------------------------------------------------------------------------------


def _geometry(spatial, *values):
    return zip(*((list(v) * spatial)[:spatial] for v in values))


def _max_windows(x, spatial, kernel, stride=(), padding=(0,), dilation=(1,), ceil_mode=False):
    geometry = _geometry(spatial, kernel, stride or kernel, padding, dilation)
    return [windows(size, *g, ceil_mode) for size, g in zip(x.shape[-spatial:], geometry)]


def _mean_windows(x, spatial, kernel, stride=(), padding=(0,), ceil_mode=False, with_border=True, divisor=None):
    """(windows, what to divide by)"""
    sizes, geometry = x.shape[-spatial:], list(_geometry(spatial, kernel, stride or kernel, padding))
    indices = [windows(size, *g, 1, ceil_mode) for size, g in zip(sizes, geometry)]
    if divisor:
        return indices, [torch.tensor([divisor]), *[torch.tensor([1])] * (spatial - 1)]
    reach = [p if with_border else 0 for _, _, p in geometry]
    return indices, [((i >= -p) & (i < size + p)).sum(1) for i, size, p in zip(indices, sizes, reach)]


def _bins(x, output_size):
    return [bins(size, count) for size, count in zip(x.shape[-len(output_size) :], output_size)]


def _counts(indices):
    return [(i >= 0).sum(1) for i in indices]


def _with_unknown(out):
    return out, unknown(out)


def _mean_over(x, indices, counts):
    count = _one_count(counts)
    out = mean(x, lambda v: sum_over(v, indices), count) if count else None
    return averaged(sum_over(x, indices), counts) if out is None else out


def _mean_over_backward(grad, x, indices, counts):
    session = session_of(grad, x)
    return sum_over_backward(averaged(secret_form(grad, session), counts), x, indices)


row("max_pool2d_with_indices")(lambda x, *g: _with_unknown(max_over(x, _max_windows(x, 2, *g))))
row("max_pool1d_with_indices")(lambda x, *g: _with_unknown(max_over(x, _max_windows(x, 1, *g))))
row("max_pool2d_with_indices_backward")(lambda grad, x, *g: max_over_backward(grad, x, _max_windows(x, 2, *g[:-1])))
row("avg_pool2d")(lambda x, *g: _mean_over(x, *_mean_windows(x, 2, *g)))
row("avg_pool1d")(lambda x, *g: _mean_over(x, *_mean_windows(x, 1, *g)))
row("avg_pool2d_backward")(lambda grad, x, *g: _mean_over_backward(grad, x, *_mean_windows(x, 2, *g)))


@row("_adaptive_avg_pool2d", "adaptive_avg_pool2d", "adaptive_avg_pool1d")
def adaptive_average_pool(x, output_size):
    return _mean_over(x, indices := _bins(x, output_size), _counts(indices))


@row("_adaptive_avg_pool2d_backward")
def adaptive_average_pool_backward(grad, x):
    return _mean_over_backward(grad, x, indices := _bins(x, grad.shape[-2:]), _counts(indices))


@row("adaptive_max_pool2d", "adaptive_max_pool1d")
def adaptive_max_pool(x, output_size):
    return _with_unknown(max_over(x, _bins(x, output_size)))


@row("adaptive_max_pool2d_backward")
def adaptive_max_pool_backward(grad, x, _):
    return max_over_backward(grad, x, _bins(x, grad.shape[-2:]))
