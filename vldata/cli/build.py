"""`vldata build`, `plan` and `check`: a recipe becomes a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vldata.base import size
from vldata.cli.options import (
    BuildOptions,
    JsonOption,
    OutOption,
    RecipeArg,
    SetOption,
    StandinOption,
    StoreOption,
    dataclasses_as_options,
    print_json,
)

_LINKS = {"reflink": "copy-on-write clones", "hardlink": "hard links", "copy": "copies"}


@dataclasses_as_options
def build(
    recipe: RecipeArg,
    out: OutOption,
    options: BuildOptions,
    locked: Annotated[bool, typer.Option("--locked", help="Build what the recipe's lock says, or nothing.")] = False,
    page: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html, a page to look at.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Build a recipe into a folder that `datasets.load_from_disk` opens."""
    from vldata import build as run
    from vldata.cli.terminal import bars, heading, say, sources_table
    from vldata.recipe.lock import load_with_lock

    loaded, lock = load_with_lock(recipe, options.set_ or [], out if locked else None)
    with bars(quiet=as_json) as progress:
        built = run(
            loaded,
            out,
            **options.how(),
            locked=lock if locked else None,
            progress=progress,
            finish=_with_page if page else None,
        )
    if page and not (built.out / "report.html").is_file():  # an unchanged build that was made without one
        _with_page(built.out)
    manifest = built.manifest
    if as_json:
        summary = {
            "out": str(out),
            "made": built.made,
            "unchanged": built.unchanged,
            **{k: v for k, v in manifest.items() if k not in ("blocks", "recipe")},
        }
        print_json({**summary, "num_blocks": len(manifest["blocks"])})
        return
    blocks = manifest["blocks"]
    distinct = len({block["key"] for block in blocks})
    total = sum(block["size_bytes"] for block in blocks)
    heading(f"{manifest['name']}: {manifest['totals']['samples']:,} samples in {out}")
    sources_table(manifest["sources"], manifest["totals"])
    for note in manifest["notes"]:
        say(f"note: {note}")
    state = (
        "unchanged, nothing to do" if built.unchanged else f"{built.made} made, {distinct - built.made} from the store"
    )
    splits = ", ".join(f"{split} {rows:,}" for split, rows in manifest["splits"].items())
    say(f"{len(blocks)} blocks ({state}), {size(total)}, {_LINKS[manifest['links']]}; {splits}")
    if page:
        say(f"page: {out / 'report.html'}")
    say(f'next: vldata preview {out}   or   python -c "import datasets; print(datasets.load_from_disk({str(out)!r}))"')


def _with_page(folder: Path) -> None:
    # half a second of plotting, which an unchanged build does without
    from vldata.report.build_page import write_build_page

    write_build_page(folder)


@dataclasses_as_options
def plan(recipe: RecipeArg, options: BuildOptions, as_json: JsonOption = False) -> None:
    """Say exactly what a build would hold, and what it would have to make."""
    from vldata import plan as overview
    from vldata.cli.terminal import bars, columns_table, heading, say, sources_table
    from vldata.recipe.load import load

    loaded = load(recipe, options.set_ or [])
    with bars(quiet=as_json) as progress:
        planned = overview(loaded, **options.how(), progress=progress)
    if as_json:
        print_json(planned)
        return
    heading(f"{planned['name']}: {planned['totals']['samples']:,} samples planned")
    sources_table(planned["sources"], planned["totals"])
    columns_table({name: source["columns"] for name, source in planned["sources"].items()})
    for note in planned["notes"]:
        say(f"note: {note}")
    room = f"{size(planned['bytes_to_write'])} to write, {size(planned['bytes_free'])} free"
    say(f"{planned['num_blocks']} blocks, {planned['num_missing']} to make; {room}")


def check(
    recipe: RecipeArg,
    store: StoreOption = None,
    set_: SetOption = None,
    standin: StandinOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find everything wrong with a recipe, its templates, its files and their first rows."""
    from vldata import plan as overview
    from vldata.cli.terminal import columns_table, say, table
    from vldata.pipeline.check import check as run
    from vldata.recipe.load import load

    loaded = load(recipe, set_ or [])
    rows = run(loaded, files=standin is None)
    if standin is not None:
        notes = overview(loaded, store=store, standin=standin)["notes"]
        for row in rows:
            row["notes"] += [n for n in notes if n.startswith((f"{row['source']}:", f"{row['source']} "))]
    if as_json:
        print_json(rows)
        return
    table(
        ["source", "format", "task", "template", "files", "rows looked at"],
        [[*(r[k] for k in ("source", "format", "task", "template", "files")), _looked_at(r)] for r in rows],
    )
    columns_table({row["source"]: row["columns"] for row in rows})
    for note in (note for row in rows for note in row["notes"]):
        say(f"note: {note}")
    say("the recipe is fine" if standin is None else "the recipe is fine with stand-ins; its files were not looked at")


def _looked_at(row: dict[str, Any]) -> str:
    if row["rows"] is None:
        return "none"
    return f"all {row['rows']:,}" if row["all_rows"] else f"the first {row['rows']:,}"
