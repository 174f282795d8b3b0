"""`vldata preview`, `verify`, `diff`, `why` and `export`: what to do with a build that is finished."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from vldata.cli.options import BuildArg, JsonOption, OutOption, StoreOption, at_home, print_json


def preview(
    build_folder: BuildArg,
    source: Annotated[str | None, typer.Option("--source", help="Only this source.")] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="Samples a source.")] = 2,
) -> None:
    """Show finished samples of each source."""
    from vldata.cli.terminal import heading, say, visible
    from vldata.dataset.preview import samples

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


def verify(build_folder: BuildArg, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Hash every block of a build again; damaged ones are named and dropped from the store, to be rebuilt."""
    from vldata.cli.terminal import say, table
    from vldata.dataset.verify import verify as run

    damaged = run(build_folder, store)
    if as_json:
        print_json(damaged)
    elif damaged:
        table(["file", "block", "what"], [[d["file"], d["key"], d["what"]] for d in damaged])
        say(f"{len(damaged)} damaged; build the recipe again to repair them")
    else:
        say("every block is what it was")
    if damaged:
        raise typer.Exit(2)


def diff(
    a: BuildArg,
    b: Annotated[Path, typer.Argument(help="Another one.", show_default=False, callback=at_home)],
    as_json: JsonOption = False,
) -> None:
    """Compare two builds: blocks and samples that only one of them has, and what in the recipes differs."""
    from vldata.cli.terminal import heading, say, table
    from vldata.dataset.diff import differences

    compared = differences(a, b)
    if as_json:
        print_json(compared)
        return
    if compared["same"]:
        say("the same blocks in the same order")
        return
    heading("blocks and samples")
    columns = ["source", "shared_blocks", "only_a_blocks", "only_b_blocks"]
    columns += ["same_samples", "changed_samples", "only_a_samples", "only_b_samples"]
    table([c.replace("_", " ") for c in columns], [[row[c] for c in columns] for row in compared["sources"]])
    if compared["recipe"]:
        heading("recipe")
        values = [[json.dumps(d[side], ensure_ascii=False) for side in "ab"] for d in compared["recipe"]]
        table(["key", "a", "b"], [[d["key"], *ab] for d, ab in zip(compared["recipe"], values, strict=True)])


def why(
    build_folder: BuildArg,
    row_id: Annotated[
        str, typer.Argument(metavar="ID", help="source/row, as ledgers and samples name it.", show_default=False)
    ],
    as_json: JsonOption = False,
) -> None:
    """Where did this row go: its sample in the build, or its line in the ledger."""
    from vldata.cli.terminal import table
    from vldata.dataset.why import whereabouts

    places = whereabouts(build_folder, row_id)
    if as_json:
        print_json(places)
    else:
        table(["row", "outcome", "where", "what"], [[p["row"], p["outcome"], p["where"], p["what"]] for p in places])


def export(
    build_folder: BuildArg,
    to: Annotated[str, typer.Option("--to", help="parquet, llava, sharegpt or webdataset.", show_default=False)],
    out: OutOption,
) -> None:
    """Write a build in another form: Parquet with a dataset card, LLaVA JSON, ShareGPT JSON, WebDataset."""
    from vldata.cli.terminal import bars, say
    from vldata.dataset.export import export as run

    with bars(quiet=False) as progress:
        written = run(build_folder, out, to=to, progress=progress)
    say(f"wrote {written['rows']:,} samples to {out} ({written['files']} files)")
    if written["not_exported"]:
        say(f"note: {written['not_exported']:,} samples cannot be said in this form: see {out / 'not_exported.jsonl'}")
