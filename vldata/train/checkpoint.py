"""Checkpoints that are there whole or not at all, without pickles.

    <run>/checkpoints/step-00000200/model.safetensors       the weights that are learnt
                                    optimizer.safetensors   "<weight>/exp_avg", "<weight>/exp_avg_sq", "<weight>/step"
                                    state.json              stage, step, and the hashes that a resumed run must share
    <run>/checkpoints/.writing-…                            being written, or left by a killed run

A checkpoint is written under a temporary name, flushed to the disk file by file, and renamed; so a kill at any moment
leaves the last good one. There is no random state to keep: every step's is derived from the seed and its number.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from vldata.errors import BuildError

Tensors = dict[str, torch.Tensor]

KEPT = 2
"""Checkpoints that stay: the last, and one more in case its disk fails it."""

WRITING = ".writing-"
"""How the names of files begin that are being written, or were when a run was killed."""


@dataclass(frozen=True)
class Checkpoint:
    """What a run resumes from.

    Args:
        state: Plain data: ``stage``, ``step`` and hashes.
        model: The learnt weights by name.
        optimizer: Its tensors, named ``<weight>/<entry>``.
    """

    state: dict[str, Any]
    model: Tensors
    optimizer: Tensors


def save(folder: Path, number: int, checkpoint: Checkpoint, kept: int = KEPT) -> Path:
    """Write a checkpoint and remove the oldest ones.

    Args:
        folder: Of all checkpoints of the run; made when it is not there.
        number: Steps done over all stages; names it.
        kept: How many stay, this one included.

    Raises:
        BuildError: The folder cannot be written; what was there before is untouched.
    """
    final = folder / f"step-{number:08d}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{WRITING}*"):
            shutil.rmtree(left)
        writing = folder / f"{WRITING}{secrets.token_hex(4)}"
        writing.mkdir()
        _write_tensors(writing / "model.safetensors", checkpoint.model)
        _write_tensors(writing / "optimizer.safetensors", checkpoint.optimizer)
        write_whole(writing / "state.json", orjson.dumps(checkpoint.state, option=orjson.OPT_INDENT_2))
        _flush_folder(writing)
        if final.exists():  # the same step of the same run, written again
            shutil.rmtree(final)
        writing.rename(final)
        _flush_folder(folder)
        for old in _all(folder)[:-kept]:
            shutil.rmtree(old)
    except (OSError, SafetensorError) as error:
        where, why = getattr(error, "filename", None) or folder, getattr(error, "strerror", None) or error
        raise BuildError(str(where), f"the checkpoint cannot be written ({why})", "free some space") from None
    return final


def latest(folder: Path) -> Path | None:
    """The last whole checkpoint, if there is one."""
    checkpoints = _all(folder)
    return checkpoints[-1] if checkpoints else None


def load(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        BuildError: It cannot be read.
    """
    try:
        return Checkpoint(
            state=orjson.loads((path / "state.json").read_bytes()),
            model=load_file(path / "model.safetensors"),
            optimizer=load_file(path / "optimizer.safetensors"),
        )
    except (OSError, orjson.JSONDecodeError, SafetensorError) as error:
        fix = "remove this folder to resume from the one before"
        raise BuildError(str(path), f"the checkpoint cannot be read ({error})", fix) from None


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors under their name at once: the file is there whole or not at all.

    Raises:
        BuildError: It cannot be written.
    """
    writing = path.with_name(f"{WRITING}{path.name}")
    with _written(path):
        _write_tensors(writing, tensors)
        writing.rename(path)
        _flush_folder(path.parent)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file and flush it to the disk; under its name only when it is whole.

    Raises:
        BuildError: It cannot be written.
    """
    writing = path.with_name(f"{WRITING}{path.name}")
    with _written(path):
        with writing.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        writing.rename(path)


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        problem = f"it cannot be written ({getattr(error, 'strerror', None) or error})"
        raise BuildError(str(path), problem, "free some space, or choose another --out") from None


def _write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*")) if folder.is_dir() else []
