"""Chosen samples -> leaves -> rendered pieces, source by source in the workers, each kept under its key.

A worker gets the source's tables as Arrow files in a folder of the store, and the leaf as a range of rows.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import polars as pl
import pyarrow as pa
from blake3 import blake3

from vldata import __version__
from vldata.errors import BuildError, StoreError
from vldata.images.pixels import PIXELS_VERSION
from vldata.pipeline.block_cuts import leaves
from vldata.pipeline.choose import ChosenSamples
from vldata.pipeline.finished_rows import RENDER_VERSION, RenderSettings, render_leaf
from vldata.pipeline.session import Session
from vldata.prompts.template import Template
from vldata.recipe.models import Entry, Recipe
from vldata.schema.rows import SCHEMA_VERSION
from vldata.store.blocks import BLOCK, NOTE, PIECE, durable, file_digest, write_block, write_stream
from vldata.store.keys import key_of
from vldata.store.lock import exclusive
from vldata.store.names import Folder, KeySubject
from vldata.store.store import Store


@dataclass(frozen=True)
class Leaf:
    """A rendered leaf and how often it stands in the build: whole in ``passes`` passes."""

    rendered: RenderedLeaf
    passes: int
    pass_of_prefix: int | None = None

    @property
    def numbers(self) -> list[int]:
        """The passes in which it stands."""
        return [*range(self.passes), *([] if self.pass_of_prefix is None else [self.pass_of_prefix])]


def render_all(
    recipe: Recipe, chosen: Mapping[str, ChosenSamples], templates: Mapping[str, Template], session: Session
) -> dict[str, list[Leaf] | pl.DataFrame]:
    """Every source's leaves; or, for a source, the rows on which its template failed."""
    store, laid_out = session.store, session.laid_out
    advance = session.progress.stage("render", sum(one.turns.height for one in chosen.values()))
    rendered: dict[str, list[Leaf] | pl.DataFrame] = {}
    texts: dict[str, _Text] = {}

    def jobs(folder: Path) -> Iterator[RenderJob]:
        """Of one source after the other; while workers render one, the next is laid out for them."""
        for place, (name, entry) in enumerate(recipe.entries.items()):
            words = _words(recipe, entry, templates[name])
            parts = _parts_of(recipe, entry, chosen[name], words)
            kept = _kept_leaves(laid_out[parts], store, _as_block(recipe)) if parts in laid_out else None
            if kept is None:
                text = _lay_out(folder / str(place), recipe, entry, chosen[name], words)
                kept = _kept_leaves(text.key, store, text.as_block)
                if parts is not None:
                    laid_out[parts] = text.key
            if kept is not None:
                rendered[name] = kept
                advance(chosen[name].turns.height)
            else:
                texts[name] = text
                yield from text.jobs

    fresh: dict[str, list[Leaf]] = {}
    failed: dict[str, dict[str, str]] = {}
    with scratch(store) as folder:
        for job, result in session.engine.run(partial(render_job, store=store), jobs(folder)):
            name = job.words.source
            if isinstance(result, dict):
                failed.setdefault(name, {}).update(result)
            else:
                advance(result.num_turns)
                fresh.setdefault(name, []).append(Leaf(result, *texts[name].times[job.low, job.high]))
    for name, text in texts.items():
        rendered[name] = _faults(failed[name]) if name in failed else _keep(fresh.get(name, []), text.key, store)
    return rendered


@dataclass(frozen=True)
class _Text:
    """A source laid out for the workers.

    Args:
        key: Names its rendered leaves.
        times: (first sample, behind the last) of a leaf to its passes, as in `Leaf`.
    """

    key: str
    jobs: list[RenderJob]
    times: dict[tuple[int, int], tuple[int, int | None]]
    as_block: bool


def _lay_out(folder: Path, recipe: Recipe, entry: Entry, chosen: ChosenSamples, words: RenderSettings) -> _Text:
    output = recipe.head.output
    if output.images == "path":
        refuse_containers(entry, chosen.samples["images"].explode().drop_nulls())
    folder.mkdir()
    samples, turns = folder / "samples.arrow", folder / "turns.arrow"
    ends = chosen.samples["num_turns"].cum_sum().cast(pl.Int64)
    located = chosen.samples.with_columns(first_turn=ends - pl.col("num_turns").cast(pl.Int64))
    located.write_ipc(samples)
    chosen.turns.write_ipc(turns)
    pixels: dict[str, int | str | None] = {"images": output.images, "max_side_px": words.max_side_px}
    if entry.settings.images.decode:
        pixels["decode"] = True
    if words.max_side_px is not None:
        pixels["version"] = PIXELS_VERSION
    cuts = _cuts(located, chosen, output.max_rows)
    key = key_of(
        {
            "what": KeySubject.RENDERED,
            "versions": [__version__, SCHEMA_VERSION, RENDER_VERSION],
            "data": [file_digest(samples), file_digest(turns)],
            "words": words.identity(),
            "cuts": [[low, high] for low, high, _, _ in cuts],
            "output": output.model_dump(mode="json"),
            "pixels": pixels,
        }
    )
    as_block = _as_block(recipe)
    ranks = located["sample"]
    jobs = [RenderJob(samples, turns, low, high, int(ranks[low]), words, as_block, pixels) for low, high, _, _ in cuts]
    return _Text(key, jobs, {(low, high): (passes, last) for low, high, passes, last in cuts}, as_block)


