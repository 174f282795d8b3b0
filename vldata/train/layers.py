"""Small pieces that several projectors share. Shapes: I images, N patches, D channels."""

# mypy: disable-error-code="no-any-return, no-untyped-call"

from __future__ import annotations

import math

from torch import Tensor, nn


def to_grid(x: Tensor) -> Tensor:
    """Features (I, N, D) of a square grid as a map (I, D, s, s)."""
    side = math.isqrt(x.shape[1])
    return x.transpose(1, 2).unflatten(2, (side, side))


def init_normal(module: nn.Module) -> None:
    """Weights ~ N(0, 0.02), biases 0: the init of Honeybee, BERT and most transformers; for `nn.Module.apply`."""
    if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
        nn.init.zeros_(module.bias)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(I, N, D) as (I, heads, N, D / heads)."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """(I, heads, N, C) as (I, N, heads * C)."""
    return x.transpose(1, 2).flatten(2)
