"""Plan -> blocks -> build folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vldata.base import Progress, Silent
from vldata.errors import BuildError
from vldata.paths import home
from vldata.pipeline.assemble import assemble, current, refuse_foreign
from vldata.pipeline.image_facts import Lookup
from vldata.pipeline.plan import plan
from vldata.pipeline.planned import Block, Plan
from vldata.pipeline.row_shards import gather
from vldata.pipeline.session import Session
from vldata.pipeline.stand_ins import with_pictures, with_standins
from vldata.pipeline.workers import Engine, cores
from vldata.pipeline.write_blocks import Bad, Job, forget_readers, make
from vldata.recipe.models import Recipe
from vldata.store.blocks import Note, note_of
from vldata.store.disk import require
from vldata.store.gc import in_use
from vldata.store.lock import exclusive
from vldata.store.store import Store, default_store, open_store
from vldata.store.trouble import told_as_store_errors

_SPARE_BYTES = 64 * 1024 * 1024
"""Left free on the disk for everything that is not a block."""


@dataclass(frozen=True)
class Built:
    """A finished build.

    Args:
        made: Blocks that had to be made; the others were in the store.
        unchanged: The folder already held exactly this build.
        undecodable: Pictures that failed only when their pixels were decoded, and were replaced.
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


def with_corpora(
    recipe: Recipe,
    store: Store,
    *,
    standin: int | None = None,
    progress: Progress | None = None,
    session: Session | None = None,
) -> Recipe:
    """The recipe with stand-ins, where asked for, and with pictures that sources draw themselves."""
    if standin is not None:
        recipe = with_standins(recipe, store, rows=standin, progress=progress)
    return with_pictures(recipe, store, progress=progress, drawn_before=session.drawn if session else None)


def prepared(
    recipe: Recipe,
    store: Store,
    *,
    standin: int | None = None,
    progress: Progress | None = None,
    session: Session | None = None,
) -> Recipe:
    """`with_corpora`, and with what models wrote."""
    with_files = with_corpora(recipe, store, standin=standin, progress=progress, session=session)
    if all(entry.synth is None for entry in recipe.entries.values()):
        return with_files
    from vldata.generate.sources import with_synth  # a fifth of a second, for recipes that have such a source

    return with_synth(with_files, store, standin=standin, progress=progress)


def build(
    recipe: Recipe,
    out: Path,
    *,
    store: Path | None = None,
    workers: int | None = None,
    standin: int | None = None,
    limit: int | None = None,
    locked: dict[str, Any] | None = None,
    progress: Progress | None = None,
    finish: Callable[[Path], object] | None = None,
    session: Session | None = None,
) -> Built:
    """Build a recipe into a folder that `datasets.load_from_disk` opens.

    Args:
        recipe: Loaded with `vldata.recipe.load.load`.
        out: Folder to write: new, empty, or an earlier build, which is replaced as one.
        store: Where blocks are kept; see `default_store`.
        workers: Processes; None is one for each core.
        standin: Replace every source by a stand-in of so many turns.
        limit: At most so many units of the mixture.
        locked: The ``lock`` of an earlier build: anything else is refused.
        progress: Who watches.
        finish: Adds to the folder before it is put in its place; not called when the build is unchanged.
        session: What builds of this process share, its workers among it; see `vldata.pipeline.session`.

    Raises:
        VldataError: The user's or the world's fault; ``out`` is as it was.
    """
    progress = progress or Silent()
    out = home(out).resolve()
    with told_as_store_errors(out):
        refuse_foreign(out, store or default_store())
        opened = open_store(store or default_store())
        out.parent.mkdir(parents=True, exist_ok=True)
    with (
        exclusive(out.parent / f".{out.name}.lock", wait=False),
        in_use(opened),
        nullcontext(session.engine) if session is not None else Engine(workers or cores()) as engine,
    ):
        if not out.exists():  # most likely all is to do; the workers load their libraries meanwhile
            engine.start()
        ready = prepared(recipe, opened, standin=standin, progress=progress, session=session)
        ask = partial(_synth_of, recipe, ready, opened, standin)
        return _build(
            ready,
            out,
            opened,
            engine,
            ask,
            limit=limit,
            locked=locked,
            progress=progress,
            finish=finish,
            session=session,
        )


