"""`vldata train` and `vldata eval`: the bundled reference trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from vldata.cli.options import BuildArg, JsonOption, SetOption, at_home, print_json
from vldata.errors import BuildError
from vldata.paths import home

DeviceOption = Annotated[str | None, typer.Option("--device", help="cpu or cuda; a GPU where there is one.")]


def add_train_commands(app: typer.Typer) -> None:
    """Add the two commands."""
    app.command("train")(train)
    app.command("eval")(evaluate)


def train(
    builds: Annotated[
        list[str],
        typer.Argument(
            metavar="BUILD...", help="A build, or one for each stage: pretrain=DIR finetune=DIR.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The run's folder.", show_default=False, callback=at_home)],
    preset: Annotated[
        str, typer.Option("--preset", help="tiny, s222, m1500, llava_7b, llava15_7b or honeybee_c7b.")
    ] = "tiny",
    set_: SetOption = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Steps of each stage.")] = None,
    device: DeviceOption = None,
    leave_out: Annotated[
        bool, typer.Option("--leave-out", help="List samples that do not fit, and train without them.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train the reference model on a build; a run that was stopped resumes.

    --set vision_dir=DIR and --set decoder_dir=DIR start from local Hugging Face folders, in the shapes of their
    config.json.
    """
    _require_torch()
    from vldata.cli.terminal import say
    from vldata.train.overrides import config_of
    from vldata.train.run import train as run

    by_stage = _by_stage(builds)
    with _panel(quiet=as_json) as progress:
        summary = run(
            by_stage,
            out,
            config_of(preset, set_ or (), steps),
            device=device,
            progress=progress,
            leave_out=leave_out,
        )
    if as_json:
        print_json(summary)
    else:
        for name, value in summary.items():
            say(f"{name}: {_shown(value)}")
        last = by_stage if isinstance(by_stage, Path) else list(by_stage.values())[-1]
        say(f"next: vldata eval {out} {last} --out {out / 'scores.json'}")
    if summary.get("stopped"):
        raise typer.Exit(130)


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run's folder.", show_default=False, callback=at_home)],
    build: BuildArg,
    out: Annotated[Path | None, typer.Option("--out", help="File for the scores, JSON.", callback=at_home)] = None,
    split: Annotated[str | None, typer.Option("--split", help="A held-out split; the first there is.")] = None,
    device: DeviceOption = None,
    compare_with: Annotated[
        Path | None, typer.Option("--against", help="Scores of another run, to compare with.", callback=at_home)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score a run on a held-out split: per task, with intervals, and blind (each image its mean colour)."""
    _require_torch()
    from vldata.cli.terminal import say, table
    from vldata.train.run import evaluate as score

    with _panel(quiet=as_json) as progress:
        scores = score(run, build, out, split=split, device=device, compare_with=compare_with, progress=progress)
    if as_json:
        print_json(scores)
        return
    rows = [
        [
            task,
            row["metric"],
            f"{row['value']:.3f}",
            f"{row['ci_low']:.3f} to {row['ci_high']:.3f}",
            f"{_value(row['blind']):.3f}",
            f"{row['n']:,}",
        ]
        for task, row in scores["tasks"].items()
    ]
    table(["task", "metric", "value", "95 % interval", "blind", "items"], rows)
    if "against" in scores:
        say(f"\nless {compare_with}, over the answers that both have; two runs, so not what other seeds would give")
        table(["task", "metric", "difference", "95 % interval", "answers"], _differences(scores["against"]["tasks"]))
    if out is not None:
        say(f"written to {out}")


def _differences(tasks: dict[str, dict[str, Any]]) -> list[list[str]]:
    return [
        [task, row["metric"], "none in common", "", "0"]
        if row["difference"] is None
        else [
            task,
            row["metric"],
            f"{row['difference']:+.3f}",
            f"{row['ci_low']:+.3f} to {row['ci_high']:+.3f}",
            f"{row['n']:,}",
        ]
        for task, row in tasks.items()
    ]


def _by_stage(builds: list[str]) -> Path | dict[str, Path]:
    """One folder for all stages, or one for each by name; a folder that is there is a folder, ``=`` or not."""
    if len(builds) == 1 and ("=" not in builds[0] or Path(builds[0]).exists()):
        return home(Path(builds[0]))
    folders: dict[str, Path] = {}
    for build in builds:
        stage, named, folder = build.partition("=")
        if not named:
            fix = "write STAGE=BUILD for each, with the stages of the preset"
            raise BuildError(build, "of several builds, this one says no stage", fix)
        if stage in folders:
            problem = f"stage {stage!r} has a build already: {folders[stage]}"
            raise BuildError(build, problem, "give each stage one build")
        folders[stage] = home(Path(folder))
    return folders


def _value(blind: Any) -> float:
    return float(blind["value"] if isinstance(blind, dict) else blind)


def _shown(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _require_torch() -> None:
    missing = [name for name in ("torch", "safetensors", "tokenizers") if find_spec(name) is None]
    if missing:
        fix = "pip install 'vldata[train]'"
        raise BuildError("the trainer", f"{' and '.join(missing)} cannot be imported", fix)


@contextmanager
def _panel(*, quiet: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """The last step's numbers, and notes, while it runs."""
    from vldata.cli.terminal import live

    last: dict[str, Any] = {}
    notes: list[str] = []

    def lines() -> str:
        numbers = ", ".join(f"{name} {_shown(value)}" for name, value in last.items() if not isinstance(value, dict))
        return "\n".join([*notes[-3:], numbers])

    def progress(event: dict[str, Any]) -> None:
        if "note" in event:
            notes.append(str(event["note"]))
        else:
            last.update(event)

    with live(lines, quiet=quiet):
        yield progress
