"""Files of plain text as tables: a row a line, or a row a file; a tar archive may hold these by thousands."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

import polars as pl

from vldata.errors import SourceError
from vldata.sources.reading.files import UTF8, decoded, read_bytes
from vldata.sources.reading.table_file import FILE_NAME, FILE_STEM, TableFile
from vldata.sources.reading.tables import open_rows

TextRows = Literal["lines", "files"]
LINE, NUMBER, TEXT = "line", "number", "text"
"""Columns of a table of lines, and the one of a table of files."""

_ARCHIVES = (".tar", ".tgz", ".tar.gz")


def open_lines(path: Path, *, encoding: str = UTF8) -> TableFile:
    """The lines of a file that are not blank, each with its number from 1; only line feeds end a line.

    Raises:
        SourceError: It cannot be read, or is not in this encoding.
    """
    text = decoded(read_bytes(path), str(path), encoding)
    lines = pl.Series(LINE, text.removesuffix("\n").split("\n"), dtype=pl.String).str.strip_suffix("\r")
    rows = lines.to_frame().with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(NUMBER))
    return open_rows(path, rows.filter(pl.col(LINE).str.strip_chars() != ""))


def open_texts(path: Path, folder: Path, *, encoding: str = UTF8) -> TableFile:
    """A file as one row with its whole text and its name, or the files of a tar archive, a row each.

    Args:
        folder: From which the name is seen; those in an archive are seen from its top.

    Raises:
        SourceError: One cannot be read, or is not in this encoding.
    """
    names, texts = [], []
    for name, where, raw in _files_in(path, folder):
        names.append(name)
        texts.append(decoded(raw, where, encoding))
    stems = [name.removesuffix(PurePosixPath(name).suffix) for name in (name.removesuffix(".gz") for name in names)]
    rows = pl.DataFrame({TEXT: texts, FILE_NAME: names, FILE_STEM: stems}, schema=dict.fromkeys(_OF_FILES, pl.String))
    return open_rows(path, rows)


_OF_FILES = (TEXT, FILE_NAME, FILE_STEM)


def _files_in(path: Path, folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """The name, the place for messages, and the bytes of a file, or of those in an archive."""
    if not path.name.lower().endswith(_ARCHIVES):
        yield Path(os.path.relpath(path, folder)).as_posix(), str(path), read_bytes(path)
        return
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile():
                    file = archive.extractfile(member)
                    assert file is not None, "it is a file"
                    yield member.name.removeprefix("./"), f"{path}::{member.name}", file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        said = str(error).partition("\n")[0]
        raise SourceError(str(path), f"not readable as a tar archive ({said})", "download it again") from None
