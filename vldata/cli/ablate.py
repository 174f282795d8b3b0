"""`vldata ablate`: variants of one recipe, built in one store, trained, and compared with intervals."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from vldata.base import size
from vldata.cli.options import (
    JsonOption,
    OutOption,
    SetOption,
    StoreOption,
    WorkersOption,
    at_home,
    dataclasses_as_options,
    print_json,
)

if TYPE_CHECKING:
    from vldata.ablation.experiment import Experiment
    from vldata.ablation.file import Train

AblationArg = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="An ablation file, or the name of a bundled one.", show_default=False, callback=at_home
    ),
]
SeedsOption = Annotated[int | None, typer.Option("--seeds", min=1, help="Trainings of each variant.")]
VariantOption = Annotated[
    list[str] | None, typer.Option("--variant", help="Only this variant, and the base; may be said again.")
]
JobsOption = Annotated[int, typer.Option("--jobs", min=1, help="Trainings at a time; they take turns on several GPUs.")]


@dataclass(frozen=True)
class ExperimentOptions:
    """The options that `vldata ablate run` and `vldata tune` share."""

    out: OutOption
    store: StoreOption = None
    workers: WorkersOption = None
    set_: SetOption = None

    def experiment(self, train: Train, jobs: int) -> Experiment:
        """The experiment, once it is known how models are trained."""
        from vldata.ablation.cells import Trainer
        from vldata.ablation.experiment import Experiment
        from vldata.pipeline.workers import cores

        identity = config_hash(train) if train.command is None else None
        threads = max(1, cores() // jobs) if jobs > 1 else None
        trainer = Trainer(train, identity, threads, tuple(gpus_for(train, jobs)))
        return Experiment(self.out, trainer, self.store, self.workers, jobs)


class _RunByDefault(TyperGroup):
    """`vldata ablate FILE` is `vldata ablate run FILE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in where only its arguments stand."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


ablate_app = typer.Typer(
    cls=_RunByDefault,
    no_args_is_help=True,
    help="Vary a recipe and compare: vldata ablate FILE --out DIR; vldata ablate plan FILE.",
)


@ablate_app.command("run")
@dataclasses_as_options
def run(
    file: AblationArg,
    options: ExperimentOptions,
    seeds: SeedsOption = None,
    variant: VariantOption = None,
    jobs: JobsOption = 1,
    builds_only: Annotated[bool, typer.Option("--builds-only", help="Build every variant, and train none.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Build every variant, train each with every seed, score all alike, and compare; resumes where it was stopped.

    The exit code is 2 when a build or a training failed; the table has the rest.
    """
    from vldata.ablation.load import load
    from vldata.ablation.run import run as ablate
    from vldata.cli.terminal import live

    opened = load(file, options.set_ or [])
    experiment = options.experiment(opened.ablation.train, jobs)
    with live(lambda: "\n".join(experiment.board.lines()), quiet=as_json):
        table = ablate(opened, experiment, seeds=seeds, chosen=variant or (), builds_only=builds_only)
    if as_json:
        print_json(table)
    elif builds_only:
        _show_plan(table)
    else:
        _show(table, options.out)
    if table["failed"]:
        raise typer.Exit(2)


@ablate_app.command("plan")
def plan(
    file: AblationArg,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The ablation's folder: shows what finished trainings took.", callback=at_home),
    ] = None,
    store: StoreOption = None,
    workers: WorkersOption = None,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    variant: VariantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which variants there are, what each shares with the others, what it would write, and what to train."""
    from vldata.ablation.load import load
    from vldata.ablation.overview import overview
    from vldata.cli.terminal import bars

    opened = load(file, set_ or [])
    cost = _cost_of(opened.ablation.train)
    with bars(quiet=as_json) as progress:
        table = overview(
            opened,
            out=out,
            store=store,
            workers=workers,
            seeds=seeds,
            chosen=variant or (),
            cost=cost,
            progress=progress,
        )
    if as_json:
        print_json(table)
    else:
        _show_plan(table)


@ablate_app.command("schema")
def schema() -> None:
    """Print the JSON Schema of an ablation file, for editors."""
    from vldata.ablation.file import Ablation

    print_json(Ablation.model_json_schema())


def config_hash(train: Train) -> str:
    """Hash of the bundled trainer's whole config; a wrong one is an error before anything is built."""
    from vldata.cli.train import _require_torch
    from vldata.train.overrides import config_of

    _require_torch()
    return config_of(train.preset, train.set).content_hash()


def gpus_for(train: Train, jobs: int) -> list[str]:
    """The GPUs that trainings at a time take turns on: those that are visible. A command finds its own."""
    if jobs == 1 or train.command is not None or train.device == "cpu":
        return []
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name]
    return [str(number) for number in range(torch.cuda.device_count())]


def _cost_of(train: Train) -> tuple[int, int] | None:
    """Steps and tokens of one of the bundled trainer's runs; None where the data's size decides, or a command does."""
    from vldata.train.overrides import config_of

    if train.command is not None:
        return None
    config = config_of(train.preset, train.set)
    steps = [train.steps or stage.steps for stage in config.stages]
    packs = sum(number * stage.packs_per_step for number, stage in zip(steps, config.stages, strict=True))
    return (sum(steps), packs * config.pack_tokens) if all(steps) else None


def _show_plan(content: dict[str, Any]) -> None:
    from vldata.cli.terminal import heading, say, table, visible

    heading(f"{content['name']}: {len(content['variants'])} variants, {content['trainings']} trainings")
    rows = []
    for one in content["variants"]:
        if one["same_as"] is not None:
            rows.append([one["name"], f"same as {one['same_as']}", "", "", "", ""])
        elif one.get("new_blocks") is None:
            rows.append([one["name"], "cannot be built", "", "", "", ""])
        else:
            sizes = [size(one["new_bytes"]), size(one["shared_bytes"])]
            rows.append([one["name"], one["samples"], one["new_blocks"], one["shared_blocks"], *sizes])
    table(["variant", "samples", "new blocks", "shared", "new", "shared bytes"], rows)
    for one in content["failed"]:
        say(visible(f"{one['variant']}: {one['error']}"))
    for note in content["notes"]:
        say(visible(f"note: {note}"))
    if "bytes_to_write" in content:
        say(f"{size(content['bytes_to_write'])} to write in all; the base alone {size(content['bytes_of_base'])}")
        say(_cost(content))


def _cost(content: dict[str, Any]) -> str:
    steps, tokens = content["steps"], content["tokens_per_training"]
    each = f" of {steps:,} steps, {tokens:,} tokens at most" if steps else ""
    text = f"{content['trainings']} trainings{each}: the base {content['base_seeds']}, each variant {content['seeds']}"
    if content["seconds_per_training"] is not None:
        left = content["trainings"] - content["finished"]
        minutes = left * content["seconds_per_training"] / 60
        each = f"{content['seconds_per_training']:.0f} s each"
        text += f"; {content['finished']} are done, {each}: about {minutes:.0f} min left"
    return text


def _show(content: dict[str, Any], out: Path) -> None:
    from vldata.cli.terminal import heading, say, table, visible

    base = len(content["base_seeds"])
    heading(f"{content['name']}: {len(content['seeds'])} trainings of each variant, {base} of the base")
    rows = []
    for one in content["comparisons"]:
        rows.append(
            [one["variant"], one["task"], one["metric"], _signed(one["difference"]), _interval(one), one["verdict"]]
        )
    if rows:
        table(["variant", "task", "measure", "difference", "interval", "verdict"], rows)
        joint = f"{content['level']:.0%}"
        say(f"difference to the base; all {len(rows)} intervals hold at once with {joint}, over seeds and photographs")
    if content["noise"]:
        say()
        heading("the base against itself, with other seeds")
        rows = [
            [
                n["task"],
                n["metric"],
                _signed(n["difference"]),
                _interval(n),
                "unknown" if n["band"] is None else f"{n['band']:.3f}",
                n["verdict"],
            ]
            for n in content["noise"]
        ]
        table(["task", "measure", "difference", "interval", "two runs differ by up to", "verdict"], rows)
    for one in content["variants"]:
        if one["same_as"] is not None:
            say(visible(f"{one['name']}: the same data as {one['same_as']}, run once"))
    for one in content["failed"]:
        seed = "" if one["seed"] is None else f", seed {one['seed']}"
        say(visible(f"failed: {one['variant']}{seed}, {one['stage']}: {one['error']}"))
    for why, tasks in _by_why(content["missing"]).items():
        say(visible(f"missing: {why[0]}, {', '.join(tasks)}: {why[1]}"))
    for note in content["notes"]:
        say(visible(f"note: {note}"))
    say(f"written to {out / 'results.json'}, the differences also as {out / 'results.md'}")
    say(f"next: vldata report {out}")


def _by_why(missing: list[dict[str, str]]) -> dict[tuple[str, str], list[str]]:
    tasks: dict[tuple[str, str], list[str]] = {}
    for one in missing:
        tasks.setdefault((one["variant"], one["why"]), []).append(one["task"])
    return tasks


def _signed(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.3f}"


def _interval(one: dict[str, Any]) -> str:
    if one["ci_low"] is None or one["ci_high"] is None:
        return "unknown"
    return f"{_signed(one['ci_low'])} to {_signed(one['ci_high'])}"