def _as_block(recipe: Recipe) -> bool:
    """Whether rendered rows are blocks already: paths are stored, and sources stay apart."""
    return recipe.head.output.images == "path" and recipe.head.output.layout == "blocks"


def _parts_of(recipe: Recipe, entry: Entry, chosen: ChosenSamples, words: RenderSettings) -> str | None:
    """Hash of everything that decides a source's leaves; None where it takes laying them out to know."""
    if chosen.key is None:
        return None
    output = recipe.head.output.model_dump(mode="json")
    images = entry.settings.images.model_dump(mode="json")
    return key_of(KeySubject.SETTINGS, chosen.key, words.identity(), output, images)


def _faults(failed: Mapping[str, str]) -> pl.DataFrame:
    rows = [(row, *message.split(": ", 1)) for row, message in sorted(failed.items())]
    return pl.DataFrame(rows, schema={"row": pl.String, "reason": pl.String, "detail": pl.String}, orient="row")


def _keep(leaves: list[Leaf], key: str, store: Store) -> list[Leaf]:
    leaves.sort(key=lambda leaf: (leaf.rendered.split, leaf.rendered.first_rank, leaf.rendered.rows))
    notes = [
        {
            "made": asdict(replace(leaf.rendered, is_new_block=False)),
            "passes": leaf.passes,
            "pass_of_prefix": leaf.pass_of_prefix,
        }
        for leaf in leaves
    ]
    with store.write(Folder.RENDERED, key, ".json") as path:
        path.write_text(json.dumps(notes))
    return leaves


def refuse_containers(entry: Entry, references: pl.Series) -> None:
    """Refuse to store the path of an image that lies inside an archive or a table: nothing else could open it.

    Raises:
        BuildError: One does.
    """
    inside = references.str.contains("::", literal=True)
    root = Path(entry.source.image_root or ".")
    if inside.any() or (root.is_file() and references.len()):
        raise BuildError(
            f"{entry.where}.image_root",
            "its images lie inside an archive or a table, where no path leads",
            "set output.images: embed, or unpack them",
        )


def _cuts(samples: pl.DataFrame, chosen: ChosenSamples, max_rows: int) -> list[tuple[int, int, int, int | None]]:
    """(first, behind last, whole passes, number of the pass that holds it in part) of every leaf and every cut one."""
    cuts: list[tuple[int, int, int, int | None]] = []
    start = 0
    for split in samples["split"].unique(maintain_order=True).to_list():
        of_split = samples.filter(pl.col("split") == split)
        share = chosen.shares[split]
        ranks, sizes = of_split["sample"].to_numpy(), of_split["image_bytes"].to_numpy()
        for low, high in leaves(ranks, sizes, max_rows=max_rows):
            whole = share.passes + (1 if high <= share.prefix else 0)
            if whole:
                cuts.append((start + low, start + high, whole, None))
            if low < share.prefix < high:
                cuts.append((start + low, start + share.prefix, 0, share.passes))
        start += of_split.height
    return cuts


def _kept_leaves(key: str, store: Store, as_block: bool) -> list[Leaf] | None:
    try:
        notes = json.loads(store.path(Folder.RENDERED, key, ".json").read_text())
    except FileNotFoundError:
        return None
    kept = [Leaf(RenderedLeaf(**note["made"]), note["passes"], note["pass_of_prefix"]) for note in notes]
    kind = "blocks" if as_block else "pieces"
    return kept if all(store.has(kind, leaf.rendered.key, ".json") for leaf in kept) else None


def _words(recipe: Recipe, entry: Entry, template: Template) -> RenderSettings:
    settings = entry.settings
    root = Path(entry.source.image_root or ".").absolute()
    return RenderSettings(
        source=entry.name,
        dataset=entry.name,
        task=entry.task,
        template=template,
        templates=settings.templates,
        box_format=settings.box_format,
        padded=settings.reference == "padded_square",
        image_position=settings.conversation.image_position,
        max_side_px=settings.images.max_side_px,
        image_prefix=f"{root}/" if recipe.head.output.images == "path" else "",
        seed=recipe.head.seed,
        has_meta=recipe.has_meta,
    )


