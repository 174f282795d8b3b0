"""Pickles from strangers, read as data: containers, texts, bytes and numbers, and nothing that runs.

A pickle is a program: it may import any name and call it. Everything that it can call, it must first look up by name
(GLOBAL and its kin) or by a persistent id, so refusing those two leaves only literals and plain containers.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, NoReturn

from vldata.errors import SourceError
from vldata.sources.reading.files import read_bytes


def load_pickle(path: Path) -> Any:
    """The value in a pickle file, which may be gzipped.

    The byte strings of Python 2 become text: UTF-8, or ISO-8859-1 where one of the file's is not UTF-8.

    Raises:
        SourceError: The pickle wants to load or call something, which it names; or it is broken.
    """
    raw = read_bytes(path)
    try:
        return _load(raw, path, "utf-8")
    except UnicodeDecodeError:
        return _load(raw, path, "iso-8859-1")


class _Unpickler(pickle.Unpickler):
    def __init__(self, raw: bytes, path: Path, encoding: str) -> None:
        super().__init__(io.BytesIO(raw), encoding=encoding)
        self._path = path

    def find_class(self, module: str, name: str) -> NoReturn:
        self._refuse(f"wants to load {module}.{name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        self._refuse(f"wants to load the persistent object {pid!r}")

    def _refuse(self, what: str) -> NoReturn:
        problem = f"this pickle {what}; a file of annotations holds lists, texts and numbers only"
        raise SourceError(
            str(self._path), problem, "do not open it with pickle.load: take the file from its publisher again"
        )


def _load(raw: bytes, path: Path, encoding: str) -> Any:
    try:
        return _Unpickler(raw, path, encoding).load()
    except (SourceError, UnicodeDecodeError):
        raise
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        KeyError,
        OverflowError,
        MemoryError,
        RecursionError,
    ) as error:  # what a damaged or hostile stream can make the unpickler raise
        why = str(error) or type(error).__name__
        raise SourceError(str(path), f"not a usable pickle ({why})", "download it again") from None
