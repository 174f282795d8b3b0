"""Exclusion lists: takedown requests and benchmark images as plain text, one entry a line.

    # photographs of the test split
    captions/391895                              a row, as in a dataset's ``id`` and ``turns.row``: <source>/<row>
    af1349b9f5f9a1a6a0404dea36dcc949             an image's bytes: BLAKE3, 32 hexadecimal digits or b3sum's 64
    https://example.org/photo.jpg                where an image came from, to the letter

A row takes out that turn; a hash or a URL takes out every turn about the image. ``#`` starts a comment at the start of
a line or behind a space.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from vldata.curate.cut import Cut, Drop, cut
from vldata.errors import RecipeError

_COMMENT = re.compile(r"(^|\s)#.*$")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]+", re.IGNORECASE)
_DIGITS = 32
"""Of a BLAKE3 hash; a longer one starts with the shorter one."""


@dataclass(frozen=True)
class ExclusionList:
    """What must not be used.

    Args:
        ids: ``<source>/<row>``.
        hashes: Content hashes of images, 32 lower-case hexadecimal digits.
        urls: As written.
    """

    ids: frozenset[str]
    hashes: frozenset[str]
    urls: frozenset[str]

    @classmethod
    def read(cls, path: str | Path) -> ExclusionList:
        """Read a list.

        Raises:
            RecipeError: Unreadable, not UTF-8, or a line that is none of the three kinds.
        """
        entries: dict[str, set[str]] = {"id": set(), "hash": set(), "url": set()}
        for number, line in enumerate(_text(path).splitlines(), start=1):
            entry = _COMMENT.sub("", line).strip()
            if entry:
                kind, value = _kind(entry, f"{path}:{number}")
                entries[kind].add(value)
        return cls(frozenset(entries["id"]), frozenset(entries["hash"]), frozenset(entries["url"]))

    @property
    def digest(self) -> str:
        """Hash of the entries; comments and order do not count."""
        text = "\n".join([*sorted(self.ids), "", *sorted(self.hashes), "", *sorted(self.urls)])
        return hashlib.sha256(text.encode()).hexdigest()

    def rows(self, source: str, turns: pl.DataFrame) -> Cut:
        """Drop the turns whose row or one of whose URLs is listed; images by content are for when they are opened."""
        own = [entry.removeprefix(f"{source}/") for entry in self.ids if entry.startswith(f"{source}/")]
        listed = pl.Series(sorted(self.urls), dtype=pl.String)
        urls = pl.col("urls").list.set_intersection(listed.implode()).list.drop_nulls()
        return cut(
            turns,
            [
                Drop("excluded", pl.col("row").is_in(own), pl.concat_str(pl.lit(f"{source}/"), "row")),
                Drop("excluded", urls.list.len() > 0, urls.list.sort().list.first()),
            ],
        )


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        problem = f"{path} is not UTF-8: byte {error.object[error.start]:#04x} at offset {error.start}"
        raise RecipeError("exclude", problem, f"convert it: iconv -f ISO-8859-1 -t UTF-8 {path}") from None
    except OSError as error:
        raise RecipeError(
            "exclude", f"{path}: {error.strerror or error}", "check the path and its permissions"
        ) from None


def _kind(entry: str, where: str) -> tuple[str, str]:
    if _URL.fullmatch(entry):
        return "url", entry
    if _HEX.fullmatch(entry) and len(entry) in (_DIGITS, 2 * _DIGITS):
        return "hash", entry[:_DIGITS].lower()
    source, slash, row = entry.partition("/")
    if source and slash and row:
        return "id", entry
    raise RecipeError(
        where, f"{entry!r} is no row, image hash or URL", "write <source>/<row>, 32 hex digits, or https://…"
    )
