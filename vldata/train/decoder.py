"""Llama, Qwen2 and Qwen3 over packed documents; modules are named as Hugging Face names theirs.

Tokens of all documents stand in one row (T, D): no batch axis and no padding. Positions are given, not counted, and
attention ends where a document ends. Shapes: T tokens, D channels, H heads, G key/value heads, C channels of a head.
"""

# mypy: disable-error-code="no-any-return, no-untyped-call"

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vldata.train.attention import packed_attention
from vldata.train.config import DecoderCfg


class Cache(Protocol):
    """What generation puts in place of packed attention; see `vldata.train.generate`."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, max_len: int) -> Tensor:
        """Attention of q to all that layer has seen of each document, k and v included."""


class Decoder(nn.Module):
    """Hidden states of packed documents.

    Args:
        cfg: Its shape; ``vocab`` must be known.
    """

    def __init__(self, cfg: DecoderCfg) -> None:
        super().__init__()
        self.cfg = cfg
        self.checkpointing = False
        self.embed_tokens = nn.Embedding(cfg.vocab, cfg.width)
        self.layers = nn.ModuleList(_Block(cfg, layer) for layer in range(cfg.depth))
        self.norm = nn.RMSNorm(cfg.width, cfg.norm_eps)
        self.lm_head = None if cfg.tied else nn.Linear(cfg.width, cfg.vocab, bias=False)
        self.apply(_init)
        if self.lm_head is not None:
            nn.init.normal_(self.lm_head.weight, std=0.02)
        for block in self.layers:  # a sum of 2 * depth branches keeps its scale (GPT-2)
            for proj in (block.self_attn.o_proj, block.mlp.down_proj):  # type: ignore[union-attr]
                proj.weight.data.div_((2 * cfg.depth) ** 0.5)  # type: ignore[union-attr, operator]

    @property
    def head_weight(self) -> Tensor:
        """(vocab, D), the embedding itself when tied."""
        return self.embed_tokens.weight if self.lm_head is None else self.lm_head.weight

    def forward(
        self, x: Tensor, positions: Tensor, cu_seqlens: Tensor, max_len: int, cache: Cache | None = None
    ) -> Tensor:
        """Hidden states (T, D) after the last norm, from token embeddings (T, D)."""
        rotation = rotary(positions, self.cfg.head_dim, self.cfg.rope_theta)
        for layer in self.layers:
            if self.checkpointing and self.training:
                x = checkpoint(layer, x, rotation, cu_seqlens, max_len, use_reentrant=False)
            else:
                x = layer(x, rotation, cu_seqlens, max_len, cache)
        return self.norm(x)


def rotary(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines (T, 1, C), float32: angles repeat in the two halves of a head, as Llama's weights expect."""
    exponents = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim
    angles = positions.float()[:, None] * theta**-exponents
    angles = torch.cat([angles, angles], dim=-1)[:, None]
    return angles.cos(), angles.sin()


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat([-second, first], dim=-1) * sin).to(x.dtype)


class _Block(nn.Module):
    def __init__(self, cfg: DecoderCfg, layer: int) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(cfg.width, cfg.norm_eps)
        self.self_attn = _Attention(cfg, layer)
        self.post_attention_layernorm = nn.RMSNorm(cfg.width, cfg.norm_eps)
        self.mlp = _Mlp(cfg)

    def forward(
        self, x: Tensor, rotation: tuple[Tensor, Tensor], cu_seqlens: Tensor, max_len: int, cache: Cache | None = None
    ) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), rotation, cu_seqlens, max_len, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class _Attention(nn.Module):
    def __init__(self, cfg: DecoderCfg, layer: int) -> None:
        super().__init__()
        self.layer, self.head_dim = layer, cfg.head_dim
        biased, inner = cfg.family == "qwen2", cfg.heads * cfg.head_dim
        self.q_proj = nn.Linear(cfg.width, inner, bias=biased)
        self.k_proj = nn.Linear(cfg.width, cfg.kv_heads * cfg.head_dim, bias=biased)
        self.v_proj = nn.Linear(cfg.width, cfg.kv_heads * cfg.head_dim, bias=biased)
        self.o_proj = nn.Linear(inner, cfg.width, bias=False)
        is_normed = cfg.family == "qwen3"
        self.q_norm = nn.RMSNorm(cfg.head_dim, cfg.norm_eps) if is_normed else nn.Identity()
        self.k_norm = nn.RMSNorm(cfg.head_dim, cfg.norm_eps) if is_normed else nn.Identity()

    def forward(
        self, x: Tensor, rotation: tuple[Tensor, Tensor], cu_seqlens: Tensor, max_len: int, cache: Cache | None
    ) -> Tensor:
        q, k, v = (proj(x).unflatten(-1, (-1, self.head_dim)) for proj in (self.q_proj, self.k_proj, self.v_proj))
        # norms may widen to float32 under autocast: v has the dtype that attention is to run in
        q, k = (_rotate(y, *rotation).to(v.dtype) for y in (self.q_norm(q), self.k_norm(k)))
        if cache is None:
            out = packed_attention(q, k, v, cu_seqlens, max_len)
        else:
            out = cache.attend(self.layer, q, k, v, cu_seqlens, max_len)
        return self.o_proj(out.flatten(1))


class _Mlp(nn.Module):
    def __init__(self, cfg: DecoderCfg) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(cfg.width, cfg.mlp_width, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(cfg.mlp_width, cfg.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


def _init(module: nn.Module) -> None:
    """Unit scale in, unit scale out: 0.02, made for widths of thousands, leaves each branch faint at a width of 128.

    The embedding keeps 0.02: it may be the head too, and an untrained model should find all tokens equally likely.
    """
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
