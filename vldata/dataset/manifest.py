"""The manifest of a build folder: what was built, from what, in which blocks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vldata.errors import BuildError

MANIFEST = "manifest.json"

_PARTS = {"name": str, "plan": str, "ledger": str, "recipe": dict, "sources": dict, "totals": dict, "blocks": list}
_BLOCK = {"key": str, "digest": str, "split": str, "file": str, "rows": int, "size_bytes": int}
"""What a manifest and each block in it must have for any reader; a build has at least one block."""

_FILE = re.compile(r"(\w+/)?data-\d{5,}-of-\d{5,}\.arrow")


def read_manifest(out: Path) -> dict[str, Any] | None:
    """The manifest of a build folder, or None when it is not one."""
    try:
        return _load(out)
    except (OSError, ValueError):
        return None


def manifest_of(build: Path) -> dict[str, Any]:
    """The manifest of a build folder.

    Raises:
        BuildError: It is not one.
    """
    manifest = read_manifest(build)
    if manifest is not None:
        return manifest
    if (build / MANIFEST).is_file():
        raise BuildError(str(build), "its manifest.json is damaged", "build the recipe again into a new folder")
    problem = "this is not a build folder (it has no manifest.json)"
    raise BuildError(str(build), problem, "name the --out of a `vldata build`")


def block_keys(build: Path) -> set[str] | None:
    """The keys of a build's blocks; None where there is no build, or none any more.

    Raises:
        BuildError: There is one, but its manifest is damaged or cannot be read.
    """
    try:
        return {block["key"] for block in _load(build)["blocks"]}
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        problem, fix = f"cannot be read ({error})", "build the recipe again into a new folder"
        raise BuildError(str(build / MANIFEST), problem, fix) from None


def _load(build: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((build / MANIFEST).read_text())
    except RecursionError:  # brackets a thousand deep are JSON too
        manifest = None
    if not _is_manifest(manifest):
        raise ValueError("it is not one that vldata wrote")
    return dict(manifest)


def _is_manifest(manifest: Any) -> bool:
    """Whether this is a manifest of ours: builds come from strangers, and what it names is opened."""
    if not _has(manifest, _PARTS) or not all(isinstance(source, dict) for source in manifest["sources"].values()):
        return False
    return len(manifest["blocks"]) > 0 and all(
        _has(block, _BLOCK)
        and isinstance(block.get("source"), str | None)
        and _FILE.fullmatch(block["file"]) is not None
        for block in manifest["blocks"]
    )


def _has(value: Any, parts: Mapping[str, type]) -> bool:
    return isinstance(value, dict) and all(type(value.get(name)) is kind for name, kind in parts.items())
