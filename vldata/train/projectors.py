"""From patch features (I, N, D) to visual tokens (I, M, W): the simple projectors and the C-Abstractor.

    linear         one linear layer                            LLaVA             M = N
    mlp            Linear, GELU, Linear                        LLaVA-1.5         M = N
    pool_mlp       mean over cells of the grid, then mlp       InfMLLM           M chosen, a square
    pixel_shuffle  cells of r x r patches as one long vector   Idefics3, nanoVLM M = N / r^2
    c_abs          convolutions, pooling, convolutions, mlp    Honeybee          M chosen, a square
    perceiver, resampler, qformer, d_abs                       see `resamplers`  M chosen

How many tokens each makes is `ProjectorCfg.num_tokens`, so that data can be planned without torch. Depth, widths and
init are the published ones unless the config says otherwise.
Shapes: I images, N patches, D their width, M tokens, W the decoder's width.
"""

# mypy: disable-error-code="no-any-return, no-untyped-call"

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vldata.train import resamplers
from vldata.train.config import ProjectorCfg
from vldata.train.layers import init_normal, to_grid
from vldata.train.vision import resized_grid


def make_projector(cfg: ProjectorCfg, num_patches: int, width_in: int, width_out: int) -> nn.Module:
    """The projector that a config names; it maps (I, N, width_in) to (I, cfg.num_tokens(N), width_out).

    Args:
        num_patches: Patches of an image at the encoder's own resolution.

    Raises:
        TrainError: The kind cannot make tokens of ``num_patches`` patches.
    """
    cfg.num_tokens(num_patches)
    match cfg.kind:
        case "linear":
            return nn.Linear(width_in, width_out)
        case "mlp":
            return mlp(width_in, width_out, cfg.mlp_depth)
        case "pool_mlp":
            return PoolMlp(cfg, width_in, width_out)
        case "pixel_shuffle":
            return PixelShuffle(cfg, width_in, width_out)
        case "c_abs":
            return CAbstractor(cfg, num_patches, width_in, width_out)
        case "perceiver":
            return resamplers.Perceiver(cfg, width_in, width_out)
        case "resampler":
            return resamplers.Resampler(cfg, width_in, width_out)
        case "qformer":
            return resamplers.QFormer(cfg, width_in, width_out)
        case "d_abs":
            return resamplers.DAbstractor(cfg, num_patches, width_in, width_out)


def mlp(width_in: int, width_out: int, depth: int, activation: type[nn.Module] = nn.GELU) -> nn.Sequential:
    """Linear layers with an activation between each two; torch's own init, as LLaVA has it."""
    layers: list[nn.Module] = [nn.Linear(width_in, width_out)]
    for _ in range(depth - 1):
        layers += [activation(), nn.Linear(width_out, width_out)]
    return nn.Sequential(*layers)


class PoolMlp(nn.Module):
    """Mean of the patches in each cell of a coarser grid, then an MLP: N / M times less work than pooling after it."""

    def __init__(self, cfg: ProjectorCfg, width_in: int, width_out: int) -> None:
        super().__init__()
        self.side = math.isqrt(cfg.tokens)
        self.mlp = mlp(width_in, width_out, cfg.mlp_depth)

    def forward(self, x: Tensor) -> Tensor:
        """(I, N, D) to (I, M, W)."""
        pooled = F.adaptive_avg_pool2d(to_grid(x), self.side)
        return self.mlp(pooled.flatten(2).transpose(1, 2))


class PixelShuffle(nn.Module):
    """Each r x r cell of patches laid out as one vector, row by row, then one linear layer without bias."""

    def __init__(self, cfg: ProjectorCfg, width_in: int, width_out: int) -> None:
        super().__init__()
        self.factor = cfg.factor
        self.proj = nn.Linear(cfg.factor**2 * width_in, width_out, bias=False)
        nn.init.normal_(self.proj.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(I, N, D) to (I, N / r^2, W)."""
        side = math.isqrt(x.shape[1])
        cells = x.unflatten(1, (side // self.factor, self.factor, side // self.factor, self.factor))
        return self.proj(cells.transpose(2, 3).flatten(3).flatten(1, 2))


class CAbstractor(nn.Module):
    """Honeybee's convolutional abstractor: depth 3, width 1024, two readout layers; every weight ~ N(0, 0.02).

    Depth 0 leaves the pooling and the readout alone, the clean comparison with `PoolMlp`.
    """

    def __init__(self, cfg: ProjectorCfg, num_patches: int, width_in: int, width_out: int) -> None:
        super().__init__()
        depth = 3 if cfg.depth < 0 else cfg.depth
        hidden = (cfg.hidden or 1024) if depth else width_in
        self.side = math.isqrt(cfg.tokens)
        self.before = nn.Sequential(*(_Bottleneck(width_in if i == 0 else hidden, hidden) for i in range(depth)))
        self.after = nn.Sequential(*(_Bottleneck(hidden, hidden) for _ in range(depth)))
        self.readout = mlp(hidden, width_out, cfg.mlp_depth, nn.SiLU)
        self.apply(init_normal)
        self.places = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, num_patches, width_in), std=0.02))

    def forward(self, x: Tensor) -> Tensor:
        """(I, N, D) to (I, M, W)."""
        x = to_grid(x + resized_grid(self.places, x.shape[1]))
        x = self.after(F.adaptive_avg_pool2d(self.before(x), self.side))
        return self.readout(x.flatten(2).transpose(1, 2))


class _ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (I, C, s, s)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Bottleneck(nn.Module):
    """RegNet's block with timm's defaults: groups of one channel, so the 3 x 3 convolution is depthwise."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        eps = 1e-6  # timm's LayerNorm2d
        self.conv1 = nn.Sequential(nn.Conv2d(width_in, width, 1, bias=False), _ChannelNorm(width, eps), nn.SiLU())
        depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.conv2 = nn.Sequential(depthwise, _ChannelNorm(width, eps), nn.SiLU())
        squeezed = round(width_in / 4)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, squeezed, 1),
            nn.SiLU(),
            nn.Conv2d(squeezed, width, 1),
            nn.Sigmoid(),
        )
        self.conv3 = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), _ChannelNorm(width, eps))
        self.shortcut: nn.Module = nn.Identity()
        if width_in != width:
            self.shortcut = nn.Sequential(nn.Conv2d(width_in, width, 1, bias=False), _ChannelNorm(width, eps))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x))
        return F.silu(self.conv3(y * self.gate(y)) + self.shortcut(x))
