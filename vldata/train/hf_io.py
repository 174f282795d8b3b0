"""Encoders and decoders from local Hugging Face folders, and back: ``config.json`` and safetensors, nothing downloaded.

    vision   clip_vision_model, siglip_vision_model, or the vision half of a whole CLIP or SigLIP
    decoder  llama, qwen2, qwen3

Modules bear Hugging Face's names but for a few. Reading is strict both ways: a weight that is missing, left over
or of another shape is an error, for a model that is right but for one layer trains without a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vldata.train.config import DecoderCfg, TrainError, VisionCfg
from vldata.train.decoder import Decoder
from vldata.train.vision import Vision

# what a config.json may leave out: the published defaults of each family
_CLIP = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
_VISION_DEFAULTS: dict[str, dict[str, Any]] = {
    "clip": {**_CLIP, "image_size": 224, "patch_size": 32, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5},
    "siglip": {**_CLIP, "image_size": 224, "patch_size": 16, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6},
}
_MODEL_TYPES = {"clip": "clip_vision_model", "siglip": "siglip_vision_model"}
_ARCHITECTURES = {"clip": "CLIPVisionModel", "siglip": "SiglipVisionModel"}
_CAUSAL = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}

_MAX_POSITIONS = 32_768  # written for readers that need a bound; rotary positions have none of their own


def read_vision_cfg(folder: Path, layer: int = -1, post_norm: bool = False) -> VisionCfg:
    """The shape of an encoder's folder.

    Args:
        folder: With a ``config.json``.
        layer: Which hidden state the projector is to read.
        post_norm: Whether the closing norm is applied to it.

    Raises:
        TrainError: It is of no shape that is known here.
    """
    whole = _config(folder)
    where = str(folder / "config.json")
    family = str(whole.get("model_type", "")).removesuffix("_vision_model")
    if family not in _VISION_DEFAULTS:
        raise TrainError(where, f"model_type {whole.get('model_type')!r} is no encoder", "use a CLIP or SigLIP folder")
    defaults = _VISION_DEFAULTS[family]
    raw = {**defaults, **whole.get("vision_config", whole)}
    for key in ("hidden_act", "layer_norm_eps"):
        _expect(where, key, raw[key], defaults[key])
    return VisionCfg(
        family=family,  # type: ignore[arg-type]
        side_px=raw["image_size"],
        patch_px=raw["patch_size"],
        width=raw["hidden_size"],
        depth=raw["num_hidden_layers"],
        heads=raw["num_attention_heads"],
        mlp_width=raw["intermediate_size"],
        layer=layer,
        post_norm=post_norm,
    )


def read_decoder_cfg(folder: Path) -> DecoderCfg:
    """The shape of a decoder's folder.

    Raises:
        TrainError: It is no Llama, Qwen2 or Qwen3, or one with parts that are not modelled here.
    """
    raw, where = _config(folder), str(folder / "config.json")
    family = raw.get("model_type")
    if family not in _CAUSAL:
        raise TrainError(where, f"model_type {family!r} is no decoder", f"use one of {', '.join(_CAUSAL)}")
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    _expect(where, "rope_type", rope.get("rope_type", rope.get("type", "default")), "default")
    for key in ("use_sliding_window", "mlp_bias", "attention_bias"):
        _expect(where, key, raw.get(key) or False, False)
    _expect(where, "hidden_act", raw.get("hidden_act", "silu"), "silu")
    heads = raw["num_attention_heads"]
    # Qwen3's heads are 128 wide whatever its width; the others divide it
    head_width = raw.get("head_dim") or (128 if family == "qwen3" else raw["hidden_size"] // heads)
    return DecoderCfg(
        family=family,
        vocab=raw["vocab_size"],
        width=raw["hidden_size"],
        depth=raw["num_hidden_layers"],
        heads=heads,
        kv_heads=raw.get("num_key_value_heads") or heads,
        head_width=head_width,
        mlp_width=raw["intermediate_size"],
        rope_theta=float(rope.get("rope_theta", raw.get("rope_theta", 10_000.0))),
        norm_eps=float(raw.get("rms_norm_eps", 1e-6)),
        tied=bool(raw.get("tie_word_embeddings", False)),
    )


def load_vision(vision: Vision, folder: Path) -> None:
    """Fill an encoder from a folder; blocks after the selected one, text towers and pooling heads are passed over.

    Raises:
        TrainError: A weight is missing, left over or of another shape.
    """
    unused = re.compile(
        r"(text_model\.|head\.|(visual|text)_projection\.|logit_(scale|bias)$|embeddings\.position_ids$).*"
        + ("" if vision.cfg.post_norm else r"|post_layernorm\..*")
    )

    def ours(name: str) -> str | None:
        name = name.removeprefix("vision_model.")
        block = re.match(r"encoder\.layers\.(\d+)\.", name)
        if unused.fullmatch(name) or (block and int(block[1]) >= vision.cfg.num_blocks):
            return None
        return name.replace("pre_layrnorm.", "pre_layernorm.").removeprefix("encoder.")  # sic: published so

    _fill(vision, folder, ours)


def load_decoder(decoder: Decoder, folder: Path) -> None:
    """Fill a decoder from a folder. Where it has more tokens than the folder, new rows are the mean of the old.

    Raises:
        TrainError: A weight is missing, left over or of another shape.
    """

    def ours(name: str) -> str | None:
        if name.endswith("rotary_emb.inv_freq") or (decoder.cfg.tied and name == "lm_head.weight"):
            return None
        return name.removeprefix("model.")

    _fill(decoder, folder, ours)


def save_vision(vision: Vision, folder: Path) -> None:
    """Write an encoder in Hugging Face's names; it ends at the selected block."""
    cfg = vision.cfg
    config = {
        **_VISION_DEFAULTS[cfg.family],
        "architectures": [_ARCHITECTURES[cfg.family]],
        "model_type": _MODEL_TYPES[cfg.family],
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
        "architectures": [_CAUSAL[cfg.family]],
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
        "max_position_embeddings": _MAX_POSITIONS,
    }
    tensors = decoder.state_dict()
    _write(folder, config, {n if n == "lm_head.weight" else f"model.{n}": tensor for n, tensor in tensors.items()})


