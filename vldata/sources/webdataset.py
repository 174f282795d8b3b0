r"""Tar shards in the convention of WebDataset: what ``img2dataset`` writes, and what vldata exports.

https://github.com/webdataset/webdataset; licence and terms are those of whoever made the shards.
Layout: ``path`` is a shard, a glob, ``shards/{000000..000012}.tar`` or a folder of shards. The files of a sample share
what stands before the first dot of their names, folders included; what follows, in lower case, is a column:
000000012.jpg, 000000012.txt, 000000012.json {"caption": "A house for sale", "url": "https://…/12.jpg", "key":
"000000012", "status": "success", "error_message": null, "width": 256, "height": 192, "original_width": 800, …}.
JSON's keys are columns, too (``json.similarity`` and ``similarity`` are the same). Images are read from the shard
when blocks are written: one of any suffix, or several that are numbered (``.0.jpg``, ``.1.jpg`` …); of others
``fields: {images: jpg}`` says which. A sample whose JSON holds a conversation (LLaVA's, or a row that vldata exported)
is one for the tasks ``instruction`` and ``text_instruction``.
Quirks: ids are ``<shard>/<key>``, as keys repeat between shards; files of one sample need not stand together; a caption
is the ``txt``, else JSON's; .tar.gz is read, but unpacked first when its images are; a shard that was cut off is an
error, and so is anything behind its end. What macOS puts beside files is none of a sample; what else has no name or no
suffix is an ``unparsable_row``. What ``img2dataset`` could not fetch stands in its Parquet files, not in its shards.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import polars as pl

from vldata.errors import SourceError
from vldata.paths import home
from vldata.shapes.draw import encoded
from vldata.shapes.language import captions
from vldata.sources.base import Keys
from vldata.sources.reading.files import expand
from vldata.sources.reading.tars import is_blank, tars_below
from vldata.sources.standins import scenes_for
from vldata.sources.table import Table
from vldata.sources.table_standins import turns_of_shapes

_SHARD_ROWS = 1000


class WebDataset(Table):
    """One turn a sample, or an exchange of its conversation; the options are those of `vldata.sources.table.Table`."""

    format: ClassVar[str] = "webdataset"
    about: ClassVar[str] = "tar shards of samples (WebDataset, img2dataset, vldata's own export)"
    licence: ClassVar[str] = "as the shards' publisher states"
    tasks: ClassVar[tuple[str, ...]] = ("caption", *(name for name in Table.tasks if name != "caption"))
    version: ClassVar[int] = 2

    def _tables(self) -> list[Path]:
        folder = home(self.path)
        found = tars_below(folder) if folder.is_dir() else expand(self.path)
        if not found:
            raise SourceError(self.path, "the folder holds no tar", "fix `path`")
        whole = [path for path in found if not is_blank(path)]
        if not whole:
            raise SourceError(self.path, f"not one of its {len(found):,} shards holds a sample", "fix `path`")
        return whole

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Captions of scenes as ``img2dataset`` writes them, 1,000 a shard; turns for other tasks as JSON."""
        samples: list[dict[str, bytes]] = []
        if task in (None, "caption"):
            for scene in scenes_for(rows, 1, seed):
                text = captions(scene)[0]
                said = {"caption": text, "key": f"{len(samples):09d}", "status": "success"}
                picture = encoded(scene) if images else b""
                samples.append({"jpg": picture, "json": json.dumps(said).encode(), "txt": text.encode()})
        else:
            keys = turns_of_shapes(folder / "scenes", rows=rows, seed=seed, task=task, images=images)
            for turn in pl.read_parquet(keys["path"]).iter_rows(named=True):
                pictures = [Path(keys["image_root"], name) for name in turn.pop("images", None) or ()]
                files = {f"{k}.jpg": path.read_bytes() if images else b"" for k, path in enumerate(pictures)}
                samples.append({**files, "json": json.dumps(turn).encode()})
        for number, at in enumerate(range(0, len(samples), _SHARD_ROWS)):
            numbered = enumerate(samples[at : at + _SHARD_ROWS], start=at)
            files_of = ((f"{k:09d}.{kind}", data) for k, sample in numbered for kind, data in sample.items())
            write_tar(folder / f"{number:05d}.tar", files_of)
        return {"path": str(folder.resolve()), "image_root": str(folder.resolve())}


def write_tar(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """A tar of these files, with the same bytes every time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in files:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
