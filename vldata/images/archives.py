"""Members of tar and zip archives, read at random without keeping archives open.

An archive's members are listed once; a member is then one `open`, one `pread` and one `close`, so any number of threads
may read and no file descriptor stays behind. Names are kept as 64-bit hashes in sorted arrays: 24 to 44 bytes a member,
where a dictionary of strings takes 250. (Two names of one archive of a million collide with probability 3e-8.)
"""

from __future__ import annotations

import gzip
import os
import posixpath
import shutil
import struct
import tarfile
import tempfile
import weakref
import zipfile
import zlib
from array import array
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vldata.errors import SourceError
from vldata.images.files import problem_of, read_range
from vldata.images.look import MAX_BYTES
from vldata.images.missing import short
from vldata.images.problem import ImageProblem
from vldata.schema.keyed import string_keys

TAR, TAR_GZ, ZIP = (".tar",), (".tar.gz", ".tgz"), (".zip",)

_COPY_BYTES = 1 << 22
_SPARE_BYTES = 1 << 30  # an archive that unpacks to nearly all that the disk has is a bomb or a mistake


class Archive(Protocol):
    """Something whose members can be read."""

    def read(self, member: str) -> bytes:
        """Read a member whole.

        Raises:
            ImageProblem: No such member, or it is damaged.
        """
        ...


class Tar:
    """An uncompressed tar; a member that occurs twice is its last occurrence, as for ``tar``.

    Args:
        path: The archive.
        shown_as: Its name in messages, when it is not ``path``.

    Raises:
        ImageProblem: Not a tar.
    """

    def __init__(self, path: str, shown_as: str | None = None) -> None:
        self.path = path
        self._name = Path(shown_as or path).name
        self._cut = ""
        names: list[str] = []
        links: list[tuple[int, str]] = []
        offsets, sizes = array("q"), array("q")
        try:
            with tarfile.open(path, "r:") as tar:
                while (member := tar.next()) is not None:
                    tar.members.clear()  # type: ignore[attr-defined]  # it keeps every member for ever: 1.5 GB a million
                    if member.islnk():
                        links.append((len(names), posixpath.normpath(member.linkname)))
                    elif not member.isreg() or member.issparse():
                        continue
                    names.append(posixpath.normpath(member.name))
                    offsets.append(member.offset_data)
                    sizes.append(member.size)
        except FileNotFoundError:
            raise ImageProblem("image_missing", f"the archive {self._name} does not exist") from None
        except (tarfile.TarError, OSError, EOFError) as error:
            if not names:
                raise ImageProblem("image_unreadable", f"{self._name} is not a usable tar: {error}") from None
            self._cut = f"; the archive ends too early, after {len(names)} members ({error})"
        if links:
            at = {name: k for k, name in enumerate(names)}
            for k, target in links:
                if target in at:
                    offsets[k], sizes[k] = offsets[at[target]], sizes[at[target]]
        self._index = _Index(names, np.array(offsets, np.int64), np.array(sizes, np.int64))

    def read(self, member: str) -> bytes:
        """Read a member whole."""
        row = self._index.find(member)
        if row is None:
            raise ImageProblem("image_missing", f"no member {short(member)!r} in {self._name}{self._cut}")
        offset, size = (int(column[row]) for column in self._index.columns)
        _refuse_huge(size, member)
        return read_range(self.path, offset, size)


class TarGz(Tar):
    """A compressed tar, unpacked into one uncompressed tar when it is first used, as gzip cannot be read at random.

    Args:
        path: The archive.
        spool: Folder for the unpacked form, which stays for the next run; None unpacks into the temporary folder, for
            as long as this object lives.

    Raises:
        ImageProblem: Not a tar.gz.
        SourceError: No room to unpack it.
    """

    def __init__(self, path: str, spool: Path | None = None) -> None:
        if spool is not None:
            super().__init__(str(spooled(path, spool, ".tar", lambda target: gunzip(path, target))), shown_as=path)
            return
        handle, unpacked = tempfile.mkstemp(prefix="vldata-", suffix=".tar")
        os.close(handle)
        weakref.finalize(self, os.unlink, unpacked)  # with this object, or when the interpreter ends
        gunzip(path, Path(unpacked))
        super().__init__(unpacked, shown_as=path)


