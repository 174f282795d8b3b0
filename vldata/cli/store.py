"""`vldata store`: look after the store of blocks."""

from __future__ import annotations

from typing import Annotated

import typer

from vldata.base import size
from vldata.cli.options import JsonOption, StoreOption, print_json
from vldata.errors import StoreError

store_app = typer.Typer(no_args_is_help=True, help="Look after the store of blocks.")


@store_app.command("gc")
def store_gc(
    store: StoreOption = None,
    keep_days: Annotated[float, typer.Option("--keep-days", min=0, help="Keep what is younger.")] = 7.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what no build folder that still exists needs."""
    from vldata.cli.terminal import say, table
    from vldata.dataset.verify import collect_garbage
    from vldata.store.store import default_store, is_store

    folder = store or default_store()
    has_store = is_store(folder)
    if not has_store and (store or folder.exists()):
        raise StoreError(str(folder), "it is not a store (it has no VERSION file)", "name the --store of your builds")
    kinds = collect_garbage(folder, keep_days=keep_days, dry_run=dry_run) if has_store else []
    if as_json:
        print_json(kinds)
        return
    if not has_store:
        say(f"there is no store: {folder} does not exist")
        return
    table(["kind", "removed", "kept", "bytes"], [[f["kind"], f["removed"], f["kept"], size(f["bytes"])] for f in kinds])
    say(("would free " if dry_run else "freed ") + size(sum(f["bytes"] for f in kinds)))
