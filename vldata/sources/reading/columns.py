"""Which native columns feed which canonical ones, noted while a source is read.

What reads rows says what it looks at (`note_columns`); whoever reads a source listens (`listening`). So every format
has the summary that `vldata plan`, `vldata check`, the manifest and the page show, from what it declares and what its
files hold.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import polars as pl

KEPT, HARMLESS, RECIPE, UNREAD = "kept", "harmless", "recipe", "unread"
"""Why a column feeds nothing: the recipe keeps it for ``where``; it changes nothing of what is learnt, or the recipe
says so (``ignore``); or the recipe names what is read, and does not name it."""

_NAMED = r"(?:^|: )('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\") is "


@dataclass
class ColumnsSeen:
    """What was said while a source was read.

    Args:
        read: Native column to the canonical ones that it may feed.
        others: Native columns that are not read, to what the rows themselves call them, and one of the reasons above or
            None, which the summary decides.
    """

    read: dict[str, dict[str, None]] = field(default_factory=dict)
    others: dict[str, tuple[str, str | None]] = field(default_factory=dict)

    def summary(self, turns: pl.DataFrame, *, ignore: Collection[str], kept: Collection[str]) -> dict[str, Any] | None:
        """Plain data: ``read`` (to what it feeds), ``kept``, ``ignored`` (and why), ``unknown`` (and what it cost).

        Args:
            turns: What was read.
            ignore: Columns that the recipe says change nothing.
            kept: Columns that the recipe keeps for ``where``.

        Returns:
            None of a source that has no native columns.
        """
        if not self.read and not self.others:
            return None
        filled = {name for name in turns.columns if turns[name].null_count() < turns.height or not turns.height}
        read = {name: [canonical for canonical in feeds if canonical in filled] for name, feeds in self.read.items()}
        unknown = _unknown(turns)
        rest = {name: said for name, said in self.others.items() if name not in read and said[0] not in unknown}
        return {
            "read": dict(sorted(read.items(), key=lambda item: not item[1])),
            "kept": [*kept],
            "ignored": {
                name: RECIPE if key in ignore else why or HARMLESS
                for name, (key, why) in rest.items()
                if name not in kept
            },
            "unknown": unknown,
        }


_listener: ContextVar[ColumnsSeen | None] = ContextVar("columns", default=None)


@contextmanager
def listening() -> Iterator[ColumnsSeen]:
    """Collect what is said of columns until the block ends."""
    seen = ColumnsSeen()
    token = _listener.set(seen)
    try:
        yield seen
    finally:
        _listener.reset(token)


def note_columns(
    read: Mapping[str, Iterable[str]], others: Iterable[str] = (), *, why: str | None = None, of: str | None = None
) -> None:
    """Say which canonical columns each native one feeds, and which native ones are not read.

    Args:
        read: Native column -> canonical ones; none for one that only decides which rows there are.
        others: Native columns that are there besides.
        why: Why these feed nothing.
        of: The list in the document that the rows stand in, where they are not those that become turns.
    """
    seen = _listener.get()
    if seen is None:
        return
    prefix = f"{of}." if of else ""
    for name, feeds in read.items():
        seen.read.setdefault(prefix + name, {}).update(dict.fromkeys(feeds))
    for name in others:
        seen.others.setdefault(prefix + name, (name, why))


def is_heard() -> bool:
    """Whether anybody listens, so that what takes time need not be found out for nobody."""
    return _listener.get() is not None


def _unknown(turns: pl.DataFrame) -> dict[str, int]:
    """The keys that have cost turns, to how many; a turn names one of its own."""
    if "problem" not in turns.columns:
        return {}
    details = turns.filter(pl.col("problem") == "unknown_key")["detail"].str.extract(_NAMED, 1).drop_nulls()
    counted = details.value_counts().sort("count", "detail", descending=[True, False])
    return {str(ast.literal_eval(name)): count for name, count in counted.iter_rows()}
