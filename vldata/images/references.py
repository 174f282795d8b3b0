"""Image references: strings in a source's ``images`` column, relative to its ``image_root``.

    a/b.jpg                               a file below the root, or a member when the root is itself a tar or zip
    shards/00.tar::a/b.jpg                a member of an archive below the root (.tar, .tar.gz, .tgz, .zip)
    train-0.parquet::image/17/0           the bytes in a table's cell: column, 0-based row, position in a list (else 0);
                                          binary, struct<bytes, path>, or a list of either (.parquet, .arrow)
    rows.jsonl::text/4711/2048            the base64 or data URI at these bytes of a table that is text (`inline`)
    train.tfrecord::bytes/4711/2048       these bytes of a file of any name (`spans`)

A reference that climbs out of its root is refused: ``..``, a drive, a NUL byte, an absolute path that is not below the
root. Symbolic links below the root are followed wherever they lead, as they are the user's own doing and not the
dataset's; an absolute path that reaches the root by other links is below it.
"""

from __future__ import annotations

import os
import posixpath
import re
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import polars as pl

from vldata.images.archives import TAR, TAR_GZ, ZIP, Archive, Tar, TarGz, Zip
from vldata.images.files import read_file, read_file_into
from vldata.images.inline import COLUMN, TEXT_TABLES, TextTable
from vldata.images.missing import short
from vldata.images.problem import ImageProblem
from vldata.images.spans import SPAN, ByteSpans
from vldata.images.tables import ARROW, PARQUET, ArrowTable, ParquetTable, Stretches, address, spooled_parquet
from vldata.paths import absolute

SEPARATOR = "::"
ARCHIVES = TAR + TAR_GZ + ZIP
TABLES = PARQUET + ARROW

_SPAN = re.compile(rf"{COLUMN}/\d{{1,18}}/\d{{1,12}}")
_DRIVE = re.compile(r"[A-Za-z]:(?!:)")
_SUSPICIOUS = re.compile(r"\\|:|\x00|\.\.|//|(?:^|/)\./|^/|^$")


class ImageLocation(NamedTuple):
    """Where an image's bytes are.

    Args:
        file: Absolute path of the image, or of the archive or table that holds it.
        member: Name inside ``file``; None for a plain file.
    """

    file: str
    member: str | None


