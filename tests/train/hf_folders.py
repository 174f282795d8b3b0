"""Small folders in Hugging Face's layout, with the weights of a module of ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
from safetensors.torch import save_file
from torch import Tensor

from vldata.train.decoder import Decoder
from vldata.train.vision import Vision

DEFAULTS: dict[str, dict[str, Any]] = {
    "clip": {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5},
    "siglip": {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6},
}


def save_vision(vision: Vision, folder: Path) -> None:
    """Write an encoder in Hugging Face's names; it ends at the selected block."""
    cfg = vision.cfg
    config = {
        **DEFAULTS[cfg.family],
        "architectures": [{"clip": "CLIPVisionModel", "siglip": "SiglipVisionModel"}[cfg.family]],
        "model_type": f"{cfg.family}_vision_model",
        "hidden_size": cfg.width,
        "intermediate_size": cfg.mlp_width,
        "num_hidden_layers": cfg.num_blocks,
        "num_attention_heads": cfg.heads,
        "image_size": cfg.side_px,
        "patch_size": cfg.patch_px,
    }
    if cfg.family == "siglip":
        config["vision_use_head"] = False
    renamed = {
        re.sub(r"^layers\.", "encoder.layers.", name).replace("pre_layernorm.", "pre_layrnorm."): tensor
        for name, tensor in vision.state_dict().items()
    }
    _write(folder, config, {f"vision_model.{name}": tensor for name, tensor in renamed.items()})


def save_decoder(decoder: Decoder, folder: Path) -> None:
    """Write a decoder that ``AutoModelForCausalLM`` opens; LoRA must be merged."""
    cfg = decoder.cfg
    config = {
        "architectures": [f"{cfg.family.capitalize()}ForCausalLM"],
        "model_type": cfg.family,
        "vocab_size": cfg.vocab,
        "hidden_size": cfg.width,
        "intermediate_size": cfg.mlp_width,
        "num_hidden_layers": cfg.depth,
        "num_attention_heads": cfg.heads,
        "num_key_value_heads": cfg.kv_heads,
        "head_dim": cfg.head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": cfg.norm_eps,
        "rope_theta": cfg.rope_theta,
        "tie_word_embeddings": cfg.tied,
        "max_position_embeddings": 32_768,
    }
    tensors = decoder.state_dict()
    _write(folder, config, {n if n == "lm_head.weight" else f"model.{n}": tensor for n, tensor in tensors.items()})


def _write(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: t.detach().cpu().contiguous() for name, t in tensors.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    (folder / "config.json").write_bytes(orjson.dumps(config, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
