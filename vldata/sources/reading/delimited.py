"""CSV and TSV files: whether quotation marks enclose fields in them, and every line accounted for.

A quotation mark encloses a field when it opens it and closes it: RFC 4180 for CSV. TSV files of captions are mostly
written without quoting, so that a caption may begin with a mark that nothing closes; theirs enclose fields only where
each closes before the next tab. A reader that guesses otherwise swallows the lines behind a lone mark.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from vldata.errors import SourceError
from vldata.sources.reading.files import UTF8, read_text, refuse_wide

SEPARATORS = {".csv": ",", ".tsv": "\t"}
"""By suffix."""

BLANK_LINE = "its line has no value"
"""What is wrong with the rows of lines that are blank, or have separators alone."""

HEADER_AGAIN = "its line is the header once more"
"""Of rows whose values are the columns' names, as where files were written one behind another."""

BLANK = "\0blank"
_CHUNK_BYTES = 1 << 20
_FIRST_CHARACTERS, _FIRST_ROWS = 1 << 18, 20
_OTHERS = (";", "|", "\t", ",")
_FOR_EXCEL = re.compile(r"sep=.?", re.IGNORECASE)
_DIGITS, _HASH_LENGTH = re.compile(r"\d+"), 8
_DOUBLED = re.compile(r"(.+)_duplicated_\d+")


def separator_of(path: Path, usual: str, columns: Sequence[str] | None, encoding: str = UTF8) -> str:
    """What stands between the fields of a file: the usual mark, or, where its first line lacks it, another one.

    The other one is the only mark that parts the first line and the first rows into equally many fields.

    Args:
        columns: Names of the columns of a file without a header.
    """
    with _text(path, encoding) as file:
        text = file.read(_FIRST_CHARACTERS)
    lines = text.splitlines(keepends=True)
    whole = lines if len(text) < _FIRST_CHARACTERS else lines[:-1]
    first = next((line for line in whole if line.strip()), "").removeprefix("\ufeff")
    if "\r" in text.rstrip() and "\n" not in text:
        fix = "write line feeds: tr '\\r' '\\n'"
        raise SourceError(str(path), "its lines end in a carriage return alone, as on old Macs", fix)
    if columns is None and _FOR_EXCEL.fullmatch(first.strip()):
        raise SourceError(f"{path}:1", f"{first.strip()!r} is for Excel, and no header", "take the line out")
    if usual in first or not any(mark in first for mark in _OTHERS):
        return usual
    parting = [mark for mark in _OTHERS if mark in first and _parts_alike(whole, mark, columns)]
    return parting[0] if len(parting) == 1 else usual


def _parts_alike(lines: Sequence[str], separator: str, columns: Sequence[str] | None) -> bool:
    rows = (row for row in csv.reader(lines, delimiter=separator) if any(map(str.strip, row)))
    try:
        widths = {len(row) for row in islice(rows, _FIRST_ROWS)}
    except csv.Error:
        return False
    return len(widths) == 1 and 1 not in widths and (columns is None or widths == {len(columns)})


def is_quoted(path: Path, separator: str, encoding: str = UTF8) -> bool:
    """Whether quotation marks enclose fields in the file.

    Raises:
        SourceError: A CSV file in which a mark opens a field and nothing closes it; says the line.
    """
    if not _any_field_opens_with_a_mark(path, separator, encoding):
        return False
    line = 1
    try:
        with _text(path, encoding) as file:
            rows = csv.reader(file, delimiter=separator, strict=True)
            width: int | None = None
            for row in rows:
                if any(_swallows(value, separator, width, row[0].partition(separator)[0]) for value in row):
                    raise csv.Error(f"a quoted field holds {'a tab' if separator == chr(9) else 'whole lines'}")
                width = len(row) if width is None else width
                line = rows.line_num + 1
    except csv.Error as error:
        if separator == "\t":
            return False
        problem = f"a quotation mark opens a field in this row, and nothing closes it as CSV asks ({error})"
        fix = 'close it; a mark inside a field is written twice and the field enclosed: "5"" pipe"'
        raise SourceError(f"{path}:{line}", problem, fix) from None
    return True


def scan(path: Path, separator: str, columns: Sequence[str] | None, encoding: str = UTF8) -> pl.LazyFrame:
    """The file with every value as text.

    Args:
        columns: Names of the columns of a file without a header; None: the first line names them.

    Raises:
        SourceError: As `is_quoted`; or the text is not in this encoding, or has another number of columns.
    """
    file: Path | io.BytesIO = path
    if encoding == UTF8:
        refuse_wide(path)
    else:
        file = io.BytesIO(read_text(path, encoding=encoding).encode())
    mark = '"' if is_quoted(path, separator, encoding) else None
    options = {"separator": separator, "infer_schema": False, "glob": False, "quote_char": mark}
    rows = pl.scan_csv(file, has_header=columns is None, **options)  # type: ignore[arg-type]
    there = rows.collect_schema().names()
    if columns is None:
        known = {*there}
        doubled = ((name, _DOUBLED.fullmatch(name)) for name in there)  # so Polars calls them
        head = [found[1] if found and found[1] in known else name for name, found in doubled]
        return rows.rename(dict(zip(there, _names(head, path, separator), strict=True)))
    if len(there) != len(columns):
        problem = f"its first line has {len(there)} values, and `columns` names {len(columns)}"
        fix = "name each; where the last one is text that holds the mark, say `text: lines` and `extract`"
        raise SourceError(f"{path}:1", problem, fix)
    return rows.rename(dict(zip(there, columns, strict=True)))


