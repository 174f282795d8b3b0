"""Weights of encoders and decoders from the safetensors of local Hugging Face folders; nothing is downloaded.

Modules bear Hugging Face's names but for a few. Reading is strict: a weight that is missing, left over or of another
shape is an error, for a model that is right but for one layer trains without a word. Shapes: `vldata.train.hf_config`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from vldata.train.config import TrainError
from vldata.train.decoder import Decoder
from vldata.train.vision import Vision


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
