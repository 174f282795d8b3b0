"""Projectors whose tokens are learnt queries that look at the patches.

    perceiver   latents read patches and latents       Flamingo        64 latents, 6 blocks, 8 heads of 64
    resampler   the same with plain heads and SwiGLU   mPLUG-Owl       64 queries, 6 layers, 16 heads, width 1024
    qformer     BERT with cross-attention              BLIP-2          32 queries, 12 layers, 12 heads, width 768
    d_abs       deformable attention at learnt points  Honeybee        144 queries, 6 layers, 8 heads, width 1024

`ProjectorCfg.tokens` is always the number of queries. Dropout, 0.1 in the last three, is left out.
Shapes: I images, N patches, D their width, M queries, W the decoder's width, E the inner width.
"""

# mypy: disable-error-code="no-any-return, no-untyped-call"

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vldata.train.config import ProjectorCfg
from vldata.train.layers import init_normal, join_heads, split_heads, to_grid
from vldata.train.vision import resized_grid


class Perceiver(nn.Module):
    """Flamingo's resampler, at the encoder's width, with a linear layer to the decoder's.

    It has no places of its own: it relies on those that the encoder put into the features.
    """

    def __init__(self, cfg: ProjectorCfg, width_in: int, width_out: int) -> None:
        super().__init__()
        depth, heads = 6 if cfg.depth < 0 else cfg.depth, cfg.heads or 8
        self.latents = nn.Parameter(torch.randn(cfg.tokens, width_in))
        self.layers = nn.ModuleList(_PerceiverLayer(width_in, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width_in)
        self.proj = nn.Linear(width_in, width_out)

    def forward(self, x: Tensor) -> Tensor:
        """(I, N, D) to (I, M, W)."""
        latents = self.latents.to(x.dtype).expand(len(x), -1, -1)
        for layer in self.layers:
            latents = layer(latents, x)
        return self.proj(self.norm(latents))


class _PerceiverLayer(nn.Module):
    HEAD_WIDTH = 64

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        inner = heads * self.HEAD_WIDTH
        self.heads = heads
        self.norm_x, self.norm_latents = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)
        self.ffn = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width, bias=False),
            nn.GELU(),
            nn.Linear(4 * width, width, bias=False),
        )

    def forward(self, latents: Tensor, x: Tensor) -> Tensor:
        queries = self.norm_latents(latents)
        q = split_heads(self.to_q(queries), self.heads)
        k, v = self.to_kv(torch.cat([self.norm_x(x), queries], dim=1)).chunk(2, dim=-1)
        out = F.scaled_dot_product_attention(q, split_heads(k, self.heads), split_heads(v, self.heads))
        latents = latents + self.to_out(join_heads(out))
        return latents + self.ffn(latents)


class Resampler(nn.Module):
    """mPLUG-Owl's, the baseline of Honeybee's paper.

    Its released code leaves the queries at zero, where only dropout tells one from another; here they start apart.
    """

    def __init__(self, cfg: ProjectorCfg, width_in: int, width_out: int) -> None:
        super().__init__()
        depth, heads, hidden = 6 if cfg.depth < 0 else cfg.depth, cfg.heads or 16, cfg.hidden or 1024
        self.proj_in = nn.Linear(width_in, hidden)
        self.layers = nn.ModuleList(_ResamplerLayer(hidden, heads) for _ in range(depth))
        self.proj_out = nn.Linear(hidden, width_out)
        self.apply(init_normal)
        self.queries = nn.Parameter(nn.init.trunc_normal_(torch.empty(cfg.tokens, hidden), std=0.02))

    def forward(self, x: Tensor) -> Tensor:
        """(I, N, D) to (I, M, W)."""
        x = self.proj_in(x)
        queries = self.queries.to(x.dtype).expand(len(x), -1, -1)
        for layer in self.layers:
            queries = layer(queries, x)
        return self.proj_out(queries)


class _ResamplerLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_q, self.norm_k, self.norm_ffn = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(4 * width)
        self.attention = _Attention(width, width, heads)
        self.norm_x = nn.LayerNorm(width)
        self.gate, self.up = nn.Linear(width, 4 * width), nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, queries: Tensor, x: Tensor) -> Tensor:
        q = self.norm_q(queries)
        keys = torch.cat([q, self.norm_k(x)], dim=1)
        queries = queries + self.attention(q, keys, keys)
        y = self.norm_x(queries)
        return queries + self.down(self.norm_ffn(F.silu(self.gate(y)) * self.up(y)))