def _names(head: Sequence[str], path: Path, separator: str) -> Sequence[str]:
    """The columns that a header names: without blanks around them where it has another separator than its suffix'.

    Of columns with the same name, each has its number behind it: nobody can tell which one is meant.
    """
    bare = [name.strip() for name in head]
    is_usual = SEPARATORS.get(Path(path.name.removesuffix(".gz")).suffix) == separator
    names = head if is_usual or len({*bare}) < len(bare) else bare
    total, seen, each = Counter(names), Counter[str](), []
    for name in names:
        seen[name] += 1
        each.append(f"{name} ({seen[name]})" if name and total[name] > 1 else name)
    return each


def with_blanks(rows: pl.LazyFrame, *, has_header: bool) -> pl.LazyFrame:
    """The rows with one column more, `BLANK`: what is wrong with a row that has no value at all, or is a header."""
    names = rows.collect_schema().names()
    again = [pl.col(name) == name for name in names] if has_header and len(names) > 1 else [pl.lit(False)]
    is_blank = pl.when(pl.all_horizontal(pl.all().is_null())).then(pl.lit(BLANK_LINE))
    return rows.with_columns(is_blank.when(pl.all_horizontal(again)).then(pl.lit(HEADER_AGAIN)).alias(BLANK))


def blank_rows(table: pl.DataFrame, places: str) -> tuple[pl.DataFrame, dict[int, str]]:
    """The table of `with_blanks` without its column, and what that says is wrong with rows, by their places.

    Args:
        places: The column of these.
    """
    if BLANK not in table.columns:
        return table, {}
    wrong = table.filter(pl.col(BLANK).is_not_null())
    return table.drop(BLANK), dict(zip(wrong[places].to_list(), wrong[BLANK].to_list(), strict=True))


def collected(rows: pl.LazyFrame) -> pl.DataFrame:
    """The rows of a `scan`, or of what was made of one.

    Raises:
        polars.exceptions.ComputeError: A row has more values than there are columns.
    """
    # of a row with too many values Polars cuts off those that no column asks for, and only says so when all are asked
    return rows.collect(optimizations=pl.QueryOptFlags(projection_pushdown=False))


def rows_one_by_one(
    path: Path, separator: str, columns: Sequence[str] | None, encoding: str = UTF8
) -> tuple[list[dict[str, str | None]], dict[int, str]]:
    """The rows of a file in which some have more values than there are columns, and what is wrong with those.

    Raises:
        SourceError: It cannot be parsed, or is not in this encoding.
    """
    csv.field_size_limit(1 << 30)
    quoted = is_quoted(path, separator, encoding)
    rows: list[dict[str, str | None]] = []
    notes: dict[int, str] = {}
    try:
        text = io.StringIO(read_text(path, encoding=encoding), newline="")
        lines = csv.reader(text, delimiter=separator, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
        head = columns if columns is not None else _names(next(filter(None, lines)), path, separator)
        for line in lines:
            if not any(line):
                notes[len(rows)] = BLANK_LINE
            elif columns is None and len(line) > 1 and line == head:
                notes[len(rows)] = HEADER_AGAIN
            elif len(line) > len(head):
                notes[len(rows)] = f"line {lines.line_num}: {len(line)} values for {len(head)} columns"
            rows.append({} if len(rows) in notes else dict(zip(head, (v or None for v in line), strict=False)))
    except csv.Error as error:
        raise SourceError(str(path), f"not usable as CSV: {error}", "fix the file") from None
    return rows, notes


def _swallows(value: str, separator: str, width: int | None, first: str) -> bool:
    """Whether a quoted field holds what must be rows: a tab of a TSV; of a CSV, lines that each have every column.

    In a file of two columns one comma is no sign yet: each line must also begin as its row does (``first``).
    """
    if separator == "\t":
        return "\t" in value
    if width is None or width < 2 or "\n" not in value:
        return False
    lines = value.split("\n")[1:]
    begin_alike = width > 2 or all(_are_alike(first, line.partition(separator)[0]) for line in lines)
    return begin_alike and all(line.count(separator) == width - 1 for line in lines)


def _are_alike(one: str, other: str) -> bool:
    """Whether two values are surely of one column: names of files of one kind, or ids of one length."""
    suffix = Path(one).suffix
    if suffix and not suffix.endswith(" "):
        return Path(other).suffix == suffix
    shape = _DIGITS.sub("0", one)  # as of COCO_17 and COCO_18
    return " " not in one and "0" in shape and (shape == _DIGITS.sub("0", other) or _are_hashes(one, other))


def _are_hashes(one: str, other: str) -> bool:
    return len(one) == len(other) >= _HASH_LENGTH and {*one, *other} <= {*"0123456789abcdef-"}


def _any_field_opens_with_a_mark(path: Path, separator: str, encoding: str) -> bool:
    opening = ('\n"', '\r"', f'{separator}"')
    tail = "\n"
    with _text(path, encoding) as file:
        while chunk := file.read(_CHUNK_BYTES):
            chunk = tail + chunk
            if '"' in chunk and any(mark in chunk for mark in opening):
                return True
            tail = chunk[-1]
    return False


@contextmanager
def _text(path: Path, encoding: str) -> Iterator[io.TextIOBase]:
    """The file as text, gzip by content; bytes that are not in its encoding become replacement characters."""
    csv.field_size_limit(1 << 30)
    try:
        with path.open("rb") as raw:
            is_gzip = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            unpacked: Any = gzip.GzipFile(fileobj=raw) if is_gzip else raw
            yield io.TextIOWrapper(unpacked, encoding=encoding, errors="replace", newline="")
    except (OSError, EOFError) as error:
        raise SourceError(str(path), f"cannot be read: {error}", "check the file, or download it again") from None
