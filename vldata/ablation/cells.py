"""Cells: one build trained with one seed and scored on the held-out questions, as processes of their own, kept by key.

    cells/<key>/cell.json     what decides it
    cells/<key>/run/          the bundled trainer's run; a command's own files lie beside it
    cells/<key>/scores.json   what it scored; scores.items.jsonl has the answers
    cells/<key>/log.txt       what it printed
    cells/<key>/done.json     written last; a cell that has it is finished
    cells/<key>/failed.json   stage and error of the last attempt that failed

A cell is a process so that a crash is a failed cell and not the end. It holds a lock on its folder that it inherits, so
that after a `kill -9` of the ablation nobody else writes there until it has ended too.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

import orjson
from blake3 import blake3

from vldata import __version__
from vldata.ablation.builds import VariantBuild, write_text
from vldata.ablation.file import Train
from vldata.ablation.process import Report, held, to_its_end
from vldata.ablation.scores import ITEMS, read_scores
from vldata.errors import BuildError, VldataError
from vldata.store.keys import key_of
from vldata.store.names import KeySubject

CELL_VERSION = 1

Stage = Literal["build", "train", "evaluate"]

_PLACES = ("build", "held_out", "split", "seed", "out")
_CHANGED = "a file of the command was changed while this ran; run it again, and all is trained with the new one"

_SCRIPT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Questions:
    """A held-out split that models are scored on."""

    build: VariantBuild
    split: str

    @property
    def fingerprint(self) -> str:
        """Hash of its rows."""
        return self.build.fingerprint(self.split)


@dataclass(frozen=True)
class Trainer:
    """What trains: the bundled trainer or a command.

    Args:
        identity: Hash of all that decides what the bundled trainer does (its config), or None for a command, whose
            words and the files among them decide.
        threads: Threads of each process; None is the machine's own choice.
        gpus: As ``CUDA_VISIBLE_DEVICES`` names them: cells that run at a time take turns. Empty: cells are given none.
    """

    train: Train
    identity: str | None
    threads: int | None = None
    gpus: tuple[str, ...] = ()

    def key(self) -> str:
        """Hash of all that decides what it does with a build and a seed, as far as can be known; as it was at first."""
        return self._first_key

    @cached_property
    def _first_key(self) -> str:
        return self.key_now()

    def key_now(self) -> str:
        """The same as it is now: another one when a file of the command has changed since."""
        words = self.words()
        files = {word: _digest(Path(word)) for word in words if Path(word).is_file()}
        return key_of(KeySubject.TRAINER, self.train.model_dump(mode="json"), self.identity, words, files)

    def words(self) -> list[str]:
        """The command's words; none for the bundled trainer.

        Raises:
            BuildError: It cannot be split into words, or names a place that there is not.
        """
        command = self.train.command
        if command is None:
            return []
        try:
            words = shlex.split(command) if isinstance(command, str) else list(command)
            for word in words:
                word.format(**dict.fromkeys(_PLACES, ""))
        except (ValueError, KeyError, IndexError, AttributeError) as error:
            fix = f"its places are {', '.join(f'{{{place}}}' for place in _PLACES)}; write {{{{ and }}}} for braces"
            raise BuildError("train.command", f"{command!r} cannot be read ({error})", fix) from None
        if not words:
            raise BuildError("train.command", "it is empty", "write a command, or leave it out")
        return words

    def steps(self, cell: Cell, folder: Path) -> list[tuple[Stage, list[str]]]:
        """The processes of a cell, one after the other."""
        build, held_out = str(cell.build.folder), str(cell.questions.build.folder)
        if self.train.command is not None:
            values = {"build": build, "held_out": held_out, "split": cell.questions.split}
            places = {**values, "seed": str(cell.seed), "out": str(folder)}
            return [("train", [word.format(**places) for word in self.words()])]
        t = self.train
        vldata = [sys.executable, "-P", "-c", "from vldata.cli.main import main; main()"]
        device = ["--device", t.device] if t.device else []
        sets = [part for text in (*t.set, f"seed={cell.seed}") for part in ("--set", text)]
        steps = ["--steps", str(t.steps)] if t.steps else []
        more = ["--leave-out"] if t.leave_out else []
        run, scores = str(folder / "run"), str(folder / SCORES)
        return [
            (
                "train",
                [*vldata, "train", build, "--out", run, "--preset", t.preset, *sets, *steps, *device, *more, "--json"],
            ),
            (
                "evaluate",
                [*vldata, "eval", run, held_out, "--out", scores, "--split", cell.questions.split, *device, "--json"],
            ),
        ]

    def environment(self, slot: int = 0) -> dict[str, str]:
        """The process's environment: it must find the vldata that runs here, and its GPU.

        Args:
            slot: Of the cells that run at a time, which this is.
        """
        here = str(Path(__file__).parents[2])
        path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": path}
        if self.threads is not None:
            environment |= {"OMP_NUM_THREADS": str(self.threads), "MKL_NUM_THREADS": str(self.threads)}
        if self.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self.gpus[slot % len(self.gpus)]
        return environment


SCORES = "scores.json"


@dataclass(frozen=True)
class Cell:
    """One training of one variant.

    Args:
        seed: Of the training.
        build: What is trained on.
    """

    variant: str
    seed: int
    data_seed: int
    build: VariantBuild
    questions: Questions

    def key(self, trainer: Trainer) -> str:
        """Hash of all that decides what it scores; variants with the same rows share a cell."""
        return key_of(
            {
                "what": KeySubject.CELL,
                "versions": [CELL_VERSION, __version__],
                "trainer": trainer.key(),
                "seed": self.seed,
                "data": self.build.fingerprint("train"),
                "questions": [self.questions.split, self.questions.fingerprint],
            }
        )


@dataclass(frozen=True)
class CellFailure:
    """Why a cell has no scores."""

    stage: Stage
    error: str


def run_cell(
    cell: Cell,
    trainer: Trainer,
    cells: Path,
    *,
    slot: int = 0,
    stopping: threading.Event | None = None,
    report: Report | None = None,
) -> CellFailure | None:
    """Train and evaluate, or find that done.

    Args:
        slot: Of the cells that run at a time, which this is.
        stopping: When set, the processes are ended; what they have is kept, and None is returned.
        report: Is called with each stage, and when this waits.

    Returns:
        Why it failed; None when its scores are there, or when it was stopped.
    """
    key = cell.key(trainer)
    folder = cells / key
    folder.mkdir(parents=True, exist_ok=True)
    report = report or (lambda text: None)
    stopping = stopping or threading.Event()
    with held(folder / "lock", report, stopping) as lock:
        if lock is None:
            return None
        if (folder / "done.json").is_file():
            return None
        for stale in ("failed.json", SCORES, Path(SCORES).stem + ITEMS):  # what an attempt that failed may have left
            (folder / stale).unlink(missing_ok=True)
        return _attempt(cell, trainer, folder, lock, slot, stopping, report)


def _attempt(
    cell: Cell, trainer: Trainer, folder: Path, lock: int, slot: int, stopping: threading.Event, report: Report
) -> CellFailure | None:
    """Train and evaluate in a cell's own folder, whose lock is held."""
    root = folder.parents[1]
    request = {
        "variant": cell.variant,
        "seed": cell.seed,
        "data_seed": cell.data_seed,
        "build": _below(cell.build.folder, root),
        "questions": _below(cell.questions.build.folder, root),
        "split": cell.questions.split,
    }
    write_text(folder / "cell.json", orjson.dumps(request, option=orjson.OPT_INDENT_2).decode())
    if trainer.key_now() != trainer.key():
        return _failed(folder, CellFailure("train", _CHANGED))
    seconds: dict[str, float] = {}
    for stage, words in trainer.steps(cell, folder):
        report(stage)
        began = time.perf_counter()
        problem = to_its_end(words, folder / "log.txt", trainer.environment(slot), lock, stopping)
        if stopping.is_set():
            return None
        if problem is not None:
            return _failed(folder, CellFailure(stage, problem))
        seconds[stage] = round(time.perf_counter() - began, 3)
    try:
        read_scores(folder / SCORES)
    except VldataError as error:
        return _failed(folder, CellFailure("evaluate", str(error)))
    shutil.rmtree(folder / "run" / "checkpoints", ignore_errors=True)  # for a resume, and there is nothing left to do
    write_text(folder / "done.json", orjson.dumps({"seconds": seconds}, option=orjson.OPT_INDENT_2).decode())
    return None


