"""Native files of any format as plain data that a test may change, and back.

A stand-in is the input: whatever a format is, its own files say which keys its rows have and what stands under them.
"""

from __future__ import annotations

import json
import pickle
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl

from vldata.sources import SOURCES, source_class
from vldata.sources.base import Source
from vldata.sources.reading.nested import PLACE
from vldata.sources.reading.pickle import load_pickle
from vldata.sources.reading.tfrecords import open_records
from vldata.sources.tfrecord import write_records
from vldata.sources.webdataset import write_tar

WITHOUT_FILES = {"shapes"}
NEEDS = {"tfrecord": "google_crc32c"}
"""Formats that cannot be read or written without a library of an extra."""
NOT_INSTALLED = {name for name, module in NEEDS.items() if find_spec(module) is None}
FORMATS = sorted(set(SOURCES) - WITHOUT_FILES - NOT_INSTALLED)
JSON = (".json", ".jsonl")
VERBATIM = "\N{NULL}verbatim "
"""A text that begins so is written without quotation marks: a number as a person would write it."""

Step = tuple[Any, ...]
"""Keys and places on the way from a document to a part of it."""


def tasks_of_standin(adapter: type[Source]) -> tuple[str, ...]:
    """What a stand-in can be read for: one of a table whose columns the recipe names fits one task only."""
    return adapter.tasks[:1] if "fields" in adapter.model_fields else adapter.tasks


@dataclass
class NativeFile:
    """A file of a format.

    Args:
        document: JSON's or a pickle's value, the list of a file's lines, or a table's rows.
    """

    path: Path
    document: Any
    _dump: Callable[[Path, Any], None]

    def write(self, folder: Path | None = None) -> None:
        """Write what the document is now, perhaps under the same name in another folder."""
        self._dump(self.path if folder is None else folder / self.path.name, self.document)


def opened(path: Path) -> NativeFile:
    """A native file, by its suffix: JSON, JSON lines, a pickle, a Parquet table, else lines of text."""
    if path.suffix == ".jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return NativeFile(path, lines, lambda to, rows: _write(to, "".join(f"{_json(row)}\n" for row in rows)))
    if path.suffix == ".json":
        return NativeFile(path, json.loads(path.read_text()), lambda to, document: _write(to, _json(document)))
    if path.suffix == ".p":
        return NativeFile(path, load_pickle(path), lambda to, document: to.write_bytes(pickle.dumps(document, 2)))
    if path.suffix == ".parquet":
        table = pl.read_parquet(path)
        return NativeFile(path, table.to_dicts(), lambda to, rows: _write_parquet(to, rows, table.schema))
    if path.suffix == ".tar":
        return NativeFile(path, _samples(path), _write_tar)
    if path.suffix == ".tfrecord":
        return NativeFile(path, _examples(path), _write_examples)
    lines = path.read_text().splitlines()
    return NativeFile(path, lines, lambda to, rows: _write(to, "".join(f"{row}\n" for row in rows)))


def standin(name: str, folder: Path, *, rows: int = 12, seed: int = 3, images: bool = False) -> Source:
    """A stand-in of a format, which the test may change."""
    adapter = source_class(name)
    return adapter(**adapter.standin(folder, rows=rows, seed=seed, images=images))


def objects(part: Any, at: Step = ()) -> Iterator[tuple[Step, dict[str, Any]]]:
    """Every object inside a document, the document itself apart, with the way to it."""
    for key, value in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        if isinstance(value, dict):
            yield (*at, key), value
        yield from objects(value, (*at, key))


def kind_of(at: Step, document: Any) -> str:
    """The way to an object without its place and its id: objects of one kind have the same keys."""
    is_by_id = isinstance(document, dict) and all(isinstance(row, dict) for row in document.values())
    parts = ["*" if isinstance(key, int) or (k == 0 and is_by_id) else key for k, key in enumerate(at)]
    return ".".join(parts)


