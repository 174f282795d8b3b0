"""Native keys that a format does not read: which of them change nothing, and what is said of the others.

A key that nobody knows may change what is learnt (a loss mask, a rejected answer, boxes that fill places in a text), so
a row with one is no row that was read right.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any


def keys_named(names: str) -> frozenset[str]:
    """Keys in one text, with blanks between them."""
    return frozenset(names.split())


METADATA = keys_named(
    "annotator annotator_id annotator_ids annotators confidence created_at created data_source dataset dataset_name "
    "date date_captured hash info lang language licence license md5 metadata meta model model_name original_id "
    "provenance score sha256 source source_dataset source_id timestamp updated_at url version worker_id"
)
"""Keys that any format may have and that change nothing of what is learnt: where a row is from, who made it when."""

_EMPTY: tuple[Any, ...] = (None, "", [], {})


def unknown_key(key: str) -> tuple[str, str]:
    """The problem and the detail of a row with a key that its format does not read."""
    return "unknown_key", f"{key!r} is not read here; if it changes nothing of what is learnt, say `ignore: [{key}]`"


def unknown_keys(rows: Sequence[Mapping[str, Any]], known: Collection[str]) -> dict[int, tuple[str, str]]:
    """Problem and detail of each row with a key that is not ``known`` and holds something."""
    known = frozenset(known)
    found = {}
    for place, row in enumerate(rows):
        if not row.keys() <= known:
            unread = next((key for key, value in row.items() if key not in known and value not in _EMPTY), None)
            if unread is not None:
                found[place] = unknown_key(unread)
    return found
