"""`vldata tune`: mixture weights from small proxy runs, with the error of their prediction."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from vldata.cli.ablate import ExperimentOptions, JobsOption
from vldata.cli.options import JsonOption, at_home, dataclasses_as_options, print_json
from vldata.errors import BuildError


@dataclasses_as_options
def tune(
    file: Annotated[Path, typer.Argument(help="A tuning file.", show_default=False, callback=at_home)],
    options: ExperimentOptions,
    runs: Annotated[int | None, typer.Option("--runs", help="Proxy runs, in place of the file's number.")] = None,
    jobs: JobsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Propose mixture weights from small runs, and say how well they predict; resumes where it was stopped.

    The exit code is 2 when a run failed, the proposed mixture's among them; the table has the rest.
    """
    missing = [name for name in ("scipy", "sklearn") if find_spec(name) is None]
    if missing:
        raise BuildError("vldata tune", f"{' and '.join(missing)} cannot be imported", "pip install 'vldata[tune]'")
    from vldata.ablation.tune.file import load_tune
    from vldata.ablation.tune.run import tune as run
    from vldata.cli.terminal import live

    requested = load_tune(file, options.set_ or [])
    experiment = options.experiment(requested.opened.ablation.train, jobs)
    with live(lambda: "\n".join(experiment.board.lines()), quiet=as_json):
        table = run(requested, experiment, runs=runs)
    if as_json:
        print_json(table)
    else:
        _show(table, options.out)
    if any(one["error"] is not None for one in (*table["runs"], table["proposed"]) if one is not None):
        raise typer.Exit(2)


def _show(content: dict[str, Any], out: Path) -> None:
    from vldata.cli.terminal import heading, say, table

    held_out = content["held_out"]
    heading(
        f"{content['name']}: {content['loss']} predicted from the mixture, on {held_out['mixtures']} held-out mixtures"
    )
    rows = [[task, f"{one['weight']:.0%}", one["model"], *_errors(one)] for task, one in content["tasks"].items()]
    rows.append(["all", "", "", *_errors(held_out)])
    table(["task", "weight", "model", "mean error", "error of the mean", "rank correlation"], rows)
    for one in content["runs"]:
        if one["error"] is not None:
            say(f"failed: {one['name']}, {one['error']}")
    proposed = content["proposed"]
    if proposed is None:
        say(f"nothing is proposed: {content['refused']}")
    else:
        say()
        heading(f"proposed, for {content['total']:,} {content['unit']}")
        shares = [
            [name, f"{source['base_share']:.1%}", f"{proposed['shares'][name]:.1%}", f"{proposed['epochs'][name]:.2f}"]
            for name, source in content["sources"].items()
        ]
        table(["source", "base", "proposed", "epochs"], shares)
        table(
            ["mixture", "predicted", "measured, one run"],
            [
                ["base", *_against(proposed["base_predicted"], proposed["base_measured"])],
                ["proposed", *_against(proposed["predicted"], proposed["measured"])],
            ],
        )
        if proposed["error"] is not None:
            say(f"failed: proposed, {proposed['error']}")
        say("one run each is no comparison: hold the two against each other with vldata ablate")
        say(f"next: vldata build {out / content['recipe']} --out {out / 'tuned'}")
    say(f"written to {out / 'tune.json'}; a page: vldata report {out}")


def _against(predicted: float, measured: float | None) -> list[str]:
    if measured is None:
        return [f"{predicted:.4f}", "failed"]
    return [f"{predicted:.4f}", f"{measured:.4f}, off by {abs(measured - predicted):.3g}"]


def _errors(one: dict[str, Any]) -> list[str]:
    ranks = one["rank_correlation"]
    shown = "none" if ranks is None else f"{ranks:+.2f}"
    return [f"{one['mean_abs_error']:.4f}", f"{one['mean_abs_error_of_mean']:.4f}", shown]
