"""Useful floating-point operations of a step: what the result needs, never what a schedule recomputes or pads.

Two operations for each weight and token forward; backward adds as much for the gradient of the activations wherever it
must flow, and as much again for the gradient of weights that learn. So a trained part counts 3, a frozen decoder under
a trained projector 2 (not 3: that would inflate the utilisation of LLaVA's first stage by half), a frozen encoder 1.
Attention is counted within documents, the causal half only; the head over supervised tokens only. Embeddings, norms and
projectors, about a hundredth of the whole, are left out.
"""

from __future__ import annotations

from collections.abc import Iterable

from vldata.train.config import DecoderCfg, StageCfg, TrainCfg, VisionCfg


def vision_weights(cfg: VisionCfg) -> int:
    """Matrix weights that each patch passes."""
    return cfg.num_blocks * (4 * cfg.width**2 + 2 * cfg.width * cfg.mlp_width) + 3 * cfg.patch_px**2 * cfg.width


def decoder_weights(cfg: DecoderCfg) -> int:
    """Matrix weights that each token passes, the head not counted."""
    attention = 2 * cfg.width * cfg.head_dim * (cfg.heads + cfg.kv_heads)
    return cfg.depth * (attention + 3 * cfg.width * cfg.mlp_width)


def lora_weights(cfg: DecoderCfg, rank: int) -> int:
    """Weights of updates on all seven matrices of each block."""
    inner, narrow = cfg.heads * cfg.head_dim, cfg.kv_heads * cfg.head_dim
    ends = 2 * (cfg.width + inner) + 2 * (cfg.width + narrow) + 3 * (cfg.width + cfg.mlp_width)
    return cfg.depth * rank * ends


def useful_flops(
    cfg: TrainCfg,
    stage: StageCfg,
    lengths: Iterable[int],
    num_images: int,
    num_supervised: int,
    is_training: bool = True,
) -> float:
    """Operations of one forward and, if training, backward pass over packed documents.

    Args:
        lengths: Tokens of each document, visual ones included.
        num_images: Images of all documents.
        num_supervised: Tokens with a label.
        is_training: False counts the forward pass alone.
    """
    vision, decoder = cfg.vision, cfg.decoder
    patches = vision.num_patches(stage.side_px)
    encode = 2.0 * vision_weights(vision) * patches + 4.0 * vision.num_blocks * patches**2 * vision.width
    tokens = squares = 0
    for length in lengths:
        tokens, squares = tokens + length, squares + length**2
    body = 2.0 * decoder_weights(decoder) * tokens
    body += 2.0 * decoder.depth * squares * decoder.heads * decoder.head_dim
    head = 2.0 * decoder.vocab * decoder.width * num_supervised
    if not is_training:
        return num_images * encode + body + head
    has_lora = bool(stage.lora.rank and stage.lr_decoder)
    is_trained = bool(stage.lr_decoder and not has_lora)
    flows = 3 if is_trained else 2 if has_lora or stage.lr_projector or stage.lr_vision else 1
    update = 3 * 2.0 * lora_weights(decoder, stage.lora.rank) * tokens if has_lora else 0.0
    return num_images * encode * (3 if stage.lr_vision else 1) + flows * (body + head) + update
