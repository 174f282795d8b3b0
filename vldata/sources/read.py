"""Reading native files: gzip anywhere, UTF-8 with or without a byte-order mark, and errors that name the line.

Whole-file trouble (missing, empty, truncated JSON, another encoding) is a `SourceError`; a single bad row is for the
caller to return with a ``problem``.
"""

from __future__ import annotations

import gc
import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from glob import has_magic
from pathlib import Path
from typing import Any

from vldata.errors import SourceError


def expand(pattern: str, *, suffixes: tuple[str, ...] = ()) -> list[Path]:
    """Files named by a path, a folder (all files below it with one of ``suffixes``) or a glob, sorted.

    Raises:
        SourceError: Nothing there.
    """
    path = Path(pattern).expanduser()
    if has_magic(pattern) and not path.exists():
        anchor = Path(path.anchor) if path.is_absolute() else Path()
        found = sorted(p for p in anchor.glob(str(path.relative_to(path.anchor))) if p.is_file())
        if not found:
            raise SourceError(pattern, "no file matches this pattern", f"looked below {anchor.resolve()}; mend `path`")
        return found
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.is_file() and (not suffixes or _suffix(p) in suffixes))
        if not found:
            raise SourceError(pattern, "the folder holds no file of this format", "mend `path`")
        return found
    if not path.is_file():
        raise SourceError(
            pattern, f"no such file ({path.resolve()})", "mend `path`, or try the recipe with --standin 200"
        )
    return [path]


def read_text(path: Path, *, encoding: str = "utf-8-sig") -> str:
    """The whole file as text; gzip by content, not by name.

    Raises:
        SourceError: Empty, not in ``encoding``, or a broken gzip stream.
    """
    raw = read_bytes(path)
    if not raw.strip():
        raise SourceError(str(path), "the file is empty", "download it again")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SourceError(
            f"{path}:{line}",
            f"byte {raw[error.start]:#04x} at offset {error.start} is not {encoding.removesuffix('-sig')}",
            "convert the file: iconv -f ISO-8859-1 -t UTF-8",
        ) from None


def read_bytes(path: Path) -> bytes:
    """The file's bytes, unpacked when they are gzip.

    Raises:
        SourceError: Unreadable, or the gzip stream ends too early.
    """
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceError(str(path), f"broken gzip stream ({error})", "download it again") from None
    except OSError as error:
        raise SourceError(str(path), error.strerror or str(error), "check the path and its permissions") from None


def read_json(path: Path) -> Any:
    """The file as one JSON document.

    Raises:
        SourceError: Not JSON; says the line, and whether the file looks cut off or is JSON lines.
    """
    text = read_text(path)
    try:
        with _no_collector():
            return json.loads(text)
    except json.JSONDecodeError as error:
        fix = (
            "download the file again: it ends in the middle" if error.pos >= len(text.rstrip()) - 1 else "mend the file"
        )
        if error.msg == "Extra data" and error.lineno > 1:
            fix = "the file is JSON lines, not one JSON document: use a format that reads JSON lines"
        raise SourceError(f"{path}:{error.lineno}", f"not JSON: {error.msg}", fix) from None
    except (RecursionError, ValueError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise SourceError(str(path), f"not usable JSON: {why}", "mend the file") from None


def read_json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """(line number from 1, value) of each non-blank line; a line that is not JSON yields its `ValueError`.

    Only line feeds end a line: JSON texts may hold U+2028 and its like, which ``str.splitlines`` would cut at.

    Raises:
        SourceError: The last line has no end and is not JSON: the file was cut off.
    """
    lines = read_text(path).split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines):
                raise SourceError(
                    f"{path}:{number}", f"the last line breaks off ({error})", "download it again"
                ) from None
            yield number, error if isinstance(error, ValueError) else ValueError("nested too deeply")


@contextmanager
def _no_collector() -> Iterator[None]:
    """Millions of new objects, no cycle among them: without the cyclic collector they are made in 60 % of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _suffix(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    return Path(name).suffix
