"""`vldata synth export-review` and `import-review`: turns out to people, and their verdicts back."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vldata.cli.options import JsonOption, RecipeArg, at_home, dataclasses_as_options, print_json
from vldata.cli.synth import SynthCommandOptions


class ReviewTool(StrEnum):
    """Where people review."""

    LABEL_STUDIO = "label-studio"
    ARGILLA = "argilla"


def add_review_commands(synth_app: typer.Typer) -> None:
    """Add the commands of this module to ``vldata synth``."""
    for name, command in (("export-review", export_review), ("import-review", import_review)):
        synth_app.command(name)(dataclasses_as_options(command))


def export_review(
    recipe: RecipeArg,
    folder: Annotated[Path, typer.Argument(help="A new folder to write.", show_default=False, callback=at_home)],
    to: Annotated[ReviewTool, typer.Option("--to", help="The tool in which people review.", show_default=False)],
    options: SynthCommandOptions,
    only: Annotated[
        str, typer.Option("--only", help="'kept', or a reason such as 'refusal': draws that were dropped for it.")
    ] = "kept",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most N draws of each source.")] = None,
    image_url: Annotated[
        str | None,
        typer.Option("--image-url", help="Address under which the images are served; else they are in the file."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write turns for people to accept, edit or reject. Sends nothing."""
    from vldata.cli.terminal import say
    from vldata.generate.review.job import export_review as write

    row = write(options.session(recipe), folder, to.value, only=only, limit=limit, image_url=image_url)
    if as_json:
        print_json(row)
        return
    for name, count in row["turns"].items():
        say(f"{name}: {count:,} turns")
    for path in row["files"]:
        say(path)
    say(f"next: review them, export them as JSON, then vldata synth import-review {recipe} FILE")


def import_review(
    recipe: RecipeArg,
    files: Annotated[
        list[Path], typer.Argument(help="What the tool exported as JSON.", show_default=False, exists=True)
    ],
    options: SynthCommandOptions,
    as_json: JsonOption = False,
) -> None:
    """Take people's verdicts and edits back. Doing it twice changes nothing."""
    from vldata.cli.terminal import say, visible
    from vldata.generate.review.job import import_review as take

    row = take(options.session(recipe), files)
    if as_json:
        print_json(row)
        return
    say(f"{row['accepted']:,} accepted, of which {row['edited']:,} were edited; {row['rejected']:,} rejected")
    rest = {
        "already": "known before",
        "undecided": "not decided yet",
        "contested": "with several people's verdicts that differ: the latest counts",
        "unknown": "about replies that do not count in this recipe: not taken",
        "unusable": "that cannot be used",
    }
    for name, text in rest.items():
        if row[name]:
            say(f"{row[name]:,} {text}")
    for problem in row["problems"]:
        say(visible(problem))
    say(f"next: vldata build {recipe} --out OUT")
