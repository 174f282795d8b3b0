"""What is known of images: looked at once, remembered in the store, and checked again by size and time alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import polars as pl

from vldata.base import Progress
from vldata.images.facts import FACTS, facts
from vldata.pipeline.candidates import Look
from vldata.pipeline.workers import Engine
from vldata.recipe.models import Entry, Recipe
from vldata.store.names import Folder
from vldata.store.remember import load_facts, save_facts
from vldata.store.store import Store


@dataclass(frozen=True)
class Place:
    """Where a source's images lie, and the limit under which they are looked at."""

    root: str
    max_pixels: int


def place_of(entry: Entry) -> Place:
    """The place of a source's images."""
    return Place(entry.source.image_root or ".", entry.settings.images.max_pixels)


@dataclass
class Lookup:
    """Opens images for a build, each once.

    Args:
        remembered: What the store knew of a place's images; may be shared by builds that follow one another.
        seen: What is known by now; likewise.
        fresh: Places of which more is known than the store knows.
    """

    recipe: Recipe
    store: Store
    progress: Progress
    engine: Engine
    remembered: dict[Place, pl.DataFrame | None] = field(default_factory=dict)
    seen: dict[Place, pl.DataFrame] = field(default_factory=dict)
    fresh: set[Place] = field(default_factory=set)

    def look(self, entry: Entry) -> Look:
        """How to look at the images of a source."""
        place = place_of(entry)

        def look(refs: list[str]) -> pl.DataFrame:
            seen = self.seen.get(place, pl.DataFrame(schema=FACTS))
            requested = pl.DataFrame({"ref": refs}, schema={"ref": pl.String})
            fresh = requested.join(seen, on="ref", how="anti")["ref"].to_list()
            if fresh:
                advance = self.progress.stage(f"look at images of {entry.name}", len(fresh))
                new = self._facts(place, fresh, advance)
                seen = self.seen[place] = pl.concat([seen, new]) if seen.height else new
                self.fresh.add(place)
            found = requested.join(seen, on="ref", how="left", maintain_order="left")
            unset = entry.source.root_when_unset
            if unset is None:
                return found
            said = pl.col("detail") + f" ({unset}; `image_root` names another folder)"
            missing = (pl.col("problem") == "image_missing") & pl.col("detail").str.contains(
                "; looked below ", literal=True
            )
            return found.with_columns(detail=pl.when(missing).then(said).otherwise("detail"))

        return look

    def _facts(self, place: Place, refs: list[str], advance: Callable[[int], None] | None = None) -> pl.DataFrame:
        if place not in self.remembered:
            self.remembered[place] = load_facts(self.store, place.root)
        return facts(
            refs,
            place.root,
            remembered=self.remembered[place],
            max_pixels=place.max_pixels,
            workers=max(2, self.engine.workers),
            progress=advance,
            spool=self.store.root / Folder.SPOOL,
            share=self._share if self.engine.workers > 1 else None,
        )

    def _share(self, chunks: list[list[str]], root: str, max_pixels: int) -> Iterator[pl.DataFrame]:
        look = partial(facts, root=root, max_pixels=max_pixels, workers=1)
        for _, chunk in self.engine.run(look, chunks):
            yield chunk

    def mark(self, entry: Entry, refs: Iterable[tuple[str, str, str]]) -> None:
        """Remember images, as (ref, reason, detail), that failed only when their pixels were decoded."""
        place = place_of(entry)
        failed = pl.DataFrame(
            list(refs), schema={"ref": pl.String, "reason": pl.String, "why": pl.String}, orient="row"
        )
        seen = self.seen.get(place)
        if seen is None:
            seen = self._facts(place, failed["ref"].to_list())
        marked = seen.join(failed.unique("ref"), on="ref", how="inner").with_columns(problem="reason", detail="why")
        save_facts(self.store, place.root, marked.select(list(FACTS)))

    def remember_seen(self) -> None:
        """Keep what was seen for every later build."""
        for place, seen in self.seen.items():
            if place in self.fresh:
                save_facts(self.store, place.root, seen)
        self.fresh.clear()

    def save(self, plan_key: str) -> None:
        """`remember_seen`, and keep it as what this plan rests on."""
        self.remember_seen()
        own = {place_of(entry) for entry in self.recipe.entries.values()}
        frames = [
            seen.with_columns(root=pl.lit(place.root), max_pixels=pl.lit(place.max_pixels, pl.Int64))
            for place, seen in self.seen.items()
            if place in own
        ]
        empty = pl.DataFrame(schema={**FACTS, "root": pl.String, "max_pixels": pl.Int64})
        with self.store.write(Folder.PLANS, plan_key, ".images.parquet", replace=True) as path:
            pl.concat([empty, *frames]).write_parquet(path)

    def still_true(self, plan_key: str) -> bool:
        """Whether every image that a remembered plan rests on is what it was."""
        rests_on = pl.read_parquet(self.store.path(Folder.PLANS, plan_key, ".images.parquet"))
        for (root, max_pixels), then in rests_on.group_by("root", "max_pixels"):
            place = Place(str(root), int(str(max_pixels)))
            then = then.select(list(FACTS)).filter(pl.col("ref").is_in(_doubtful(place.root, then)))
            if then.is_empty():
                continue
            now = facts(
                then["ref"].to_list(),
                place.root,
                remembered=then,
                max_pixels=place.max_pixels,
                workers=max(2, self.engine.workers),
            )
            what = ("ref", "hash", "problem")
            if not now.select(what).sort("ref").equals(then.select(what).sort("ref")):
                return False
        return True


def _doubtful(root: str, then: pl.DataFrame) -> list[str]:
    """References whose files may not be what they were, by one look at each file; members of containers always may."""
    folder = pl.col("ref").str.replace(r"/?[^/]*$", "")
    absent = then.filter(problem="image_missing").select(folder.alias("folder")).to_series().unique().to_list()
    gone = [name for name in absent if not Path(root, name).is_dir()]
    looked_for = then.filter(~((pl.col("problem") == "image_missing").fill_null(False) & folder.is_in(gone)))
    doubtful = []
    for ref, *status in looked_for.select("ref", "size_bytes", "mtime_ns", "inode").iter_rows():
        path = ref if ref.startswith("/") else f"{root}/{ref}"
        now: list[int | None] = [None, None, None]
        with suppress(OSError, ValueError):  # not there: as it was, or doubtful
            stat = os.stat(path)  # noqa: PTH116 - a quarter of the time of Path.stat, a hundred thousand times
            now = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        if now != status or "::" in ref:
            doubtful.append(ref)
    return doubtful
