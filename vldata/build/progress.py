"""What long work tells whoever is watching; the terminal's bars are `vldata.app`'s."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """A watcher."""

    def stage(self, name: str, total: int | None) -> Callable[[int], None]:
        """A stage begins; the returned function is told of every so many units done."""
        ...


class Silent:
    """Nobody watches."""

    def stage(self, name: str, total: int | None) -> Callable[[int], None]:
        """Ignore what is told."""
        return lambda done: None
