"""Everything that defines a run, as frozen data: the model's shapes, its stages, the packs. No torch here.

A config is a value, hashed by content; `settings` reads it, `presets` names some. What a stage trains is said by its
learning rates alone (0 is frozen), so no second switch can contradict them.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
from blake3 import blake3

from vldata.errors import VldataError

PARTS = ("vision", "projector", "decoder")

Weighting = Literal["token", "sample", "sqrt"]
Optimizers = Literal["adamw", "muon"]
ProjectorKind = Literal[
    "linear", "mlp", "pool_mlp", "pixel_shuffle", "perceiver", "resampler", "qformer", "c_abs", "d_abs"
]


class TrainError(VldataError):
    """The run cannot start or go on: its config, its model folders or its data do not fit together."""


@dataclass(frozen=True)
class VisionCfg:
    """A pre-LN vision transformer of CLIP's or SigLIP's shape.

    Args:
        family: ``clip`` has a class token (dropped after encoding), a norm before the blocks, no bias on the patches
            and quick GELU; ``siglip`` has none of these, and tanh GELU.
        side_px: Side of the square input; the remainder by ``patch_px`` is cut off.
        patch_px: Side of a patch.
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
    side_px: int = 64
    patch_px: int = 8
    width: int = 128
    depth: int = 4
    heads: int = 4
    mlp_width: int = 512
    layer: int = -1
    post_norm: bool = True
    pixel_mean: float = 0.0
    pixel_std: float = 0.0

    @property
    def num_blocks(self) -> int:
        """Blocks needed to reach the selected hidden state."""
        return self.depth + 1 + self.layer if self.layer < 0 else self.layer

    def num_patches(self, side_px: int = 0) -> int:
        """Patches of an image; ``side_px`` 0 is the encoder's own."""
        return ((side_px or self.side_px) // self.patch_px) ** 2


@dataclass(frozen=True)
class DecoderCfg:
    """A Llama-like decoder. Qwen2 adds biases to q, k and v; Qwen3 norms q and k per head instead.

    Args:
        family: Which of the three.
        vocab: Rows of the embedding; 0 means the tokenizer's size, to be filled in before the model is made.
        width: Channels.
        depth: Blocks.
        heads: Query heads.
        kv_heads: Key and value heads; divides ``heads``.
        head_width: Channels of a head; 0 is ``width / heads``.
        mlp_width: Hidden channels of the gated MLP.
        rope_theta: Base of the rotary frequencies.
        norm_eps: Added to the mean square.
        tied: The head is the embedding.
    """

    family: Literal["llama", "qwen2", "qwen3"] = "llama"
    vocab: int = 0
    width: int = 128
    depth: int = 4
    heads: int = 4
    kv_heads: int = 4
    head_width: int = 0
    mlp_width: int = 384
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    tied: bool = True

    @property
    def head_dim(self) -> int:
        """Channels of one head."""
        return self.head_width or self.width // self.heads


@dataclass(frozen=True)
class ProjectorCfg:
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
    tokens: int = 64
    hidden: int = 0
    depth: int = -1
    heads: int = 0
    mlp_depth: int = 2
    factor: int = 2

    def num_tokens(self, num_patches: int) -> int:
        """Visual tokens made of so many patches.

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


@dataclass(frozen=True)
class LoraCfg:
    """Low-rank updates of linear layers.

    Args:
        rank: Inner width; 0 is none.
        alpha: The update is scaled by alpha / rank.
        dropout: On the update's input.
        targets: Regular expression that a module's whole name within the decoder must match.
    """

    rank: int = 0
    alpha: float = 16.0
    dropout: float = 0.0
    targets: str = r"layers\.\d+\.(self_attn|mlp)\.\w+_proj"


@dataclass(frozen=True)
class AnyResCfg:
    """Tiles of an image at its own resolution; see `vldata.train.anyres`. Without grids there are none.

    Args:
        grids: ``columns x rows`` on offer: ``2x1``. LLaVA-NeXT has 1x2, 2x1, 2x2, 3x1 and 1x3.
        max_side: All grids up to so many tiles a side are on offer too; LLaVA-OneVision has 6.
        max_views: A larger map than that of so many views is shrunk to it; OneVision has 9, 0 is no limit.
    """

    grids: tuple[str, ...] = ()
    max_side: int = 0
    max_views: int = 0

    @property
    def is_on(self) -> bool:
        """Whether there is a grid at all."""
        return bool(self.grids or self.max_side)

    def choices(self) -> list[tuple[int, int]]:
        """Columns and rows of every grid, each once.

        Raises:
            TrainError: A grid is written in another way.
        """
        found = [(c, r) for c in range(1, self.max_side + 1) for r in range(1, self.max_side + 1)]
        for grid in self.grids:
            columns, _, rows = grid.partition("x")
            if not (columns.isdigit() and rows.isdigit() and int(columns) and int(rows)):
                raise TrainError("anyres.grids", f"{grid!r} is no grid", "write columns x rows, such as 2x1")
            found.append((int(columns), int(rows)))
        return list(dict.fromkeys(found))


@dataclass(frozen=True)
class StageCfg:
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
    lr_vision: float = 0.0
    lr_projector: float = 0.0
    lr_decoder: float = 0.0
    lora: LoraCfg = LoraCfg()
    steps: int = 0
    epochs: float = 1.0
    packs_per_step: int = 1
    warmup: float = 0.03
    lr_floor: float = 0.0
    optimizer: Optimizers = "adamw"
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    clip: float = 1.0
    side_px: int = 0

    def lr(self, part: str) -> float:
        """Peak rate of one of `PARTS`."""
        return float(getattr(self, f"lr_{part}"))


@dataclass(frozen=True)
class TrainCfg:
    """A whole run.

    Args:
        vision, decoder, projector: The model's shapes.
        stages: One after another, each from the weights of the one before.
        vision_dir, decoder_dir: Local Hugging Face folders to start from; empty means from scratch.
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
    stages: tuple[StageCfg, ...] = field(default=(StageCfg(),))
    vision_dir: str = ""
    decoder_dir: str = ""
    tokenizer: str = ""
    pack_tokens: int = 2048
    pack_images: int = 64
    weighting: Weighting = "token"
    checkpoint_blocks: bool = False
    compile: bool = False
    anyres: AnyResCfg = AnyResCfg()
    shard: bool = False
    seed: int = 0

    def tokens_per_image(self, stage: StageCfg | None = None) -> int:
        """Visual tokens that stand for one image, or one tile; ``stage`` may bring its own resolution."""
        return self.projector.num_tokens(self.vision.num_patches(stage.side_px if stage else 0))

    def content_hash(self) -> str:
        """Hash of all that the run is defined by; equal configs hash equally, however they were written."""
        return blake3(orjson.dumps(_canonical(to_dict(self)), option=orjson.OPT_SORT_KEYS)).hexdigest(length=16)


def to_dict(config: TrainCfg) -> dict[str, Any]:
    """Plain data (lists, not tuples) that `vldata.train.settings.from_dict` reads back."""
    return dict(orjson.loads(orjson.dumps(dataclasses.asdict(config))))


def _canonical(value: Any) -> Any:
    """The same data with every number a float: 2000 and 2000.0 are one."""
    if isinstance(value, dict | list):
        places = value.items() if isinstance(value, dict) else enumerate(value)
        return {str(place): _canonical(part) for place, part in places}
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
