"""Captions with the URLs of their images: COYO, LAION, CC3M, CC12M and what ``img2dataset`` makes of them.

https://github.com/kakaobrain/coyo-dataset (CC BY 4.0), https://laion.ai (metadata CC BY 4.0),
https://ai.google.com/research/ConceptualCaptions (free use with attribution); the images belong to the sites that
show them.
Layout: ``path`` is Parquet, CSV or TSV, or a folder of them; ``image_root`` holds the images that were fetched, as
``<key>.jpg``.
A row of COYO: {"id": 841814333321, "url":
"https://blog.dogsof.com/wp-content/uploads/2021/03/Image-from-iOS-5-e1614711641382.jpg", "text": "A Pomsky dog
sitting and smiling in field of orange flowers", "width": 1000, "height": 988, ...}
A line of CC3M: a very typical bus station	http://lh6.ggpht.com/-IvRtNLNcG8o/TpFyrudaT6I/AAAAAAAAM6o/_11MuAAKalQ/IMG_3422.JPG?imgmax=800
Quirks: column names differ (url, URL; caption, TEXT, text, alt_text) and are found by themselves; CC3M's and CC12M's
TSV have no head, and CC12M puts the URL first; the widths and heights are those of the web's images, not of the
scaled ones that are fetched, so they are left out; many URLs are dead (``image_missing``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import polars as pl
from pydantic import AfterValidator

from vldata.errors import SourceError
from vldata.schema.keyed import string_keys
from vldata.shapes.language import captions
from vldata.sources.base import Keys, Source
from vldata.sources.reading.columns import note_columns
from vldata.sources.reading.files import expand
from vldata.sources.reading.image_names import checked_pattern, image_name
from vldata.sources.reading.keep import columns_of_texts
from vldata.sources.reading.lines import text_lines
from vldata.sources.reading.nested import PLACE
from vldata.sources.reading.rows import note, one_image, turns_of
from vldata.sources.reading.table_file import suffix_of
from vldata.sources.reading.tables import details_of, kept_in, open_frame, problem_of_detail
from vldata.sources.standins import drawn, keys_for, scenes_for

CAPTIONS = ("caption", "TEXT", "text", "alt_text", "captions", "Caption")
URLS = ("url", "URL", "image_url", "imageUrl", "img_url")
_SCHEMES = ("http://", "https://")
KEYS = ("key", "id", "SAMPLE_ID", "sample_id", "uid")


class UrlTable(Source):
    """One turn a row; ``row`` is the native id, or the hash of the URL (XXH3, 16 hexadecimal digits).

    Args:
        caption_column: None takes the first of `CAPTIONS` that the table has.
        url_column: None takes the first of `URLS`.
        key_column: None takes the first of `KEYS`, or the hash of the URL.
        image_name: Image of a row: ``{key}`` is its id or hash.
    """

    format: ClassVar[str] = "url_table"
    about: ClassVar[str] = "COYO, LAION, CC3M, CC12M: captions with URLs (Parquet, CSV, TSV)"
    licence: ClassVar[str] = "metadata CC BY 4.0 (COYO, LAION); pictures under the terms of the sites that show them"
    tasks: ClassVar[tuple[str, ...]] = ("caption",)
    version: ClassVar[int] = 3

    caption_column: str | None = None
    url_column: str | None = None
    key_column: str | None = None
    image_name: Annotated[str, AfterValidator(checked_pattern("key"))] = "{key}.jpg"

    def files(self) -> list[Path]:
        """``path``, or the tables below it."""
        return expand(self.path, suffixes=(".parquet", ".csv", ".tsv"))

    def turns(self, task: str) -> pl.DataFrame:
        """Every row with its URL; a line of a TSV without head that has not two parts is an ``unparsable_row``.

        Raises:
            SourceError: A table without such columns.
        """
        return turns_of(
            _with_keys(pl.concat([self._read(path) for path in self.files()])),
            row="key",
            images=one_image(image_name(self.image_name, key=pl.col("key"))),
            urls=one_image(pl.col("url")),
            caption=pl.col("caption").str.strip_chars(),
        )

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Captions of scenes, as ``part-00000.parquet`` like COYO's and ``images/``; the URLs lead nowhere."""
        table = []
        for scene, name in drawn(scenes_for(rows, 1, seed), folder / "images", "{}.jpg", images, first=841814333321):
            url = f"https://shapes.invalid/{seed}/{scene.number}.jpg"
            table.append((int(Path(name).stem), url, captions(scene)[0], scene.width, scene.height))
        path = folder / "part-00000.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame(table, schema=["id", "url", "text", "width", "height"], orient="row").write_parquet(path)
        return keys_for(path, folder / "images")

    def _read(self, path: Path) -> pl.DataFrame:
        """``key``, ``url``, ``caption``, ``problem``, ``detail``."""
        bare = _without_head(path, self.keep) if suffix_of(path) == ".tsv" else None
        if bare is not None:
            return bare
        frame = open_frame(path)
        caption = _column(path, "caption_column", self.caption_column, CAPTIONS, frame.columns)
        url = _column(path, "url_column", self.url_column, URLS, frame.columns)
        is_named = self.key_column is not None or not {*KEYS}.isdisjoint(frame.columns)
        key = _column(path, "key_column", self.key_column, KEYS, frame.columns) if is_named else None
        named_by = ("row", "images")
        feeds: dict[str, tuple[str, ...]] = {url: ("urls",), key: named_by} if key else {url: (*named_by, "urls")}
        feeds[caption] = ("caption",)
        note_columns(feeds, (column for column in frame.columns if column not in feeds))
        table, notes = frame.read(*[tuple(dict.fromkeys(column for column in (caption, url, key) if column))] * 2)
        kept = kept_in(frame, self.keep)
        read = table.with_columns(details_of(table[PLACE], notes)).select(
            "detail",
            problem_of_detail(),
            key=pl.col(key).cast(pl.String) if key else pl.lit(None, pl.String),
            url=pl.col(url).cast(pl.String),
            caption=pl.col(caption).cast(pl.String),
        )
        return note(read, pl.col("url").is_null(), "missing_value", pl.lit("no URL")).with_columns(kept)


