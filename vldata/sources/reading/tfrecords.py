"""TFRecord files of ``tf.train.Example`` -> a table of their records, without TensorFlow.

A record is its length (8 bytes, little-endian), the masked CRC32C of these, the data, and the masked CRC32C of it. The
libraries that read such files check no sums, or bring TensorFlow along, and none tells where in the file a value lies,
which images need that are to stay there. So the framing and the wire format of an Example, which has three kinds of
features, are read here; the sums, which take nearly all of the time, are computed by ``google-crc32c``.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vldata.errors import SourceError
from vldata.images.kinds import sniff
from vldata.sources.reading.embedded import prefix_of
from vldata.sources.reading.table_file import FILE_STEM, TableFile
from vldata.sources.reading.tables import open_objects

_NAME = re.compile(r"\.tfrec(ords?)?(-\d+-of-\d+)?$|-\d+-of-\d+$")
_HEAD_BYTES = 12
_SUM_BYTES = 4
_SNIFFED_BYTES = 64
_IMAGES = ("image", "image/encoded", "jpg", "png", "webp")
_CAPTIONS = ("txt", "text", "image/caption", "image/captions")
_MASK_DELTA = 0xA282EAD8


def is_records(path: Path) -> bool:
    """Whether a file holds records, by its name."""
    return _NAME.search(path.name) is not None


class Span(NamedTuple):
    """Bytes, and where they begin in the file."""

    offset: int
    data: memoryview


class Cell(NamedTuple):
    """A value of a feature of bytes.

    Args:
        text: None of what is no UTF-8.
    """

    offset: int
    length: int
    is_image: bool
    text: str | None


Example = dict[str, list[Any]]
"""A record: feature -> its values, which are `Cell`, whole numbers or numbers of 32 bits."""


class WireError(ValueError):
    """Bytes that are no ``tf.train.Example``."""


def masked_sum(data: bytes) -> int:
    """TFRecord's checksum of some bytes.

    Raises:
        SourceError: What computes it is not installed.
    """
    try:
        import google_crc32c
    except ImportError:
        fix = "pip install 'vldata[tfrecord]'"
        raise SourceError("TFRecord", "google-crc32c, which checks its records, cannot be imported", fix) from None
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def records(path: Path) -> Iterator[Span]:
    """The records of a file, each with its place.

    Raises:
        SourceError: A checksum is wrong, the file ends inside a record, or is compressed or none of this kind.
    """
    try:
        with path.open("rb") as file:
            size, number = path.stat().st_size, 0
            if not size:
                raise SourceError(str(path), "the file is empty", "download it again")
            while head := file.read(_HEAD_BYTES):
                where = f"{path}, record {number}"
                (length,) = struct.unpack_from("<Q", head.ljust(_HEAD_BYTES, b"\0"))
                if len(head) == _HEAD_BYTES and struct.unpack_from("<I", head, 8)[0] != masked_sum(head[:8]):
                    fix = "unpack the file first" if head[:2] == b"\x1f\x8b" else "download the file again"
                    raise SourceError(where, "its length does not have its checksum", fix)
                at = file.tell()
                if len(head) < _HEAD_BYTES or at + length + _SUM_BYTES > size:
                    raise SourceError(where, "the file ends inside it", "download it again")
                data, said = file.read(length), file.read(_SUM_BYTES)
                if struct.unpack("<I", said)[0] != masked_sum(data):
                    raise SourceError(where, "its data do not have its checksum", "download the file again")
                yield Span(at, memoryview(data))
                number += 1
    except OSError as error:
        raise SourceError(str(path), error.strerror or str(error), "check the path and its permissions") from None


def write_head(path: Path, head: Path, *, num: int) -> None:
    """Write a file of the first records of another.

    Raises:
        SourceError: See `records`.
    """
    with head.open("wb") as file:
        for record in islice(records(path), num):
            data = bytes(record.data)
            length = struct.pack("<Q", len(data))
            file.write(length + struct.pack("<I", masked_sum(length)) + data + struct.pack("<I", masked_sum(data)))


def open_records(
    path: Path, *, image_root: str | None, explode: Sequence[str] = (), images: Sequence[str] | None = None
) -> TableFile:
    """Read a file: a row for each record, a column for each feature, single values where no record has several.

    Features of bytes are text, images (which stay in the file), or, where they are neither, not read. Besides them
    there are ``images``, if there is one column of these or one named ``image`` or ``image/encoded``; ``caption``,
    where a feature has a name that is often used for it; and ``urls`` from ``url``.

    Args:
        images: Features that are a record's images; None: their names decide.

    Raises:
        SourceError: See `records`.
    """
    examples: list[Example] = []
    notes: dict[int, str] = {}
    for place, record in enumerate(records(path)):
        try:
            examples.append(dict(_features(record)))
        except (WireError, UnicodeDecodeError) as error:
            notes[place] = f"record {place} is no tf.train.Example: {error}"
            examples.append({})
    if notes and len(notes) == len(examples):
        raise SourceError(str(path), f"no record can be read; the first: {notes[0]}", "fix `path` or `format`")
    columns = _columns(examples)
    named = images if images is not None else columns.main_images()
    before = prefix_of(path, image_root)
    rows = [columns.row(example, before, named or ()) for example in examples]
    for place, example in enumerate(examples):
        if (broken := columns.broken(example)) is not None:
            notes.setdefault(place, f"{broken!r} of record {place} is not UTF-8")
        elif named is None:
            kinds = ", ".join(sorted(columns.images & example.keys()))
            notes.setdefault(place, f"it has the images {kinds}; say which with `fields: {{images: …}}`")
    written = partial(_written, columns, examples, before, named or ())
    frame = open_objects(path, rows, notes, written=written, explode=explode)
    is_keyed = "key" in frame.columns and not {"id", "row"} & {*frame.columns}
    return replace(frame, row=f"{FILE_STEM} || '/' || key") if is_keyed else frame


class _Columns(NamedTuple):
    """What the features of a file are.

    Args:
        several: Those of which some record has several values: lists.
        images: Those that hold more images than texts.
        texts: Others that hold any text.
    """

    several: frozenset[str]
    images: frozenset[str]
    texts: frozenset[str]

    def main_images(self) -> list[str] | None:
        """The features that are a record's images; None where that is not clear."""
        if len(self.images) < 2:
            return list(self.images)
        return next(([name] for name in _IMAGES if name in self.images), None)

    def broken(self, example: Example) -> str | None:
        """A feature that is text elsewhere, and not here."""
        return next((name for name in sorted(self.texts & example.keys()) if any(map(_is_binary, example[name]))), None)

    def row(self, example: Example, before: str, named: Sequence[str], *, written: bool = False) -> dict[str, Any]:
        """An object as JSON would have it, its images those that are named; with ``written``, numbers are texts."""
        row: dict[str, Any] = {}
        for name, values in example.items():
            found = [self._value(name, value, before, written) for value in values]
            row[name] = found if name in self.several else next(iter(found), None)
        if self.images and named:
            found = [row[name] for name in named if row.get(name)]
            row["images"] = [one for value in found for one in (value if isinstance(value, list) else [value])]
        text = next((row[name] for name in _CAPTIONS if row.get(name) is not None), None)
        if text is not None:
            row.setdefault("caption", text)
        if row.get("url") is not None:
            row.setdefault("urls", row["url"])
        return row

    def _value(self, name: str, value: Any, before: str, written: bool) -> Any:
        if isinstance(value, Cell):
            return f"{before}bytes/{value.offset}/{value.length}" if name in self.images else value.text
        if name in self.images:
            return str(value)  # which leads to no image, and is told as such
        if isinstance(value, np.float32):
            text = np.format_float_positional(value, trim="-")
            return text if written else float(text)
        return str(value) if written else value


