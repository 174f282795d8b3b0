"""Whether a config can be a model and a run at all; everything that is wrong with it, at once. No torch here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from vldata.errors import RecipeErrors
from vldata.train.config import DecoderCfg, LoraCfg, StageCfg, TrainCfg, TrainError, VisionCfg

Problem = tuple[str, str, str]
"""Where, what, and the fix."""


class TrainErrors(RecipeErrors, TrainError):
    """Several problems of one config, in the order in which it is written, each told."""


def checked(config: TrainCfg) -> TrainCfg:
    """The config itself.

    Raises:
        TrainErrors: Shapes that no model has, or stages that do nothing.
    """
    found = [TrainError(*problem) for problem in _problems(config)]
    if found:
        raise TrainErrors(found)
    config.anyres.choices()
    for stage in config.stages:
        config.tokens_per_image(stage)
    return config


def _problems(config: TrainCfg) -> Iterator[Problem]:
    yield from _vision(config.vision)
    yield from _decoder(config.decoder)
    for name in ("pack_tokens", "pack_images"):
        if getattr(config, name) < (1 if name == "pack_tokens" else 0):
            yield name, f"{getattr(config, name)} is too few", "give at least 1"
    if not config.stages:
        yield "stages", "there is none, so nothing would learn", "give at least one"
    if config.shard and any(stage.optimizer == "muon" for stage in config.stages):
        problem = "Muon steps with whole matrices, and shard spreads them over the ranks"
        yield "shard", problem, "set shard=false, or optimizer=adamw in every stage"
    names = [stage.name for stage in config.stages]
    for place, stage in enumerate(config.stages):
        if stage.name in names[:place]:
            yield f"stages.{place}.name", f"there are two stages {stage.name!r}", "name each apart: builds go by it"
        yield from _stage(stage, f"stages.{place}", config.vision)


def _vision(cfg: VisionCfg) -> Iterator[Problem]:
    yield from _positive(cfg, "vision", ("side_px", "patch_px", "width", "depth", "heads", "mlp_width"))
    if cfg.heads > 0 and cfg.width % cfg.heads:
        yield "vision.heads", f"{cfg.heads} heads do not divide a width of {cfg.width}", "choose a divisor"
    if 0 < cfg.side_px < cfg.patch_px:
        yield "vision.side_px", f"{cfg.side_px} pixels hold no patch of {cfg.patch_px}", "make the side a multiple"
    if not 0 <= cfg.num_blocks <= cfg.depth:
        yield "vision.layer", f"{cfg.layer} is no hidden state of {cfg.depth} blocks", "use -1 for the last one"
    if cfg.pixel_std < 0:
        yield "vision.pixel_std", f"{cfg.pixel_std} is negative", "use 0 for the family's own"


def _decoder(cfg: DecoderCfg) -> Iterator[Problem]:
    yield from _positive(cfg, "decoder", ("width", "depth", "heads", "kv_heads", "mlp_width"))
    if cfg.kv_heads > 0 and cfg.heads % cfg.kv_heads:
        yield "decoder.kv_heads", f"{cfg.kv_heads} do not divide {cfg.heads} heads", "choose a divisor"
    if cfg.heads > 0 and not cfg.head_width and cfg.width % cfg.heads:
        fix = "choose a divisor, or set decoder.head_width"
        yield "decoder.heads", f"{cfg.heads} heads do not divide a width of {cfg.width}", fix
    elif cfg.heads > 0 and cfg.head_dim % 2:
        yield "decoder.heads", f"heads of {cfg.head_dim} channels cannot be rotated in pairs", "make them even"


def _stage(stage: StageCfg, where: str, vision: VisionCfg) -> Iterator[Problem]:
    yield from _positive(stage, where, ("packs_per_step",))
    rates = ("lr_vision", "lr_projector", "lr_decoder")
    for name in (*rates, "steps", "warmup", "lr_floor", "weight_decay", "clip", "eps"):
        if not getattr(stage, name) >= 0:
            yield f"{where}.{name}", f"{getattr(stage, name)} is negative", "use 0 or more"
    if not any(stage.lr(name.removeprefix("lr_")) for name in rates):
        problem = "every part has a learning rate of 0, so nothing would learn"
        yield where, problem, "give lr_vision, lr_projector or lr_decoder a value"
    if not stage.steps and not stage.epochs > 0:
        yield f"{where}.epochs", f"{stage.epochs} passes are no step", "give steps, or more than 0 epochs"
    if 0 < stage.side_px < vision.patch_px:
        yield f"{where}.side_px", f"{stage.side_px} pixels hold no patch of {vision.patch_px}", "give more"
    yield from _lora(stage.lora, where)


def _lora(lora: LoraCfg, where: str) -> Iterator[Problem]:
    if lora.rank < 0 or not 0 <= lora.dropout < 1:
        yield f"{where}.lora", f"rank {lora.rank} with dropout {lora.dropout} is none", "use rank 0 for no update"
    try:
        re.compile(lora.targets)
    except re.error as error:
        yield f"{where}.lora.targets", f"{lora.targets!r} is no regular expression ({error})", "mend it"


def _positive(cfg: object, where: str, names: Sequence[str]) -> Iterator[Problem]:
    for name in names:
        if getattr(cfg, name) < 1:
            yield f"{where}.{name}", f"{getattr(cfg, name)} is too few", "give at least 1"