def _synth_of(recipe: Recipe, ready: Recipe, store: Store, standin: int | None) -> dict[str, dict[str, Any]]:
    """What models wrote for the build, and for how much."""
    if all(entry.synth is None for entry in recipe.entries.values()):
        return {}
    from vldata.generate.costs import synth_costs  # as for `prepared`

    return synth_costs(recipe, ready, store, standin=standin)


def _build(
    recipe: Recipe,
    out: Path,
    store: Store,
    engine: Engine,
    synth: Callable[[], Mapping[str, Any]],
    *,
    limit: int | None,
    locked: Any,
    progress: Progress,
    finish: Callable[[Path], object] | None,
    session: Session | None,
) -> Built:
    made = 0
    undecodable: set[Bad] = set()
    forget_readers()
    while True:
        planned = plan(recipe, store, engine=engine, limit=limit, progress=progress, session=session)
        if locked is not None:
            refuse_other(planned, locked)
        if not planned.blocks:
            raise BuildError(
                "mixture", "nothing is left of any source: " + "; ".join(planned.notes), "see `vldata plan`"
            )
        missing = planned.missing(store)
        if not missing and (manifest := current(out, planned)) is not None:
            return Built(out, planned, manifest, made=0, unchanged=True)
        require(store.root, bytes_needed(missing))
        embed = recipe.head.output.images == "embed"
        bad = _make_all(missing, planned, store, engine, progress, embed=embed)
        made += len(missing) + planned.num_new_blocks
        if not bad:
            break
        if undecodable & set(bad):
            again = min(undecodable & set(bad), key=lambda one: one.ref)
            raise BuildError(
                f"{again.source}: {again.ref}", again.detail, "the picture changes all the time; wait until it is whole"
            )
        undecodable |= set(bad)
        if session is not None:
            session.forget()
        _mark(bad, recipe, store, engine, progress)
        store.remove("plans", planned.key, ".json")
        made = 0
    notes = {block.key: _note(store, block) for block in planned.blocks}
    cost = synth()
    with told_as_store_errors(out):
        manifest = assemble(
            out, recipe, planned, notes, store, undecodable=len(undecodable), limit=limit, synth=cost, finish=finish
        )
    return Built(out, planned, manifest, made=made, unchanged=False, undecodable=len(undecodable))


def _make_all(
    missing: list[Block], planned: Plan, store: Store, engine: Engine, progress: Progress, *, embed: bool
) -> list[Bad]:
    told = progress.stage("make blocks", sum(block.rows for block in missing)) if missing else None
    for block in missing:
        if block.key in planned.shards:
            gather(planned.shards[block.key], store)
    jobs = [Job(block.key, planned.pictures if embed else None) for block in missing]
    rows = {block.key: block.rows for block in missing}
    bad: list[Bad] = []
    for job, found in engine.run(partial(make, store=store), jobs):
        bad += found
        if told:
            told(rows[job.key])
    return bad


def _mark(bad: Iterable[Bad], recipe: Recipe, store: Store, engine: Engine, progress: Progress) -> None:
    by_source: dict[str, set[tuple[str, str, str]]] = {}
    for one in bad:
        if one.reason == "image_undecodable":  # whatever else is wrong is seen when it is looked at again
            by_source.setdefault(one.source, set()).add((one.ref, one.reason, one.detail))
    lookup = Lookup(recipe, store, progress, engine)
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
    now = lock_of(planned)
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


def lock_of(planned: Plan) -> dict[str, Any]:
    """What `--locked` compares."""
    return {
        "inputs": {name: {Path(f).name: d for f, d in sorted(files.items())} for name, files in planned.inputs.items()},
        "templates": dict(planned.templates),
        "blocks": [block.key for block in planned.blocks],
    }
