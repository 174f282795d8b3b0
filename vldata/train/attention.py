"""Attention within documents only, over tokens laid end to end.

Two paths, one meaning: `varlen_attn` on CUDA in half precision, and one `scaled_dot_product_attention` for each
document elsewhere (varlen_attn has no CPU kernel, and flex_attention no CPU backward).
Shapes: T tokens, H query heads, G key/value heads (H a multiple of G), C channels of a head, N documents.
"""

# mypy: disable-error-code="no-any-return, no-untyped-call"

from __future__ import annotations

import inspect
from functools import cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor


def packed_attention(q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, max_len: int, causal: bool = True) -> Tensor:
    """Attention of each document to itself.

    Args:
        q: (T, H, C).
        k: (T, G, C).
        v: (T, G, C).
        cu_seqlens: (N + 1,) int32, first token of each document, and T.
        max_len: At least the tokens of the longest document.
        causal: A token sees none after it.

    Returns:
        (T, H, C).
    """
    if q.is_cuda and q.dtype in (torch.bfloat16, torch.float16):
        return _varlen(q, k, v, cu_seqlens, max_len, causal)
    return loop_attention(q, k, v, cu_seqlens, causal)


def loop_attention(q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, causal: bool = True) -> Tensor:
    """As `packed_attention`, a document at a time."""
    lengths, has_groups = cu_seqlens.diff().tolist(), q.shape[1] != k.shape[1]
    heads_first = [x.transpose(0, 1).split(lengths, dim=1) for x in (q, k, v)]
    out = [
        F.scaled_dot_product_attention(a[None], b[None], c[None], is_causal=causal, enable_gqa=has_groups)[0]
        for a, b, c in zip(*heads_first, strict=True)
        if a.shape[1]
    ]
    return torch.cat(out, dim=1).transpose(0, 1)


def _varlen(q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, max_len: int, causal: bool) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    options = dict(_varlen_options(causal))
    if q.shape[1] != k.shape[1]:
        if "enable_gqa" in _varlen_parameters():
            options["enable_gqa"] = True
        else:
            k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
    return cast(Tensor, varlen_attn(q, k, v, cu_seqlens, cu_seqlens, max_len, max_len, **options))


def _varlen_options(causal: bool) -> dict[str, Any]:
    """What makes it causal: torch 2.10 has ``is_causal``, later ones ``window_size`` (left, right), -1 all."""
    if "window_size" in _varlen_parameters():
        return {"window_size": (-1, 0) if causal else (-1, -1)}
    return {"is_causal": causal}


@cache
def _varlen_parameters() -> frozenset[str]:
    from torch.nn.attention.varlen import varlen_attn

    return frozenset(inspect.signature(varlen_attn).parameters)
