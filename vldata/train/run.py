"""Whole runs: `train` makes one from builds, `evaluate` scores one on a build; the command line calls nothing else.

What stands in a run's folder is said in `vldata.train.folder`. Everything that can be wrong with the builds, the
tokenizer or the lengths is found (`vldata.train.inputs`) before a weight is made.
"""

from __future__ import annotations

import dataclasses
import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from vldata.errors import BuildError
from vldata.train.checkpoint import Checkpoint
from vldata.train.config import TrainCfg
from vldata.train.flops import useful_flops
from vldata.train.folder import RunFolder
from vldata.train.hf_io import load_decoder, load_vision
from vldata.train.inputs import Builds, ModelInputs, read_inputs
from vldata.train.loop import StagePlan, Step, steps
from vldata.train.model import VLM
from vldata.train.ranks import Ranks, joined
from vldata.train.report import evaluate
from vldata.train.stage import make_stage

__all__ = ["Progress", "evaluate", "train"]

Progress = Callable[[dict[str, Any]], None]
"""Called with each step (as in ``metrics.jsonl``, with ``total``), and with notes as ``{"note": text}``."""

CHECKPOINT_STEPS = 500
"""Steps between two checkpoints, when nothing else is said."""

_NO_NUMBER = "the loss is no finite number any more"


def train(
    builds: Builds,
    out: Path,
    config: TrainCfg,
    *,
    device: str | None = None,
    progress: Progress | None = None,
    leave_out: bool = False,
    checkpoint_steps: int = CHECKPOINT_STEPS,
    workers: int | None = None,
) -> dict[str, Any]:
    """Train a model on a build; a run that was stopped or killed resumes from its last checkpoint.

    Args:
        builds: What `vldata build` wrote, or any `datasets` folder with its columns; or one for each stage, by name.
        config: As `vldata.train.overrides.config_of` reads it.
        device: ``cpu``, ``cuda`` or None: a GPU where there is one.
        leave_out: Leave samples out that fit in no pack, and list them, in place of stopping.
        workers: Threads that make batches ahead; None is 0 on a CPU, where they would only compete, else 8.

    Returns:
        The summary that is in ``summary.json``: ``steps``, ``samples``, ``tokens``, ``seconds``, ``loss`` …; with
        ``stopped`` when it was stopped before the end.

    Raises:
        BuildError: The builds, the tokenizer or the lengths do not fit the run: nothing was loaded onto a device then.
            Or on the way: the loss is no number, the device is too small, the disk is full.
    """
    report = progress or (lambda event: None)
    inputs = read_inputs(config, builds, leave_out=leave_out)
    folder = RunFolder(out)
    with joined(device) as ranks:
        if ranks.is_first:
            folder.claim(inputs)
            if unfit := inputs.unfit_summary():
                report({"note": f"left out: {unfit}"})
        ranks.wait()
        done = folder.summary()
        if done is not None:
            report({"note": f"{out} is finished; nothing is left to do"})
            return done
        threads = workers if workers is not None else 0 if ranks.device.type == "cpu" else 8
        locked = folder.locked() if ranks.is_first else nullcontext()
        with locked, _stop_signal() as stopping:
            try:
                return _Run(inputs, folder, ranks, report, checkpoint_steps, threads).all_stages(stopping)
            except torch.OutOfMemoryError:
                fix = "lower pack_tokens and pack_images, or set checkpoint_blocks=true, or shard=true on several GPUs"
                raise BuildError(str(ranks.device), "the model and a pack do not fit its memory", fix) from None


