"""Shapes of encoders and decoders from the ``config.json`` of local Hugging Face folders; no torch here.

    vision   clip_vision_model, siglip_vision_model, or the vision half of a whole CLIP or SigLIP
    decoder  llama, qwen2, qwen3

What is not modelled here is refused: a model that is right but for one part trains without a word.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import orjson

from vldata.errors import VldataError
from vldata.schema.translate import validated
from vldata.train.config import Cfg, DecoderCfg, TrainError, TrainErrors, VisionCfg

Shape = TypeVar("Shape", bound=Cfg)

# what a config.json may leave out: the published defaults of each family
_CLIP = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
_VISION_DEFAULTS: dict[str, dict[str, Any]] = {
    "clip": {**_CLIP, "image_size": 224, "patch_size": 32, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5},
    "siglip": {**_CLIP, "image_size": 224, "patch_size": 16, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6},
}
_DECODERS = ("llama", "qwen2", "qwen3")

_NAMES = {
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "heads": "num_attention_heads",
    "mlp_width": "intermediate_size",
}
_VISION_NAMES = {**_NAMES, "side_px": "image_size", "patch_px": "patch_size"}
_DECODER_NAMES = {**_NAMES, "vocab": "vocab_size"}
_LATER_NAMES = {
    "kv_heads": "num_key_value_heads",
    "head_width": "head_dim",
    "rope_theta": "rope_theta",
    "norm_eps": "rms_norm_eps",
    "tied": "tie_word_embeddings",
}


def vision_shape(folder: Path) -> VisionCfg:
    """The shape of an encoder's folder; which hidden state is read from it, and how, the folder does not say.

    Raises:
        TrainError: It is of no shape that is known here.
    """
    file = folder / "config.json"
    whole = _read(file)
    family = str(whole.get("model_type", "")).removesuffix("_vision_model")
    if family not in _VISION_DEFAULTS:
        problem = f"model_type {whole.get('model_type')!r} is no encoder"
        raise TrainError(str(file), problem, "use a CLIP or SigLIP folder")
    defaults = _VISION_DEFAULTS[family]
    raw = {**defaults, **whole.get("vision_config", whole)}
    for key in ("hidden_act", "layer_norm_eps"):
        _expect(file, key, raw[key], defaults[key])
    return _shape(VisionCfg, file, raw, _VISION_NAMES, {"family": family})


def decoder_shape(folder: Path) -> DecoderCfg:
    """The shape of a decoder's folder.

    Raises:
        TrainError: It is no Llama, Qwen2 or Qwen3, or one with parts that are not modelled here.
    """
    file = folder / "config.json"
    raw = _read(file)
    family = raw.get("model_type")
    if family not in _DECODERS:
        raise TrainError(str(file), f"model_type {family!r} is no decoder", f"use one of {', '.join(_DECODERS)}")
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    _expect(file, "rope_type", rope.get("rope_type", rope.get("type", "default")), "default")
    for key in ("use_sliding_window", "mlp_bias", "attention_bias"):
        _expect(file, key, raw.get(key) or False, False)
    _expect(file, "hidden_act", raw.get("hidden_act", "silu"), "silu")
    # Qwen3's heads are 128 wide whatever its width; the others divide it
    head_width = raw.get("head_dim") or (128 if family == "qwen3" else 0)
    more = {
        "family": family,
        "head_width": 0 if head_width * raw.get("num_attention_heads", 0) == raw.get("hidden_size") else head_width,
        "kv_heads": raw.get("num_key_value_heads") or raw.get("num_attention_heads"),
        "rope_theta": rope.get("rope_theta", raw.get("rope_theta", 10_000.0)),
        "norm_eps": raw.get("rms_norm_eps", 1e-6),
        "tied": raw.get("tie_word_embeddings", False),
    }
    return _shape(DecoderCfg, file, raw, _DECODER_NAMES, more)


def _shape(model: type[Shape], file: Path, raw: dict[str, Any], names: dict[str, str], more: dict[str, Any]) -> Shape:
    """The shape that the keys of a ``config.json`` give, and ``more``; problems bear the names of the file's keys."""
    if missing := [theirs for theirs in names.values() if theirs not in raw]:
        raise TrainError(str(file), f"it has no {', '.join(missing)}", "give a folder that `save_pretrained` wrote")
    problems: list[VldataError] = []
    shape = validated(model, {name: raw[theirs] for name, theirs in names.items()} | more, "", problems)
    if shape is None:
        theirs = {**names, **_LATER_NAMES}
        raise TrainErrors([TrainError(f"{file}: {theirs.get(p.where, p.where)}", p.problem, p.fix) for p in problems])
    return shape


def _expect(file: Path, key: str, value: Any, modelled: Any) -> None:
    if value != modelled:
        raise TrainError(str(file), f"{key} {value!r} is not modelled here", f"use a model whose {key} is {modelled!r}")


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise TrainError(str(file), "no such file", "give a folder in Hugging Face's layout")
    try:
        config = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise TrainError(str(file), f"this is no JSON ({error})", "copy the folder once more") from None
    if not isinstance(config, dict):
        raise TrainError(str(file), "it holds no mapping", "give a folder in Hugging Face's layout")
    return config
