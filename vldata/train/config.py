"""Everything that defines a run, as frozen data: the model's shapes, its stages, the packs. No torch here.

A config is a value, hashed by content; `overrides` reads it, `presets` names some. What a stage trains is said by its
learning rates alone (0 is frozen), so no second switch can contradict them. A config that is no model is refused when
it is made; fields are checked in their order, each against those before it, so that all problems are found at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

import orjson
from blake3 import blake3
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from vldata.errors import RecipeErrors, VldataError
from vldata.schema.spec import Spec

PARTS = ("vision", "projector", "decoder")

Positive = Annotated[StrictInt, Field(ge=1)]
Count = Annotated[StrictInt, Field(ge=0)]
Real = Annotated[float, Field(allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]

Weighting = Literal["token", "sample", "sqrt"]
Optimizers = Literal["adamw", "muon"]
ProjectorKind = Literal[
    "linear", "mlp", "pool_mlp", "pixel_shuffle", "perceiver", "resampler", "qformer", "c_abs", "d_abs"
]


class TrainError(VldataError):
    """The run cannot start or go on: its config, its model folders or its data do not fit together."""


class TrainErrors(RecipeErrors, TrainError):
    """Several problems of one config, in the order in which it is written."""


class Cfg(Spec):
    """A part of a run's config; defaults are checked like everything else, for they may not fit what is given."""

    model_config = ConfigDict(validate_default=True)

    def replace(self, **changes: Any) -> Self:
        """A copy with other values."""
        return self.model_validate(dict(self) | changes)


def _num_blocks(depth: float, layer: int) -> float:
    return depth + 1 + layer if layer < 0 else layer