@dataclasses.dataclass
class _Run:
    """One run in progress."""

    inputs: ModelInputs
    folder: RunFolder
    ranks: Ranks
    report: Progress
    checkpoint_steps: int
    workers: int
    num_weights: int = 0

    @property
    def config(self) -> TrainCfg:
        return self.inputs.config

    def all_stages(self, stopping: threading.Event) -> dict[str, Any]:
        first, resumed = self._where()
        for number in range(first, len(self.config.stages)):
            if self._stage(number, resumed if number == first else None, stopping):
                return {**self._summary(), "stopped": True}
            self.ranks.wait()
        summary = self._summary()
        if self.ranks.is_first:
            self.folder.finish(summary)
        return summary

    def _stage(self, number: int, resumed: Checkpoint | None, stopping: threading.Event) -> bool:
        """Train one stage from the weights of the one before; True when it was stopped before its end."""
        model = self._model(number)
        stage = make_stage(model, self.config, number, self.inputs.stages[number], self.ranks, resumed)
        start = int(resumed.state["step"]) if resumed is not None else 0
        if self.ranks.is_first:
            self.folder.forget_from(number, start)
        self.ranks.wait()
        done_before = sum(1 for _ in self.folder.lines()) - start
        total = stage.plan.total
        for step in steps(
            stage.loss,
            stage.plan,
            stage.collator,
            stage.optimizer,
            self.ranks,
            start=start,
            workers=self.workers,
            is_sharded=stage.is_sharded,
        ):
            if not math.isfinite(step.loss):
                fix = "lower the learning rates or `clip`, and train again"
                raise BuildError(f"step {step.number} of {self.config.stages[number].name}", _NO_NUMBER, fix)
            self._log(number, step, stage.plan)
            done = step.number + 1
            stop = self._agreed(stopping.is_set()) and done < total
            if (stop or done % self.checkpoint_steps == 0) and done < total:
                if self.ranks.is_first or stage.is_sharded:
                    saved = stage.checkpoint(number, done)
                if self.ranks.is_first:
                    self.folder.save_checkpoint(done_before + done, saved)
            if stop:
                self.ranks.wait()
                return True
        if self.ranks.is_first or stage.is_sharded:
            weights = stage.weights()
        if self.ranks.is_first:
            self.folder.save_weights(self.config, number, weights)
        return False

    def _model(self, number: int) -> VLM:
        """The model that a stage starts from."""
        torch.manual_seed(self.config.seed)
        model = VLM(self.config)
        self.num_weights = sum(weight.numel() for weight in model.parameters())
        if number:
            model.load_state_dict(self.folder.weights(self.config, number - 1))
            return model
        if self.config.vision_dir:
            load_vision(model.vision, Path(self.config.vision_dir))
        if self.config.decoder_dir:
            load_decoder(model.decoder, Path(self.config.decoder_dir))
        return model

    def _where(self) -> tuple[int, Checkpoint | None]:
        """The stage to resume with, and its checkpoint if there is one."""
        finished = 0
        while finished + 1 < len(self.config.stages) and self.folder.has_weights(self.config, finished):
            finished += 1
        saved = self.folder.last_checkpoint()
        if saved is not None and saved.state["stage"] == finished:
            self.report({"note": f"resumes from step {saved.state['step']} of {self.config.stages[finished].name}"})
            return finished, saved
        return finished, None

    def _agreed(self, stop: bool) -> bool:
        """Whether any rank is to stop."""
        flag = torch.tensor(float(stop), device=self.ranks.device)
        self.ranks.sum([flag])
        return bool(flag > 0)

    def _log(self, number: int, step: Step, plan: StagePlan) -> None:
        if not self.ranks.is_first:
            return
        stage = self.config.stages[number]
        lengths = [int(plan.tokens[index]) for pack in plan.step(step.number) for index in pack]
        flops = useful_flops(self.config, stage, lengths, step.views, step.supervised)
        line = {
            "stage": stage.name,
            "stage_number": number,
            "step": step.number,
            **{key: value for key, value in dataclasses.asdict(step).items() if key != "number"},
            "tflops_per_device": flops / step.seconds / self.ranks.size / 1e12,
        }
        if self.ranks.device.type == "cuda":
            line["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        self.folder.log(line)
        self.report({**line, "total": plan.total})

    def _summary(self) -> dict[str, Any]:
        lines = list(self.folder.lines())
        seconds = sum(line["seconds"] for line in lines)
        last = lines[-max(1, len(lines) // 20) :]
        return {
            "config": self.config.content_hash(),
            "weights": self.num_weights,
            "steps": len(lines),
            "seconds": seconds,
            **{name: sum(line[name] for line in lines) for name in ("samples", "tokens", "supervised", "images")},
            "samples_per_s": sum(line["samples"] for line in lines) / seconds if seconds else 0.0,
            "tokens_per_s": sum(line["tokens"] for line in lines) / seconds if seconds else 0.0,
            "data_wait": sum(line["data_wait"] for line in lines) / seconds if seconds else 0.0,
            "loss": sum(line["loss"] for line in last) / len(last) if last else None,
            "left_out": sum(len(data.unfit) for data in self.inputs.distinct()),
            "device": str(self.ranks.device),
            "ranks": self.ranks.size,
        }


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """An event that SIGTERM sets; schedulers send it a while before they kill."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event  # signals reach the main thread alone
        return
    before = signal.signal(signal.SIGTERM, lambda *_: event.set())
    try:
        yield event
    finally:
        signal.signal(signal.SIGTERM, before)
