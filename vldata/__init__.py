"""vldata: build, ablate and rebuild the data that vision-language models are trained on.

Importing the package loads nothing heavy; each name is fetched when it is first used.
"""

from __future__ import annotations

__version__ = "0.1.0"
