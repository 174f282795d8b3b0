"""The commands: each parses, calls one function, prints, and sets the exit code.

Exit codes: 0 done, 1 a bug of vldata's (with a traceback), 2 something the user can mend.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vldata import __version__
from vldata.base import size
from vldata.cli.ablate import ablate_app
from vldata.cli.look import add_export_command, add_look_commands
from vldata.cli.options import (
    JsonOption,
    LimitOption,
    OutOption,
    RecipeArg,
    SetOption,
    StandinOption,
    StoreOption,
    WorkersOption,
    at_home,
    print_json,
)
from vldata.cli.report import add_report_command
from vldata.cli.synth import synth_app
from vldata.cli.synth_batch import add_batch_commands
from vldata.cli.train import add_train_commands
from vldata.cli.tune import add_tune_command
from vldata.errors import StoreError, VldataError


class _Commands(TyperGroup):
    """Commands that Ctrl-C stops; Typer alone would leave without a word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.stderr.write("stopped; what was finished is kept, run the command again to go on\n")
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Build, ablate and rebuild the data that vision-language models are trained on.",
)
store_app = typer.Typer(no_args_is_help=True, help="Look after the store of blocks.")
app.add_typer(store_app, name="store")
app.add_typer(synth_app, name="synth")
app.add_typer(ablate_app, name="ablate")


def main() -> None:
    """Run a command; what the user can mend is one block on stderr and exit code 2."""
    try:
        app(standalone_mode=True)
    except VldataError as error:
        from vldata.cli.terminal import fail

        fail(error)
        sys.exit(2)


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"vldata {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


_LINKS = {"reflink": "copy-on-write clones", "hardlink": "hard links", "copy": "copies"}


