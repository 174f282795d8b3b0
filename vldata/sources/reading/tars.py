"""Tar shards in the convention of WebDataset -> a table of their samples.

The files of a sample share what stands before the first dot of their name, folders included, and need not stand
together. Texts are read while the shard is listed; images stay where they are, as ``<shard>::<member>``.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vldata.errors import SourceError
from vldata.images.archives import TAR, TAR_GZ
from vldata.sources.reading.embedded import prefix_of
from vldata.sources.reading.files import Written, visible
from vldata.sources.reading.samples import Part, is_text, rows_of, talks_of, written_rows
from vldata.sources.reading.table_file import FILE_STEM, TableFile
from vldata.sources.reading.tables import open_objects

TARS = TAR + TAR_GZ
SAMPLE_ID = f"{FILE_STEM} || '/' || __key__"
_OTHERS = (".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tar.lz4")
_BLOCK_BYTES = 512
_REST_BYTES = 1 << 20


def is_tar(path: Path) -> bool:
    """Whether a file is a shard, by its name."""
    return path.name.lower().endswith(TARS + _OTHERS)


def tars_below(folder: Path) -> list[Path]:
    """The shards below a folder."""
    return sorted(path for path in visible(folder) if is_tar(path))


def is_blank(path: Path) -> bool:
    """Whether a file holds nothing but the end of a tar, as a shard of which no download came."""
    with path.open("rb") as file:
        return file.read(_BLOCK_BYTES) == bytes(_BLOCK_BYTES)


def open_tar(
    path: Path, *, image_root: str | None, stem: str, explode: Sequence[str] = (), images: Sequence[str] | None = None
) -> TableFile:
    """List a shard: a row for each sample, with the columns of `vldata.sources.reading.samples.rows_of`.

    Args:
        stem: The shard's name, seen from the source's folder: its samples' ids begin with it.
        images: Kinds of files that are a sample's images; None: their names decide.

    Raises:
        SourceError: It ends too early, is damaged, compressed in another way than with gzip, or outside `image_root`.
    """
    samples: dict[str, list[Part]] = {}
    strays: dict[str, str] = {}
    before = prefix_of(path, image_root)
    for part in _parts(path, before):
        key, kind = _key_of(part.name)
        if key and kind:
            samples.setdefault(key, []).append(part._replace(kind=kind.lower()))
        else:
            strays[part.name] = f"{part.name} has no name and suffix, so it is part of no sample"
    found = rows_of(samples, images=images)

    def native() -> list[dict[str, Any]]:
        return rows_of(samples, images=images, floats=Written).rows

    for name, detail in strays.items():
        found.notes[len(found.rows)] = detail
        found.rows.append({"__key__": name})
        samples[name] = []
    ids = [f"{stem}/{key}" for key in samples]
    written = partial(written_rows, samples)
    frame = open_objects(path, found.rows, found.notes, written=written, native=native, explode=explode)
    return replace(frame, row=SAMPLE_ID, talks=partial(talks_of, samples, found, ids))


def write_head(path: Path, head: Path, *, samples: int) -> None:
    """Write a shard of the first samples of another, wherever their files stand in it, with nothing in its images.

    Raises:
        SourceError: As `open_tar`.
    """
    keys: dict[str, None] = {}
    with tarfile.open(head, "w:gz" if head.name.endswith(TAR_GZ) else "w") as tar:
        for part in _parts(path, ""):
            key = _key_of(part.name)[0] or part.name
            if len(keys) < samples:
                keys[key] = None
            if key in keys:
                member = tarfile.TarInfo(part.name)
                member.size = len(part.content or b"")
                tar.addfile(member, io.BytesIO(part.content or b""))


def _key_of(name: str) -> tuple[str, str]:
    """The sample that a file belongs to, and its kind; one of them is empty for a file of no sample."""
    folder, last = posixpath.split(name)
    key, _, kind = last.partition(".")
    return (posixpath.join(folder, key), kind) if key else ("", kind)


def _parts(path: Path, before: str) -> Iterator[Part]:
    """The files of a shard, without those that only a file system wants."""
    if path.name.lower().endswith(_OTHERS):
        problem = "it is compressed in a way in which no image of it can be read alone"
        raise SourceError(str(path), problem, "unpack it to a .tar")
    texts: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz" if path.name.endswith(TAR_GZ) else "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it keeps every member for ever
                name = posixpath.normpath(member.name).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                if member.isdir() or _is_clutter(name):
                    continue
                if is_text(name):
                    texts[name] = _content(tar, member, name, texts)
                yield Part("", name, before + name, texts.get(name))
            _refuse_rest(tar, path)
    except KeyError as error:
        raise SourceError(
            str(path), f"a link in it leads to {error}, which is no text before it", "unpack it"
        ) from None
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise SourceError(str(path), f"not a whole tar: {error}", "download it again") from None
    except OSError as error:
        raise SourceError(str(path), error.strerror or str(error), "check the path and its permissions") from None


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo, name: str, texts: Mapping[str, bytes]) -> bytes:
    """The bytes of a text; of a link, which can only lead to what stands before it, those of its target.

    Raises:
        KeyError: It leads nowhere.
    """
    if member.issym():
        return texts[posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))]
    if member.islnk():
        return texts[posixpath.normpath(member.linkname)]
    file = tar.extractfile(member)
    return file.read() if file else b""


def _refuse_rest(tar: tarfile.TarFile, path: Path) -> None:
    """Refuse a tar that does not end where its members do: `tarfile` stops at the first block that is no member.

    Raises:
        SourceError: The block that ends a tar is missing, or something else than zeros stands there or behind it.
    """
    file = tar.fileobj
    assert file is not None
    file.seek(tar.offset)
    block = file.read(_BLOCK_BYTES)
    if len(block) < _BLOCK_BYTES:
        raise SourceError(str(path), "it ends without the mark of a tar's end: it was cut off", "download it again")
    while block:
        if block.strip(b"\0"):
            problem = f"what stands behind byte {tar.offset:,} is neither a member nor the end"
            raise SourceError(str(path), problem, "download it again; of tars that were joined, name each by itself")
        block = file.read(_REST_BYTES)


def _is_clutter(name: str) -> bool:
    """Whether a member is what macOS puts beside files."""
    *folders, last = name.split("/")
    return "__MACOSX" in folders or last.startswith("._") or last == ".DS_Store"
