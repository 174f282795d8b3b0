"""Plan -> blocks -> build folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vldata.errors import BuildError
from vldata.paths import home
from vldata.pipeline.assemble import assemble, current, refuse_foreign
from vldata.pipeline.image_facts import Lookup
from vldata.pipeline.plan import plan
from vldata.pipeline.plan_record import Block, Plan
from vldata.pipeline.row_shards import gather
from vldata.pipeline.session import Session
from vldata.pipeline.stand_ins import refuse_empty, with_images, with_standins
from vldata.pipeline.write_blocks import BlockJob, FailedImage, forget_readers, make
from vldata.recipe.models import Recipe
from vldata.store.blocks import Note, note_of
from vldata.store.disk import free_bytes, require
from vldata.store.lock import exclusive
from vldata.store.names import Folder
from vldata.store.store import Store
from vldata.store.trouble import as_store_errors

_SPARE_BYTES = 64 * 1024 * 1024
"""Left free on the disk for everything that is not a block."""


@dataclass(frozen=True)
class Built:
    """A finished build.

    Args:
        made: Blocks that had to be made; the others were in the store.
        unchanged: The folder already held exactly this build.
        undecodable: Images that failed only when their pixels were decoded, and were replaced.
    """

    out: Path
    plan: Plan
    manifest: dict[str, Any]
    made: int
    unchanged: bool
    undecodable: int = 0


def bytes_needed(missing: Sequence[Block]) -> int:
    """Bytes that must be free before blocks are made."""
    return sum(block.size_bytes for block in missing) + _SPARE_BYTES if missing else 0


def with_corpora(recipe: Recipe, session: Session, *, standin: int | None = None) -> Recipe:
    """The recipe with stand-ins, where requested, and with the images that sources draw themselves."""
    if standin is not None:
        recipe = with_standins(recipe, session.store, rows=standin, progress=session.progress)
    return with_images(recipe, session.store, progress=session.progress, drawn_before=session.drawn)


def prepared(recipe: Recipe, session: Session, *, standin: int | None = None) -> Recipe:
    """`with_corpora`, and with what models wrote.

    Raises:
        BuildError: The recipe has synthetic sources, and the session was made without what reads them.
    """
    with_files = with_corpora(recipe, session, standin=standin)
    if all(entry.synth is None for entry in recipe.entries.values()):
        return with_files
    if session.synthetic is None:
        raise BuildError("sources", "this session reads no synthetic sources", "build the recipe by `vldata.build`")
    return session.synthetic.as_files(with_files, session, standin)


def build(
    recipe: Recipe,
    out: Path,
    session: Session,
    *,
    standin: int | None = None,
    limit: int | None = None,
    locked: dict[str, Any] | None = None,
    finish: Callable[[Path], object] | None = None,
) -> Built:
    """Build a recipe into a folder that `datasets.load_from_disk` opens.

    Args:
        recipe: Loaded with `vldata.recipe.load.load`.
        out: Folder to write: new, empty, or an earlier build, which is replaced as one.
        standin: Replace every source by a stand-in of N turns.
        limit: At most N units of the mixture.
        locked: The ``lock`` of an earlier build: anything else is refused.
        finish: Adds to the folder before it is put in its place; not called when the build is unchanged.

    Raises:
        VldataError: The user's or the world's fault; ``out`` is as it was.
    """
    out = home(out).resolve()
    with as_store_errors(out):
        refuse_foreign(out, session.store.root)
        out.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(out.parent / f".{out.name}.lock", wait=False):
        if not out.exists():  # most likely all is to do; the workers load their libraries meanwhile
            session.engine.start()
        ready = prepared(recipe, session, standin=standin)
        blocks = _all_blocks(ready, out, session, limit=limit, locked=locked, are_standins=standin is not None)
        planned, undecodable = blocks.plan, blocks.num_undecodable
        if blocks.current is not None:
            return Built(out, planned, blocks.current, made=0, unchanged=True)
        notes = {block.key: _note(session.store, block) for block in planned.blocks}
        costs = session.synthetic.costs(recipe, ready, session, standin) if session.synthetic is not None else {}
        with as_store_errors(out):
            manifest = assemble(
                out,
                ready,
                planned,
                notes,
                session.store,
                undecodable=undecodable,
                limit=limit,
                synth=costs,
                finish=finish,
            )
        return Built(out, planned, manifest, made=blocks.num_written, unchanged=False, undecodable=undecodable)


@dataclass(frozen=True)
class _AllBlocks:
    """A plan whose blocks are all in the store.

    Args:
        current: The manifest in the output folder, when that is this build already.
        num_written: Blocks that the store did not have.
        num_undecodable: Images that failed when they were decoded, and were replaced.
    """

    plan: Plan
    current: dict[str, Any] | None = None
    num_written: int = 0
    num_undecodable: int = 0


def _all_blocks(
    recipe: Recipe,
    out: Path,
    session: Session,
    *,
    limit: int | None,
    locked: dict[str, Any] | None,
    are_standins: bool,
) -> _AllBlocks:
    store = session.store
    undecodable: set[FailedImage] = set()
    forget_readers()
    while True:
        planned = plan(recipe, session, limit=limit)
        if locked is not None:
            refuse_other(planned, locked)
        if are_standins:
            refuse_empty(planned.sources)
        if not planned.blocks:
            raise BuildError(
                "mixture", "nothing is left of any source: " + "; ".join(planned.notes), "see `vldata plan`"
            )
        missing = planned.missing(store)
        if not missing and (manifest := current(out, planned)) is not None:
            return _AllBlocks(planned, manifest)
        require(store.root, bytes_needed(missing))
        failed = _make_all(missing, planned, session, embed=recipe.head.output.images == "embed")
        if not failed:
            written = len(missing) + planned.num_new_blocks
            return _AllBlocks(planned, num_written=written, num_undecodable=len(undecodable))
        if undecodable & set(failed):
            twice = min(undecodable & set(failed), key=lambda one: one.ref)
            raise BuildError(
                f"{twice.source}: {twice.ref}", twice.detail, "the image changes all the time; wait until it is whole"
            )
        undecodable |= set(failed)
        session.forget()
        _mark(failed, recipe, session)
        store.remove(Folder.PLANS, planned.key, ".json")


def overview(
    recipe: Recipe, session: Session, *, standin: int | None = None, limit: int | None = None
) -> dict[str, Any]:
    """A plan as plain data (`vldata plan`): sources with shares in four units, blocks, what is missing, bytes.

    Raises:
        VldataError: As `vldata.pipeline.plan.plan`.
    """
    store = session.store
    ready = prepared(recipe, session, standin=standin)
    planned = plan(ready, session, limit=limit)
    if standin is not None:
        refuse_empty(planned.sources)
    missing = planned.missing(store)
    require(store.root, bytes_needed(missing))
    return {
        "name": recipe.head.name,
        "plan": planned.key,
        "totals": planned.totals,
        "sources": {name: vars(report) for name, report in planned.sources.items()},
        "notes": planned.notes,
        "num_blocks": len(planned.blocks),
        "num_missing": len(missing),
        "bytes_to_write": sum(block.size_bytes for block in missing),
        "bytes_free": free_bytes(store.root),
        "blocks": [{"key": b.key, "source": b.source, "split": b.split, "rows": b.rows} for b in planned.blocks],
    }


def _make_all(missing: list[Block], planned: Plan, session: Session, *, embed: bool) -> list[FailedImage]:
    store = session.store
    advance = session.progress.stage("make blocks", sum(block.rows for block in missing)) if missing else None
    for block in missing:
        if block.key in planned.shards:
            gather(planned.shards[block.key], store)
    jobs = [BlockJob(block.key, planned.images if embed else None) for block in missing]
    rows = {block.key: block.rows for block in missing}
    failed: list[FailedImage] = []
    for job, failed_images in session.engine.run(partial(make, store=store), jobs):
        failed += failed_images
        if advance:
            advance(rows[job.key])
    return failed


def _mark(failed: Iterable[FailedImage], recipe: Recipe, session: Session) -> None:
    by_source: dict[str, set[tuple[str, str, str]]] = {}
    for one in failed:
        if one.reason == "image_undecodable":  # whatever else is wrong is seen when it is looked at again
            by_source.setdefault(one.source, set()).add((one.ref, one.reason, one.detail))
    lookup = Lookup(recipe, session.store, session.progress, session.engine)
    for name, refs in by_source.items():
        lookup.mark(recipe.entries[name], sorted(refs))


def _note(store: Store, block: Block) -> Note:
    note = note_of(store, block.key)
    if note is None:
        raise BuildError(f"block {block.key}", "it vanished from the store during the build", "build again")
    return note


def refuse_other(planned: Plan, locked: dict[str, Any]) -> None:
    """Refuse a plan that is not the locked one, naming what differs.

    Raises:
        BuildError: Blocks, sources' files or templates are not those of the lock.
    """
    now = planned.lock
    if now == locked:
        return
    differs = []
    for what in ("inputs", "templates"):
        then = locked.get(what, {})
        names = {**then, **now[what]}
        differs += [f"{what}.{name}" for name in sorted(names) if then.get(name) != now[what].get(name)]
    raise BuildError(
        "--locked",
        f"this is not the locked build: {', '.join(differs) or 'its blocks'} differ",
        "bring the files back to what they were, or build without --locked",
    )