def _expect(where: str, key: str, found: Any, known: Any) -> None:
    if found != known:
        raise TrainError(where, f"{key} {found!r} is not modelled here", f"use a model whose {key} is {known!r}")


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise TrainError(str(path), "no such file", "give a folder in Hugging Face's layout")
    config: dict[str, Any] = orjson.loads(path.read_bytes())
    return config


@torch.no_grad()
def _fill(module: nn.Module, folder: Path, ours: Callable[[str], str | None]) -> None:
    """Copy each tensor of the folder to the parameter of the name that ``ours`` gives it; None is passed over."""
    wanted = dict(module.named_parameters())
    missing = set(wanted)
    for theirs, tensor in _tensors(folder, lambda name: ours(name) is not None):
        name = ours(theirs) or ""
        if name not in wanted:
            raise TrainError(str(folder), f"weight {theirs!r} has no place in the model", "check the config's family")
        _copy(wanted[name], tensor, f"{folder}: {theirs}", name in ("embed_tokens.weight", "lm_head.weight"))
        missing.discard(name)
    if missing:
        raise TrainError(str(folder), f"{len(missing)} weights are missing, like {min(missing)!r}", "check the config")


def _copy(target: Tensor, tensor: Tensor, where: str, may_grow: bool) -> None:
    if may_grow and tensor.shape[1:] == target.shape[1:] and len(tensor) < len(target):
        rows = tensor.to(target.device, target.dtype)
        target[: len(rows)] = rows
        target[len(rows) :] = rows.float().mean(0)
    elif tensor.shape == target.shape:
        target.copy_(tensor)
    else:
        problem = f"shape {tuple(tensor.shape)} in the file, {tuple(target.shape)} in the config"
        raise TrainError(where, problem, "take the shapes from the folder's own config.json")


def _tensors(folder: Path, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of all safetensors files, one tensor in memory at a time."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise TrainError(str(folder), "no safetensors file", "convert its .bin files with `transformers` first")
    with ExitStack() as stack:
        for file in files:
            opened = stack.enter_context(safe_open(file, framework="pt"))
            for name in opened.keys():  # noqa: SIM118 (not a mapping)
                if is_wanted(name):
                    yield name, opened.get_tensor(name)


def _write(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: t.detach().cpu().contiguous() for name, t in tensors.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    (folder / "config.json").write_bytes(orjson.dumps(config, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