def one_of_each_kind(document: Any) -> dict[str, dict[str, Any]]:
    """The second object of each kind, so that what is done to it has a sound neighbour on both sides."""
    found: dict[str, list[dict[str, Any]]] = {}
    for at, part in objects(document):
        found.setdefault(kind_of(at, document), []).append(part)
    return {kind: parts[min(1, len(parts) - 1)] for kind, parts in found.items()}


def texts_below(part: dict[str, Any]) -> list[tuple[Any, Any]]:
    """(holder, key) of each text of an object, and of the first one in each of its lists of texts."""
    found: list[tuple[Any, Any]] = [(part, key) for key, value in part.items() if type(value) is str]
    return found + [
        (value, 0) for value in part.values() if isinstance(value, list) and value and type(value[0]) is str
    ]


def is_sound(turns: pl.DataFrame) -> pl.Series:
    """Which turns have no problem."""
    if "problem" not in turns.columns:
        return pl.Series([True]).new_from_index(0, turns.height)
    return turns["problem"].is_null()


def said(turns: pl.DataFrame) -> list[str]:
    """Each turn as one text, without its id (which may be told apart, or be the hash of what it says) and remark.

    Nor does where in its file an image lies say anything: it moves when a value before it gets longer.
    """
    columns = sorted(set(turns.columns) - {"row", "thread", "remark"})
    texts = (json.dumps(turn, sort_keys=True, default=str) for turn in turns.select(columns).iter_rows(named=True))
    return [re.sub(r"::bytes/\d+/\d+", "::bytes", text) for text in texts]


def _json(value: Any) -> str:
    text = json.dumps(value)
    head, *tails = text.split(json.dumps(VERBATIM)[:-1])
    return head + "".join(tail.replace('"', "", 1) for tail in tails)


def _samples(path: Path) -> list[dict[str, Any]]:
    """The samples of a shard: JSON as a value, all else as text; ``.`` is what the names of its files begin with."""
    samples: dict[str, dict[str, Any]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, kind = member.name.partition(".")
            file = tar.extractfile(member)
            assert file is not None
            text = file.read().decode()
            samples.setdefault(key, {".": key})[kind] = json.loads(text) if kind == "json" else text
    return list(samples.values())


def _write_tar(path: Path, samples: list[Any]) -> None:
    """What is no object is a file of one sample, which has no suffix."""
    files = []
    for place, sample in enumerate(samples):
        if not isinstance(sample, dict):
            files.append((f"stray{place}", _json(sample)))
            continue
        key = str(sample.get(".", f"lost{place}"))
        for kind, value in sample.items():
            if kind != ".":
                files.append((f"{key}.{kind}", value if isinstance(value, str) and kind != "json" else _json(value)))
    raw = [(name.encode(errors="replace").decode(), text.encode(errors="replace")) for name, text in files]
    write_tar(path, raw)


def _examples(path: Path) -> list[dict[str, Any]]:
    """The records of a file: text, numbers and the bytes of images."""
    raw = path.read_bytes()
    frame = open_records(path, image_root=str(path.parent))
    rows = frame.read(frame.columns)[0].drop(PLACE, "images", "caption").to_dicts()
    for row in rows:
        _, offset, length = row["jpg"].split("/")
        row["jpg"] = raw[int(offset) : int(offset) + int(length)]
    return rows


def _write_examples(path: Path, rows: list[Any]) -> None:
    def plain(value: Any) -> Any:
        is_plain = isinstance(value, int | float | bytes)
        return value if is_plain else (value if isinstance(value, str) else _json(value)).encode(errors="replace")

    examples = [row if isinstance(row, dict) else {"stray": row} for row in rows]
    write_records(path, [{name: plain(value) for name, value in row.items()} for row in examples])


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def _write_parquet(path: Path, rows: list[dict[str, Any]], schema: pl.Schema) -> None:
    pl.DataFrame(rows, schema=schema, strict=False).write_parquet(path)
