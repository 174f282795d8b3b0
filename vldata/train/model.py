"""The whole model: images through encoder and projector into the places that the text keeps for them, then the decoder.

The forward pass ends at the hidden states: the head is only ever applied to rows that need it (see `loss`).
Shapes: T tokens, I images, K visual tokens of an image, W the decoder's width, S pixels a side.
"""

# mypy: disable-error-code="no-any-return, no-untyped-call"

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vldata.train.anyres import Layout
from vldata.train.batch import Batch
from vldata.train.config import PARTS, StageCfg, TrainCfg, TrainError
from vldata.train.decoder import Cache, Decoder
from vldata.train.lora import add_lora, merge_lora
from vldata.train.projectors import make_projector
from vldata.train.vision import Vision


class VLM(nn.Module):
    """Encoder, projector and decoder.

    Made on the default device, so ``with torch.device("cuda")`` makes it there.

    Args:
        cfg: The run; only the three shapes are read. ``decoder.vocab`` must be known.

    Raises:
        TrainError: The vocabulary's size is unknown, or the projector does not fit the encoder.
    """

    def __init__(self, cfg: TrainCfg) -> None:
        super().__init__()
        if cfg.decoder.vocab < 1:
            raise TrainError("decoder.vocab", "the size of the vocabulary is unknown", "set it to the tokenizer's size")
        self.cfg = cfg
        self.vision = Vision(cfg.vision)
        self.projector = make_projector(cfg.projector, cfg.vision.num_patches(), cfg.vision.width, cfg.decoder.width)
        if cfg.anyres.is_on:  # a weight of the projector's, at its rate
            self.projector.newline = nn.Parameter(torch.randn(cfg.decoder.width) * cfg.decoder.width**-0.5)
        self.decoder = Decoder(cfg.decoder)
        self.decoder.checkpointing = cfg.checkpoint_blocks

    @property
    def head_weight(self) -> Tensor:
        """(vocab, W), for `loss`."""
        return self.decoder.head_weight

    def forward(self, batch: Batch, cache: Cache | None = None) -> Tensor:
        """Hidden states (T, W) of a packed batch.

        Raises:
            TrainError: Images and places do not match; names the samples.
        """
        x = self.decoder.embed_tokens(batch.ids)
        if batch.layouts and batch.images is not None:
            rows = arranged(self.encode(batch.images), batch.layouts, cast(Tensor, self.projector.newline))
            check_tiles(batch, len(rows))
            x = x.index_copy(0, batch.image_places, rows.to(x.dtype))
        elif batch.images is not None and len(batch.images):
            visual = self.encode(batch.images)
            check_places(batch, visual.shape[1])
            x = x.index_copy(0, batch.image_places, visual.flatten(0, 1).to(x.dtype))
            x = x + self._no_newline(x)
        else:
            check_places(batch, self.cfg.tokens_per_image())
            x = x + self._nothing_seen(x)
        return self.decoder(x, batch.positions, batch.cu_seqlens, batch.max_len, cache)

    def encode(self, images: Tensor) -> Tensor:
        """Visual tokens (I, K, W) of uint8 images (I, 3, S, S); S may differ from the encoder's own."""
        learns = any(p.requires_grad for p in self.vision.parameters())
        with torch.set_grad_enabled(torch.is_grad_enabled() and learns):
            features = self.vision(images)
        return self.projector(features)

    def _nothing_seen(self, x: Tensor) -> Tensor | float:
        """Zero, but with a path to all visual weights while they learn.

        A batch of text alone then has the gradients (of zero) that other ranks wait for, and takes the same step on any
        number of ranks.
        """
        learns = any(p.requires_grad for part in (self.vision, self.projector) for p in part.parameters())
        if not (self.training and torch.is_grad_enabled() and learns):
            return 0.0
        side = self.cfg.vision.side_px
        blank = torch.zeros(1, 3, side, side, dtype=torch.uint8, device=x.device)
        return 0.0 * self.encode(blank).sum().to(x.dtype) + self._no_newline(x)

    def _no_newline(self, x: Tensor) -> Tensor | float:
        """Zero, with a path to the newline that a batch without tiles does not use."""
        newline = getattr(self.projector, "newline", None)
        return 0.0 if newline is None else 0.0 * newline.sum().to(x.dtype)


