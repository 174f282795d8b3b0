"""What commands left as JSON, read into the parts that a page needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from vldata.errors import BuildError


class FilePart(BaseModel):
    """A part of such a file; what is not named in it is not needed."""

    model_config = ConfigDict(extra="ignore", frozen=True)


Whole = TypeVar("Whole", bound=FilePart)


def read_part(file: Path, model: type[Whole], what: str, fix: str) -> Whole:
    """Read a whole file.

    Args:
        what: What it should be, for the message.
        fix: What to do when it is not.

    Raises:
        BuildError: It cannot be read, or is not of the form.
    """
    try:
        return model.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else str(error)
        raise BuildError(str(file), f"these are no results of {what} ({problem})", fix) from None
