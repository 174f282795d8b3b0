"""Whole runs: `train` makes one from a build, `evaluate` scores one on a build; the command line calls nothing else.

    <run>/run.json             what was asked for: config, builds, hashes; a folder with another one's is refused
    <run>/tokenizer.json       the tokenizer
    <run>/left_out.jsonl       samples that fit in no pack and were allowed to be left out; usually empty
    <run>/metrics.jsonl        a line a step
    <run>/checkpoints/         see `vldata.train.checkpoint`
    <run>/model.safetensors    all weights, when the last stage is done
    <run>/summary.json         written last: a folder that has it is a finished run

Everything that can be wrong with the build, the tokenizer or the lengths is found before a weight is made.
"""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors.torch import load_file

from vldata.errors import BuildError
from vldata.train import checkpoint
from vldata.train.batch import Batch
from vldata.train.checkpoint import Checkpoint, write_tensors, write_whole
from vldata.train.collate import Collator, Pictures
from vldata.train.config import StageCfg, TrainCfg, to_dict
from vldata.train.data import HELD_OUT, Encoded, Split, encode, splits, texts_of
from vldata.train.evaluate import Scorer, questions, table
from vldata.train.flops import useful_flops
from vldata.train.hf_io import load_decoder, load_vision
from vldata.train.loop import StagePlan, Step, optimizer_of, optimizer_tensors, restore_optimizer, steps
from vldata.train.loss import summed_loss
from vldata.train.model import VLM, apply_stage
from vldata.train.pack import Limits, too_large
from vldata.train.presets import preset as preset_of
from vldata.train.ranks import Ranks, joined
from vldata.train.settings import from_dict, override
from vldata.train.tokenizer import Tokenizer, load, made_from

Progress = Callable[[dict[str, Any]], None]
"""Told of each step (as in ``metrics.jsonl``, with ``total``), and of anything worth a line as ``{"note": text}``."""

CHECKPOINT_STEPS = 500
"""Steps between two checkpoints, when nothing else is said."""

_LISTED = 5  # of the samples that do not fit, in the message; all of them are in the file


def train(
    build: Path,
    out: Path,
    *,
    preset: str = "tiny",
    sets: Sequence[str] = (),
    steps: int | None = None,
    device: str | None = None,
    progress: Progress | None = None,
    leave_out: bool = False,
    checkpoint_steps: int = CHECKPOINT_STEPS,
    workers: int | None = None,
) -> dict[str, Any]:
    """Train a model on a build; a run that was stopped or killed goes on from its last checkpoint.

    Args:
        build: What `vldata build` wrote, or any `datasets` folder with its columns.
        out: The run's folder.
        preset: A name of `vldata.train.presets`.
        sets: Changes of it, ``dotted.key=value``.
        steps: Steps of each stage in place of the preset's.
        device: ``cpu``, ``cuda`` or None: a GPU where there is one.
        progress: Is told what happens.
        leave_out: Leave samples out that fit in no pack, and list them, in place of stopping.
        checkpoint_steps: Steps between two checkpoints.
        workers: Threads that make batches ahead; None is 0 on a CPU, where they would only compete, else 8.

    Returns:
        The summary that is in ``summary.json``: ``steps``, ``samples``, ``tokens``, ``seconds``, ``loss`` …; with
        ``stopped`` when it was told to stop before the end.

    Raises:
        BuildError: The build, the tokenizer or the lengths do not fit the run; nothing was loaded onto a device.
        TrainError: The preset or a change is none.
    """
    tell = progress or (lambda event: None)
    config = _config(preset, sets, steps)
    split = _train_split(build)
    tokenizer = _tokenizer(config, split)
    encoded = encode(split.samples(), tokenizer, split.fingerprint)
    config = replace(config, decoder=replace(config.decoder, vocab=max(config.decoder.vocab, tokenizer.size)))
    unfit = _checked(config, split, encoded, leave_out)
    with joined(device) as ranks:
        if ranks.is_first:
            _open_run(out, build, config, encoded, tokenizer)
            write_whole(out / "left_out.jsonl", b"".join(orjson.dumps(one) + b"\n" for one in unfit.values()))
            if unfit:
                tell({"note": f"left out: {_told(unfit, encoded, config)}"})
        ranks.wait()
        if (out / "summary.json").is_file():
            tell({"note": f"{out} is finished; nothing is left to do"})
            return dict(orjson.loads((out / "summary.json").read_bytes()))
        threads = workers if workers is not None else 0 if ranks.device.type == "cpu" else 8
        run = _Run(config, out, split, encoded, sorted(unfit), ranks, tell, checkpoint_steps, threads)
        with _told_to_stop() as stopping:
            return run.all_stages(stopping)


