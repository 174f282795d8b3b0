"""A folder of images, with texts or JSON beside them or a table of them, -> a table of its images."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from vldata.errors import SourceError
from vldata.sources.reading.conversations import talk_rows
from vldata.sources.reading.files import Written, is_about, visible_names
from vldata.sources.reading.nested import ITEM, PLACE, ROW
from vldata.sources.reading.rows import shown
from vldata.sources.reading.samples import IMAGES, Part, is_text, rows_of, talks_of, written_rows
from vldata.sources.reading.tables import FILE_NAME, FILE_STEM, TableFile, open_frame, open_objects

METADATA = ("metadata.csv", "metadata.tsv", "metadata.jsonl", "metadata.parquet")
LABEL = "label"
_FILES = "file_names"
_PATH = "\0path"
_TEXTS = pl.List(pl.String)


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


def open_metadata(path: Path, rest: TableFile, *, folder: str, before: str, explode: Sequence[str]) -> TableFile:
    """A table that names images (``file_name``, ``file_names`` or ``…_file_name``), with what lies beside these.

    Args:
        rest: The images of its folder; those that it does not name are rows, too.
        folder: Its folder, seen from the source's.
        before: The source's folder, seen from ``image_root``, with the slash behind it.

    Raises:
        SourceError: It names no images.
    """
    table = open_frame(path, explode=explode)
    files = _columns_of_files(table)
    if not files:
        fix = "name the images' files, seen from its folder, in a column 'file_name'"
        raise SourceError(str(path), f"it has no column {FILE_NAME!r}, but {', '.join(table.columns)}", fix)
    caption = next((name for name in ("caption", "text") if name in table.columns), None)
    theirs = {*rest.columns} - {*table.columns, FILE_NAME, FILE_STEM, "images"}

    def named(read: pl.DataFrame) -> pl.DataFrame:
        """With the images' paths, seen from the source's folder, and the first of these."""
        lists = [pl.col(name) if isinstance(read.schema[name], pl.List) else pl.concat_list(name) for name in files]
        own = [names.cast(_TEXTS).fill_null(pl.lit([], dtype=_TEXTS)) for names in lists]
        paths = read.select(images=pl.concat_list(own).list.drop_nulls())["images"].to_list()
        paths = [[posixpath.normpath(posixpath.join(folder, name)) for name in row] for row in paths]
        first = pl.Series(_PATH, [next(iter(row), None) for row in paths], dtype=pl.String)
        images = pl.Series("images", [[_seen(name, before) for name in row] for row in paths], dtype=_TEXTS)
        return read.drop("images", strict=False).with_columns(first, images)

    def read(names: Sequence[str], texts: Collection[str] = ()) -> tuple[pl.DataFrame, dict[int, str]]:
        beside = [name for name in names if name.partition(".")[0] in theirs or (name == "caption" and "txt" in theirs)]
        ours = [name for name in names if name not in {*beside, FILE_NAME, FILE_STEM, "images", "caption"}]
        ours = list(dict.fromkeys([*ours, *files, *([caption] if caption else [])]))
        own, notes = table.read(ours, {*texts, *files, *([caption] if caption else [])})
        own = named(own)
        if caption is not None:
            own = own.with_columns(caption=pl.col(caption))
        others, wrong = rest.read([*beside, FILE_NAME, "images"], texts)
        others = others.rename({FILE_NAME: _PATH, PLACE: "\0other"}).with_columns(pl.col(_PATH).cast(pl.String))
        both = own.join(others.drop("images"), on=_PATH, how="left", maintain_order="left", suffix="\0")
        if "caption\0" in both.columns:
            differ = both.filter(pl.col("caption").cast(pl.String) != pl.col("caption\0").cast(pl.String))
            for place, one, other in differ.select(PLACE, "caption", "caption\0").iter_rows():
                notes.setdefault(place, f"its caption is {shown(one)} in the table, and {shown(other)} beside it")
            both = both.with_columns(caption=pl.coalesce("caption", "caption\0")).drop("caption\0")
        places = zip(both[PLACE].to_list(), both["\0other"].to_list(), strict=True)
        notes |= {place: wrong[other] for place, other in places if other in wrong and place not in notes}
        left = others.join(own, on=_PATH, how="anti", maintain_order="left")
        fresh = pl.int_range(own.height, own.height + pl.len(), dtype=pl.UInt32)
        left = left.with_columns(fresh.alias(PLACE))
        if ROW in own.columns:
            last = own[ROW].max()
            start = 0 if last is None else int(last) + 1  # type: ignore[arg-type]
            rows = pl.int_range(start, start + pl.len(), dtype=pl.UInt32)
            left = left.with_columns(rows.alias(ROW), pl.lit(None, pl.Int32).alias(ITEM))
        fresh_places = zip(left[PLACE].to_list(), left["\0other"].to_list(), strict=True)
        notes |= {place: wrong[other] for place, other in fresh_places if other in wrong}
        whole = pl.concat([both, left], how="diagonal_relaxed").drop("\0other")
        stem = pl.col(_PATH).str.replace(r"\.[^./]*$", "")
        whole = whole.with_columns(pl.col(_PATH).alias(FILE_NAME), stem.alias(FILE_STEM))
        kept = [name for name in (PLACE, ROW, ITEM) if name in whole.columns]
        return whole.select(*kept, *dict.fromkeys(names)), notes

    def talks() -> list[Any]:
        rows = talk_rows(path, image_root=before, frame=table)
        own, _ = table.read(files, {*files})
        known = named(own)
        for row, first, images in zip(rows, known[_PATH].to_list(), known["images"].to_list(), strict=True):
            if isinstance(row, dict):
                for name in (*files, "image"):
                    row.pop(name, None)
                row.setdefault("id", first)
                row["images"] = images
        assert rest.talks is not None
        mentioned = {*known[_PATH].drop_nulls()}
        others, _ = rest.read([FILE_NAME])
        unnamed = zip(others[FILE_NAME].to_list(), rest.talks(), strict=True)
        return [*rows, *(talk for name, talk in unnamed if name not in mentioned)]

    columns = tuple(
        dict.fromkeys(
            [*table.columns, "images", FILE_NAME, FILE_STEM, *rest.columns, *(["caption"] if caption else [])]
        )
    )
    return replace(table, columns=columns, read=read, row=FILE_NAME, talks=talks, images=lambda column: None)


def named_images(path: Path, folder: str) -> list[str]:
    """The images that a table names, seen from the source's folder; the table's own is ``folder``, seen from there."""
    table = open_frame(path)
    named, _ = table.read(_columns_of_files(table))
    flat = (values.explode() if isinstance(values.dtype, pl.List) else values for values in named.drop(PLACE))
    names = (name for values in flat for name in values.cast(pl.String).drop_nulls())
    return list(dict.fromkeys(posixpath.normpath(posixpath.join(folder, name)) for name in names))


def _columns_of_files(table: TableFile) -> list[str]:
    return [name for name in table.columns if name in (FILE_NAME, _FILES) or name.endswith(f"_{FILE_NAME}")]


def _read(folder: Path, name: str, texts: Sequence[str], before: str) -> Iterator[Part]:
    if name not in texts:
        yield Part(_kind(name), name, before + name)
    for text in texts:
        try:
            yield Part(_kind(text), text, before + text, (folder / text).read_bytes())
        except OSError as error:
            raise SourceError(str(folder / text), error.strerror or str(error), "check its permissions") from None


def _seen(name: str, before: str) -> str:
    return name if name.startswith("/") else before + name


def _kind(name: str) -> str:
    return posixpath.splitext(name)[1][1:].lower()
