"""What became of the rows of a build: written, or named in ``not_exported.jsonl`` with the reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from vldata.images.problem import ImageProblem

NOT_EXPORTED = "not_exported.jsonl"


class CannotExpressError(Exception):
    """A sample that a form has no way to say. It never leaves an export: `NotExported` takes it.

    Args:
        reason: A snake_case name, for counting.
        detail: What exactly.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Written:
    """How many rows were written and how many were not; together they are all rows of the build."""

    rows: int
    not_exported: int = 0


class NotExported:
    """The list of rows that were not written, in a file that is only made when there is one.

    Args:
        folder: The export's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.rows = 0
        self._path = folder / NOT_EXPORTED
        self._file: IO[str] | None = None

    def add(self, row: Mapping[str, Any], why: CannotExpressError | ImageProblem) -> None:
        """List one row."""
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8")
        line = {"id": row["id"], "split": row["split"], "reason": why.reason, "detail": why.detail}
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.rows += 1

    def __enter__(self) -> NotExported:
        """Use as a context, which closes the file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
