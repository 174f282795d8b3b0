"""Rows of JSON files, whichever way they are written: one list, or a document a line.

Public corpora name both forms ``.json`` (POPE's files are JSON lines), so the contents decide, not the name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vldata.sources.reading.files import read_json, read_json_lines, read_text
from vldata.sources.reading.rows import list_of_rows

LINES = (".jsonl", ".ndjson")
"""Suffixes that are JSON lines for certain; ``.gz`` may follow."""


def json_rows(path: Path) -> list[Any]:
    """The rows of a JSON list or of JSON lines; a line that is not JSON is its `ValueError`.

    Raises:
        SourceError: The file holds neither.
    """
    return list_of_rows(json_document(path), path)


def json_document(path: Path) -> Any:
    """A JSON document, or the list of the documents when there is one a line.

    Raises:
        SourceError: The file holds neither.
    """
    if Path(path.name.removesuffix(".gz")).suffix in LINES or _is_lines(path):
        return [value for _, value in read_json_lines(path)]
    return read_json(path)


def _is_lines(path: Path) -> bool:
    """Whether the first line is a whole document and something follows it."""
    text = read_text(path).strip()
    end = text.find("\n")
    try:
        return end >= 0 and json.loads(text[:end]) is not None
    except (ValueError, RecursionError):
        return False
