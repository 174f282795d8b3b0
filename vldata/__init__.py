"""vldata: build, ablate and rebuild the data that vision-language models are trained on.

Importing the package loads nothing heavy: the parts are imported where they are used.
"""

from __future__ import annotations

from pathlib import Path

__version__ = "0.1.0"


def bundled(kind: str) -> Path:
    """The folder of bundled ``templates`` or ``recipes``: in the wheel, or at the top of a checkout."""
    package = Path(__file__).parent
    installed = package / "_shared" / kind
    return installed if installed.is_dir() else package.parent / kind