def evaluate(
    run: Path,
    build: Path,
    out: Path | None = None,
    *,
    split: str | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score a finished run on a held-out split, seeing and blind.

    Args:
        run: Its folder.
        build: Whose split is asked; usually the one that it was trained on.
        out: Where the scores go as JSON; beside it, ``<name>.items.jsonl`` has each answer's, for paired comparisons.
        split: Its name; None takes the first there is of `HELD_OUT`.
        device: As in `train`.
        progress: Is told what happens.

    Returns:
        ``tasks.<task>.{metric, value, ci_low, ci_high, n, blind, gain, also}``, the same by source and task, and what
        was evaluated.

    Raises:
        BuildError: The run is not finished, or the build has no such split.
    """
    tell = progress or (lambda event: None)
    config, tokenizer = _finished(run)
    held_out = _held_out(build, split)
    samples = list(held_out.samples())
    asked = questions(samples, tokenizer)
    if not asked:
        raise BuildError(str(build), f"the split {held_out.name!r} holds no answers", "evaluate another split")
    with joined(device) as ranks:
        model = VLM(config)
        model.load_state_dict({k: v.float() for k, v in load_file(run / "model.safetensors").items()})
        model.to(ranks.device).eval()
        stage = config.stages[-1]
        limits = Limits(config.pack_tokens, config.pack_images)
        scorer = Scorer(model, tokenizer, limits, config.tokens_per_image(stage), ranks.device)
        side_px = stage.side_px or config.vision.side_px
        scored = {}
        for name in ("sees", "blind"):
            began = time.perf_counter()
            pictures = Pictures(held_out, side_px, blind=name == "blind")
            scored[name] = scorer.score(asked, pictures.get)
            tell({"note": f"{len(asked)} answers, {name}: {time.perf_counter() - began:.1f} s"})
    found = {
        "run": str(run),
        "build": str(build),
        "split": held_out.name,
        "fingerprint": held_out.fingerprint,
        "config": config.content_hash(),
        **table(scored["sees"], scored["blind"], samples),
    }
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        items = [
            {
                "id": samples[one.question.sample].id,
                "turn": one.question.turn,
                "task": one.question.task,
                "source": one.question.source,
                "answer": one.question.answer,
                "said": one.said,
                "scores": one.scores,
                "blind": hidden.scores,
            }
            for one, hidden in zip(scored["sees"], scored["blind"], strict=True)
        ]
        write_whole(out.with_suffix(".items.jsonl"), b"".join(orjson.dumps(item) + b"\n" for item in items))
        write_whole(out, orjson.dumps(found, option=orjson.OPT_INDENT_2))
    return found


@dataclasses.dataclass
class _Run:
    """One run while it goes on."""

    config: TrainCfg
    out: Path
    split: Split
    encoded: Encoded
    without: list[int]
    ranks: Ranks
    tell: Progress
    checkpoint_steps: int
    workers: int

    def all_stages(self, stopping: threading.Event) -> dict[str, Any]:
        first, at = self._where()
        torch.manual_seed(self.config.seed)
        model = VLM(self.config)
        if first:
            model.load_state_dict(load_file(self._stage_file(first - 1)))
        else:
            _load_parts(model, self.config)
        model.to(self.ranks.device)
        for number in range(first, len(self.config.stages)):
            resumed = at if number == first else None
            if self._stage(model, number, resumed, stopping):
                return {**self._summary(model), "stopped": True}
            apply_stage(model, StageCfg())  # merges what the stage added
            is_last = number + 1 == len(self.config.stages)
            if self.ranks.is_first:
                write_tensors(self.out / "model.safetensors" if is_last else self._stage_file(number), _whole(model))
            self.ranks.wait()
        summary = self._summary(model)
        if self.ranks.is_first:
            write_whole(self.out / "summary.json", orjson.dumps(summary, option=orjson.OPT_INDENT_2))
        return summary

    def _stage(self, model: VLM, number: int, resumed: Checkpoint | None, stopping: threading.Event) -> bool:
        """Train one stage; True when it was stopped before its end."""
        stage, config, device = self.config.stages[number], self.config, self.ranks.device
        on_gpu = device.type == "cuda"
        torch.manual_seed(config.seed + number + 1)  # of the updates that a stage adds
        apply_stage(model, stage, torch.bfloat16 if on_gpu else None)
        if on_gpu and config.compile:
            for block in [*model.vision.layers, *model.decoder.layers]:
                block.compile()
        model.train()
        optimizer = optimizer_of(model, stage)
        start = 0
        if resumed is not None:
            start = int(resumed.state["step"])
            model.load_state_dict(resumed.model, strict=False)
            restore_optimizer(optimizer, resumed.optimizer)
        tokens_per_image = config.tokens_per_image(stage)
        limits = Limits(config.pack_tokens, config.pack_images)
        plan = StagePlan(self.encoded, limits, stage, tokens_per_image, config.seed, self.without)
        pictures = Pictures(self.split, stage.side_px or config.vision.side_px)
        collator = Collator(self.encoded, pictures, self.split.id, tokens_per_image, config.weighting, pin=on_gpu)

        def loss(batch: Batch) -> torch.Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu):
                return summed_loss(model(batch), batch.labels, batch.weights, model.head_weight)

        self._forget_from(number, start)
        learnt = [name for name, weight in model.named_parameters() if weight.requires_grad]
        done_before = sum(1 for _ in self._lines())
        for step in steps(loss, plan, collator, optimizer, self.ranks, start=start, workers=self.workers):
            self._log(number, step, plan)
            done = step.number + 1
            stop = self._agreed(stopping.is_set()) and done < plan.total
            if (stop or done % self.checkpoint_steps == 0) and done < plan.total and self.ranks.is_first:
                weights = dict(model.named_parameters())
                saved = Checkpoint(
                    {"stage": number, "step": done},
                    {name: weights[name] for name in learnt},
                    optimizer_tensors(optimizer),
                )
                checkpoint.save(self.out / "checkpoints", done_before + done - start, saved)
            if stop:
                self.ranks.wait()
                return True
        return False

    def _where(self) -> tuple[int, Checkpoint | None]:
        """The stage to go on with, and its checkpoint if there is one."""
        finished = 0
        while finished + 1 < len(self.config.stages) and self._stage_file(finished).is_file():
            finished += 1
        path = checkpoint.latest(self.out / "checkpoints")
        found = checkpoint.load(path) if path is not None else None
        if found is not None and found.state["stage"] == finished:
            self.tell({"note": f"goes on from step {found.state['step']} of {self.config.stages[finished].name}"})
            return finished, found
        return finished, None

    def _stage_file(self, number: int) -> Path:
        return self.out / f"stage-{number}-{self.config.stages[number].name}.safetensors"

    def _agreed(self, stop: bool) -> bool:
        """Whether any rank was told to stop."""
        flag = torch.tensor(float(stop), device=self.ranks.device)
        self.ranks.sum([flag])
        return bool(flag > 0)

    def _log(self, number: int, step: Step, plan: StagePlan) -> None:
        if not self.ranks.is_first:
            return
        stage = self.config.stages[number]
        lengths = [int(plan.tokens[index]) for pack in plan.step(step.number) for index in pack]
        flops = useful_flops(self.config, stage, lengths, step.images, step.supervised)
        line = {
            "stage": stage.name,
            "stage_number": number,
            "step": step.number,
            **{key: value for key, value in dataclasses.asdict(step).items() if key != "number"},
            "tflops_per_device": flops / step.seconds / self.ranks.size / 1e12,
        }
        if self.ranks.device.type == "cuda":
            line["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        with (self.out / "metrics.jsonl").open("ab") as file:
            file.write(orjson.dumps(line) + b"\n")
        self.tell({**line, "total": plan.total})

    def _forget_from(self, number: int, start: int) -> None:
        """Drop lines of steps that will be done again."""
        if self.ranks.is_first:
            kept = [line for line in self._lines() if (line["stage_number"], line["step"]) < (number, start)]
            write_whole(self.out / "metrics.jsonl", b"".join(orjson.dumps(line) + b"\n" for line in kept))
        self.ranks.wait()

    def _lines(self) -> Iterator[dict[str, Any]]:
        path = self.out / "metrics.jsonl"
        if path.is_file():
            for line in path.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n"):  # the last one of a killed run may be half a line
                    yield orjson.loads(line)

    def _summary(self, model: VLM) -> dict[str, Any]:
        lines = list(self._lines())
        seconds = sum(line["seconds"] for line in lines)
        last = lines[-max(1, len(lines) // 20) :]
        return {
            "config": self.config.content_hash(),
            "weights": sum(weight.numel() for weight in model.parameters()),
            "steps": len(lines),
            "seconds": seconds,
            **{name: sum(line[name] for line in lines) for name in ("samples", "tokens", "supervised", "images")},
            "samples_per_s": sum(line["samples"] for line in lines) / seconds if seconds else 0.0,
            "tokens_per_s": sum(line["tokens"] for line in lines) / seconds if seconds else 0.0,
            "data_wait": sum(line["data_wait"] for line in lines) / seconds if seconds else 0.0,
            "loss": sum(line["loss"] for line in last) / len(last) if last else None,
            "left_out": len(self.without),
            "device": str(self.ranks.device),
            "ranks": self.ranks.size,
        }


def _config(preset: str, sets: Sequence[str], steps: int | None) -> TrainCfg:
    config = override(preset_of(preset), sets)
    if steps is not None:
        if steps < 1:
            raise BuildError("--steps", f"{steps} steps are none", "give at least 1")
        config = replace(config, stages=tuple(replace(stage, steps=steps) for stage in config.stages))
    return config


def _train_split(build: Path) -> Split:
    found = splits(build)
    if not found.get("train"):
        has = ", ".join(f"{name} ({len(rows)})" for name, rows in found.items()) or "none"
        raise BuildError(str(build), f"it has no rows in a split named train; its splits: {has}", "build one that has")
    return found["train"]


def _held_out(build: Path, name: str | None) -> Split:
    found = {own: rows for own, rows in splits(build).items() if len(rows)}
    names = [name] if name else list(HELD_OUT)
    for own in names:
        if own in found:
            return found[own]
    raise BuildError(
        str(build),
        f"it has no split {' or '.join(names)}; it has {', '.join(found)}",
        "build with `splits: {val: 0.05}`, or name the split to evaluate",
    )


def _tokenizer(config: TrainCfg, split: Split) -> Tokenizer:
    folder = config.tokenizer or config.decoder_dir
    return load(Path(folder)) if folder else made_from(texts_of(split.samples()))


def _checked(config: TrainCfg, split: Split, encoded: Encoded, leave_out: bool) -> dict[int, dict[str, Any]]:
    """The samples that fit in no pack, after every check that needs no model.

    Raises:
        BuildError: Nothing would be learnt, or samples do not fit and are not to be left out.
    """
    if not encoded.num_supervised.any():
        raise BuildError(str(split.folder), "no answer has a loss weight above 0", "check `turns.weight` of the build")
    limits = Limits(config.pack_tokens, config.pack_images)
    unfit: dict[int, dict[str, Any]] = {}
    for stage in config.stages:
        if not stage.lr_decoder and not encoded.num_images.any():
            problem = f"stage {stage.name} learns from images alone, and the build has none"
            raise BuildError(str(split.folder), problem, "add sources with images, or let the decoder learn")
        tokens = encoded.tokens(config.tokens_per_image(stage))
        for index in too_large(tokens, encoded.num_images, limits):
            images = int(encoded.num_images[index])
            unfit[index] = {"id": split.id(index), "tokens": int(tokens[index]), "images": images}
    if unfit and (not leave_out or len(unfit) == len(encoded)):
        fix = "raise pack_tokens or pack_images, or say that such samples be left out"
        raise BuildError(str(split.folder), _told(unfit, encoded, config), fix)
    return dict(sorted(unfit.items()))


def _told(unfit: Mapping[int, Mapping[str, Any]], encoded: Encoded, config: TrainCfg) -> str:
    """How many samples do not fit, and the first of them."""
    listed = [unfit[index] for index in sorted(unfit)]
    shown = ", ".join(f"{one['id']} ({one['tokens']} tokens, {one['images']} images)" for one in listed[:_LISTED])
    limits = f"{config.pack_tokens} tokens and {config.pack_images} images"
    more = ", …" if len(listed) > _LISTED else ""
    return f"{len(listed)} of {len(encoded)} samples fit in no pack of {limits}: {shown}{more}"


def _open_run(out: Path, build: Path, config: TrainCfg, encoded: Encoded, tokenizer: Tokenizer) -> None:
    """Claim the folder.

    Raises:
        BuildError: It holds something else.
    """
    asked = {"config_hash": config.content_hash(), "data": encoded.fingerprint}
    file = out / "run.json"
    if file.is_file():
        had = orjson.loads(file.read_bytes())
        differs = [key for key, value in asked.items() if had.get(key) != value]
        if differs:
            what = " and ".join("its config" if key == "config_hash" else "its data" for key in differs)
            problem = f"the folder holds another run: {what} differs"
            raise BuildError(str(out), problem, "choose another --out, or remove the folder")
        return
    if out.is_dir() and any(out.iterdir()):
        raise BuildError(str(out), "the folder is not empty and holds no run", "choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(out / "tokenizer.json")
    told = {**asked, "build": str(build), "torch": torch.__version__, "config": to_dict(config)}
    write_whole(file, orjson.dumps(told, option=orjson.OPT_INDENT_2))


def _finished(run: Path) -> tuple[TrainCfg, Tokenizer]:
    if not (run / "run.json").is_file():
        raise BuildError(str(run), "this is no run: there is no run.json", "give the --out of `vldata train`")
    if not (run / "summary.json").is_file():
        raise BuildError(str(run), "the run is not finished", "give the same `vldata train` again: it goes on")
    return from_dict(orjson.loads((run / "run.json").read_bytes())["config"]), load(run)


def _load_parts(model: VLM, config: TrainCfg) -> None:
    """Weights of local Hugging Face folders, where the config names them."""
    if config.vision_dir:
        load_vision(model.vision, Path(config.vision_dir))
    if config.decoder_dir:
        load_decoder(model.decoder, Path(config.decoder_dir))


def _whole(model: VLM) -> Mapping[str, torch.Tensor]:
    """All weights, each once: a tied head is the embedding."""
    return dict(model.state_dict())


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
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
