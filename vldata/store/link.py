"""Put an object of the store into a build folder at the least cost the file system allows.

A reflink shares the bytes and is a file of its own; a hard link is the same file under a second name, and read-only as
the object is; a copy costs its size.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Literal

from vldata.errors import StoreError
from vldata.store.store import flush
from vldata.store.trouble import as_store_errors

How = Literal["reflink", "hardlink", "copy"]

_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
_CANNOT_LINK = frozenset({errno.EMLINK, errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.EOPNOTSUPP})
# EMLINK: ext4 allows 65,000 names a file. EPERM: Linux refuses hard links to files of other users
# (fs.protected_hardlinks), and some file systems have none.


def best_way(src_dir: Path, dst_dir: Path) -> How:
    """Try with a file of one byte how files can be placed from one folder into another; both must exist.

    Raises:
        StoreError: Not even a copy works.
    """
    probe = f".probe-{os.getpid()}-{secrets.token_hex(4)}"
    src, dst = src_dir / probe, dst_dir / f"{probe}-placed"
    with as_store_errors(src):
        src.write_bytes(b"?")
    try:
        ways: tuple[How, ...] = ("reflink", "hardlink")
        for how in ways:
            if _tried(src, dst, how):
                return how
        place(src, dst, "copy", durable=False)
        return "copy"
    finally:
        for path in (src, dst):
            path.unlink(missing_ok=True)


def place(src: Path, dst: Path, how: How, *, durable: bool = True) -> How:
    """Make ``dst`` the same bytes as ``src``; ``dst`` is read-only and must not exist.

    Args:
        src: An object of the store.
        dst: The new name; its folder exists.
        how: From `best_way`. A hard link that is refused for this one file becomes a copy.
        durable: Flush a reflink's or copy's bytes to the disk; the folder is for the caller to flush.

    Returns:
        How it was done.

    Raises:
        StoreError: The disk is full or cannot be written, ``src`` is gone, or ``dst`` is there already.
    """
    with as_store_errors(dst):
        try:
            if how == "hardlink":
                try:
                    os.link(src, dst)
                except OSError as error:
                    if error.errno not in _CANNOT_LINK:
                        raise
                    _copied(src, dst, durable=durable)
                    return "copy"
            elif how == "reflink":
                _cloned(src, dst, durable=durable)
            else:
                _copied(src, dst, durable=durable)
        except FileExistsError:
            raise StoreError(str(dst), "is there already", "remove it, or build into another folder") from None
    return how


def _tried(src: Path, dst: Path, how: How) -> bool:
    try:
        if how == "hardlink":
            os.link(src, dst)
        else:
            _cloned(src, dst, durable=False)
    except OSError:  # whatever the reason: the next way is tried, and a copy tells what is wrong
        return False
    dst.unlink()
    return True


def _cloned(src: Path, dst: Path, *, durable: bool) -> None:
    with src.open("rb") as source, dst.open("xb") as target:
        try:
            fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
        except OSError:
            with suppress(FileNotFoundError):
                dst.unlink()
            raise
    _finish(dst, durable=durable)


def _copied(src: Path, dst: Path, *, durable: bool) -> None:
    with src.open("rb") as source, dst.open("xb") as target:
        try:
            shutil.copyfileobj(source, target, 1 << 20)
        except OSError:
            with suppress(FileNotFoundError):
                dst.unlink()
            raise
    _finish(dst, durable=durable)


def _finish(dst: Path, *, durable: bool) -> None:
    dst.chmod(0o444)
    if durable:
        flush(dst)
