"""A plain folder of images: a text or JSON of the same name beside each, folders for classes, or a table of them.

https://huggingface.co/docs/datasets/image_dataset (``imagefolder``), and what caption trainers and taggers write.
Licence and terms are those of whoever made the folder.
Layout: ``path`` is the folder; whatever lies below it counts, at any depth. A pattern (``set/*/train``,
``{a,b}/*.jpg``) names images or folders of them, and the folder is what stands before its first wildcard.
``cats/a.jpg`` has its caption in ``cats/a.txt`` (or ``a.caption``, or ``a.jpg.txt``), its fields in ``cats/a.json``,
and ``label`` is its folder, "cats".
A table ``metadata.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` says more of the images that it names, seen from its own
folder, in ``file_name`` (or ``file_names``, or columns that end in ``_file_name``):
file_name,text
cats/a.jpg,A cat on a wall.
Quirks: an image's id is its path below ``path``. An image without a text is a row that lacks a caption, and a text
without an image is a row that lacks an image, so that both stand in the ledger. Where the text and JSON both have a
caption, it is the text's; a table's caption goes before both. Two images of one name, ``a.jpg`` and ``a.png``, share
what lies beside them, which the plan says. JSON with a conversation is read as `vldata.sources.llava` reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from posixpath import dirname
from typing import ClassVar, Self

import polars as pl
from pydantic import computed_field
from xxhash import xxh3_64_hexdigest

from vldata.errors import SourceError
from vldata.paths import home
from vldata.shapes.language import captions
from vldata.sources.base import Keys
from vldata.sources.reading.embedded import name_below
from vldata.sources.reading.image_folders import (
    Listing,
    inside,
    list_folder,
    matching,
    open_images,
    outside,
    parts_of,
    shared_stems,
)
from vldata.sources.reading.image_tables import named_images, open_metadata
from vldata.sources.reading.open import folder_of
from vldata.sources.reading.table_file import FILE_NAME, TableFile
from vldata.sources.reading.tables import open_frame
from vldata.sources.standins import drawn, scenes_for
from vldata.sources.table import Table
from vldata.sources.table_standins import turns_of_shapes


class ImageFolder(Table):
    """One turn an image; the options are those of `vldata.sources.table.Table`."""

    format: ClassVar[str] = "image_folder"
    about: ClassVar[str] = "a folder of images with .txt, .json or a metadata table beside them, or folders for classes"
    licence: ClassVar[str] = "as the folder's publisher states"
    tasks: ClassVar[tuple[str, ...]] = ("caption", *(name for name in Table.tasks if name != "caption"))
    version: ClassVar[int] = 2

    @computed_field  # type: ignore[prop-decorator]
    @property
    def listing(self) -> str | None:
        """The names of the images, hashed: they decide the rows beside the texts."""
        if not self._folder().is_dir():
            return None
        try:
            return xxh3_64_hexdigest("\0".join(self._listing().images).encode(errors="replace"))
        except SourceError:
            return None  # told by whoever reads it

    def files(self) -> list[Path]:
        """Tables of images, then texts and JSON.

        Raises:
            SourceError: ``path`` is no folder, or has no image below it and no table of any.
        """
        if self._is_standin():
            return [home(self.path)]
        listing = self._listing()
        return [self._folder() / name for name in (*listing.tables, *listing.texts)]

    def _all_turns(self, task: str) -> pl.DataFrame:
        """Every image, every row of a table of images, and every text without an image."""
        turns = super()._all_turns(task)
        if self._is_standin():
            return turns
        below = self._before()
        shared = [below + name for name in shared_stems(self._listing().images)]
        if not shared:
            return turns
        is_shared = pl.col("images").list.first().is_in(shared)
        said = pl.when(is_shared).then(pl.lit("another image has its name, but for the suffix"))
        own = [pl.col("remark")] if "remark" in turns.columns else []
        return turns.with_columns(remark=pl.concat_str(*own, said, separator="\n", ignore_nulls=True).replace("", None))

    def head(self, folder: Path, rows: int, cut: Callable[[Path, Path], bool]) -> Self | None:
        """Its first images with what lies beside them, and the heads of its tables with the images that they name.

        Raises:
            SourceError: As `files` and `turns`.
        """
        if self._is_standin():
            return None
        here, below, listing = self._folder(), folder / self._before(), self._listing()
        parts = parts_of(listing)
        linked = dict.fromkeys([*parts_of(outside(listing))][:rows])
        for table in listing.tables:
            table_head = below / table.removesuffix(".gz")
            table_head.parent.mkdir(parents=True, exist_ok=True)
            if not cut(here / table, table_head):
                return None
            linked |= dict.fromkeys(name for name in named_images(table_head, dirname(table)) if name in parts)
        for name in dict.fromkeys(file for image in linked for file in (image, *parts[image])):
            (below / name).parent.mkdir(parents=True, exist_ok=True)
            (below / name).symlink_to((here / name).absolute())
        return self.model_copy(update={"path": str(below), "image_root": str(folder)})

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Captions of scenes in ``metadata.csv``; turns for other tasks in ``metadata.parquet``."""
        if task not in (None, "caption"):
            keys = turns_of_shapes(folder, rows=rows, seed=seed, task=task, images=images)
            turns, root = pl.read_parquet(keys["path"]), Path(keys["image_root"])
            Path(keys["path"]).unlink()
            named = turns["images"] if "images" in turns.columns else pl.Series([[]] * turns.height)
            used = {*named.explode()}
            for path in (path for path in root.rglob("*") if path.is_file()):
                if path.relative_to(root).as_posix() not in used:
                    path.unlink()  # a scene without a turn would be an image without a text
            turns = turns.with_columns(named.cast(pl.List(pl.String)).list.first().alias(FILE_NAME))
            turns.drop("images", "row", strict=False).write_parquet(root / "metadata.parquet")
            return {"path": keys["image_root"]}
        scenes = drawn(scenes_for(rows, 1, seed), folder, "{:06d}.jpg", images)
        lines = [(name, captions(scene)[0]) for scene, name in scenes]
        folder.mkdir(parents=True, exist_ok=True)
        pl.DataFrame(lines, schema=[FILE_NAME, "text"], orient="row").write_csv(folder / "metadata.csv")
        return {"path": str(folder.resolve()), "image_root": str(folder.resolve())}

    def _is_standin(self) -> bool:
        """Whether it is a table of its own: what is written for a recipe's own fields."""
        return home(self.path).suffix == ".parquet" and home(self.path).is_file()

    def _folder(self) -> Path:
        """The folder, or what stands before the first wildcard of a pattern."""
        whole = home(self.path)
        return whole if whole.is_dir() else folder_of(self.path)

    def _listing(self) -> Listing:
        folder = self._folder()
        if not folder.is_dir():
            problem = "not a folder" if folder.exists() else f"no such folder ({folder.absolute()})"
            raise SourceError(self.path, problem, "name the folder below which the images lie")
        listing = list_folder(folder)
        if folder != home(self.path):
            listing = matching(listing, self.path)
        if not listing.images and not listing.tables:
            what = "the folder holds" if folder == home(self.path) else "the pattern names"
            raise SourceError(self.path, f"{what} no image, and no table metadata.*", "fix `path`")
        return listing

    def _before(self) -> str:
        name = name_below(self._folder(), self.image_root)
        if name.startswith(".."):
            fix = "leave `image_root` out, or name a folder above it"
            raise SourceError(self.path, f"it lies outside image_root {self.image_root!r}", fix)
        return "" if name == "." else f"{name}/"

    def _tables(self) -> list[Path]:
        """The tables of images, and the folder itself where it has images below no table's folder."""
        if self._is_standin():
            return [home(self.path)]
        listing, folder = self._listing(), self._folder()
        scopes = [*map(dirname, listing.tables)]
        double = next((name for name in scopes if scopes.count(name) > 1), None)
        if double is not None:
            named = ", ".join(name for name in listing.tables if dirname(name) == double)
            raise SourceError(self.path, f"one folder has several tables of its images: {named}", "leave one of them")
        rest = outside(listing)
        return [*(folder / name for name in listing.tables), *([folder] if rest.images or rest.texts else [])]

    def _frame(self, path: Path, name: str) -> TableFile:
        option = next((option for option in ("at", "columns") if getattr(self, option) is not None), None)
        if option is not None:
            raise SourceError(str(path), f"`{option}` says nothing of a folder of images", f"leave `{option}` out")
        if self._is_standin():
            return open_frame(path, explode=self.explode)
        folder, listing, before = self._folder(), self._listing(), self._before()
        if path == folder:
            frame = open_images(folder, parts_of(outside(listing)), before=before, explode=self.explode)
            others = [column for table in listing.tables for column in open_frame(folder / table).columns]
            given = ["caption"] if listing.texts or {"caption", "text"} & {*others} else []
            return replace(frame, columns=tuple(dict.fromkeys([*frame.columns, *others, *given])))
        own = dirname(name)
        frame = open_images(folder, parts_of(inside(listing, own)), before=before, explode=())
        return open_metadata(path, frame, folder=own, before=before, explode=self.explode)