class ImageReader:
    """Reads images by reference; any number of threads may share one.

    Archives and tables are listed when they are first needed and stay listed (about 40 bytes a member). A container
    that changes while a reader lives is not listed again.

    Args:
        root: The source's ``image_root``: a folder, an archive or a table; None is the working directory.
        spool: Folder for random-access forms of ``.tar.gz`` and Parquet, see `vldata.images.tables`; it keeps them for
            later readers. None reads Parquet forwards, and unpacks ``.tar.gz`` into a temporary file.
    """

    def __init__(self, root: str | os.PathLike[str] | None, spool: Path | None = None) -> None:
        self.root = absolute(root)
        self._root_is_container = self.root.endswith(ARCHIVES + TABLES) and not Path(self.root).is_dir()
        self._spool = spool
        self._stretches = Stretches()
        self._containers: dict[str, Archive | ImageProblem] = {}
        self._locks: dict[str, threading.Lock] = {}

    def locate(self, ref: str) -> ImageLocation:
        """Find where a reference points, without looking whether anything is there.

        Raises:
            ImageProblem: ``image_outside_root``.
        """
        if self._root_is_container:
            return ImageLocation(self.root, _inside(ref))
        if not _SUSPICIOUS.search(ref):  # nearly all of them: 0.5 us
            return ImageLocation(f"{self.root}/{ref}", None)
        outer, separator, member = ref.partition(SEPARATOR)
        if separator and outer.endswith(ARCHIVES + TABLES):
            return ImageLocation(self._below(outer), _inside(member))
        if separator and outer.endswith(TEXT_TABLES) and _SPAN.fullmatch(member):
            return ImageLocation(self._below(outer), member)
        if separator and SPAN.fullmatch(member):
            return ImageLocation(self._below(outer), member)
        return ImageLocation(self._below(ref), None)

    def _below(self, path: str, root: str | None = None) -> str:
        """The absolute path of what lies below the root.

        Args:
            path: Of it, absolute or seen from there.
            root: None: that of the reader.

        Raises:
            ImageProblem: It does not.
        """
        if not path.startswith("/") or "\0" in path:
            return posixpath.join(root or self.root, _inside(path))
        clean = posixpath.normpath("/" + path.lstrip("/"))
        if _is_below(clean, root or self.root) or _reaches(clean, root or self.root):
            return clean
        raise ImageProblem("image_outside_root", f"the absolute path {short(path)!r} is not below image_root")

    def plain(self, ref: pl.Expr) -> pl.Expr:
        """Whether references are plain names of files below the root, of which `locate` has nothing to say."""
        return pl.lit(not self._root_is_container) & ~ref.str.contains(_SUSPICIOUS.pattern)

    def path_of(self, ref: str) -> str | None:
        """Absolute path of a plain file; None when the image is inside an archive or table.

        Raises:
            ImageProblem: ``image_outside_root``.
        """
        place = self.locate(ref)
        return place.file if place.member is None else None

    def read(self, ref: str) -> bytes:
        """Read an image's encoded bytes.

        Raises:
            ImageProblem: Missing, outside the root, unreadable, truncated, or over `MAX_BYTES`.
            SourceError: The disk or the system fails.
        """
        return self.read_at(self.locate(ref))

    def read_at(self, place: ImageLocation) -> bytes:
        """`read` for a reference that is located already."""
        if place.member is None:
            return read_file(place.file)
        return self._container(place.file, place.member).read(place.member)

    def read_into(self, ref: str, room: Callable[[int], memoryview]) -> memoryview:
        """`read` into memory of the caller's.

        Args:
            ref: As for `read`.
            room: Gives a place for N bytes.
        """
        place = self.locate(ref)
        if place.member is None:
            return read_file_into(place.file, room)
        data = self.read_at(place)
        view = room(len(data))
        view[:] = data
        return view

    def reading_order(self, refs: Sequence[str]) -> list[int]:
        """Positions of ``refs`` in the order in which they are cheapest to read: by container, tables by row."""
        return sorted(range(len(refs)), key=lambda k: _storage_key(refs[k]))

    def _container(self, path: str, member: str) -> Archive:
        key = path
        if path.endswith(PARQUET) and self._spool is not None:
            key = f"{path}{SEPARATOR}{address(member)[0]}"
        container = self._containers.get(key)
        if container is None:
            with self._locks.setdefault(key, threading.Lock()):
                container = self._containers.get(key)
                if container is None:
                    try:
                        container = self._open(path, member)
                    except ImageProblem as problem:  # kept: listing a damaged 10 GB archive once is enough
                        container = problem
                    self._containers[key] = container
        if isinstance(container, ImageProblem):
            raise ImageProblem(container.reason, container.detail)
        return container

    def _open(self, path: str, member: str) -> Archive:
        if path.endswith(TAR_GZ):
            return TarGz(path, self._spool)
        if path.endswith(TAR):
            return Tar(path)
        if path.endswith(ZIP):
            return Zip(path)
        if path.endswith(ARROW):
            return ArrowTable(path, self._follow)
        if path.endswith(TEXT_TABLES):
            return TextTable(path, self._spool)
        if not path.endswith(PARQUET):
            return ByteSpans(path)
        if self._spool is not None:
            return spooled_parquet(path, address(member)[0], self._spool, self._follow)
        return ParquetTable(path, self._follow, self._stretches)

    def _follow(self, path: str) -> bytes:
        """A plain file that a table names in place of bytes; below the root, or beside a table that is the root."""
        return read_file(self._below(path, posixpath.dirname(self.root) if self._root_is_container else None))


def _inside(path: str) -> str:
    """The path normalised, so that no ``..`` is left for a symbolic link to bend."""
    forward = path.replace("\\", "/")  # a corpus made on Windows may climb with backslashes
    clean = posixpath.normpath(forward)
    if "\0" in path or clean.startswith(("/", "../")) or clean == ".." or _DRIVE.match(path):
        raise ImageProblem("image_outside_root", f"{short(path)!r} leaves the image_root")
    return posixpath.normpath(path)


def _is_below(path: str, root: str) -> bool:
    return path.startswith(root if root.endswith("/") else f"{root}/")


def _reaches(path: str, root: str) -> bool:
    """Whether a folder above a path is the root by another name, given by symbolic links."""
    real = _resolved(root)
    while path := path.rpartition("/")[0]:
        if _resolved(path) == real:
            return True
    return False


@lru_cache(maxsize=4096)
def _resolved(folder: str) -> str:
    return os.path.realpath(folder)


def _storage_key(ref: str) -> tuple[str, str, int, int]:
    outer, separator, member = ref.partition(SEPARATOR)
    if not separator or not (outer.endswith(TABLES + TEXT_TABLES) or SPAN.fullmatch(member)):
        return outer, member, 0, 0
    try:
        return outer, *address(member)
    except ImageProblem:
        return outer, member, 0, 0
