"""`vldata formats`, `schema`, `standin` and `init`: what a recipe is written with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from vldata.cli.options import JsonOption, at_home, print_json


def formats(as_json: JsonOption = False) -> None:
    """List sources, tasks, box formats and mixing strategies."""
    from vldata.cli.terminal import heading, say, table
    from vldata.pipeline.check import formats as run

    listed = run()
    if as_json:
        print_json(listed)
        return
    for kind, rows in listed.items():
        heading(kind)
        table(["name", "about"], [[row["name"], row["about"]] for row in rows])
        say()


def schema() -> None:
    """Print the JSON Schema of a recipe, for editors."""
    from vldata.recipe.jsonschema import recipe_schema

    print_json(recipe_schema())


def standin(
    format_name: Annotated[str, typer.Argument(metavar="FORMAT", help="A source format.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder to write.", show_default=False, callback=at_home)],
    rows: Annotated[int, typer.Option("--rows", min=1, help="Turns to write, at least.")] = 200,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    images: Annotated[bool, typer.Option("--images/--no-images", help="Draw the images too.")] = True,
) -> None:
    """Write a small corpus of a native format with true labels, drawn from the shapes world."""
    from vldata.cli.terminal import say
    from vldata.pipeline.stand_ins import write_standin

    keys = write_standin(format_name, out, rows=rows, seed=seed, images=images)
    say(f"wrote {out}; in a recipe:")
    say(f"  {format_name}: " + json.dumps({"format": format_name, **keys}, ensure_ascii=False))


def init(
    path: Annotated[Path, typer.Argument(help="Recipe file to write.", callback=at_home)] = Path("recipe.yaml"),
) -> None:
    """Write a recipe to start from, with every section explained."""
    from vldata.cli.terminal import say
    from vldata.recipe.start import write_start

    write_start(path)
    say(f"wrote {path}; next: vldata check {path}, vldata plan {path}, vldata build {path} --out out/mine")