def _is_binary(value: Any) -> bool:
    return isinstance(value, Cell) and value.text is None


def _columns(examples: Sequence[Example]) -> _Columns:
    several = set[str]()
    images, texts = Counter[str](), Counter[str]()
    for example in examples:
        for name, values in example.items():
            if len(values) > 1:
                several.add(name)
            cells = [value for value in values if isinstance(value, Cell)]
            images[name] += sum(cell.is_image for cell in cells)
            texts[name] += sum(bool(cell.text) for cell in cells)
    of_images = {name for name, count in images.items() if count > texts[name]}
    of_texts = {name for name, count in texts.items() if count} - of_images
    return _Columns(frozenset(several), frozenset(of_images), frozenset(of_texts))


def _written(columns: _Columns, examples: Sequence[Example], before: str, named: Sequence[str]) -> list[dict[str, Any]]:
    return [columns.row(example, before, named, written=True) for example in examples]


def _features(record: Span) -> Iterator[tuple[str, list[Any]]]:
    """Name and values of each feature of an Example.

    Raises:
        WireError: It is none.
    """
    for number, features in _fields(record):
        if number != 1 or not isinstance(features, Span):
            raise WireError("it has lists of features (a SequenceExample)" if number == 2 else f"a field {number}")
        for _, entry in _fields(features):
            name, values = "", list[Any]()
            for key, part in _fields(_span(entry)):
                if key == 1:
                    name = str(_span(part).data, "utf-8")
                else:
                    values = [value for kind, of in _fields(_span(part)) for value in _of_kind(kind, _span(of))]
            yield name, values


def _of_kind(kind: int, span: Span) -> Iterator[Any]:
    """The values of a list of bytes (1), floats (2) or whole numbers (3), packed or one by one."""
    for number, part in _fields(span):
        if number != 1:
            raise WireError(f"a field {number} in a list")
        if kind == 1:
            yield _cell(_span(part))
        elif kind == 2:
            data = part.data if isinstance(part, Span) else struct.pack("<I", part)
            if len(data) % 4:
                raise WireError("floats of another size")
            yield from np.frombuffer(data, dtype="<f4")
        elif kind != 3:
            raise WireError(f"a feature of kind {kind}")
        elif isinstance(part, Span):
            at = 0
            while at < len(part.data):
                value, at = _varint(part.data, at)
                yield _signed(value)
        else:
            yield _signed(part)


def _cell(span: Span) -> Cell:
    is_image = sniff(bytes(span.data[:_SNIFFED_BYTES])) is not None
    try:
        text = None if is_image else str(span.data, "utf-8")
    except UnicodeDecodeError:
        text = None
    return Cell(span.offset, len(span.data), is_image, text)


def _fields(span: Span) -> Iterator[tuple[int, Span | int]]:
    """Number and value of each field of a message.

    Raises:
        WireError: It ends inside a field, or has one of an unknown type.
    """
    data, at = span.data, 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 2:
            length, at = _varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise WireError(f"a field of type {kind}")
        if at + length > len(data):
            raise WireError("it ends inside a field")
        part = data[at : at + length]
        yield number, Span(span.offset + at, part) if kind == 2 else int.from_bytes(part, "little")
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise WireError("a number does not end")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _span(part: Span | int) -> Span:
    if isinstance(part, Span):
        return part
    raise WireError("a number where a message should be")
