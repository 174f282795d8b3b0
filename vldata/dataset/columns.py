"""Which native columns of a source went where, as a manifest and a plan have it, in lines for a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

DECIDES_ROWS = "(which rows)"
_WHY = {
    "harmless": "ignored: changes nothing of what is learnt",
    "recipe": "ignored: the recipe says so",
    "unread": "not read: the recipe names others",
}


class ColumnLine(NamedTuple):
    """Native columns with one fate.

    Args:
        native: Their names.
        fate: Canonical columns that they feed, or what became of them.
        is_fed: Whether it is canonical columns.
        turns: How many turns they cost.
    """

    native: tuple[str, ...]
    fate: str
    is_fed: bool
    turns: int = 0


def column_lines(columns: Mapping[str, Any] | None) -> list[ColumnLine]:
    """The summary of one source, columns of one fate together; nothing of a source that has none.

    Args:
        columns: ``read``, ``kept``, ``ignored`` and ``unknown``.
    """
    if not columns:
        return []
    fed: dict[str, list[str]] = {}
    for native, canonical in columns["read"].items():
        fed.setdefault(", ".join(canonical), []).append(native)
    lines = [ColumnLine((*native,), canonical or DECIDES_ROWS, bool(canonical)) for canonical, native in fed.items()]
    if columns["kept"]:
        lines.append(ColumnLine((*columns["kept"],), "kept for `where`", is_fed=False))
    ignored: dict[str, list[str]] = {}
    for native, why in columns["ignored"].items():
        ignored.setdefault(_WHY.get(why, why), []).append(native)
    lines += [ColumnLine((*native,), why, is_fed=False) for why, native in ignored.items()]
    for native, turns in columns["unknown"].items():
        lines.append(ColumnLine((native,), f"unknown: {turns:,} turns rejected", is_fed=False, turns=turns))
    return lines
