"""Reading native files: gzip anywhere, UTF-8 with or without a byte-order mark, and errors that name the line.

Whole-file trouble (missing, empty, truncated JSON, another encoding) is a `SourceError`; a single bad row is for the
caller to return with a ``problem``.
"""

from __future__ import annotations

import codecs
import gzip
import json
import os
import re
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from glob import has_magic
from pathlib import Path
from typing import Any

import msgspec

from vldata.errors import SourceError
from vldata.paths import home
from vldata.sources.reading.doubled_keys import doubled_key, doubled_keys_of, refuse_doubled_keys

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # begins with UTF-16's mark, so it is tried first
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_LIKELIEST = "ISO-8859-1"
UTF8 = "utf-8-sig"
"""The encoding of texts of which nobody says another: UTF-8, with or without a byte-order mark."""
_FAST_BYTES = 64 * 1024 * 1024
"""Above it the slower reader is used, which keeps equal strings once and so needs two thirds of the memory."""

_STRETCH_BYTES = 1024 * 1024
_ABOUT = frozenset(
    {
        "dataset_info.json",
        "dataset_infos.json",
        "dataset_dict.json",
        "state.json",
        "croissant.json",
        "not_exported.jsonl",
    }
)
_ABOUT_STEMS = frozenset({"license", "licence", "readme", "copying", "notice", "changelog", "citation", "md5sums"})
_MEDIA = frozenset(
    {".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".tar", ".zip", ".tgz", ".mp4", ".pdf"}
)
_BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")
_MOST_IN_BRACES = 1_000_000


class Written(float):
    """A number of a JSON text that remembers how it was written."""

    text: str

    def __new__(cls, text: str) -> Written:
        """The number that a text writes."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __repr__(self) -> str:
        return self.text


def expand(pattern: str, *, suffixes: tuple[str, ...] = (), names: tuple[str, ...] = ()) -> list[Path]:
    """Files named by a path, a folder or a glob, sorted; of a folder those of a format, wherever they lie below it.

    A file that is named, by itself or by a glob, is taken whatever its name. Of a folder, what is hidden, what says
    something about data (a licence, a card) and what no suffix fits is passed over; `passed_over` lists it.

    Args:
        suffixes: Of the format's files; ``.gz`` may follow.
        names: Patterns of the format's names: where a folder has such files, it has no others.

    Raises:
        SourceError: Nothing there, or nothing named.
    """
    if not pattern.strip():
        raise SourceError("path", "it is empty", "name a file, a folder or a pattern")
    path = home(pattern)
    if is_braced(pattern) and not path.exists():
        each = (expand(name, suffixes=suffixes, names=names) for name in braced(pattern))
        return list(dict.fromkeys(file for files in each for file in files))
    if has_magic(pattern) and not path.exists():
        anchor = Path(path.anchor) if path.is_absolute() else Path()
        hidden = any(part.startswith(".") for part in path.parts if has_magic(part))
        named = anchor.glob(str(path.relative_to(path.anchor)))
        found = sorted(p for p in named if p.is_file() and (hidden or not _is_hidden(p, path)))
        if not found:
            raise SourceError(pattern, "no file matches this pattern", f"looked below {anchor.resolve()}; fix `path`")
        return found
    if path.is_dir():
        data = (p for p in visible(path) if p.is_file() and not is_about(p.name))
        found = sorted(p for p in data if not suffixes or _suffix(p).lower() in suffixes)
        found = [p for p in found if any(fnmatch(p.name.removesuffix(".gz"), name) for name in names)] or found
        if not found:
            raise SourceError(pattern, "the folder holds no file of this format", "fix `path`")
        return found
    if not path.is_file():
        raise _missing(pattern, path)
    return [path]


def is_braced(pattern: str) -> bool:
    """Whether a path has braces that stand for several names."""
    return _BRACES.search(pattern) is not None


def braced(pattern: str) -> list[str]:
    """The paths that braces stand for, as in a shell: ``{000000..000012}`` (as wide as its first number), ``{a,b}``.

    Raises:
        SourceError: A range ends before it begins, or has over a million numbers.
    """
    found = _BRACES.search(pattern)
    if found is None:
        return [pattern]
    first, last, listed = found.groups()
    if listed is not None:
        parts = listed.split(",")
    elif not 0 <= int(last) - int(first) < _MOST_IN_BRACES:
        raise SourceError(pattern, f"{found[0]} is no range from a smaller to a larger number", "fix `path`")
    else:
        parts = [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    head, tail = pattern[: found.start()], braced(pattern[found.end() :])
    return [f"{head}{part}{rest}" for part in parts for rest in tail]


def passed_over(pattern: str, taken: Collection[Path]) -> list[str]:
    """Files below a folder that are not read, seen from it, without images, archives and what is hidden."""
    folder = home(pattern)
    if not folder.is_dir():
        return []
    left = (path for path in visible(folder) if path.suffix.lower() not in _MEDIA and path not in taken)
    return sorted(path.relative_to(folder).as_posix() for path in left)


def is_about(name: str) -> bool:
    """Whether a file of this name, without its folder, says something about data."""
    name = name.lower()
    return name in _ABOUT or name.partition(".")[0] in _ABOUT_STEMS or name.endswith(tuple(_MEDIA))


def _is_hidden(path: Path, pattern: Path) -> bool:
    """Whether a part that the pattern leaves open begins with a dot, as in a store or a shell's own glob."""
    return any(part.startswith(".") for part in path.parts if part not in pattern.parts)


def visible(folder: Path) -> Iterator[Path]:
    """What lies below a folder, without what is hidden, such as a store."""
    return (folder / name for name in visible_names(folder))


def visible_names(folder: Path) -> Iterator[str]:
    """`visible`, as names seen from the folder."""

    def unreadable(error: OSError) -> None:
        raise SourceError(str(error.filename), error.strerror or str(error), "check its permissions") from None

    for place, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(place).relative_to(folder).as_posix()
        before = "" if below == "." else f"{below}/"
        yield from (before + name for name in names if not name.startswith("."))


def _missing(pattern: str, path: Path) -> SourceError:
    whole = str(path.absolute())
    if path.is_symlink():
        target = path.readlink()
        return SourceError(pattern, f"a symbolic link that leads to no file ({target})", "fix the link, or `path`")
    beside = pattern.removesuffix(".gz") if pattern.endswith(".gz") else f"{pattern}.gz"
    fix = "fix `path`, or try the recipe with --standin 200"
    if home(beside).is_file():
        fix = f"did you mean {beside!r}?"
    return SourceError(pattern, "no such file" if whole == pattern else f"no such file ({whole})", fix)


def read_text(path: Path, *, encoding: str = UTF8) -> str:
    """The whole file as text; gzip by content, not by name.

    Raises:
        SourceError: Empty, not in ``encoding``, or a broken gzip stream.
    """
    raw = read_bytes(path)
    if not raw.strip():
        raise SourceError(str(path), "the file is empty", "download it again")
    return decoded(raw, str(path), encoding)


def decoded(raw: bytes, name: str, encoding: str = UTF8) -> str:
    """Bytes as text.

    Raises:
        SourceError: They are not in ``encoding``; names the line, and the encoding that they seem to have.
    """
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        likely = _encoding_of(raw)
        raise SourceError(
            f"{name}:{line}",
            f"byte {raw[error.start]:#04x} at offset {error.start} is not {encoding.removesuffix('-sig')}",
            f"convert the file: iconv -f {likely} -t UTF-8; of CSV, TSV and text a table may say `encoding: {likely}`",
        ) from None


def refuse_wide(path: Path) -> None:
    """For readers that would take a text in UTF-16 or UTF-32 for one in UTF-8.

    Raises:
        SourceError: It begins with the byte-order mark of one of these.
    """
    try:
        with path.open("rb") as file:
            mark = file.read(4)
    except OSError as error:
        raise SourceError(str(path), error.strerror or str(error), "check the path and its permissions") from None
    if _encoding_of(mark) != _LIKELIEST:
        read_text(path)


def _encoding_of(raw: bytes) -> str:
    """The encoding of a file that is not UTF-8, by its byte-order mark; else the likeliest."""
    return next((name for mark, name in _MARKS if raw.startswith(mark)), _LIKELIEST)


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


_DECODERS = {float: msgspec.json.Decoder(), Written: msgspec.json.Decoder(float_hook=Written)}


def read_json(path: Path, *, floats: type[float] = float) -> Any:
    """The file as one JSON document.

    Args:
        floats: What numbers with a fraction or an exponent become: `Written` remembers how the file writes them.

    Raises:
        SourceError: Not JSON; says the line, and whether the file looks cut off or is JSON lines.
    """
    raw = read_bytes(path).removeprefix(codecs.BOM_UTF8)
    document = None
    if len(raw) <= _FAST_BYTES:
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            document = _DECODERS[floats].decode(raw)
    if document is None:  # json also reads NaN and half surrogate pairs, and says where something is wrong
        refuse_doubled_keys(path, raw, None)
        text = read_text(path)
        with _json_errors(path, text):
            document = json.loads(text, parse_float=floats)
    refuse_doubled_keys(path, raw, document)
    return document


def open_json(path: Path) -> Any:
    """The file as one JSON document whose parts are still encoded: ``{key: Raw}`` or ``[Raw]``.

    `plain` decodes a part, `vldata.sources.reading.rows.typed` decodes rows into columns. What only ``json`` reads (see
    `read_json`) comes decoded.

    Raises:
        SourceError: As `read_json`.
    """
    raw = read_bytes(path).removeprefix(codecs.BOM_UTF8)
    try:
        utf8 = codecs.getincrementaldecoder("utf-8")()
        # parts that nobody asks for are not decoded, so not checked
        for at in range(0, 0 if raw.isascii() else len(raw), _STRETCH_BYTES):
            utf8.decode(memoryview(raw)[at : at + _STRETCH_BYTES], final=at + _STRETCH_BYTES >= len(raw))
        parts = msgspec.json.decode(raw, type=list[msgspec.Raw] | dict[str, msgspec.Raw])
        refuse_doubled_keys(path, raw, parts)
        return parts
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        del raw
        return read_json(path)


def plain(part: Any) -> Any:
    """A part of an opened document as ``json`` gives it.

    Raises:
        ValueError: It is no JSON inside.
    """
    return _loads(bytes(part), float) if isinstance(part, msgspec.Raw) else part


def plain_or_error(raw: bytes, floats: type[float] = float) -> Any:
    """A small JSON text as `read_json` gives it, its numbers with a fraction of this type, or what is wrong with it."""
    try:
        found = _loads(raw, floats)
    except (ValueError, RecursionError) as error:
        return error if isinstance(error, ValueError) else ValueError("nested too deeply")
    said = doubled_key(raw) if not isinstance(found, dict) or raw.count(b":") > len(found) else None
    return found if said is None else ValueError(said)


@contextmanager
def _json_errors(path: Path, text: str) -> Iterator[None]:
    """Say what is wrong with a file that is not JSON, where, and what that looks like."""
    try:
        yield
    except json.JSONDecodeError as error:
        fix = (
            "download the file again: it ends in the middle" if error.pos >= len(text.rstrip()) - 1 else "fix the file"
        )
        if error.msg == "Extra data" and error.lineno > 1:
            fix = "it holds several documents: write them as one list, or each on a line of its own"
        elif text[error.pos : error.pos + 1] in ("]", "}") and text[: error.pos].rstrip().endswith(","):
            fix = "take out the comma before it"
        raise SourceError(f"{path}:{error.lineno}", f"not JSON: {error.msg}", fix) from None
    except (RecursionError, ValueError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise SourceError(str(path), f"not usable JSON: {why}", "fix the file") from None


def read_json_lines(path: Path, *, floats: type[float] = float) -> Iterator[tuple[int, Any]]:
    """(line number from 1, value) of each non-blank line; a line that is not JSON yields its `ValueError`.

    Only line feeds end a line: JSON texts may hold U+2028 and its like, which ``str.splitlines`` would cut at.

    Raises:
        SourceError: The last line has no end and is not JSON: the file was cut off.
    """
    lines = read_text(path).split("\n")
    for place, said in doubled_keys_of(lines).items():
        raise SourceError(f"{path}:{place + 1}", said, "leave one of them")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield number, _loads(line, floats)
        except (ValueError, RecursionError) as error:
            if number == len(lines):
                raise SourceError(
                    f"{path}:{number}", f"the last line breaks off ({error})", "download it again"
                ) from None
            yield number, error if isinstance(error, ValueError) else ValueError("nested too deeply")


def _loads(line: str | bytes, floats: type[float]) -> Any:
    try:
        return _DECODERS[floats].decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return json.loads(line, parse_float=floats)


def _suffix(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    return Path(name).suffix
