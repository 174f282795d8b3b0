"""WebDataset: tar shards in which the files of a sample stand together and differ in what follows the first dot.

    train-000000.tar
        vqa%2F12.json           the row without the images' bytes
        vqa%2F12.0.jpg          its images, numbered from 0; the suffix is what the bytes are
        vqa%2F12@2.json         the same sample in the second pass over its source

Keys are sample ids, percent-encoded as in URLs, dots too. Headers hold no times, owners or rights, so the same build
gives the same bytes. Rows stand in the order of the build; where each block holds one source (``layout: blocks``), read
with a shuffle buffer over several shards, or build with ``layout: rows``. Where a build stores paths, the images are
read and packed. `read` gives every row back as it was (images that were paths have their bytes as well). The
`webdataset` library reads any export; `datasets` wants samples of equal file names, so one image each and of one kind.

In the JSON, ``images`` (their paths), ``image_sizes`` and ``turns`` are JSON texts themselves: they hold lists that may
be empty and values that may be null, and a reader that takes its types from the first samples would refuse later ones.
``meta``, where the build has it, is one already, and "" where a row has none.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from vldata.dataset.export.images import RowImages, suffix
from vldata.dataset.export.outcome import NotExported, Written
from vldata.dataset.open import BuildFolder
from vldata.errors import SourceError
from vldata.images.problem import ImageProblem
from vldata.schema.keyed import string_keys
from vldata.schema.rows import META

SHARD_BYTES = 1_000_000_000
"""A shard that has reached it is closed: long enough to stream at full speed, short enough to share among readers."""
SHARD_ROWS = 10_000

_NESTED = ("images", "image_sizes", "turns")
"""Columns whose JSON type depends on the row."""

Sample = list[tuple[str, bytes]]
"""The files of a sample: name and content, the row first."""


def write(
    build: BuildFolder,
    folder: Path,
    advance: Callable[[int], None],
    *,
    shard_bytes: int = SHARD_BYTES,
    shard_rows: int = SHARD_ROWS,
) -> Written:
    """Write a build as tar shards.

    Args:
        shard_bytes: Size from which a shard is closed.
        shard_rows: Samples after which a shard is closed.
    """
    with NotExported(folder) as skipped:
        for split in build.splits:
            samples = _samples(build, split, skipped, advance)
            for number, first in enumerate(samples):
                with tarfile.open(folder / f"{split}-{number:06d}.tar", "w", format=tarfile.GNU_FORMAT) as tar:
                    for held, sample in enumerate(chain([first], samples), start=1):
                        _add(tar, sample)
                        if held >= shard_rows or tar.offset >= shard_bytes:
                            break
        return Written(build.num_rows - skipped.rows, skipped.rows)


def sample_key(sample_id: str, number_of_pass: int) -> str:
    """The name that the files of a sample share; ``number_of_pass`` counts from 0."""
    key = quote(sample_id, safe="").replace(".", "%2E")
    return f"{key}@{number_of_pass + 1}" if number_of_pass else key


def running_count(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """How often each value stands before itself, shape as ``keys``."""
    order = np.argsort(keys, kind="stable")
    place = np.arange(len(keys))
    is_first = np.ones(len(keys), dtype=bool)
    is_first[1:] = keys[order[1:]] != keys[order[:-1]]
    counts = np.empty(len(keys), dtype=np.int64)
    counts[order] = place - np.maximum.accumulate(np.where(is_first, place, 0))
    return counts


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """Read the rows of an export back, in the order of the shards' names.

    Raises:
        SourceError: A shard is damaged, or a sample lacks a file.
    """
    for path in sorted(folder.glob("*.tar")):
        try:
            with tarfile.open(path) as tar:
                yield from _rows(tar, path)
        except tarfile.TarError as error:
            raise SourceError(str(path), f"a damaged tar file ({error})", "export the build again") from None


def _samples(build: BuildFolder, split: str, skipped: NotExported, advance: Callable[[int], None]) -> Iterator[Sample]:
    images = RowImages()
    for row, number_of_pass in zip(build.rows(split), _passes(build, split), strict=True):
        try:
            yield _files(row, sample_key(row["id"], int(number_of_pass)), images)
        except ImageProblem as why:
            skipped.add(row, why)
        advance(1)


def _passes(build: BuildFolder, split: str) -> npt.NDArray[np.int64]:
    """How often each row's id stands before it in the split, shape (rows,); about 40 bytes a row while it is found."""
    keys = [string_keys(batch.column("id").to_pylist()) for batch in build.batches(split)]
    return running_count(np.concatenate(keys))


def _files(row: Mapping[str, Any], key: str, reader: RowImages) -> Sample:
    images = [reader.data(image) for image in row["images"]]
    kept = {**row, "images": [{"path": image["path"]} for image in row["images"]]}
    kept.update({column: _json(kept[column]) for column in _NESTED})
    if META in row:
        kept[META] = row[META] or ""
    return [
        (f"{key}.json", _json(kept).encode()),
        *((f"{key}.{k}.{suffix(data)}", data) for k, data in enumerate(images)),
    ]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _add(tar: tarfile.TarFile, sample: Sample) -> None:
    for name, data in sample:
        header = tarfile.TarInfo(name)  # its defaults: time 0, owner 0, mode 0644
        header.size = len(data)
        tar.addfile(header, io.BytesIO(data))


def _rows(tar: tarfile.TarFile, path: Path) -> Iterator[dict[str, Any]]:
    row: dict[str, Any] = {}
    waiting: list[dict[str, Any]] = []
    for member in tar:
        file = tar.extractfile(member)
        data = file.read() if file else b""
        if member.name.partition(".")[2] != "json":
            if not waiting:
                raise _damaged(path, member.name, "belongs to no row that waits for it")
            waiting.pop(0)["bytes"] = data
        elif waiting:
            raise _damaged(path, member.name, f"stands where {row['id']} has {len(waiting)} more images")
        else:
            row = json.loads(data)
            row.update({column: json.loads(row[column]) for column in _NESTED})
            if META in row:
                row[META] = row[META] or None
            row["images"] = [{"bytes": None, **image} for image in row["images"]]
            waiting = list(row["images"])
        if not waiting:
            yield row
    if waiting:
        raise _damaged(path, row["id"], f"lacks {len(waiting)} of its images")


def _damaged(path: Path, name: str, problem: str) -> SourceError:
    return SourceError(f"{path}::{name}", problem, "export the build again")
