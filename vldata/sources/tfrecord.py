r"""TFRecord files of ``tf.train.Example``: what TensorFlow's input pipelines read, and ``img2dataset`` can write.

https://www.tensorflow.org/tutorials/load_data/tfrecord; licence and terms are those of whoever made the files. Needs
``pip install 'vldata[tfrecord]'``, and no TensorFlow.
Layout: ``path`` is a file, a glob, or a folder of files named ``*.tfrecord``, ``*.tfrecords``, ``*.tfrec`` or, as
TensorFlow Datasets has them, ``*.tfrecord-00000-of-00032``. Each feature is a column: text, numbers, or encoded images,
which are read from the file itself when blocks are written. ``img2dataset`` has {"key": b"000000012",
"jpg": b"\xff\xd8…", "txt": b"A house for sale", "url": b"https://…", "status": b"success", "width": 256, …}.
Quirks: a feature is a list in the file, and a single value here where no record has more; names with slashes
(``image/encoded``) are written as they are in ``fields``; floats have 32 bits; ids are ``<file>/<key>`` where there is
a feature ``key``. A broken checksum, or a file that ends too early, is an error that names the record; a record that is
no Example is an ``unparsable_row``. Files that are compressed as a whole are to be unpacked first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vldata.errors import SourceError
from vldata.paths import home
from vldata.shapes.draw import encoded
from vldata.shapes.language import captions
from vldata.sources.base import Keys
from vldata.sources.reading.files import expand, visible
from vldata.sources.reading.table_file import TableFile
from vldata.sources.reading.tables import open_frame
from vldata.sources.reading.tfrecords import is_records, masked_sum
from vldata.sources.standins import scenes_for
from vldata.sources.table import Table
from vldata.sources.table_standins import turns_of_shapes


class TfRecord(Table):
    """One turn a record; the options are those of `vldata.sources.table.Table`."""

    format: ClassVar[str] = "tfrecord"
    about: ClassVar[str] = "TFRecord files of tf.train.Example (needs vldata[tfrecord])"
    licence: ClassVar[str] = "as the files' publisher states"
    tasks: ClassVar[tuple[str, ...]] = ("caption", *(name for name in Table.tasks if name != "caption"))
    version: ClassVar[int] = 2

    def _tables(self) -> list[Path]:
        folder = home(self.path)
        found = sorted(path for path in visible(folder) if is_records(path)) if folder.is_dir() else []
        if folder.is_dir() and not found:
            raise SourceError(self.path, "the folder holds no file named *.tfrecord", "fix `path`")
        return found or expand(self.path)

    def _frame(self, path: Path, name: str) -> TableFile:
        if path.suffix == ".parquet":  # a stand-in for the recipe's own fields
            return open_frame(path, explode=self.explode)
        return self._records(path)

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Captions of scenes as ``img2dataset`` writes them; turns for other tasks as Parquet, as lists need."""
        if task not in (None, "caption"):
            return turns_of_shapes(folder, rows=rows, seed=seed, task=task, images=images)
        examples = []
        for scene in scenes_for(rows, 1, seed):
            key = f"{scene.number:09d}"
            examples.append({"key": key, "jpg": encoded(scene), "txt": captions(scene)[0], "width": scene.width})
        write_records(folder / "00000.tfrecord", examples)
        path = str(folder.resolve())
        return {"path": path, "image_root": path}


def write_records(path: Path, examples: Iterable[Mapping[str, Any]]) -> None:
    """A file of Examples; a value is text, bytes, a whole number or a float, or a list of one kind of these."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for example in examples:
            entries = (_field(1, name.encode()) + _field(2, _feature(value)) for name, value in example.items())
            data = _field(1, b"".join(_field(1, entry) for entry in entries))
            head = struct.pack("<Q", len(data))
            file.write(head + struct.pack("<I", masked_sum(head)) + data + struct.pack("<I", masked_sum(data)))


def _feature(value: Any) -> bytes:
    values = value if isinstance(value, list) else [value]
    if values and isinstance(values[0], str | bytes):
        texts = [one.encode() if isinstance(one, str) else one for one in values]
        return _field(1, b"".join(_field(1, text) for text in texts))
    if values and isinstance(values[0], float):
        return _field(2, _field(1, np.array(values, dtype="<f4").tobytes()))
    return _field(3, _field(1, b"".join(_varint(one % (1 << 64)) for one in values)))


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    head = bytearray()
    while value >= 0x80:
        head.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*head, value])
