"""What is the matter with a reference to nothing: what it is when it is no path, and the file that would fit.

Everything said depends on the reference and on what lies below the root, never on what was looked up before.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from unicodedata import normalize
from urllib.parse import unquote

MAX_REF = 200
"""Characters of a reference that are shown."""

_MAX_LISTED = 200_000
"""Folders with more entries are not searched for names that are written in another way."""

_URL = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_DATA_URI = re.compile(r"data:[\w.+-]*/?[\w.+-]*[;,]", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_=\s-]+")


def short(ref: str) -> str:
    """A reference for a message."""
    return ref if len(ref) <= MAX_REF else f"{ref[:MAX_REF]}… ({len(ref)} characters)"


def not_a_path(ref: str) -> str | None:
    """What a text is that is no path of an image; None of one that may be."""
    if _DATA_URI.match(ref):
        return f"a data URI of {len(ref)} characters, not a path"
    if match := _URL.match(ref.strip()):
        is_file = match[1].lower() == "file"
        return "a file:// URL, where a path is read" if is_file else "a URL: images are read from files, so fetch it"
    if len(ref) > 255 and _BASE64.fullmatch(ref):
        return f"{len(ref)} characters of base64, not a path"
    return f"{len(ref)} characters, longer than any path" if len(ref) > 4096 else None


class Nearby:
    """Looks for the files that references to nothing may mean.

    Args:
        root: Absolute path of the ``image_root``.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._is_folder = Path(root).is_dir()
        self._is_there = Path(root).exists()
        self._listed = lru_cache(maxsize=16)(self._listing)
        self._folders = lru_cache(maxsize=4096)(self._candidates)

    def detail(self, ref: str, said: str) -> str:
        """``said``, where was looked, what is the matter, and the file that would fit."""
        what = not_a_path(ref)
        if not self._is_there:
            return f"{what or said}; image_root {self._root} does not exist"
        where = "" if what else f"; looked below {self._root}"
        fit = self.fitting(ref) if what is None or what.startswith("a file") else None
        return f"{what or said}{where}{f'; {fit}' if fit else ''}"

    def fitting(self, ref: str) -> str | None:
        """The file below the root that a reference may mean, and how it is written otherwise."""
        if not self._is_folder or len(ref) > 4096 or "\0" in ref:
            return None
        is_url = ref.lstrip().startswith("file:")
        path = unquote(re.sub(r"^file://(localhost)?", "", ref.strip())) if is_url else ref
        bare = path.strip()
        for written, how in (
            (bare, "blanks around it"),
            (bare.replace("\\", "/"), "a path of Windows, with backslashes"),
            (unquote(bare), "it is percent-encoded"),
            (re.sub(r"[?#].*$", "", bare, flags=re.DOTALL), "with what a URL has behind its path"),
        ):
            if written != ref and (found := self._found(written)):
                return f"{'' if path != ref else f'{how}: '}{found!r} is there"
        found = self._found(path)
        if found is None or found == path:
            return None
        own, other = normalize("NFC", path), normalize("NFC", found)
        if own == other:
            return f"{found!r} is there, with its accents in another normal form (NFC or NFD)"
        if own.casefold() == other.casefold():
            return f"{found!r} is there, in another case"
        if own.casefold().endswith("/" + other.casefold()):
            return f"{found!r} is there: image_root lies deeper than the path begins"
        return f"{found!r} is there"

    def _found(self, written: str) -> str | None:
        """A file below the root, by all the parts of a path or, without its leading ones, by fewer."""
        folder, _, name = written.rpartition("/")
        for candidate in self._folders(folder):
            found = self._entry(candidate, name) if name else None
            if found is not None and Path(self._root, found).is_file():
                return found
        return None

    def _candidates(self, written: str) -> list[str]:
        """Folders below the root that a folder may mean, the longest first; the last is the root."""
        written = re.sub(r"^[A-Za-z]:(?=/)", "", written)
        if f"{written}/".startswith(f"{self._root}/"):
            written = written[len(self._root) :]
        parts = [part for part in written.split("/") if part not in ("", ".", "..")]
        found = []
        for start in range(len(parts) + 1):
            folder: str | None = ""
            for part in parts[start:]:
                folder = self._entry(folder, part) if folder is not None else None
            if folder is not None:
                found.append(folder)
        return found

    def _entry(self, folder: str, name: str) -> str | None:
        """What a folder below the root has of this name, or of one that differs in case, form or suffix alone."""
        listed = self._listed(folder)
        found = listed.get(name) or (None if name.isascii() else listed.get(normalize("NFC", name)))
        found = found or listed.get(_key(name))
        return None if found is None else f"{folder}/{found}" if folder else found

    def _listing(self, folder: str) -> dict[str, str]:
        """Names of a folder by themselves, by their NFC, by their case folded, and without a suffix."""
        names: list[str] = []
        try:
            with os.scandir(os.path.join(self._root, folder)) as entries:  # noqa: PTH118
                for entry in entries:
                    names.append(entry.name)
                    if len(names) > _MAX_LISTED:
                        return {}
        except OSError:
            return {}
        names.sort(reverse=True)  # of several that fit, the first in order is taken
        listed: dict[str, str] = {_key(name.rpartition(".")[0]): name for name in names if "." in name[1:]}
        listed |= {_key(name): name for name in names}
        listed |= {normalize("NFC", name): name for name in names}
        return listed | {name: name for name in names}


def _key(name: str) -> str:
    return name.lower() if name.isascii() else normalize("NFC", name).casefold()
