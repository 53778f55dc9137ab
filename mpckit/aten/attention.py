"""Rows of fused attention, which torch asks for on CPUs and in evaluation mode: made of the operators they fuse."""

import math

import torch
import torch.nn.functional as F

from ..kernels.place import placed
from .arithmetic import home
from .table import apply, call, is_float, is_secret, local, row, unknown


def attention(q, k, v, mask=None, causal=False, scale=None, weights=False):
    """(softmax(q·kᵀ·scale + mask)·v, the softmax if `weights` are wanted); a mask of bools says where to look.

    q [batch, heads, length, size]; several heads of q may share one of k and v, which are opened once for all of them.
    The scale is part of the table of exponentials.
    """
    if q.dim() == 4 and (shared := q.shape[1] // k.shape[1]) > 1:
        groups = (k.shape[1], shared)
        mask = mask.unflatten(1, groups) if mask is not None and mask.dim() == 4 and mask.shape[1] > 1 else mask
        mask = mask.unsqueeze(2) if mask is not None and mask.dim() == 4 else mask
        out, _ = attention(q.unflatten(1, groups), k.unsqueeze(2), v.unsqueeze(2), mask, causal, scale)
        return out.flatten(1, 2), None
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    if scale <= 0 or not all(is_secret(t) and is_float(t) for t in (q, k, v)) or is_secret(mask):
        return _composed(q, k, v, mask, causal, scale)
    scores, lengths = call(q.session.suite.matmul, q, k.mT), None
    if causal:  # the upper triangle is not brought home at all
        lengths = tuple(min(i + 1, k.shape[-2]) for i in range(q.shape[-2]))
        kept = torch.ones(scores.shape[-2:], dtype=torch.bool).tril().flatten().nonzero().squeeze(-1)
        scores = local(scores.flatten(-2), lambda data: data.index_select(-1, placed(kept, data.device)))
    scores = home(scores)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask / scale
    if not weights:
        known = q.session.ring.bits - q.session.ring.frac - 1 if mask is None else None  # what a truncation leaves
        return apply("attend", scores, v, lengths, scale, known), None
    weights = apply("softmax", scores, -1, scale)
    return weights @ v, weights


def _composed(q, k, v, mask, causal, scale):
    """The same by ordinary operators, where some of it is public."""
    scores = (q * scale) @ k.mT
    mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril() if causal else mask
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    weights = scores.softmax(-1)
    return weights @ v, weights


@row("_scaled_dot_product_flash_attention_for_cpu")
def scaled_dot_product_attention(q, k, v, dropout_p=0.0, is_causal=False, *, attn_mask=None, scale=None):
    return attention(q, k, v, attn_mask, is_causal, scale)[0], unknown(q)


@row("_nested_tensor_from_mask_left_aligned")
def packs(x, mask):
    """nn.TransformerEncoder asks whether to leave padding out (a nested tensor): a secret stays whole."""
    return False


@row("_native_multi_head_attention")
def multi_head_attention(
    q, k, v, size, heads, qkv_weight, qkv_bias, out_weight, out_bias, mask=None, need_weights=True, average=True,
    kind=None,
):  # fmt: skip
    """nn.MultiheadAttention at rest: q, k, v [batch, length, size]; here a mask of bools says where *not* to look."""
    if is_secret(q) and all(is_secret(t) and t.cell is q.cell for t in (k, v)):  # opened once, in the same rounds
        parts = F.linear(q, qkv_weight, qkv_bias).chunk(3, -1)
    else:
        parts = [F.linear(*part) for part in zip((q, k, v), qkv_weight.chunk(3), qkv_bias.chunk(3))]
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in parts)
    if mask is not None:
        mask = ~mask if mask.dtype == torch.bool else mask
        mask = mask[:, None, None] if kind == 1 else mask  # 1: one row of keys for each of the batch
    out, weights = attention(q, k, v, mask, weights=need_weights)
    out = F.linear(out.transpose(1, 2).flatten(2), out_weight, out_bias)
    return out, (weights.mean(1) if average else weights) if need_weights else unknown(q)