def _without_head(path: Path, keep: Sequence[str]) -> pl.DataFrame | None:
    """A TSV of captions and URLs, whichever comes first; None when its first line is a head."""
    lines = text_lines(path)
    first = lines[0].split("\t")
    if len(first) != 2 or not any(part.startswith(_SCHEMES) for part in first):
        return None
    note_columns({"URL": ("row", "images", "urls"), "caption": ("caption",)})
    parts = [pl.col("line").str.splitn("\t", 3).struct.field(f"field_{k}") for k in range(3)]
    url, caption = parts[:2] if first[0].startswith(_SCHEMES) else parts[1::-1]
    nothing, said = pl.lit(None, pl.String), pl.format("not a caption and a URL: {}", pl.col("line").str.slice(0, 80))
    table = lines.to_frame().filter(pl.col("line") != "").with_columns(problem=nothing, detail=nothing)
    table = note(table, parts[1].is_null() | parts[2].is_not_null(), "unparsable_row", said)
    table = table.select("detail", "problem", key=nothing, url=url, caption=caption)
    return table.with_columns(columns_of_texts([()] * table.height, keep))


def _column(path: Path, option: str, given: str | None, usual: Sequence[str], columns: Sequence[str]) -> str:
    """The name of a column: the given one, else the first of the usual ones that there is.

    Raises:
        SourceError: There is no such column.
    """
    found = next((name for name in ([given] if given else usual) if name in columns), None)
    if found is None:
        problem = f"no column {given!r}" if given else f"none of the columns is called {' or '.join(usual)}"
        raise SourceError(str(path), problem, f"set `{option}` to one of: {', '.join(columns)}")
    return found


def _with_keys(table: pl.DataFrame) -> pl.DataFrame:
    """Fill the keys that are missing with the hash of the URL."""
    at = (table["key"].is_null() & table["url"].is_not_null()).arg_true()
    if not at.len():
        return table
    # the big-endian bytes of all hashes at once, as hexadecimal digits, 16 a row
    digits = string_keys(table["url"].gather(at).to_list()).astype(">u8").tobytes().hex()
    hashes = np.frombuffer(digits.encode(), dtype="S16").astype(str)
    return table.with_columns(table["key"].scatter(at, pl.Series(hashes, dtype=pl.String)))