@contextmanager
def scratch(store: Store) -> Iterator[Path]:
    """A new folder in the store, removed at the end."""
    base = store.root / Folder.SCRATCH
    base.mkdir(exist_ok=True)
    _remove_abandoned(base)
    with tempfile.TemporaryDirectory(dir=base, prefix=f"{os.getpid()}-") as name, exclusive(Path(name) / "lock"):
        yield Path(name)


def _remove_abandoned(base: Path) -> None:
    for folder in base.iterdir():
        if not (folder / "lock").exists():
            continue  # just being made
        try:
            with exclusive(folder / "lock", wait=False):
                shutil.rmtree(folder, ignore_errors=True)
        except StoreError:
            continue  # its build is running


@dataclass(frozen=True)
class RenderJob:
    """One leaf of a source's chosen samples.

    Args:
        samples: Arrow file of the source's chosen samples.
        turns: Arrow file of their turns.
        low: The leaf's first sample, a position in ``samples``.
        high: The position behind its last one.
        first_rank: Rank of the leaf's first sample.
        as_block: The rendered rows are the block: paths are stored, and sources stay apart.
        pixels: What is done to the images, part of the block's key.
    """

    samples: Path
    turns: Path
    low: int
    high: int
    first_rank: int
    words: RenderSettings
    as_block: bool
    pixels: Mapping[str, int | str | None]


@dataclass(frozen=True)
class RenderedLeaf:
    """A rendered leaf in the store.

    Args:
        key: Of the block that it becomes.
        first_rank: Rank of its first sample, which places it in the build.
        size_bytes: Of the rendered rows, without images.
        is_new_block: Whether it was written as a block just now.
    """

    key: str
    first_rank: int
    split: str
    rows: int
    num_images: int
    num_turns: int
    answer_chars: int
    text_chars: int
    image_bytes: int
    size_bytes: int
    is_new_block: bool = False


def render_job(job: RenderJob, store: Store) -> RenderedLeaf | dict[str, str]:
    """Render a leaf and keep it in the store; or the rows on which that failed, with the reason."""
    samples = _rows(job.samples, job.low, job.high - job.low)
    turns = _rows(job.turns, int(samples["first_turn"][0]), int(samples["num_turns"].sum()))
    piece = render_leaf(samples, turns, job.words)
    if isinstance(piece, dict):
        return piece
    sink = pa.BufferOutputStream()
    write_stream(piece.table, sink)
    data = sink.getvalue()
    pixels = dict(job.pixels)
    if samples["num_deep"].sum() and pixels["images"] == "embed":
        pixels["version"] = PIXELS_VERSION  # they are scaled to 8 bits, whatever their size
    key = key_of(
        {
            "what": KeySubject.BLOCK,
            "versions": [SCHEMA_VERSION, RENDER_VERSION],
            "rows": blake3(data).hexdigest(length=16),
            "images": piece.hashes,
            "pixels": pixels,
        }
    )
    is_new_block = job.as_block and not (store.has(Folder.BLOCKS, key, BLOCK) and store.has(Folder.BLOCKS, key, NOTE))
    if is_new_block:
        write_block(piece.table, key, store)
    elif not job.as_block and not store.has(Folder.PIECES, key, NOTE):
        with store.write(Folder.PIECES, key, PIECE, durable=durable()) as path:
            path.write_bytes(data)
        with store.write(Folder.PIECES, key, NOTE, durable=durable()) as path:
            path.write_text(json.dumps({"hashes": piece.hashes, "image_bytes": samples["image_bytes"].to_list()}))
    return RenderedLeaf(
        key=key,
        first_rank=job.first_rank,
        split=str(samples["split"][0]),
        rows=samples.height,
        num_images=piece.num_images,
        num_turns=piece.num_turns,
        answer_chars=piece.answer_chars,
        text_chars=piece.text_chars,
        image_bytes=piece.image_bytes,
        size_bytes=len(data),
        is_new_block=is_new_block,
    )


def _rows(path: Path, start: int, num: int) -> pl.DataFrame:
    """Some rows of an Arrow file, mapped: Polars' own scan decodes the batches around them, 6 ms where this takes 1."""
    with pa.memory_map(str(path)) as source:
        rows = pl.from_arrow(pa.ipc.open_file(source).read_all().slice(start, num))
    assert isinstance(rows, pl.DataFrame)
    return rows