def arranged(visual: Tensor, layouts: Sequence[Layout | None], newline: Tensor) -> Tensor:
    """Visual tokens of all images, each in the order in which the decoder reads them.

    Args:
        visual: (V, K, W), of every view: the whole of an image, then its tiles row by row.
        layouts: One an image; None is the whole alone.
        newline: (W,), ends each row of a map.

    Returns:
        (tokens of all images, W).
    """
    rows, view, side = [], 0, math.isqrt(visual.shape[1])
    for one in layouts:
        rows.append(visual[view])
        view += 1
        if one is None:
            continue
        tiles = visual[view : view + one.columns * one.rows].unflatten(1, (side, side))
        view += len(tiles)
        grid = tiles.unflatten(0, (one.rows, one.columns)).transpose(1, 2).flatten(2, 3).flatten(0, 1)
        grid = grid[one.top : len(grid) - one.top, one.left : grid.shape[1] - one.left]
        if one.is_shrunk:
            channels = grid.permute(2, 0, 1)[None].float()
            shrunk = F.interpolate(channels, (one.height, one.width), mode="bilinear", align_corners=False)
            grid = shrunk[0].permute(1, 2, 0).to(grid.dtype)
        ends = newline.to(grid.dtype).expand(one.height, 1, -1)
        rows.append(torch.cat([grid, ends], dim=1).flatten(0, 1))
    return torch.cat(rows)


def check_tiles(batch: Batch, num_tokens: int) -> None:
    """As `check_places`, for images with tiles.

    Raises:
        TrainError: The places number otherwise; names the samples.
    """
    if num_tokens != batch.image_places.numel():
        num_places = batch.image_places.numel()
        raise TrainError(
            f"sample {', '.join(batch.sample_ids[:5])}",
            f"images and their tiles make {num_tokens} visual tokens, and the text has {num_places} places",
            "collate with the config that the model was made from",
        )


def check_places(batch: Batch, tokens_per_image: int) -> None:
    """Every image has its places, every place its image.

    Raises:
        TrainError: They do not; names the samples whose places are no multiple of ``tokens_per_image``, or all that
            have places.
    """
    num_images = 0 if batch.images is None else len(batch.images)
    num_places = batch.image_places.numel()
    if num_places == num_images * tokens_per_image:
        return
    documents = torch.searchsorted(batch.cu_seqlens[1:].long().cpu(), batch.image_places.cpu(), right=True)
    counts = torch.bincount(documents, minlength=len(batch.sample_ids)).tolist()
    with_places = [(name, count) for name, count in zip(batch.sample_ids, counts, strict=False) if count]
    odd = [(name, count) for name, count in with_places if count % tokens_per_image] or with_places
    listed = ", ".join(f"{name} ({count} places)" for name, count in odd[:5]) or ", ".join(batch.sample_ids[:5])
    raise TrainError(
        f"sample {listed}",
        f"{num_images} images of {tokens_per_image} visual tokens need {num_images * tokens_per_image} places, "
        f"and the text has {num_places}",
        "collate with the config that the model was made from",
    )


def apply_stage(model: VLM, stage: StageCfg, frozen_dtype: torch.dtype | None = None) -> None:
    """Freeze and free the parts as the stage says; updates of the stage before are merged, new ones added.

    Make the optimizer after this: weights may change their dtype, and LoRA replaces layers.

    Args:
        model: Changed in place.
        stage: Its learning rates and LoRA.
        frozen_dtype: What frozen weights are kept in (bf16 on CUDA: half the memory, twice the speed); those that learn
            are always float32. None leaves all as they are.
    """
    merge_lora(model.decoder)
    for part in PARTS:
        model.get_submodule(part).requires_grad_(stage.lr(part) > 0)
    if stage.lora.rank and stage.lr_decoder:
        model.decoder.requires_grad_(False)
        add_lora(model.decoder, stage.lora)
    if frozen_dtype is not None:
        for parameter in model.parameters():
            parameter.data = parameter.data.to(torch.float32 if parameter.requires_grad else frozen_dtype)


def param_groups(model: nn.Module, stage: StageCfg) -> list[dict[str, Any]]:
    """Groups for AdamW: what learns, with its part's rate, matrices apart from vectors; frozen weights are in none.

    Each has ``name`` ("projector", "projector.vectors"), ``params``, ``lr`` and ``weight_decay``.
    """
    groups: list[dict[str, Any]] = []
    for part in PARTS:
        free = [p for p in model.get_submodule(part).parameters() if p.requires_grad]
        for name, decay, params in (
            (part, stage.weight_decay, [p for p in free if p.dim() > 1]),
            (f"{part}.vectors", 0.0, [p for p in free if p.dim() <= 1]),
        ):
            if params:
                groups.append({"name": name, "params": params, "lr": stage.lr(part), "weight_decay": decay})
    return groups
