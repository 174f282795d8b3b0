"""The one exception of this package: what is wrong with an image, as a reject reason."""

from __future__ import annotations


class ImageProblem(Exception):
    """An image that cannot be used. It never leaves a stage: the caller turns it into a rejected row.

    Args:
        reason: A name of `vldata.schema.reasons`, one of those that begin with ``image_``.
        detail: What exactly, for the ledger.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[ImageProblem], tuple[str, str]]:
        """Travel between processes whole."""
        return type(self), (self.reason, self.detail)
