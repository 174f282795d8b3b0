"""Where answers are kept when nobody says so."""

from __future__ import annotations

import os
from pathlib import Path


def default_answers() -> Path:
    """``$VLDATA_ANSWERS``, else ``.vldata/answers`` in the working directory."""
    return Path(os.environ.get("VLDATA_ANSWERS") or ".vldata/answers")
