"""`vldata ablate`: variants of one recipe, built in one store, trained, and compared with intervals."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vldata.base import size
from vldata.cli.options import JsonOption, OutOption, SetOption, StoreOption, WorkersOption, at_home, print_json

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
def run(
    file: AblationArg,
    out: OutOption,
    store: StoreOption = None,
    workers: WorkersOption = None,
    set_: SetOption = None,
    seeds: SeedsOption = None,
    variant: VariantOption = None,
    jobs: Annotated[
        int, typer.Option("--jobs", min=1, help="Trainings at a time; they take turns on several GPUs.")
    ] = 1,
    builds_only: Annotated[bool, typer.Option("--builds-only", help="Build every variant, and train none.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Build every variant, train each with every seed, ask all the same, compare; goes on where it was stopped.

    The exit code is 2 when a build or a training failed; the table has the rest.
    """
    from vldata.ablation.load import load
    from vldata.ablation.run import run as ablate
    from vldata.ablation.schedule import Board
    from vldata.cli.terminal import live
    from vldata.pipeline.workers import cores

    opened = load(file, set_ or [])
    board = Board()
    with live(lambda: "\n".join(board.lines()), quiet=as_json):
        found = ablate(
            opened,
            out,
            identity=lambda: config_hash(opened.ablation.train),
            store=store,
            workers=workers,
            seeds=seeds,
            jobs=jobs,
            threads=max(1, cores() // jobs) if jobs > 1 else None,
            gpus=gpus_for(opened.ablation.train, jobs),
            chosen=variant or (),
            builds_only=builds_only,
            board=board,
        )
    if as_json:
        print_json(found)
    elif builds_only:
        _show_plan(found)
    else:
        _show(found, out)
    if found["failed"]:
        raise typer.Exit(2)


@ablate_app.command("plan")
def plan(
    file: AblationArg,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The ablation's folder: tells what finished trainings took.", callback=at_home),
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
        found = overview(
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
        print_json(found)
    else:
        _show_plan(found)


@ablate_app.command("schema")
def schema() -> None:
    """Print the JSON Schema of an ablation file, for editors."""
    from vldata.ablation.file import Ablation

    print_json(Ablation.model_json_schema())


def config_hash(train: Any) -> str:
    """Hash of all that the bundled trainer's config says; told before anything is built when it is none."""
    from vldata.cli.train import _require_torch
    from vldata.train.overrides import config_of

    _require_torch()
    return config_of(train.preset, train.set).content_hash()


def gpus_for(train: Any, jobs: int) -> list[str]:
    """The GPUs that trainings at a time take turns on: those that are visible. A command finds its own."""
    if jobs == 1 or train.command is not None or train.device == "cpu":
        return []
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name]
    return [str(number) for number in range(torch.cuda.device_count())]


def _cost_of(train: Any) -> tuple[int, int] | None:
    """Steps and tokens of one of the bundled trainer's runs; None where the data's size decides, or a command does."""
    from vldata.train.overrides import config_of

    if train.command is not None:
        return None
    config = config_of(train.preset, train.set)
    steps = [train.steps or stage.steps for stage in config.stages]
    packs = sum(number * stage.packs_per_step for number, stage in zip(steps, config.stages, strict=True))
    return (sum(steps), packs * config.pack_tokens) if all(steps) else None


def _show_plan(found: dict[str, Any]) -> None:
    from vldata.cli.terminal import heading, say, table, visible

    heading(f"{found['name']}: {len(found['variants'])} variants, {found['trainings']} trainings")
    rows = []
    for one in found["variants"]:
        if one["same_as"] is not None:
            rows.append([one["name"], f"same as {one['same_as']}", "", "", "", ""])
        elif one.get("new_blocks") is None:
            rows.append([one["name"], "cannot be built", "", "", "", ""])
        else:
            sizes = [size(one["new_bytes"]), size(one["shared_bytes"])]
            rows.append([one["name"], one["samples"], one["new_blocks"], one["shared_blocks"], *sizes])
    table(["variant", "samples", "new blocks", "shared", "new", "shared bytes"], rows)
    for one in found["failed"]:
        say(visible(f"{one['variant']}: {one['error']}"))
    for note in found["notes"]:
        say(visible(f"note: {note}"))
    if "bytes_to_write" in found:
        say(f"{size(found['bytes_to_write'])} to write in all; the base alone {size(found['bytes_of_base'])}")
        say(_cost(found))


def _cost(found: dict[str, Any]) -> str:
    steps, tokens = found["steps"], found["tokens_per_training"]
    each = f" of {steps:,} steps, {tokens:,} tokens at most" if steps else ""
    told = f"{found['trainings']} trainings{each}: the base {found['base_seeds']}, each variant {found['seeds']}"
    if found["seconds_per_training"] is not None:
        left = found["trainings"] - found["finished"]
        minutes = left * found["seconds_per_training"] / 60
        told += (
            f"; {found['finished']} are done, {found['seconds_per_training']:.0f} s each: about {minutes:.0f} min left"
        )
    return told


def _show(found: dict[str, Any], out: Path) -> None:
    from vldata.cli.terminal import heading, say, table, visible

    base = len(found["base_seeds"])
    heading(f"{found['name']}: {len(found['seeds'])} trainings of each variant, {base} of the base")
    rows = []
    for one in found["comparisons"]:
        rows.append(
            [one["variant"], one["task"], one["metric"], _signed(one["difference"]), _interval(one), one["verdict"]]
        )
    if rows:
        table(["variant", "task", "measure", "difference", "interval", "verdict"], rows)
        joint = f"{found['level']:.0%}"
        say(f"difference to the base; all {len(rows)} intervals hold at once with {joint}, over seeds and photographs")
    if found["noise"]:
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
            for n in found["noise"]
        ]
        table(["task", "measure", "difference", "interval", "two runs differ by up to", "verdict"], rows)
    for one in found["variants"]:
        if one["same_as"] is not None:
            say(visible(f"{one['name']}: the same data as {one['same_as']}, run once"))
    for one in found["failed"]:
        seed = "" if one["seed"] is None else f", seed {one['seed']}"
        say(visible(f"failed: {one['variant']}{seed}, {one['stage']}: {one['error']}"))
    for why, tasks in _by_why(found["missing"]).items():
        say(visible(f"missing: {why[0]}, {', '.join(tasks)}: {why[1]}"))
    for note in found["notes"]:
        say(visible(f"note: {note}"))
    say(f"written to {out / 'results.json'}, the differences also as {out / 'results.md'}")
    say(f"next: vldata report {out}")


def _by_why(missing: list[dict[str, str]]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for one in missing:
        found.setdefault((one["variant"], one["why"]), []).append(one["task"])
    return found


def _signed(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.3f}"


def _interval(one: dict[str, Any]) -> str:
    if one["ci_low"] is None or one["ci_high"] is None:
        return "unknown"
    return f"{_signed(one['ci_low'])} to {_signed(one['ci_high'])}"