class _Attention(nn.Module):
    """Multi-head attention with biases; keys may have another width than queries."""

    def __init__(self, width: int, key_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.k, self.v = nn.Linear(key_width, width), nn.Linear(key_width, width)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        q, k, v = (split_heads(y, self.heads) for y in (self.q(queries), self.k(keys), self.v(values)))
        return self.out(join_heads(F.scaled_dot_product_attention(q, k, v)))


class QFormer(nn.Module):
    """The query branch of BLIP-2's Q-Former: BERT's post-norm layers, every other one looking at the patches."""

    def __init__(self, cfg: ProjectorCfg, width_in: int, width_out: int) -> None:
        super().__init__()
        depth, heads, hidden = 12 if cfg.depth < 0 else cfg.depth, cfg.heads or 12, cfg.hidden or 768
        self.norm_x, self.norm_queries = nn.LayerNorm(width_in), nn.LayerNorm(hidden, 1e-12)
        self.layers = nn.ModuleList(_QFormerLayer(hidden, width_in, heads, i % 2 == 0) for i in range(depth))
        self.proj = nn.Linear(hidden, width_out)
        self.apply(init_normal)
        self.queries = nn.Parameter(torch.randn(cfg.tokens, hidden) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(I, N, D) to (I, M, W)."""
        x = self.norm_x(x)
        queries = self.norm_queries(self.queries).to(x.dtype).expand(len(x), -1, -1)
        for layer in self.layers:
            queries = layer(queries, x)
        return self.proj(queries)


class _QFormerLayer(nn.Module):
    def __init__(self, width: int, key_width: int, heads: int, has_cross: bool) -> None:
        super().__init__()
        eps = 1e-12  # BERT's
        self.attention, self.norm1 = _Attention(width, width, heads), nn.LayerNorm(width, eps)
        self.cross = _Attention(width, key_width, heads) if has_cross else None
        self.norm2 = nn.LayerNorm(width, eps) if has_cross else nn.Identity()
        self.ffn = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.norm3 = nn.LayerNorm(width, eps)

    def forward(self, queries: Tensor, x: Tensor) -> Tensor:
        queries = self.norm1(queries + self.attention(queries, queries, queries))
        if self.cross is not None:
            queries = self.norm2(queries + self.cross(queries, x, x))
        return self.norm3(queries + self.ffn(queries))


class DAbstractor(nn.Module):
    """Honeybee's deformable abstractor; its queries' places are pooled from the image ("query" in its config)."""

    def __init__(self, cfg: ProjectorCfg, num_patches: int, width_in: int, width_out: int) -> None:
        super().__init__()
        depth, heads, hidden = 6 if cfg.depth < 0 else cfg.depth, cfg.heads or 8, cfg.hidden or 1024
        self.side = math.isqrt(cfg.tokens)
        self.proj_in = nn.Identity() if width_in == hidden else nn.Linear(width_in, hidden)
        self.proj_out = nn.Linear(hidden, width_out)
        self.apply(init_normal)
        self.layers = nn.ModuleList(_DeformableLayer(hidden, heads) for _ in range(depth))
        self.places = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, num_patches, hidden), std=0.02))
        self.queries = nn.Parameter(torch.randn(cfg.tokens, hidden) * 0.02)
        centres = (torch.arange(self.side) + 0.5) / self.side
        grid = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1)
        self.points = nn.Parameter(grid.flatten(0, 1))  # (M, 2), x before y, shared by all layers

    def forward(self, x: Tensor) -> Tensor:
        """(I, N, D) to (I, M, W)."""
        x = self.proj_in(x)
        x = x + resized_grid(self.places, x.shape[1])
        where = F.adaptive_avg_pool2d(to_grid(x), self.side).flatten(2).transpose(1, 2)
        queries = self.queries.to(x.dtype).expand(len(x), -1, -1)
        for layer in self.layers:
            queries = layer(queries, where, self.points, x)
        return self.proj_out(queries)


class _DeformableLayer(nn.Module):
    """Deformable DETR's decoder layer, post-norm."""

    NUM_POINTS = 4

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention = _Attention(width, width, heads)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.offsets = nn.Linear(width, heads * self.NUM_POINTS * 2)
        self.weights = nn.Linear(width, heads * self.NUM_POINTS)
        self.ffn = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self._reset()

    def _reset(self) -> None:
        """DETR's init: heads look in different directions, farther with each point, and weigh all points alike."""
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
            elif not name.startswith("norm"):
                nn.init.zeros_(parameter)
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.offsets.weight)
        angles = torch.arange(self.heads) * (math.tau / self.heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
        directions = directions / directions.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.NUM_POINTS + 1)
        with torch.no_grad():
            self.offsets.bias.copy_((directions[:, None] * steps[:, None]).flatten())

    def forward(self, queries: Tensor, where: Tensor, points: Tensor, x: Tensor) -> Tensor:
        placed = queries + where
        queries = self.norm1(queries + self.attention(placed, placed, queries))
        queries = self.norm2(queries + self.out(self._look(queries + where, points, x)))
        return self.norm3(queries + self.ffn(queries))

    def _look(self, queries: Tensor, points: Tensor, x: Tensor) -> Tensor:
        """Weighted features (I, M, E) at each head's points around each query's own."""
        images, num_queries, side = len(x), queries.shape[1], math.isqrt(x.shape[1])
        by_head = (images, num_queries, self.heads, self.NUM_POINTS)
        offsets = self.offsets(queries).view(*by_head, 2)
        # sampling places need more digits than bf16 has
        places = 2 * (points.float()[:, None, None] + offsets.float() / side) - 1
        weights = self.weights(queries).view(by_head).float().softmax(-1)
        value = to_grid(self.value(x)).unflatten(1, (self.heads, -1)).flatten(0, 1).float()
        with torch.autocast(x.device.type, enabled=False):
            seen = F.grid_sample(value, places.transpose(1, 2).flatten(0, 1), align_corners=False)  # (I*heads, C, M, P)
            out = (seen * weights.transpose(1, 2).flatten(0, 1)[:, None]).sum(-1)
        return out.unflatten(0, (images, self.heads)).permute(0, 3, 1, 2).flatten(2).to(x.dtype)
