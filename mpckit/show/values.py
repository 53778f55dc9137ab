"""Tensors and shares in a few words."""

import torch

from ..runtime.transcript import Used
from ..share import AShare, BShare


def words(value, shown: int = 6, bits: int = 64) -> str:
    """`value` for people: the first few numbers of a tensor, of a share, of a tuple of them.

    `bits`: the ring of pieces that do not say theirs, as they come from a dealer.
    """
    if isinstance(value, AShare):
        width = value.ring.bits if value.ring else bits
        # In a small ring the words above it are noise that the ring ignores.
        return f"share {numbers(value.data if width >= 64 else value.data & ((1 << width) - 1), shown)}"
    if isinstance(value, BShare):
        return f"bits {numbers(value.data, shown)}"
    if isinstance(value, torch.Tensor):
        return "not for this party" if value.is_meta else numbers(value, shown)
    if isinstance(value, dict):
        return ", ".join(f"from party {key}: {words(each, shown, bits)}" for key, each in value.items()) or "nothing"
    if isinstance(value, (list, tuple)):
        return " · ".join(words(each, shown, bits) for each in value) or "nothing"
    if isinstance(value, Used):
        return str(value)
    return type(value).__name__ if value is not None else "nothing"


def numbers(tensor: torch.Tensor, shown: int = 6) -> str:
    """ "17" or "[3, 5, … 100 in all]"."""
    if tensor.is_meta:
        return f"shape {list(tensor.shape)}"
    flat = tensor.reshape(-1)
    text = [f"{v:.5g}" if tensor.is_floating_point() else str(v) for v in flat[:shown].tolist()]
    if tensor.dim() == 0:
        return text[0]
    return f"[{', '.join(text)}{f', … {flat.numel()} in all' if flat.numel() > shown else ''}]"