def _below(folder: Path, root: Path) -> str:
    return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else str(folder)


Scores = TypeVar("Scores")


def outcome_of(folder: Path, read: Callable[[Path], Scores]) -> tuple[Scores | None, CellFailure | None]:
    """What a cell scored, or why it has no scores.

    Args:
        read: Reads its ``scores.json``; a `BuildError` of it is a failure of this cell alone.
    """
    if not (folder / "done.json").is_file():
        return None, failure_of(folder) or CellFailure("train", "it was stopped")
    try:
        return read(folder / SCORES), None
    except BuildError as error:
        return None, CellFailure("evaluate", f"{error.where}: {error.problem}; {error.fix}")


def failure_of(folder: Path) -> CellFailure | None:
    """Why the last attempt at a cell failed."""
    try:
        return CellFailure(**orjson.loads((folder / "failed.json").read_bytes()))
    except FileNotFoundError:
        return None


def seconds_of(folder: Path) -> float | None:
    """What a finished cell took."""
    try:
        seconds: dict[str, float] = orjson.loads((folder / "done.json").read_bytes())["seconds"]
    except FileNotFoundError:
        return None
    return sum(seconds.values())


def _failed(folder: Path, failure: CellFailure) -> CellFailure:
    write_text(folder / "failed.json", orjson.dumps(vars(failure), option=orjson.OPT_INDENT_2).decode())
    return failure


def _digest(path: Path) -> str:
    """Of a script its content; of anything larger, such as weights, its size and time."""
    status = path.stat()
    if status.st_size > _SCRIPT_BYTES:
        return f"{status.st_size} {status.st_mtime_ns}"
    return blake3(path.read_bytes()).hexdigest(length=16)
