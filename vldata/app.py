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
from vldata.app_ablate import ablate_app
from vldata.app_report import add_report_command
from vldata.app_synth import synth_app
from vldata.app_synth_batch import add_batch_commands
from vldata.app_train import add_train_commands
from vldata.app_tune import add_tune_command
from vldata.errors import StoreError, VldataError
from vldata.options import (
    BuildArg,
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
        from vldata.terminal import fail

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
    from vldata.build.build import build as run
    from vldata.recipe.lock import load_with_lock
    from vldata.terminal import bars, heading, say, size, sources_table

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
    from vldata.build.overview import overview
    from vldata.recipe.load import load
    from vldata.terminal import bars, heading, say, size, sources_table

    loaded = load(recipe, set_ or [])
    with bars(quiet=as_json) as progress:
        found = overview(loaded, store=store, workers=workers, standin=standin, limit=limit, progress=progress)
    if as_json:
        print_json(found)
        return
    heading(f"{found['name']}: {found['totals']['samples']:,} samples planned")
    sources_table(found["sources"], found["totals"])
    for note in found["notes"]:
        say(f"note: {note}")
    room = f"{size(found['bytes_to_write'])} to write, {size(found['bytes_free'])} free"
    say(f"{found['num_blocks']} blocks, {found['num_missing']} to make; {room}")


@app.command()
def check(recipe: RecipeArg, set_: SetOption = None, as_json: JsonOption = False) -> None:
    """Find everything wrong with a recipe, its files and its templates that can be seen without reading rows."""
    from vldata.build.overview import check as run
    from vldata.recipe.load import load
    from vldata.terminal import say, table

    rows = run(load(recipe, set_ or []))
    if as_json:
        print_json(rows)
        return
    table(
        ["source", "format", "task", "template", "files"],
        [[r[k] for k in ("source", "format", "task", "template", "files")] for r in rows],
    )
    say("the recipe is fine")


@app.command()
def preview(
    build_folder: BuildArg,
    source: Annotated[str | None, typer.Option("--source", help="Only this source.")] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="Samples a source.")] = 2,
) -> None:
    """Show finished samples of each source."""
    from vldata.build.look import samples
    from vldata.terminal import heading, say, visible

    for row in samples(build_folder, source=source, rows=rows):
        heading(
            f"{row['id']}   {row['task']}, {row['split']}, {row['turns'][0]['template']} {row['turns'][0]['variant']}"
        )
        sizes = iter(row["image_sizes"])
        for message in row["messages"]:
            parts = []
            for part in message["content"]:
                shown = next(sizes, None) if part["type"] == "image" else None
                parts.append(f"[image {shown['width']}x{shown['height']}]" if shown else part["text"] or "[image]")
            say(f"  {message['role']:>9}: " + visible("\n".join(parts)).replace("\n", "\n             "))
        say()


@app.command()
def verify(build_folder: BuildArg, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Hash every block of a build again; damaged ones are named and dropped from the store, to be made anew."""
    from vldata.build.verify import verify as run
    from vldata.terminal import say, table

    damaged = run(build_folder, store)
    if as_json:
        print_json(damaged)
    elif damaged:
        table(["file", "block", "what"], [[d["file"], d["key"], d["what"]] for d in damaged])
        say(f"{len(damaged)} damaged; build the recipe again to mend them")
    else:
        say("every block is what it was")
    if damaged:
        raise typer.Exit(2)


@app.command()
def diff(
    a: BuildArg,
    b: Annotated[Path, typer.Argument(help="Another one.", show_default=False, callback=at_home)],
    as_json: JsonOption = False,
) -> None:
    """Compare two builds: blocks and samples that only one of them has, and what in the recipes differs."""
    from vldata.build.look import differences
    from vldata.terminal import heading, say, table

    found = differences(a, b)
    if as_json:
        print_json(found)
        return
    if found["same"]:
        say("the same blocks in the same order")
        return
    heading("blocks and samples")
    columns = [
        "source",
        "shared_blocks",
        "only_a_blocks",
        "only_b_blocks",
        "same_samples",
        "changed_samples",
        "only_a_samples",
        "only_b_samples",
    ]
    table([c.replace("_", " ") for c in columns], [[row[c] for c in columns] for row in found["sources"]])
    if found["recipe"]:
        heading("recipe")
        table(
            ["key", "a", "b"],
            [
                [d["key"], json.dumps(d["a"], ensure_ascii=False), json.dumps(d["b"], ensure_ascii=False)]
                for d in found["recipe"]
            ],
        )


@app.command()
def why(
    build_folder: BuildArg,
    row_id: Annotated[
        str, typer.Argument(metavar="ID", help="source/row, as ledgers and samples name it.", show_default=False)
    ],
    as_json: JsonOption = False,
) -> None:
    """Where did this row go: its sample in the build, or its line in the ledger."""
    from vldata.build.look import whereabouts
    from vldata.terminal import table

    found = whereabouts(build_folder, row_id)
    if as_json:
        print_json(found)
    else:
        table(["row", "outcome", "where", "what"], [[f["row"], f["outcome"], f["where"], f["what"]] for f in found])


@app.command()
def formats(as_json: JsonOption = False) -> None:
    """List sources, tasks, box formats and mixing strategies."""
    from vldata.build.overview import formats as run
    from vldata.terminal import heading, say, table

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
    from vldata.build.standins import write_standin
    from vldata.terminal import say

    keys = write_standin(format_name, out, rows=rows, seed=seed, images=images)
    say(f"wrote {out}; in a recipe:")
    say(f"  {format_name}: " + json.dumps({"format": format_name, **keys}, ensure_ascii=False))


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="Recipe file to write.", callback=at_home)] = Path("recipe.yaml"),
) -> None:
    """Write a recipe to start from, with every section explained."""
    from vldata.recipe.start import write_start
    from vldata.terminal import say

    write_start(path)
    say(f"wrote {path}; next: vldata check {path}, vldata plan {path}, vldata build {path} --out out/mine")


@app.command()
def export(
    build_folder: BuildArg,
    to: Annotated[str, typer.Option("--to", help="parquet, llava, sharegpt or webdataset.", show_default=False)],
    out: OutOption,
) -> None:
    """Write a build in another form: Parquet with a dataset card, LLaVA JSON, ShareGPT JSON, WebDataset."""
    from vldata.export import export as run
    from vldata.terminal import bars, say

    with bars(quiet=False) as progress:
        written = run(build_folder, out, to=to, progress=progress)
    say(f"wrote {written['rows']:,} samples to {out} ({written['files']} files)")
    if written["not_exported"]:
        say(f"note: {written['not_exported']:,} samples cannot be said in this form: see {out / 'not_exported.jsonl'}")


@store_app.command("gc")
def store_gc(
    store: StoreOption = None,
    keep_days: Annotated[float, typer.Option("--keep-days", min=0, help="Keep what is younger.")] = 7.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what no build folder that still exists needs."""
    from vldata.build.build import default_store
    from vldata.build.verify import collect_garbage
    from vldata.terminal import say, size, table

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


add_report_command(app)
add_train_commands(app)
add_tune_command(app)
add_batch_commands(synth_app)

if __name__ == "__main__":
    main()
