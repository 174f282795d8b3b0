"""The head of a large JSON document, cut off without parsing it: its longest list or object with only the first values.

All of the file is looked at, some hundred MB a second and in little memory, so that a document that ends too early is
found. What is cut off is valid JSON again: a list of COCO's ``annotations`` has its first rows, and its ``images`` are
all there, as any of them may be an annotation's.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from vldata.errors import SourceError

Ints = npt.NDArray[np.int64]

_CHUNK = 4 * 1024 * 1024
_STEP = np.zeros(256, dtype=np.int8)
_STEP[list(b"{[")] = 1
_STEP[list(b"}]")] = -1
_IS_MARK = _STEP != 0
_IS_MARK[ord('"')] = True
_NAME = re.compile(rb'"([a-z_]+)"\s*:\s*$')
_NAMES, _NAME_BYTES = 64, 64
_FIX = "get the file again, or repair its end"


@dataclass
class _Spans:
    """Where the values of a document begin and end, as offsets in bytes.

    Args:
        starts: Of lists and objects right inside the document.
        ends: Behind these.
        inner_ends: Behind lists and objects inside of them.
        names: Keys of the first of these lists and objects, by where they start.
        end: Behind the document; None while it is open.
    """

    starts: list[Ints] = field(default_factory=list)
    ends: list[Ints] = field(default_factory=list)
    inner_ends: list[Ints] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    is_list: bool = False
    end: int | None = None


def write_head(path: Path, head: Path, *, values: int, max_bytes: int) -> bool:
    """Write a document with fewer values.

    Args:
        path: A JSON list or object, perhaps packed by gzip.
        head: The file to write.
        values: Of the document, where it has thousands, else of its long lists and objects.
        max_bytes: Most bytes to write.

    Returns:
        Whether that was few enough; nothing is written where it was not.

    Raises:
        SourceError: The document ends too early, or something stands behind it.
    """
    spans = _spans(path)
    size = int(spans.end or 0)
    gaps = _gaps(spans, values)
    kept = size - sum(resume - cut for cut, resume in gaps)
    if kept > max_bytes:
        return False
    bounds = [0, *(at for gap in gaps for at in gap), size]
    with _opened(path) as file, head.open("wb") as out:
        at = 0
        for chunk in _chunks(file, path):
            for low, high in zip(bounds[::2], bounds[1::2], strict=True):
                out.write(chunk[max(0, low - at) : max(0, high - at)])
            at += len(chunk)
    return True


def _gaps(spans: _Spans, values: int) -> list[tuple[int, int]]:
    """What is left out: behind the last value that is kept, to the bracket that closes what it stands in.

    Of the long values of an object all are cut, but for ``images`` beside something longer.
    """
    starts, ends, inner = (np.concatenate(part) for part in (spans.starts, spans.ends, spans.inner_ends))
    last = int(spans.end or 0) - 1
    lengths = ends - starts
    longest = int(np.argmax(lengths)) if len(lengths) else 0
    if spans.is_list or (len(ends) > values and lengths[longest] < last / 2):
        return [(int(ends[values - 1]), last)] if len(ends) > values else []
    gaps = []
    for at in np.flatnonzero(lengths > last / 8).tolist():
        inside = inner[(inner > starts[at]) & (inner < ends[at])]
        if len(inside) > values and (at == longest or spans.names.get(int(starts[at])) != "images"):
            gaps.append((int(inside[values - 1]), int(ends[at]) - 1))
    return gaps


def _spans(path: Path) -> _Spans:
    spans = _Spans()
    at, depth, in_text, is_escaped, before_chunk = 0, 0, False, False, b""
    with _opened(path) as file:
        for chunk in _chunks(file, path):
            data = np.frombuffer(chunk, dtype=np.uint8)
            if spans.end is not None:
                _nothing_more(chunk, path, at)
                at += len(chunk)
                continue
            marks = np.flatnonzero(_IS_MARK[data])
            escaped, ends_escaped = _escaped(data, is_escaped)
            marks = marks[~np.isin(marks, escaped)] if len(escaped) else marks
            is_quote = data[marks] == ord('"')
            quotes = np.cumsum(is_quote) + in_text
            outside = marks[~is_quote & (quotes % 2 == 0)]
            step = _STEP[data[outside]]
            depths = depth + np.cumsum(step, dtype=np.int64)
            opens, closes = step > 0, step < 0
            if depth == 0 and len(outside):
                spans.is_list = data[outside[0]] == ord("[")
            starts = outside[opens & (depths == 2)]
            for start in starts[: _NAMES - len(spans.names)].tolist():
                before = before_chunk + chunk[:start] if start < _NAME_BYTES else chunk[start - _NAME_BYTES : start]
                spans.names[at + start] = name[1].decode() if (name := _NAME.search(before)) else ""
            before_chunk = chunk[-_NAME_BYTES:]
            spans.starts.append(at + starts)
            spans.ends.append(at + outside[closes & (depths == 1)] + 1)
            spans.inner_ends.append(at + outside[closes & (depths == 2)] + 1)
            done = np.flatnonzero(closes & (depths <= 0))
            if len(done):
                spans.end = at + int(outside[done[0]]) + 1
                _nothing_more(chunk[spans.end - at :], path, spans.end)
            in_text = bool((int(is_quote.sum()) + in_text) % 2)
            depth = int(depths[-1]) if len(depths) else depth
            is_escaped = ends_escaped
            at += len(chunk)
    if spans.end is None:
        inside = "a text" if in_text else "a list or an object"
        raise SourceError(str(path), f"not JSON: it ends inside {inside}, after {at:,} bytes", _FIX)
    return spans


def _escaped(data: npt.NDArray[np.uint8], first_is: bool) -> tuple[Ints, bool]:
    """Where a character stands behind an odd number of backslashes, and whether the next chunk's first one does."""
    slashes = np.flatnonzero(data == ord("\\"))
    if first_is:
        slashes = slashes[slashes > 0] if len(slashes) and slashes[0] == 0 else slashes
    if not len(slashes):
        return (np.zeros(1, np.int64) if first_is else np.empty(0, np.int64)), False
    begins = np.flatnonzero(np.diff(slashes, prepend=-2) != 1)
    lengths = np.diff(np.append(begins, len(slashes)))
    behind = slashes[begins] + lengths
    odd = behind[lengths % 2 == 1]
    ends = bool(len(odd) and odd[-1] == len(data))
    return np.concatenate([np.zeros(int(first_is), np.int64), odd[odd < len(data)]]), ends


def _nothing_more(rest: bytes, path: Path, at: int) -> None:
    if rest.strip():
        problem = f"not JSON: something stands behind the document, from byte {at:,} on"
        raise SourceError(str(path), problem, "leave one document in the file")


def _opened(path: Path) -> BinaryIO | gzip.GzipFile:
    with path.open("rb") as file:
        is_packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if is_packed else path.open("rb")


def _chunks(file: BinaryIO | gzip.GzipFile, path: Path | None = None) -> Iterator[bytes]:
    try:
        while chunk := file.read(_CHUNK):
            yield chunk
    except (EOFError, gzip.BadGzipFile) as error:
        raise SourceError(str(path), f"its packed bytes are broken: {error}", "get the file again") from None
