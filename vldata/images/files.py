"""Reading plain files: whole or a range, with the system's errors kept apart from the image's.

What is the image's fault (missing, a folder, not permitted) rejects a row. What is the machine's (a stale mount, too
many open files) stops the build, as it would otherwise throw away good rows by the thousand.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from vldata.errors import SourceError
from vldata.images.look import MAX_BYTES
from vldata.images.problem import ImageProblem

_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP})
_UNREADABLE = frozenset({errno.EACCES, errno.EPERM, errno.EISDIR, errno.EIO, errno.EINVAL, errno.ENXIO, errno.EILSEQ})


def read_file(path: str) -> bytes:
    """Read a regular file of at most `MAX_BYTES`.

    Raises:
        ImageProblem: Missing, unreadable, not a regular file, too large.
        SourceError: The disk or the system fails.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a named pipe must not hang the build
    except (OSError, ValueError) as error:
        raise problem_of(error, path) from None
    try:
        status = os.fstat(handle)
        check_regular(status.st_mode, status.st_size)
        return _exactly(handle, 0, status.st_size)
    except OSError as error:
        raise problem_of(error, path) from None
    finally:
        os.close(handle)


def read_file_into(path: str, room: Callable[[int], memoryview]) -> memoryview:
    """`read_file` into memory of the caller's; ``room`` gives a place for N bytes."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise problem_of(error, path) from None
    try:
        status = os.fstat(handle)
        check_regular(status.st_mode, status.st_size)
        view, done = room(status.st_size), 0
        while done < status.st_size:
            num = os.preadv(handle, [view[done:]], done)
            if not num:
                detail = f"{status.st_size} bytes were announced and {done} are there"
                raise ImageProblem("image_truncated", detail)
            done += num
        return view
    except OSError as error:
        raise problem_of(error, path) from None
    finally:
        os.close(handle)


def read_sized(path: str, size_bytes: int) -> bytes:
    """`read_file` for a path whose status is known: no second ``stat``.

    Args:
        path: A regular file.
        size_bytes: What ``stat`` said; more is not read.

    Raises:
        ImageProblem: It is gone, unreadable, or shorter by now.
        SourceError: The disk or the system fails.
    """
    return read_range(path, 0, size_bytes)


def read_range(path: str, offset: int, size_bytes: int) -> bytes:
    """Read exactly ``size_bytes`` bytes at ``offset``.

    Raises:
        ImageProblem: The file is gone, unreadable, or ends before.
        SourceError: The disk or the system fails.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise problem_of(error, path) from None
    try:
        return _exactly(handle, offset, size_bytes)
    except OSError as error:
        raise problem_of(error, path) from None
    finally:
        os.close(handle)


def check_regular(mode: int, size_bytes: int) -> None:
    """Refuse what is not a regular file of a sane size.

    Raises:
        ImageProblem: A folder, a device, a pipe, or more than `MAX_BYTES`.
    """
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
        raise ImageProblem("image_unreadable", f"it is {what}, not a file")
    if size_bytes > MAX_BYTES:
        raise ImageProblem("image_bomb", f"the file has {size_bytes} bytes, over the limit of {MAX_BYTES}")


def problem_of(error: OSError | ValueError, path: str) -> ImageProblem | SourceError:
    """What an error of the system means for the image at ``path``."""
    if not isinstance(error, OSError):  # a name that no file can have
        return ImageProblem("image_missing", f"no file can have this name: {error}")
    if error.errno in _MISSING:
        return ImageProblem("image_missing", error.strerror or str(error))
    if error.errno in _UNREADABLE:
        return ImageProblem("image_unreadable", error.strerror or str(error))
    fix = "check the disk, the mount or the limits (ulimit -n), then run again: finished work is kept"
    return SourceError(path, error.strerror or str(error), fix)


def _exactly(handle: int, offset: int, size_bytes: int) -> bytes:
    data = os.pread(handle, size_bytes, offset)
    if len(data) == size_bytes:
        return data
    parts = [data]
    while data:  # Linux gives at most 2 GiB, network file systems sometimes less than requested
        offset += len(data)
        data = os.pread(handle, size_bytes - sum(map(len, parts)), offset)
        parts.append(data)
    whole = b"".join(parts)
    if len(whole) < size_bytes:
        detail = f"{size_bytes} bytes were announced and {len(whole)} are there"
        raise ImageProblem("image_truncated", detail)
    return whole
