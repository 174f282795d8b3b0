"""What a run reads: its config, a build for each stage, one tokenizer over all; and every check that needs no model.

A stage and its data meet by the stage's name: ``pretrain=out/a finetune=out/b``. One build alone is every stage's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vldata.errors import BuildError, nearest
from vldata.train.anyres import visual_of
from vldata.train.config import StageCfg, TrainCfg
from vldata.train.data import HELD_OUT, Encoded, Split, encode, splits, texts_of
from vldata.train.pack import Limits, too_large
from vldata.train.tokenizer import Tokenizer, from_texts, load

Builds = Path | Mapping[str, Path]
"""One build for all stages, or one for each, by the stage's name."""

_LISTED = 5  # of the samples that do not fit, in the message; all of them are in the file


@dataclass(frozen=True)
class StageData:
    """What one stage learns from.

    Args:
        build: Its folder; stages may share one.
        split: Its training rows.
        encoded: The same as tokens.
        unfit: Samples that fit in no pack of some stage on this build, by place: ``id``, ``tokens``, ``images``.
    """

    build: Path
    split: Split
    encoded: Encoded
    unfit: Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True)
class ModelInputs:
    """All that a run needs before a weight is made.

    Args:
        config: With the vocabulary's size.
        tokenizer: The config's, or one made from the text of all builds.
        stages: One for each stage of the config.
    """

    config: TrainCfg
    tokenizer: Tokenizer
    stages: tuple[StageData, ...]

    def distinct(self) -> list[StageData]:
        """Each build once, in the order of the stages."""
        return list({data.build: data for data in self.stages}.values())

    def unfit_summary(self) -> str:
        """How many samples fit in no pack, and the first of them; empty when all fit."""
        return "; ".join(
            _unfit_summary(data.unfit, len(data.encoded), self.config) for data in self.distinct() if data.unfit
        )


def read_inputs(config: TrainCfg, builds: Builds, *, leave_out: bool = False) -> ModelInputs:
    """Read, tokenise and check what the stages learn from; a build that several share is read once.

    Args:
        leave_out: Samples that fit in no pack are left out, in place of an error.

    Raises:
        BuildError: A stage has no build, or a build or the tokenizer does not fit the run.
    """
    folders = _by_stage(config, builds)
    by_folder = {folder: _train_split(folder) for folder in dict.fromkeys(folders)}
    named = config.tokenizer or config.decoder_dir
    texts = (text for split in by_folder.values() for text in texts_of(split.samples()))
    tokenizer = load(Path(named)) if named else from_texts(texts)
    vocab = max(config.decoder.vocab, tokenizer.size)
    config = config.replace(decoder=config.decoder.replace(vocab=vocab))
    encoded = {folder: encode(split.samples(), tokenizer, split.fingerprint) for folder, split in by_folder.items()}
    by_build = {
        folder: _checked(
            config,
            [stage for stage, own in zip(config.stages, folders, strict=True) if own == folder],
            StageData(folder, split, encoded[folder], {}),
            leave_out,
        )
        for folder, split in by_folder.items()
    }
    return ModelInputs(config, tokenizer, tuple(by_build[folder] for folder in folders))


def held_out(build: Path, name: str | None) -> Split:
    """A split to evaluate on: the named one, else the first there is of `HELD_OUT`.

    Raises:
        BuildError: There is none.
    """
    has_rows = {own: rows for own, rows in splits(build).items() if len(rows)}
    names = [name] if name else list(HELD_OUT)
    for own in names:
        if own in has_rows:
            return has_rows[own]
    raise BuildError(
        str(build),
        f"it has no split {' or '.join(names)}; it has {', '.join(has_rows) or 'no rows at all'}",
        "build with `splits: {val: 0.05}`, or name the split to evaluate",
    )


def _by_stage(config: TrainCfg, builds: Builds) -> list[Path]:
    """The build of each stage, in order."""
    names = [stage.name for stage in config.stages]
    if isinstance(builds, Path):
        return [builds] * len(names)
    unknown = [name for name in builds if name not in names]
    if unknown:
        problem = f"the run has no stage {unknown[0]!r}; its stages: {', '.join(names)}"
        raise BuildError(f"{unknown[0]}={builds[unknown[0]]}", problem, nearest(unknown[0], names))
    missing = [name for name in names if name not in builds]
    if missing:
        fix = f"add {' '.join(f'{name}=BUILD' for name in missing)}, or give one build for all stages"
        raise BuildError("train", f"no build for stage {' and '.join(missing)}", fix)
    return [builds[name] for name in names]


def _train_split(build: Path) -> Split:
    own_splits = splits(build)
    if not own_splits.get("train"):
        has = ", ".join(f"{name} ({len(rows)})" for name, rows in own_splits.items()) or "none"
        raise BuildError(str(build), f"it has no rows in a split named train; its splits: {has}", "build one that has")
    return own_splits["train"]


def _checked(config: TrainCfg, stages: Sequence[StageCfg], data: StageData, leave_out: bool) -> StageData:
    """The same data with the samples that fit in no pack of these stages.

    Raises:
        BuildError: Nothing would be learnt, or samples do not fit and are not to be left out.
    """
    encoded, where = data.encoded, str(data.split.folder)
    if not encoded.num_supervised.any():
        raise BuildError(where, "no answer has a loss weight above 0", "check `turns.weight` of the build")
    data.split.check_images()
    limits = Limits(config.pack_tokens, config.pack_images)
    unfit: dict[int, dict[str, Any]] = {}
    for stage in stages:
        if not stage.lr_decoder and not encoded.num_images.any():
            problem = f"stage {stage.name} learns from images alone, and the build has none"
            raise BuildError(where, problem, "add sources with images, or let the decoder learn")
        visual = visual_of(config, stage, data.split)
        tokens, views = visual.tokens(encoded), visual.views(encoded)
        for index in too_large(tokens, views, limits):
            unfit[index] = {"id": data.split.id(index), "tokens": int(tokens[index]), "images": int(views[index])}
    if unfit and (not leave_out or len(unfit) == len(encoded)):
        fix = "raise pack_tokens or pack_images, or say that such samples be left out (--leave-out)"
        if leave_out:
            fix = "raise pack_tokens or pack_images: nothing would be left"
        raise BuildError(where, _unfit_summary(unfit, len(encoded), config), fix)
    return replace(data, unfit=dict(sorted(unfit.items())))


def _unfit_summary(unfit: Mapping[int, Mapping[str, Any]], total: int, config: TrainCfg) -> str:
    """How many samples do not fit, and the first of them."""
    listed = [unfit[index] for index in sorted(unfit)]
    shown = ", ".join(f"{one['id']} ({one['tokens']} tokens, {one['images']} images)" for one in listed[:_LISTED])
    limits = f"{config.pack_tokens} tokens and {config.pack_images} images"
    more = ", …" if len(listed) > _LISTED else ""
    return f"{len(listed)} of {total} samples fit in no pack of {limits}: {shown}{more}"