class VisionCfg(Cfg):
    """A pre-LN vision transformer of CLIP's or SigLIP's shape.

    Args:
        family: ``clip`` has a class token (dropped after encoding), a norm before the blocks, no bias on the patches
            and quick GELU; ``siglip`` has none of these, and tanh GELU.
        patch_px: Side of a patch.
        side_px: Side of the square input; the remainder by ``patch_px`` is cut off.
        width: Channels.
        depth: Blocks of the full encoder; those after ``layer`` are not made.
        heads: Attention heads.
        mlp_width: Hidden channels of a block's MLP.
        layer: Which hidden state the projector reads: -1 after the last block, -2 one before it (LLaVA's choice).
        post_norm: Apply the encoder's closing norm to it; LLaVA does not, nanoVLM does.
        pixel_mean: Subtracted from pixels of 0 to 1, then they are divided by ``pixel_std``.
        pixel_std: 0 means the family's own mean and spread, which a published encoder needs.
    """

    family: Literal["clip", "siglip"] = "siglip"
    patch_px: Positive = 8
    side_px: Positive = 64
    width: Positive = 128
    depth: Positive = 4
    heads: Positive = 4
    mlp_width: Positive = 512
    layer: StrictInt = -1
    post_norm: StrictBool = True
    pixel_mean: Real = 0.0
    pixel_std: NonNegative = 0.0

    @field_validator("side_px")
    @classmethod
    def _holds_a_patch(cls, side_px: int, info: ValidationInfo) -> int:
        if side_px < (patch_px := info.data.get("patch_px", 0)):
            raise ValueError(f"{side_px} pixels hold no patch of {patch_px}; make the side a multiple")
        return side_px

    @field_validator("heads")
    @classmethod
    def _divide_the_width(cls, heads: int, info: ValidationInfo) -> int:
        if (width := info.data.get("width", 0)) % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}; choose a divisor")
        return heads

    @field_validator("layer")
    @classmethod
    def _is_there(cls, layer: int, info: ValidationInfo) -> int:
        if "depth" in info.data and not (depth := info.data["depth"]) + min(layer, 0) >= -1 and layer <= depth:
            raise ValueError(f"{layer} is no hidden state of {depth} blocks; use -1 for the last one")
        return layer

    @property
    def num_blocks(self) -> int:
        """Blocks needed to reach the selected hidden state."""
        return int(_num_blocks(self.depth, self.layer))

    def num_patches(self, side_px: int = 0) -> int:
        """Patches of an image; ``side_px`` 0 is the encoder's own."""
        return ((side_px or self.side_px) // self.patch_px) ** 2


class DecoderCfg(Cfg):
    """A Llama-like decoder. Qwen2 adds biases to q, k and v; Qwen3 norms q and k per head instead.

    Args:
        family: Which of the three.
        vocab: Rows of the embedding; 0 means the tokenizer's size, to be filled in before the model is made.
        width: Channels.
        depth: Blocks.
        head_width: Channels of a head; 0 is ``width / heads``.
        heads: Query heads.
        kv_heads: Key and value heads; divides ``heads``.
        mlp_width: Hidden channels of the gated MLP.
        rope_theta: Base of the rotary frequencies.
        norm_eps: Added to the mean square.
        tied: The head is the embedding.
    """

    family: Literal["llama", "qwen2", "qwen3"] = "llama"
    vocab: Count = 0
    width: Positive = 128
    depth: Positive = 4
    head_width: Count = 0
    heads: Positive = 4
    kv_heads: Positive = 4
    mlp_width: Positive = 384
    rope_theta: NonNegative = 10_000.0
    norm_eps: NonNegative = 1e-5
    tied: StrictBool = True

    @field_validator("heads")
    @classmethod
    def _can_be_rotated(cls, heads: int, info: ValidationInfo) -> int:
        if not {"width", "head_width"} <= info.data.keys():
            return heads
        width, head_width = info.data["width"], info.data["head_width"]
        if not head_width and width % heads:
            fix = "choose a divisor, or set decoder.head_width"
            raise ValueError(f"{heads} heads do not divide a width of {width}; {fix}")
        if (channels := head_width or width // heads) % 2:
            raise ValueError(f"heads of {channels} channels cannot be rotated in pairs; make them even")
        return heads

    @field_validator("kv_heads")
    @classmethod
    def _divide_the_heads(cls, kv_heads: int, info: ValidationInfo) -> int:
        if (heads := info.data.get("heads", 0)) % kv_heads:
            raise ValueError(f"{kv_heads} do not divide {heads} heads; choose a divisor")
        return kv_heads

    @property
    def head_dim(self) -> int:
        """Channels of one head."""
        return self.head_width or self.width // self.heads


class ProjectorCfg(Cfg):
    """From patch features to visual tokens; each kind reads the fields that it needs.

    Args:
        kind: See `vldata.train.projectors`.
        tokens: Visual tokens of an image, for the kinds that choose it; a square number where a grid is pooled.
        hidden: Inner width of ``resampler``, ``qformer``, ``c_abs`` and ``d_abs``; 0 is the published one.
        depth: Blocks (of each of the two stages in ``c_abs``); -1 is the published number.
        heads: Attention heads; 0 is the published number.
        mlp_depth: Linear layers of ``mlp``, ``pool_mlp`` and of the readout of ``c_abs``.
        factor: ``pixel_shuffle`` folds this many patches a side into one token.
    """

    kind: ProjectorKind = "mlp"
    tokens: Positive = 64
    hidden: Count = 0
    depth: Annotated[StrictInt, Field(ge=-1)] = -1
    heads: Count = 0
    mlp_depth: Positive = 2
    factor: Positive = 2

    def num_tokens(self, num_patches: int) -> int:
        """Visual tokens made of ``num_patches`` patches.

        Raises:
            TrainError: The kind needs a square count, or a grid that ``factor`` divides.
        """
        if self.kind in ("linear", "mlp"):
            return num_patches
        if self.kind == "pixel_shuffle":
            side = math.isqrt(num_patches)
            if side % self.factor:
                problem = f"a grid of {side}x{side} patches cannot be folded by {self.factor}"
                raise TrainError("projector.factor", problem, "choose a factor that divides the grid's side")
            return num_patches // self.factor**2
        if self.kind in ("pool_mlp", "c_abs", "d_abs") and math.isqrt(self.tokens) ** 2 != self.tokens:
            square = math.isqrt(self.tokens) ** 2
            raise TrainError("projector.tokens", f"{self.tokens} is not a square number", f"use {square}")
        return self.tokens


class LoraCfg(Cfg):
    """Low-rank updates of linear layers.

    Args:
        rank: Inner width; 0 is none.
        alpha: The update is scaled by alpha / rank.
        dropout: On the update's input.
        targets: Regular expression that a module's whole name within the decoder must match.
    """

    rank: Count = 0
    alpha: Real = 16.0
    dropout: Share = 0.0
    targets: str = r"layers\.\d+\.(self_attn|mlp)\.\w+_proj"

    @field_validator("targets")
    @classmethod
    def _is_a_pattern(cls, targets: str) -> str:
        try:
            re.compile(targets)
        except re.error as error:
            raise ValueError(f"{targets!r} is no regular expression ({error}); fix it") from None
        return targets


def _as_grid(grid: str) -> str:
    if not re.fullmatch("[1-9][0-9]*x[1-9][0-9]*", grid):
        raise ValueError(f"{grid!r} is no grid; write columns x rows, such as 2x1")
    return grid


class AnyResCfg(Cfg):
    """Tiles of an image at its own resolution; see `vldata.train.anyres`. Without grids there are none.

    Args:
        grids: ``columns x rows`` on offer: ``2x1``. LLaVA-NeXT has 1x2, 2x1, 2x2, 3x1 and 1x3.
        max_side: All grids of up to N tiles a side are on offer too; LLaVA-OneVision has 6.
        max_views: A map larger than that of N views is shrunk to it; OneVision has 9, 0 is no limit.
    """

    grids: tuple[Annotated[str, AfterValidator(_as_grid)], ...] = ()
    max_side: Count = 0
    max_views: Count = 0

    @property
    def is_on(self) -> bool:
        """Whether there is a grid at all."""
        return bool(self.grids or self.max_side)

    def choices(self) -> list[tuple[int, int]]:
        """Columns and rows of every grid, each once."""
        sides = range(1, self.max_side + 1)
        listed = [(int(columns), int(rows)) for columns, rows in (grid.split("x") for grid in self.grids)]
        return list(dict.fromkeys([(c, r) for c in sides for r in sides] + listed))


class StageCfg(Cfg):
    """One stage: what learns, how fast, for how long. A recipe's stage of the same name gives its data.

    Args:
        name: As in the recipe.
        lr_vision, lr_projector, lr_decoder: Peak rates; 0 freezes the part.
        lora: Updates of the decoder, learnt at ``lr_decoder`` while its own weights stay frozen.
        steps: Optimizer steps; 0 means that ``epochs`` counts.
        epochs: Passes over the stage's samples.
        packs_per_step: Packs of one optimizer step over all ranks.
        warmup: Steps of linear warm-up: a share of all steps if below 1.
        lr_floor: Share of the peak rate that the cosine ends at.
        optimizer: ``adamw``, or ``muon``: Muon for the layers' matrices, AdamW for the rest, at the same rates.
        weight_decay: On matrices; vectors (norms, biases) never decay.
        beta1, beta2, eps: AdamW's.
        clip: Largest norm of the gradient; 0 is no clipping.
        side_px: Side of the images; 0 is the vision encoder's own.
    """

    name: str = "train"
    lr_vision: NonNegative = 0.0
    lr_projector: NonNegative = 0.0
    lr_decoder: NonNegative = 0.0
    lora: LoraCfg = LoraCfg()
    steps: Count = 0
    epochs: Real = 1.0
    packs_per_step: Positive = 1
    warmup: NonNegative = 0.03
    lr_floor: NonNegative = 0.0
    optimizer: Optimizers = "adamw"
    weight_decay: NonNegative = 0.0
    beta1: Share = 0.9
    beta2: Share = 0.95
    eps: NonNegative = 1e-8
    clip: NonNegative = 1.0
    side_px: Count = 0

    @field_validator("epochs")
    @classmethod
    def _is_a_step(cls, epochs: float, info: ValidationInfo) -> float:
        if info.data.get("steps") == 0 and epochs <= 0:
            raise ValueError(f"{epochs} passes are no step; give steps, or more than 0 epochs")
        return epochs

    def lr(self, part: str) -> float:
        """Peak rate of one of `PARTS`."""
        return float(getattr(self, f"lr_{part}"))


class TrainCfg(Cfg):
    """A whole run.

    Args:
        vision, decoder, projector: The model's shapes.
        stages: One after another, each from the weights of the one before.
        vision_dir, decoder_dir: Local Hugging Face folders to start from, whose ``config.json`` gives the shapes
            (`vldata.train.hf_config`); empty means from scratch.
        tokenizer: A ``tokenizer.json``; empty means ``decoder_dir``'s, else one made from the build's text.
        pack_tokens: Tokens of a pack.
        pack_images: Most images of a pack, tiles counted.
        weighting: A supervised token counts 1, 1 / n or 1 / sqrt(n), n being its sample's supervised tokens.
        checkpoint_blocks: Recompute the decoder's blocks in the backward pass: less memory, a third more work.
        compile: Compile each block (CUDA).
        anyres: Tiles of large images.
        shard: Spread weights, gradients and optimizer state over the ranks (FSDP2), for models that do not fit one.
        seed: Of initialisation, order and dropout.
    """

    vision: VisionCfg = VisionCfg()
    decoder: DecoderCfg = DecoderCfg()
    projector: ProjectorCfg = ProjectorCfg()
    stages: tuple[StageCfg, ...]
    vision_dir: str = ""
    decoder_dir: str = ""
    tokenizer: str = ""
    pack_tokens: Positive = 2048
    pack_images: Count = 64
    weighting: Weighting = "token"
    checkpoint_blocks: StrictBool = False
    compile: StrictBool = False
    anyres: AnyResCfg = AnyResCfg()
    shard: StrictBool = False
    seed: StrictInt = 0

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if conflicts := list(self._conflicts()):
            raise TrainErrors(conflicts)
        return self

    def _conflicts(self) -> Iterator[TrainError]:
        if not self.stages:
            yield TrainError("stages", "there is none, so nothing would learn", "give at least one")
        if self.shard and any(stage.optimizer == "muon" for stage in self.stages):
            problem = "Muon steps with whole matrices, and shard spreads them over the ranks"
            yield TrainError("shard", problem, "set shard=false, or optimizer=adamw in every stage")
        names = [stage.name for stage in self.stages]
        for place, stage in enumerate(self.stages):
            where, patch_px = f"stages.{place}", self.vision.patch_px
            if stage.name in names[:place]:
                fix = "name each apart: builds go by it"
                yield TrainError(f"{where}.name", f"there are two stages {stage.name!r}", fix)
            if not any(stage.lr(part) for part in PARTS):
                problem = "every part has a learning rate of 0, so nothing would learn"
                yield TrainError(where, problem, "give lr_vision, lr_projector or lr_decoder a value")
            if 0 < stage.side_px < patch_px:
                yield TrainError(f"{where}.side_px", f"{stage.side_px} pixels hold no patch of {patch_px}", "give more")
        try:
            for stage in self.stages:
                self.tokens_per_image(stage)
        except TrainError as error:
            yield error

    def tokens_per_image(self, stage: StageCfg | None = None) -> int:
        """Visual tokens that stand for one image, or one tile; ``stage`` may bring its own resolution."""
        return self.projector.num_tokens(self.vision.num_patches(stage.side_px if stage else 0))

    def content_hash(self) -> str:
        """Hash of all that the run is defined by; equal configs hash equally, however they were written."""
        return blake3(orjson.dumps(_canonical(self.model_dump(mode="json")), option=orjson.OPT_SORT_KEYS)).hexdigest(
            length=16
        )


def _canonical(value: Any) -> Any:
    """The same data with every number a float: 2000 and 2000.0 are one."""
    if isinstance(value, dict | list):
        places = value.items() if isinstance(value, dict) else enumerate(value)
        return {str(place): _canonical(part) for place, part in places}
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
