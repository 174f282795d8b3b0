"""Rows of JSON files, whichever way they are written: one list, or a document a line; and of YAML documents.

Public corpora name both forms ``.json`` (POPE's files are JSON lines), so the contents decide, not the name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vldata.errors import SourceError
from vldata.sources.reading.files import Written, read_json, read_json_lines, read_text
from vldata.sources.reading.rows import list_of_rows

LINES = (".jsonl", ".ndjson")
"""Suffixes that are JSON lines for certain; ``.gz`` may follow."""

YAML = (".yaml", ".yml")


def json_rows(path: Path) -> list[Any]:
    """The rows of a JSON list or of JSON lines, numbers as written; a line that is not JSON is its `ValueError`.

    Raises:
        SourceError: The file holds neither.
    """
    return list_of_rows(json_document(path, floats=Written), path)


def json_document(path: Path, *, floats: type[float] = float) -> Any:
    """A JSON document, or the list of the documents when there is one a line.

    Args:
        floats: As in `read_json`.

    Raises:
        SourceError: The file holds neither.
    """
    if is_yaml(path):
        return _yaml(path)
    if _is_lines(path, read_text(path)):
        return [value for _, value in read_json_lines(path, floats=floats)]
    return read_json(path, floats=floats)


def written_rows(path: Path) -> Any:
    """`json_document` in which every number is a text, as the file writes it; what is no JSON is null."""
    if is_yaml(path):
        return _yaml(path)
    text = read_text(path)
    if not _is_lines(path, text):
        return _written(text)
    return [_written(line) for line in text.split("\n") if line.strip()]


def is_yaml(path: Path) -> bool:
    """Whether a file is YAML, going by its name; all its values are texts, as written: a class called no is no flag."""
    return Path(path.name.removesuffix(".gz")).suffix in YAML


def _yaml(path: Path) -> Any:
    import yaml

    try:
        return yaml.load(read_text(path), Loader=yaml.BaseLoader)  # makes texts, lists and dicts only
    except (yaml.YAMLError, RecursionError) as error:
        said = str(error).replace("\n", " ") if isinstance(error, yaml.YAMLError) else "nested too deeply"
        raise SourceError(str(path), f"not YAML: {said}", "fix the file") from None


def at_path(document: Any, at: str, path: Path) -> Any:
    """The list or object at a dotted path inside a document.

    Raises:
        SourceError: There is none.
    """
    here = document
    whole = isinstance(document, dict) and at in document  # a key that holds the dot wins
    for part in [at] if whole else at.split("."):
        if not isinstance(here, dict) or part not in here:
            there = f"it has {', '.join(map(repr, list(here)[:12]))}" if isinstance(here, dict) else "it is no object"
            raise SourceError(str(path), f"`at: {at}` names {part!r}, which is not there", there)
        here = here[part]
    if not isinstance(here, list | dict):
        raise SourceError(str(path), f"`at: {at}` leads to {here!r:.60}", "name a list, or an object of objects")
    return here


def _written(text: str) -> Any:
    try:
        return json.loads(text, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return None


def _is_lines(path: Path, text: str) -> bool:
    """Whether the file has one document a line: by its name, or the first line is a whole document and not the last.

    A file named for lines whose first line is no document may be one list or object all the same.
    """
    text = text.strip()
    end = text.find("\n")
    if end < 0 and Path(path.name.removesuffix(".gz")).suffix not in LINES:
        return False
    try:
        first_is_whole = json.loads(text[: end if end >= 0 else None]) is not None
    except (ValueError, RecursionError):
        first_is_whole = False
    if Path(path.name.removesuffix(".gz")).suffix not in LINES:
        return first_is_whole
    if first_is_whole or text[:1] not in ("[", "{"):
        return not (end < 0 and text.startswith("[{"))
    return not _is_one_document(text)


def _is_one_document(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list | dict)
    except (ValueError, RecursionError):
        return False
