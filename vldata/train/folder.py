"""The folder of a run: who may write it, what stands in it, what a resumed run finds there.

<run>/run.json                     what was requested: config, builds, hashes; a folder with another one's is refused
<run>/tokenizer.json               the tokenizer
<run>/left_out.jsonl               samples that fit in no pack and were allowed to be left out; usually empty
<run>/metrics.jsonl                a line a step
<run>/checkpoints/                 see `vldata.train.checkpoint`
<run>/stage-0-<name>.safetensors   all weights after each stage but the last
<run>/model.safetensors            all weights after the last one
<run>/summary.json                 written last: a folder that has it is a finished run
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from vldata.errors import BuildError
from vldata.train import checkpoint
from vldata.train.checkpoint import WRITING, Checkpoint, Tensors, write_tensors, write_whole
from vldata.train.config import TrainCfg, TrainError
from vldata.train.inputs import ModelInputs
from vldata.train.overrides import from_dict
from vldata.train.tokenizer import Tokenizer, load

_TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class RunFolder:
    """A run's files.

    Args:
        path: The folder; need not be there.
    """

    path: Path

    def claim(self, inputs: ModelInputs) -> None:
        """Make it this run's, or see that it is already.

        Raises:
            BuildError: It holds something else, or another run.
        """
        config = inputs.config
        requested = {
            "config_hash": config.content_hash(),
            "data": {
                stage.name: data.encoded.fingerprint for stage, data in zip(config.stages, inputs.stages, strict=True)
            },
        }
        file = self.path / "run.json"
        if file.is_file():
            had = _read(file)
            differs = ["data"] if had.get("data") != requested["data"] else []
            # a tokenizer made from other data brings another vocabulary, which nobody requested for
            if not differs and had.get("config_hash") != requested["config_hash"]:
                differs = ["config"]
            elif differs and _without_vocab(had.get("config")) != _without_vocab(config.model_dump(mode="json")):
                differs.append("config")
            if differs:
                which = f"its {' and its '.join(differs)} {'differ' if differs[1:] else 'differs'}"
                problem = f"the folder holds another run: {which}"
                raise BuildError(str(self.path), problem, "choose another --out, or remove the folder")
        else:
            self._begin(inputs, requested)
        for left in self.path.glob(f"{WRITING}*"):  # by a process that was killed
            left.unlink()
        unfit = [
            orjson.dumps({**one, "build": str(data.build)}) + b"\n"
            for data in inputs.distinct()
            for one in data.unfit.values()
        ]
        write_whole(self.path / "left_out.jsonl", b"".join(unfit))

    def _begin(self, inputs: ModelInputs, requested: Mapping[str, Any]) -> None:
        # a run that was killed before its run.json was there leaves the tokenizer, or a file half written
        if self.path.exists() and not self.path.is_dir():
            raise BuildError(str(self.path), "this is a file", "choose another --out")
        names = [file.name for file in self.path.iterdir()] if self.path.is_dir() else []
        if any(name != _TOKENIZER and not name.startswith(WRITING) for name in names):
            raise BuildError(str(self.path), "the folder is not empty and holds no run", "choose another --out")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            inputs.tokenizer.save(self.path / _TOKENIZER)
            builds = {
                stage.name: str(data.build) for stage, data in zip(inputs.config.stages, inputs.stages, strict=True)
            }
            run = {
                **requested,
                "builds": builds,
                "torch": torch.__version__,
                "config": inputs.config.model_dump(mode="json"),
            }
            write_whole(self.path / "run.json", orjson.dumps(run, option=orjson.OPT_INDENT_2))
        except OSError as error:
            raise BuildError(
                str(self.path), f"it cannot be written ({error.strerror})", "choose another --out"
            ) from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """While this process trains into it; a killed process holds no lock.

        Raises:
            BuildError: Another one does.
        """
        with (self.path / "run.json").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                problem = "another process trains into this folder"
                raise BuildError(str(self.path), problem, "wait for it, or choose another --out") from None
            yield

    def summary(self) -> dict[str, Any] | None:
        """What a finished run said; None while it is not finished."""
        file = self.path / "summary.json"
        return _read(file) if file.is_file() else None

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Say that all is done."""
        write_whole(self.path / "summary.json", orjson.dumps(summary, option=orjson.OPT_INDENT_2))

    def finished(self) -> tuple[TrainCfg, Tokenizer]:
        """Config and tokenizer of a finished run.

        Raises:
            BuildError: It is no run, or not finished, or damaged.
        """
        file = self.path / "run.json"
        if not file.is_file():
            raise BuildError(str(self.path), "this is no run: there is no run.json", "give the --out of `vldata train`")
        if self.summary() is None:
            raise BuildError(
                str(self.path), "the run is not finished", "give the same `vldata train` again: it resumes"
            )
        try:
            return from_dict(_read(file).get("config"), str(file)), load(self.path)
        except TrainError as error:
            raise BuildError(error.where, error.problem, "this run is of another version: train it again") from None

    def weights(self, config: TrainCfg, stage: int) -> Tensors:
        """All weights after a stage; -1 is the last.

        Raises:
            BuildError: The file cannot be read.
        """
        file = self._weights_file(config, stage)
        try:
            return load_file(file)
        except (OSError, SafetensorError) as error:
            fix = "remove the run's folder and train it again"
            raise BuildError(str(file), f"the weights cannot be read ({error})", fix) from None

    def has_weights(self, config: TrainCfg, stage: int) -> bool:
        """Whether a stage was done to its end."""
        return self._weights_file(config, stage).is_file()

    def save_weights(self, config: TrainCfg, stage: int, tensors: Mapping[str, torch.Tensor]) -> None:
        """Keep all weights after a stage.

        Raises:
            BuildError: The disk is full.
        """
        write_tensors(self._weights_file(config, stage), tensors)

    def _weights_file(self, config: TrainCfg, stage: int) -> Path:
        if stage in (-1, len(config.stages) - 1):
            return self.path / "model.safetensors"
        return self.path / f"stage-{stage}-{config.stages[stage].name}.safetensors"

    def last_checkpoint(self) -> Checkpoint | None:
        """The last whole one.

        Raises:
            BuildError: It is damaged.
        """
        path = checkpoint.latest(self.path / "checkpoints")
        return None if path is None else checkpoint.load(path)

    def save_checkpoint(self, number: int, saved: Checkpoint) -> None:
        """Keep a checkpoint; ``number`` counts the steps of all stages."""
        checkpoint.save(self.path / "checkpoints", number, saved)

    def lines(self) -> Iterator[dict[str, Any]]:
        """What `log` wrote; half a line at the end, of a killed run, is none."""
        path = self.path / "metrics.jsonl"
        if path.is_file():
            for line in path.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n"):
                    yield orjson.loads(line)

    def log(self, line: Mapping[str, Any]) -> None:
        """Add a step to ``metrics.jsonl``."""
        with (self.path / "metrics.jsonl").open("ab") as file:
            file.write(orjson.dumps(line) + b"\n")

    def forget_from(self, stage: int, step: int) -> None:
        """Drop the lines of steps that will be done again."""
        kept = [line for line in self.lines() if (line["stage_number"], line["step"]) < (stage, step)]
        write_whole(self.path / "metrics.jsonl", b"".join(orjson.dumps(line) + b"\n" for line in kept))


def _without_vocab(config: Any) -> Any:
    decoder = config.get("decoder") if isinstance(config, dict) else None
    return {**config, "decoder": {**decoder, "vocab": 0}} if isinstance(decoder, dict) else config


def _read(file: Path) -> dict[str, Any]:
    try:
        content = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise BuildError(
            str(file), f"it cannot be read ({error})", "remove the run's folder and train it again"
        ) from None
    if not isinstance(content, dict):
        raise BuildError(str(file), "it holds no mapping", "remove the run's folder and train it again")
    return content
