"""A folder of images, with texts or JSON beside them or a table of them, -> a table of its images."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import polars as pl

from vldata.errors import SourceError
from vldata.paths import home
from vldata.sources.reading.files import Written, braced, is_about, visible_names
from vldata.sources.reading.open import folder_of
from vldata.sources.reading.samples import IMAGES, Part, is_text, rows_of, talks_of, written_rows
from vldata.sources.reading.table_file import FILE_NAME, FILE_STEM, TableFile
from vldata.sources.reading.tables import open_objects

METADATA = ("metadata.csv", "metadata.tsv", "metadata.jsonl", "metadata.parquet")
LABEL = "label"


class Listing(NamedTuple):
    """The files below a folder, seen from it, sorted.

    Args:
        images: Files with an image's suffix.
        texts: Files that may say something of an image, by their suffix.
        tables: Tables of images.
    """

    images: list[str]
    texts: list[str]
    tables: list[str]


def list_folder(folder: Path) -> Listing:
    """Walk a folder, without what is hidden, what only a file system wants, and what speaks of the data as a whole."""
    found = Listing([], [], [])
    for name in visible_names(folder):
        last = name.rpartition("/")[2]
        if "__MACOSX/" in name:
            continue
        if last.removesuffix(".gz") in METADATA:
            found.tables.append(name)
        elif _kind(last) in IMAGES:
            found.images.append(name)
        elif is_text(last) and not is_about(last):
            found.texts.append(name)
    return Listing(*(sorted(names) for names in found))


def matching(listing: Listing, pattern: str) -> Listing:
    """What a pattern names of its folder: files, whatever lies below folders, and texts beside images.

    Raises:
        SourceError: It leaves out a table that names its images.
    """
    folder = folder_of(pattern)
    each = [home(one).relative_to(folder) for one in braced(pattern)]
    found = {path.relative_to(folder).as_posix() for one in each for path in folder.glob(str(one))}

    def is_named(name: str) -> bool:
        return name in found or any(above.as_posix() in found for above in PurePosixPath(name).parents)

    images = [name for name in listing.images if is_named(name)]
    beside = parts_of(Listing(images, listing.texts, []))
    texts = {*filter(is_named, listing.texts), *(text for name in images for text in beside[name])}
    for table in listing.tables:
        scope = table.removesuffix(posixpath.basename(table))
        if not is_named(table) and any(name.startswith(scope) for name in images):
            fix = f"name the table, too, or its folder: {folder / scope}"
            raise SourceError(pattern, f"it names images, and not {table}, which may say what is in them", fix)
    return Listing(images, sorted(texts), [name for name in listing.tables if is_named(name)])


def parts_of(listing: Listing) -> dict[str, list[str]]:
    """The texts of each image, by its name; texts that no image has are under their own.

    A text is an image's that has its name but for the suffix, or with a suffix more.
    """
    texts: defaultdict[str, list[str]] = defaultdict(list)
    for name in listing.texts:
        texts[posixpath.splitext(name)[0]].append(name)
    stems = {name: posixpath.splitext(name)[0] for name in listing.images}
    found = {name: [*texts.get(name, ()), *texts.get(stem, ())] for name, stem in stems.items()}
    known = {*stems.values(), *stems}
    found |= {names[0]: names for stem, names in texts.items() if stem not in known}
    return dict(sorted(found.items()))


def inside(listing: Listing, folder: str) -> Listing:
    """What lies below the folder of a table, and below no folder in it that has a table of its own."""
    own = Listing(*([name for name in names if _is_below(name, folder)] for names in listing))
    return _outside(own, {*map(posixpath.dirname, own.tables)} - {folder})


def outside(listing: Listing) -> Listing:
    """What lies below no folder that has a table, without tables."""
    return _outside(listing, {*map(posixpath.dirname, listing.tables)})


def _outside(listing: Listing, folders: Collection[str]) -> Listing:
    images, texts = (
        [name for name in names if not any(_is_below(name, folder) for folder in folders)]
        for names in (listing.images, listing.texts)
    )
    return Listing(images, texts, [])


def _is_below(name: str, folder: str) -> bool:
    return not folder or name.startswith(f"{folder}/")


def shared_stems(images: Sequence[str]) -> list[str]:
    """Images whose name another one has, but for the suffix."""
    stems = pl.DataFrame({"image": images}, schema={"image": pl.String})
    stem = pl.col("image").str.replace(r"\.[^./]*$", "")
    return stems.filter(stem.is_duplicated())["image"].to_list()


def open_images(folder: Path, parts: Mapping[str, Sequence[str]], *, before: str, explode: Sequence[str]) -> TableFile:
    """A row for each image, and for each text without one, with the columns of `rows_of`; `LABEL` is its folder.

    Args:
        parts: As `parts_of` has them.
        before: The folder, seen from ``image_root``, with the slash behind it.
    """
    samples = {name: list(_read(folder, name, texts, before)) for name, texts in parts.items()}
    found = rows_of(samples)
    for place, (name, row) in enumerate(zip(samples, found.rows, strict=True)):
        named = row.get("image")
        if row.get("images") and isinstance(named, str) and posixpath.basename(named) != posixpath.basename(name):
            found.notes.setdefault(place, f"the JSON beside it is of {named!r}")

    def written() -> list[dict[str, Any]]:
        return _with_names(samples, written_rows(samples))

    def native() -> list[dict[str, Any]]:
        return _with_names(samples, rows_of(samples, floats=Written).rows)

    rows = _with_names(samples, found.rows)
    frame = open_objects(folder, rows, found.notes, written=written, native=native, explode=explode)
    return replace(frame, row=FILE_NAME, talks=partial(talks_of, samples, found, list(samples)))


def _with_names(names: Iterable[str], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for name, row in zip(names, rows, strict=True):
        row[FILE_NAME], row[FILE_STEM] = name, posixpath.splitext(name)[0]
        row.setdefault(LABEL, posixpath.basename(posixpath.dirname(name)) or None)
    return rows


def _read(folder: Path, name: str, texts: Sequence[str], before: str) -> Iterator[Part]:
    if name not in texts:
        yield Part(_kind(name), name, before + name)
    for text in texts:
        try:
            yield Part(_kind(text), text, before + text, (folder / text).read_bytes())
        except OSError as error:
            raise SourceError(str(folder / text), error.strerror or str(error), "check its permissions") from None


def _kind(name: str) -> str:
    return posixpath.splitext(name)[1][1:].lower()
