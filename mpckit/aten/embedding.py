"""Rows that look up by number: token embeddings, with public or with secret numbers."""

import torch

from .. import kernels
from ..protocols import lookup
from ..tensor import SecretError
from .arithmetic import _scaled, mm
from .table import beside, call, is_float, is_secret, local, row


@row("embedding")
def embedding(table, index, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    """Rows of `table` [n, size]. A secret index [*shape] becomes a one-hot code: n ring elements are opened for each.

    IndexError for a public number that has no row: an unknown token, or a sequence longer than the model's positions.
    A secret one counts modulo the next power of two, and gives zeros where no row has that number: nobody may know, so
    its owner should look before sharing it (`zoo.hugging.tokens` does).
    """
    n = table.shape[0]
    if not is_secret(index):
        in_range(index, n)
        return local(table, lambda data: torch.embedding(data, beside(table, index)))
    if is_float(index):
        raise SecretError("the numbers to look up must be whole; share them as integers, mk.secret(ids.long(), owner)")
    code = call(lookup.one_hot, index, n)
    if is_secret(table):
        return mm(code.reshape(-1, n), table).reshape(*index.shape, table.shape[1])
    ring = code.session.ring
    return _scaled(kernels.matmul, code, beside(code, ring.encode(table)), ring.frac)


def in_range(index: torch.Tensor, n: int):
    """IndexError unless all public numbers lie between 0 and n - 1. Of shapes (a dry run) nothing is known."""
    if index.is_meta or not index.numel():
        return
    least, most = int(index.min()), int(index.max())
    if least < 0 or most >= n:
        raise IndexError(
            f"an embedding of {n} rows has no row {most if most >= n else least}: is a token unknown to this model, "
            f"or the sequence longer than its {n} positions?"
        )
