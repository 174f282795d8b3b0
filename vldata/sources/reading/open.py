"""The files that a recipe names, opened as it says: tables by their suffix, plain text as lines or whole."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from glob import has_magic
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

from vldata.paths import home
from vldata.sources.reading.extract import groups_of, with_extracted
from vldata.sources.reading.files import UTF8, expand, is_braced
from vldata.sources.reading.table_file import TableFile, suffix_of
from vldata.sources.reading.tables import SUFFIXES, open_frame
from vldata.sources.reading.tars import is_tar
from vldata.sources.reading.texts import TextRows, open_lines, open_texts
from vldata.sources.reading.tfrecords import is_records

__all__ = ["Encoding", "OpenOptions", "Pattern", "TextRows", "folder_of", "opened", "paths_of"]


def _encoding(name: str) -> str:
    try:
        found = codecs.lookup(name)
    except LookupError:
        raise ValueError(f"no encoding is called {name!r}; common ones: utf-8, iso-8859-1, cp1252, utf-16") from None
    if not getattr(found, "_is_text_encoding", True):
        raise ValueError(f"{name!r} is no encoding of texts")
    return UTF8 if found.name in ("utf-8", UTF8) else found.name


def _pattern(pattern: str) -> str:
    groups_of(pattern)
    return pattern


Encoding = Annotated[str, AfterValidator(_encoding)]
Pattern = Annotated[str, AfterValidator(_pattern)]


def refuse_beside_text(text: TextRows | None, **others: object) -> None:
    """Options that say how a table is read, beside one that says that the files are none.

    Raises:
        ValueError: One of them is set.
    """
    for name, value in others.items():
        if text and value:
            raise ValueError(
                f"`{name}` is of tables, and `text: {text}` reads plain text; `extract` makes columns of it"
            )


class OpenOptions(NamedTuple):
    """How files are opened: what a table's options of these names say."""

    at: str | None = None
    columns: Sequence[str] | None = None
    explode: Sequence[str] = ()
    text: TextRows | None = None
    extract: Mapping[str, str] = {}
    encoding: str = UTF8


def paths_of(path: str, text: TextRows | None) -> list[Path]:
    """The files that a path, a folder or a glob names.

    Raises:
        SourceError: There is none.
    """
    return expand(path, suffixes=() if text else SUFFIXES)


def opened(path: Path, options: OpenOptions, named: str) -> TableFile:
    """A file as a table.

    Args:
        named: The path, folder or glob of a recipe that has led to it.

    Raises:
        SourceError: It cannot be read, or is not what the options say.
    """
    at, columns, explode, text, extract, encoding = options
    if text == "files":
        frame = open_texts(path, folder_of(named), encoding=encoding)
    elif text == "lines":
        frame = open_lines(path, encoding=encoding)
    else:
        is_whole = home(named).is_dir() or has_magic(named)
        frame = open_frame(path, at=at, columns=columns, explode=explode, is_whole=is_whole, encoding=encoding)
    return with_extracted(frame, extract) if extract else frame


def folder_of(path: str) -> Path:
    """The folder that a table's path is or lies in; nothing need exist yet."""
    whole = home(path)
    open_parts = [k for k, part in enumerate(whole.parts) if has_magic(part) or is_braced(part)]
    if open_parts:
        return Path(*whole.parts[: open_parts[0]])
    is_file = suffix_of(whole) in SUFFIXES or is_tar(whole) or is_records(whole) or whole.is_file()
    return whole.parent if is_file else whole
