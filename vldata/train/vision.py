"""A pre-LN vision transformer, CLIP's and SigLIP's in one; modules are named as Hugging Face names theirs.

Images of one size attend densely, so plain SDPA serves. Blocks after the selected hidden state are never made.
Shapes: I images, S pixels a side, N patches, D channels.
"""

# mypy: disable-error-code="no-any-return, no-untyped-call"

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vldata.train.config import VisionCfg

# what the published encoders were trained with: OpenAI's CLIP statistics, and plain [-1, 1]
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_HALF = (0.5, 0.5, 0.5)


class Vision(nn.Module):
    """Patch features of images."""

    mean: Tensor
    std: Tensor

    def __init__(self, cfg: VisionCfg) -> None:
        super().__init__()
        self.cfg = cfg
        self.is_clip = cfg.family == "clip"
        self.embeddings = _Embeddings(cfg)
        eps = 1e-5 if self.is_clip else 1e-6
        self.pre_layernorm = nn.LayerNorm(cfg.width, eps) if self.is_clip else nn.Identity()
        self.layers = nn.ModuleList(_Block(cfg, eps) for _ in range(cfg.num_blocks))
        self.post_layernorm = nn.LayerNorm(cfg.width, eps) if cfg.post_norm else nn.Identity()
        mean, std = (_CLIP_MEAN, _CLIP_STD) if self.is_clip else (_HALF, _HALF)
        if cfg.pixel_std:
            mean, std = (cfg.pixel_mean,) * 3, (cfg.pixel_std,) * 3
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.apply(_init)
        for block in self.layers:  # a sum of 2 * depth branches keeps its scale
            for proj in (block.self_attn.out_proj, block.mlp.fc2):  # type: ignore[union-attr]
                proj.weight.data.div_((2 * cfg.num_blocks) ** 0.5)  # type: ignore[union-attr, operator]

    def forward(self, images: Tensor) -> Tensor:
        """Features (I, N, D) of images (I, 3, S, S): uint8, or floats in [0, 1]. N counts no class token."""
        weight = self.embeddings.patch_embedding.weight
        pixels = images.to(torch.float32).div(255) if images.dtype == torch.uint8 else images
        x = self.embeddings(((pixels - self.mean) / self.std).to(weight.dtype))
        x = self.pre_layernorm(x)
        for layer in self.layers:
            x = layer(x)
        x = self.post_layernorm(x)
        return x[:, 1:] if self.is_clip else x


def resized_grid(places: Tensor, num_patches: int) -> Tensor:
    """Position embeddings (1, N, D) of a square grid for a grid of another size, bicubically."""
    if places.shape[1] == num_patches:
        return places
    old, new = math.isqrt(places.shape[1]), math.isqrt(num_patches)
    grid = places.float().unflatten(1, (old, old)).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, (new, new), mode="bicubic", align_corners=False)
    return grid.flatten(2).transpose(1, 2).to(places.dtype)


class _Embeddings(nn.Module):
    def __init__(self, cfg: VisionCfg) -> None:
        super().__init__()
        is_clip = cfg.family == "clip"
        self.class_embedding = nn.Parameter(torch.randn(cfg.width) * cfg.width**-0.5) if is_clip else None
        self.patch_embedding = nn.Conv2d(3, cfg.width, cfg.patch_px, cfg.patch_px, bias=not is_clip)
        self.position_embedding = nn.Embedding(cfg.num_patches() + is_clip, cfg.width)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        places = self.position_embedding.weight[None]
        if self.class_embedding is None:
            return x + resized_grid(places, x.shape[1])
        places = torch.cat([places[:, :1], resized_grid(places[:, 1:], x.shape[1])], dim=1)
        return torch.cat([self.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], dim=1) + places


class _Block(nn.Module):
    def __init__(self, cfg: VisionCfg, eps: float) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(cfg.width, eps)
        self.self_attn = _Attention(cfg.width, cfg.heads)
        self.layer_norm2 = nn.LayerNorm(cfg.width, eps)
        self.mlp = _Mlp(cfg)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            proj(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.out_proj(out)


class _Mlp(nn.Module):
    def __init__(self, cfg: VisionCfg) -> None:
        super().__init__()
        self.quick = cfg.family == "clip"
        self.fc1, self.fc2 = nn.Linear(cfg.width, cfg.mlp_width), nn.Linear(cfg.mlp_width, cfg.width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        x = x * torch.sigmoid(1.702 * x) if self.quick else F.gelu(x, approximate="tanh")
        return self.fc2(x)


def _init(module: nn.Module) -> None:
    """Unit scale in, unit scale out, whatever the width; places as SigLIP's."""
    if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
        nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
    if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
        nn.init.zeros_(module.bias)