@app.command()
def build(
    recipe: RecipeArg,
    out: OutOption,
    store: StoreOption = None,
    workers: WorkersOption = None,
    set_: SetOption = None,
    standin: StandinOption = None,
    limit: LimitOption = None,
    locked: Annotated[bool, typer.Option("--locked", help="Build what the recipe's lock says, or nothing.")] = False,
    page: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html, a page to look at.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Build a recipe into a folder that `datasets.load_from_disk` opens."""
    from vldata import build as run
    from vldata.cli.terminal import bars, heading, say, sources_table
    from vldata.recipe.lock import load_with_lock

    loaded, lock = load_with_lock(recipe, set_ or [], out if locked else None)
    with bars(quiet=as_json) as progress:
        built = run(
            loaded,
            out,
            store=store,
            workers=workers,
            standin=standin,
            limit=limit,
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
    from vldata.report.page import write_build_page  # half a second of plotting, which an unchanged build does without

    write_build_page(folder)


@app.command()
def plan(
    recipe: RecipeArg,
    store: StoreOption = None,
    workers: WorkersOption = None,
    set_: SetOption = None,
    standin: StandinOption = None,
    limit: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say exactly what a build would hold, and what it would have to make."""
    from vldata import plan as overview
    from vldata.cli.terminal import bars, columns_lines, heading, say, sources_table
    from vldata.recipe.load import load

    loaded = load(recipe, set_ or [])
    with bars(quiet=as_json) as progress:
        found = overview(loaded, store=store, workers=workers, standin=standin, limit=limit, progress=progress)
    if as_json:
        print_json(found)
        return
    heading(f"{found['name']}: {found['totals']['samples']:,} samples planned")
    sources_table(found["sources"], found["totals"])
    columns_lines({name: source["columns"] for name, source in found["sources"].items()})
    for note in found["notes"]:
        say(f"note: {note}")
    room = f"{size(found['bytes_to_write'])} to write, {size(found['bytes_free'])} free"
    say(f"{found['num_blocks']} blocks, {found['num_missing']} to make; {room}")


@app.command()
def check(
    recipe: RecipeArg,
    store: StoreOption = None,
    set_: SetOption = None,
    standin: StandinOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find everything wrong with a recipe, its templates, its files and their first rows."""
    from vldata import plan as overview
    from vldata.cli.terminal import columns_lines, say, table
    from vldata.pipeline.check import check as run
    from vldata.recipe.load import load

    loaded = load(recipe, set_ or [])
    rows = run(loaded, files=standin is None)
    if standin is not None:
        overview(loaded, store=store, standin=standin)
    if as_json:
        print_json(rows)
        return
    table(
        ["source", "format", "task", "template", "files", "rows looked at"],
        [[*(r[k] for k in ("source", "format", "task", "template", "files")), _looked_at(r)] for r in rows],
    )
    columns_lines({row["source"]: row["columns"] for row in rows})
    for note in (note for row in rows for note in row["notes"]):
        say(f"note: {note}")
    say("the recipe is fine" if standin is None else "the recipe is fine with stand-ins; its files were not looked at")


def _looked_at(row: dict[str, Any]) -> str:
    if row["rows"] is None:
        return "none"
    return f"all {row['rows']:,}" if row["all_rows"] else f"the first {row['rows']:,}"


add_look_commands(app)  # here, as the help page lists commands in the order in which they are added


@app.command()
def formats(as_json: JsonOption = False) -> None:
    """List sources, tasks, box formats and mixing strategies."""
    from vldata.cli.terminal import heading, say, table
    from vldata.pipeline.check import formats as run

    found = run()
    if as_json:
        print_json(found)
        return
    for kind, rows in found.items():
        heading(kind)
        table(["name", "about"], [[row["name"], row["about"]] for row in rows])
        say()


@app.command()
def schema() -> None:
    """Print the JSON Schema of a recipe, for editors."""
    from vldata.recipe.jsonschema import recipe_schema

    print_json(recipe_schema())


@app.command()
def standin(
    format_name: Annotated[str, typer.Argument(metavar="FORMAT", help="A source format.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder to write.", show_default=False, callback=at_home)],
    rows: Annotated[int, typer.Option("--rows", min=1, help="Turns to write, at least.")] = 200,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    images: Annotated[bool, typer.Option("--images/--no-images", help="Draw the pictures too.")] = True,
) -> None:
    """Write a small corpus of a native format with true labels, drawn from the shapes world."""
    from vldata.cli.terminal import say
    from vldata.pipeline.stand_ins import write_standin

    keys = write_standin(format_name, out, rows=rows, seed=seed, images=images)
    say(f"wrote {out}; in a recipe:")
    say(f"  {format_name}: " + json.dumps({"format": format_name, **keys}, ensure_ascii=False))


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="Recipe file to write.", callback=at_home)] = Path("recipe.yaml"),
) -> None:
    """Write a recipe to start from, with every section explained."""
    from vldata.cli.terminal import say
    from vldata.recipe.start import write_start

    write_start(path)
    say(f"wrote {path}; next: vldata check {path}, vldata plan {path}, vldata build {path} --out out/mine")


@store_app.command("gc")
def store_gc(
    store: StoreOption = None,
    keep_days: Annotated[float, typer.Option("--keep-days", min=0, help="Keep what is younger.")] = 7.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what no build folder that still exists needs."""
    from vldata.cli.terminal import say, table
    from vldata.store.gc import collect_garbage
    from vldata.store.store import default_store

    folder = store or default_store()
    is_store = (folder / "VERSION").is_file()
    if not is_store and (store or folder.exists()):
        raise StoreError(str(folder), "it is not a store (it has no VERSION file)", "name the --store of your builds")
    found = collect_garbage(folder, keep_days=keep_days, dry_run=dry_run) if is_store else []
    if as_json:
        print_json(found)
        return
    if not is_store:
        say(f"there is no store: {folder} does not exist")
        return
    table(["kind", "removed", "kept", "bytes"], [[f["kind"], f["removed"], f["kept"], size(f["bytes"])] for f in found])
    say(("would free " if dry_run else "freed ") + size(sum(f["bytes"] for f in found)))


add_export_command(app)
add_report_command(app)
add_train_commands(app)
add_tune_command(app)
add_batch_commands(synth_app)

if __name__ == "__main__":
    main()
