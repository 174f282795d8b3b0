"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path


def home(path: str | os.PathLike[str]) -> Path:
    """A path with ``~`` replaced; one of a user whom nobody knows is a plain name."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def absolute(path: str | os.PathLike[str] | None) -> str:
    """`home`, absolute; None is the working directory. Links are not resolved."""
    return os.path.abspath(home(path or "."))  # noqa: PTH100 - resolve() would follow links


def packed_or_not(path: Path) -> Path:
    """The file of this name, or the one with ``.gz`` more or less; the name itself when there is none of them."""
    other = path.with_name(path.name.removesuffix(".gz") if path.suffix == ".gz" else f"{path.name}.gz")
    return other if not path.is_file() and other.is_file() else path
