"""Rows of fused attention, which torch asks for on CPUs and in evaluation mode: made of the operators they fuse."""

import math

import torch
import torch.nn.functional as F

from .table import apply, row, unknown


def attention(q, k, v, mask=None, causal=False, scale=None):
    """(softmax(q·kᵀ·scale + mask)·v, the softmax); a mask of bools says where to look.

    q [batch, heads, length, size]; several heads of q may share one of k and v, which are opened once for all of them.
    """
    if q.dim() == 4 and (shared := q.shape[1] // k.shape[1]) > 1:
        groups = (k.shape[1], shared)
        mask = mask.unflatten(1, groups) if mask is not None and mask.dim() == 4 and mask.shape[1] > 1 else mask
        mask = mask.unsqueeze(2) if mask is not None and mask.dim() == 4 else mask
        results = attention(q.unflatten(1, groups), k.unsqueeze(2), v.unsqueeze(2), mask, causal, scale)
        return tuple(out.flatten(1, 2) for out in results)
    scores = (q * (scale or 1 / math.sqrt(q.shape[-1]))) @ k.mT
    if causal:  # the upper triangle is not computed at all
        weights = apply("softmax_where", scores, torch.ones(scores.shape[-2:], dtype=torch.bool).tril())
        return weights @ v, weights
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
    parts = zip((q, k, v), qkv_weight.chunk(3), qkv_bias.chunk(3))
    q, k, v = (F.linear(x, w, b).unflatten(-1, (heads, -1)).transpose(1, 2) for x, w, b in parts)
    if mask is not None:
        mask = ~mask if mask.dtype == torch.bool else mask
        mask = mask[:, None, None] if kind == 1 else mask  # 1: one row of keys for each of the batch
    out, weights = attention(q, k, v, mask)
    out = F.linear(out.transpose(1, 2).flatten(2), out_weight, out_bias)
    return out, (weights.mean(1) if average else weights) if need_weights else unknown(q)
