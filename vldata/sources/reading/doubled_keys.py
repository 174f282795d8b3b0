"""Objects of JSON that say two things under one key, of which readers take the first or the last in silence.

To parse a file again with an eye on that takes ten times as long as to read it. So keys are counted, which is fast:
a document has fewer of them once it is read than its text has; of rows those that have another number of keys than
most are parsed again (of very many such ones an even part), and the first half megabyte in any case.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from vldata.errors import SourceError

_KEY_MARK = int.from_bytes(b'":', "little")
_KEY, _SPACED_KEY = '":', r'"\s+:'
_SEARCHED_BYTES = 512 * 1024
_FEW_PARTS = 64
FEW_ROWS = 1_000
"""Up to this many are all parsed again."""
_MOST_ROWS = 2_000
"""Rows with an unusual number of keys that are parsed again; of more, at least every fiftieth of all rows is."""


class DoubledKey(Exception):
    """An object says two things under one key."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, value in pairs:
            if found[key] != value:
                raise DoubledKey(f"an object has the key {key!r} twice, with {value!r:.60} and {found[key]!r:.60}")
    return found


def doubled_key(text: str | bytes) -> str | None:
    """What is wrong with a JSON text in which an object says two things under one key; None of any other."""
    try:
        json.loads(text if isinstance(text, str) else text.decode("utf-8", "replace"), object_pairs_hook=_object)
    except (ValueError, RecursionError):
        return None  # it ends later, or whoever reads it says why it is no JSON
    except DoubledKey as error:
        return str(error)
    return None


def num_keys(text: bytes) -> int:
    """How often a text has a quotation mark before a colon, as behind a key; five times as fast as to count it."""
    marks = (
        np.frombuffer(text, "<u2", count=(len(text) - start) // 2, offset=start) for start in (0, 1) if len(text) > 1
    )
    return sum(int(np.count_nonzero(pairs == _KEY_MARK)) for pairs in marks)


def refuse_doubled_keys(path: Path, raw: bytes, document: Any) -> None:
    """Refuse a document that says two things under one key.

    Args:
        document: As it was read; None of one that was not. Its parts may be still encoded; then these are its keys.

    Raises:
        SourceError: It does.
    """
    said = doubled_key(raw[:_SEARCHED_BYTES])
    if said is None and len(raw) > _SEARCHED_BYTES and document is not None:
        is_open = isinstance(document, dict | list) and any(type(part) is msgspec.Raw for part in _parts(document))
        if _has_fewer_parts(document, raw) if is_open else _has_fewer_keys(document, raw):
            said = doubled_key(raw)
    if said is not None:
        raise SourceError(str(path), said, "leave one of them")


def _has_fewer_keys(document: Any, raw: bytes) -> bool:
    num = num_keys(raw) or raw.count(b":")
    if isinstance(document, list) and num == sum(len(row) for row in document if isinstance(row, dict)):
        return False  # flat rows
    try:
        return num > num_keys(msgspec.json.encode(document, enc_hook=float))
    except (msgspec.MsgspecError, UnicodeError, OverflowError, TypeError, ValueError, RecursionError):
        return True


def _parts(document: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return document.values() if isinstance(document, dict) else document


def _has_fewer_parts(document: dict[str, Any] | list[Any], raw: bytes) -> bool:
    """Whether a text has keys that neither are those of a document nor lie in its parts, which are still encoded."""
    if isinstance(document, list) or not document:
        return False
    parts = b",".join(document.values())
    rest = len(raw) - len(parts)
    if len(document) < _FEW_PARTS and rest < _FEW_PARTS * len(document):
        return False
    signs = rest - len("{}") - sum(map(len, document))  # of each key quotes and a colon, perhaps one blank or two
    if signs in (3 * len(document), 4 * len(document), 5 * len(document)):
        return False
    return num_keys(raw) > len(document) + num_keys(parts)


def doubled_keys_of(rows: Sequence[str] | Sequence[bytes]) -> dict[int, str]:
    """What is wrong with rows of JSON that say two things under one key, by their places."""
    key: Any = _KEY if rows and isinstance(rows[0], str) else _KEY.encode()
    counts = [row.count(key) for row in rows]
    usual = Counter(counts).most_common(1)[0][0] if counts else 0
    is_few = len(rows) <= FEW_ROWS
    places = _part([place for place, count in enumerate(counts) if is_few or count != usual or not count], len(rows))
    return {place: said for place in places if (said := doubled_key(rows[place])) is not None}


def _part(places: list[int], num_rows: int) -> list[int]:
    most = max(_MOST_ROWS, num_rows // 50)
    return places[:: -(-len(places) // most)] if places else places


def refuse_doubled_keys_of_lines(path: Path) -> None:
    """Refuse JSON lines that say two things under one key.

    Raises:
        SourceError: One of the lines does, and says which.
    """
    try:
        with path.open("rb") as file:
            is_packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if is_packed else path.open("rb") as file:
            start = file.read(_SEARCHED_BYTES)
            is_whole = not file.read(1)
        lines = enumerate(start.decode("utf-8-sig", "replace").split("\n"))
        said = [(place, what) for place, line in lines if (what := doubled_key(line)) is not None]
        said = said or ([] if is_whole else _doubled_beyond(path))
    except (OSError, EOFError, zlib.error, pl.exceptions.PolarsError):
        return  # whoever reads the rows says what is wrong with the file
    if said:
        raise SourceError(f"{path}:{said[0][0] + 1}", said[0][1], "leave one of them")


def _doubled_beyond(path: Path) -> list[tuple[int, str]]:
    """Lines with another number of keys than most, where an object says two things under one key."""
    lines = pl.scan_lines(path, name="line", glob=False)
    counts = lines.select(pl.col("line").str.count_matches(_KEY, literal=True)).collect(engine="streaming").to_series()
    usual = counts.mode().first()
    pattern = _KEY if usual else _SPACED_KEY
    if not usual:
        counts = lines.select(pl.col("line").str.count_matches(pattern)).collect(engine="streaming").to_series()
        usual = counts.mode().first()
    places = _part((counts != usual).arg_true().to_list(), counts.len())
    if not places:
        return []
    odd = lines.with_row_index("place").filter(pl.col("place").is_in(places)).collect(engine="streaming")
    each = ((place, doubled_key(line)) for place, line in odd.iter_rows() if line)
    return [(place, said) for place, said in each if said is not None]