class Zip:
    """A zip whose members are stored or deflated.

    Args:
        path: The archive.

    Raises:
        ImageProblem: Not a zip.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._name = Path(path).name
        try:
            with zipfile.ZipFile(path) as archive:
                infos = [info for info in archive.infolist() if not info.is_dir()]
        except FileNotFoundError:
            raise ImageProblem("image_missing", f"the archive {self._name} does not exist") from None
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise ImageProblem("image_unreadable", f"{self._name} is not a usable zip: {error}") from None
        self._index = _Index(
            [posixpath.normpath(info.filename) for info in infos],
            np.array([info.header_offset for info in infos], np.int64),
            np.array([info.compress_size for info in infos], np.int64),
            np.array([info.file_size for info in infos], np.int64),
            np.array([info.CRC for info in infos], np.uint32),
            np.array([info.compress_type if not info.flag_bits & 1 else _ENCRYPTED for info in infos], np.int32),
        )

    def read(self, member: str) -> bytes:
        """Read a member whole; what does not have the size and checksum that the archive states is refused."""
        row = self._index.find(member)
        if row is None:
            raise ImageProblem("image_missing", f"no member {short(member)!r} in {self._name}")
        offset, packed_size, size, crc, method = (int(column[row]) for column in self._index.columns)
        _refuse_huge(max(size, packed_size), member)
        if method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            how = "encrypted" if method == _ENCRYPTED else f"packed by method {method}"
            raise ImageProblem(
                "image_unreadable", f"{member!r} in {self._name} is {how}: only stored and deflated are read"
            )
        header = read_range(self.path, offset, 30)
        name_bytes, extra_bytes = struct.unpack_from("<HH", header, 26)
        packed = read_range(self.path, offset + 30 + name_bytes + extra_bytes, packed_size)
        if method == zipfile.ZIP_STORED:
            data = packed
        else:
            try:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, size + 1)
            except zlib.error as error:
                raise ImageProblem("image_unreadable", f"{member!r} in {self._name} does not unpack: {error}") from None
        if len(data) != size or zlib.crc32(data) != crc:
            raise ImageProblem(
                "image_unreadable", f"{member!r} in {self._name} is not what the archive's directory states"
            )
        return data


_ENCRYPTED = -1


class _Index:
    def __init__(self, names: list[str], *columns: npt.NDArray[np.int64 | np.int32 | np.uint32]) -> None:
        keys = string_keys(names)
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self.columns = tuple(column[order] for column in columns)

    def find(self, member: str) -> int | None:
        key = string_keys([posixpath.normpath(member)])[0]
        row = int(np.searchsorted(self._keys, key, side="right")) - 1  # the last of equal names
        return row if row >= 0 and self._keys[row] == key else None


def spooled(path: str, spool: Path, suffix: str, write: _Writer, part: str = "") -> Path:
    """The random-access form of a container in a spool folder, written when it is not there yet.

    Its name is a hash of the container's path, size, time and inode; two processes may write it at once, and one wins.

    Args:
        path: The container.
        spool: Where such forms are kept.
        suffix: Of the file to write.
        write: Writes the form to the path it is given.
        part: What of the container is unpacked, when not all of it.

    Raises:
        ImageProblem: The container does not exist.
        SourceError: It cannot be written.
    """
    try:
        stat = Path(path).stat()
    except FileNotFoundError:
        raise ImageProblem("image_missing", f"the archive {Path(path).name} does not exist") from None
    identity = "\0".join([path, str(stat.st_size), str(stat.st_mtime_ns), str(stat.st_ino), part])
    target = spool / f"{string_keys([identity])[0]:016x}{suffix}"
    if target.exists():
        return target
    spool.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=spool, prefix=f".{target.stem}-", suffix=suffix)
    os.close(handle)
    try:
        write(Path(name))
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target


class _Writer(Protocol):
    def __call__(self, target: Path, /) -> object: ...


def gunzip(path: str, target: Path) -> None:
    """Unpack a file as far as its stream goes.

    Raises:
        ImageProblem: It is not there, or no gzip.
        SourceError: No room.
    """
    try:
        packed = gzip.open(path, "rb")  # noqa: SIM115 - its errors are kept apart from the target's
    except OSError as error:
        raise problem_of(error, path) from None
    with packed, target.open("wb") as unpacked:
        while chunk := _next_chunk(packed, path):
            if shutil.disk_usage(target.parent).free < _SPARE_BYTES:
                raise SourceError(path, f"no room to unpack it in {target.parent}", "unpack it yourself into a .tar")
            unpacked.write(chunk)


def _next_chunk(packed: gzip.GzipFile, path: str) -> bytes:
    try:
        return packed.read1(_COPY_BYTES)  # read() would lose what a cut stream gave before its end
    except gzip.BadGzipFile as error:
        raise ImageProblem("image_unreadable", f"{Path(path).name} is not gzip: {error}") from None
    except (EOFError, zlib.error):
        return b""  # a cut stream: the members that came through are usable, and the tar says that the rest is missing
    except OSError as error:
        raise problem_of(error, path) from None


def _refuse_huge(size: int, member: str) -> None:
    if size > MAX_BYTES:
        raise ImageProblem("image_bomb", f"{member!r} has {size} bytes, over the limit of {MAX_BYTES}")
