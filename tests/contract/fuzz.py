"""Rows of every format, damaged as downloads, exports and hand edits damage them, with fixed seeds.

``python -m tests.contract.fuzz 20000`` reads that many damaged rows over all formats; the test suite reads a few.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from tests.contract.native import (
    FORMATS,
    VERBATIM,
    NativeFile,
    is_sound,
    objects,
    opened,
    said,
    standin,
    tasks_of_standin,
)
from vldata.errors import SourceError
from vldata.schema.reasons import OUTCOMES

ROWS = 60
DAMAGED = 12
"""Rows of a file that are damaged at a time; the rest must be read as before."""

VALUES: list[Any] = [
    None, "", " ", 0, 1, -1, 2.5, True, False, [], {}, [[]], [None], {"a": 1}, [1, "a", None], "a\x00b", "\ud83d",
    "\u2028", "<image>", "<img>x</img>", "../../etc/passwd", "/etc/passwd", "http://x/y.jpg", "a" * 5000, 10**30,
    -(10**30), VERBATIM + "1e400", VERBATIM + "NaN", VERBATIM + "-Infinity", VERBATIM + "1e-400", VERBATIM + "2.50",
    2**53 + 1, 2**63, 2**64,
]  # fmt: skip
LINES = [
    "",
    "\t",
    "\t\t\t",
    '"',
    'a"b\tc',
    "a\tb\tc\td",
    ",,,,",
    "\u2028",
    "a\x00b",
    "0#",
    "#",
    "x" * 5000,
    '"a',
    "a,b",
]
VALUES_OF_LINES = [line for line in LINES if '"' not in line]


def damage(rows: list[Any] | dict[Any, Any], keys: list[Any], luck: random.Random) -> None:
    """Change rows in place, one thing each; their number stays."""
    for key in keys:
        row = rows[key]
        if isinstance(row, str):
            cut = luck.randrange(len(row) + 1)
            if row.endswith('"'):  # a field in quotation marks, the end of which would be missed by all that follow
                start, cut = row.index('"') + 1, luck.randrange(row.index('"') + 1, len(row))
                rows[key] = row[:start] + luck.choice([row[start:cut], luck.choice(VALUES_OF_LINES)]) + row[cut:]
                continue
            rows[key] = luck.choice(
                [luck.choice(LINES), row[:cut], row[cut:], row[:cut] + luck.choice(LINES) + row[cut:]]
            )
            continue
        holders = [row, *(part for _, part in objects(row))] if isinstance(row, dict) else []
        holder = luck.choice(holders) if holders else {}
        if not holder or luck.random() < 0.05:
            rows[key] = luck.choice(VALUES)
            continue
        name = luck.choice(list(holder))
        match luck.randrange(6):
            case 0:
                del holder[name]
            case 1:
                holder[luck.choice(["loss", "weight", "rejected", "objects", "tools", "\u2028"])] = luck.choice(VALUES)
            case 2:
                holder[name] = holder[luck.choice(list(holder))]
            case 3 if isinstance(holder[name], list) and holder[name]:
                holder[name] = luck.choice([holder[name][:-1], [*holder[name], luck.choice(VALUES)], holder[name] * 2])
            case _:
                holder[name] = luck.choice(VALUES)


def rows_of(native: NativeFile) -> list[Any] | dict[Any, Any]:
    """The longest list, or object of objects, that a file holds: its rows."""
    document = native.document
    if isinstance(document, dict):
        inside = [value for value in document.values() if isinstance(value, list)]
        return max(inside, key=len) if inside else document
    found: list[Any] = document
    return found


def read_damaged(name: str, seed: int) -> tuple[int, str]:
    """Read one damaged corpus of a format: how many rows were damaged, and what came of it.

    Raises:
        AssertionError: Rows are missing, rows that were not damaged are read otherwise, or a reason is none that is
            known.
    """
    luck = random.Random(f"{name} {seed}")
    with tempfile.TemporaryDirectory() as folder:
        source = standin(name, Path(folder), rows=ROWS, seed=seed % 3)
        task = luck.choice(tasks_of_standin(type(source)))
        sound = source.turns(task)
        native = opened(luck.choice(source.files()))
        if native.path.suffix == ".parquet":  # whose rows all fit their columns
            native = as_text(native, luck.choice([".jsonl", ".tsv"]))
            source = source.model_copy(update={"path": str(native.path)})
        rows = rows_of(native)
        places = list(rows) if isinstance(rows, dict) else list(range(isinstance(rows[0], str), len(rows)))
        damaged = luck.sample(places, min(DAMAGED, len(places)))
        damage(rows, damaged, luck)
        native.write()
        try:
            turns = source.turns(task)
        except SourceError as error:
            assert error.problem and error.fix, error
            return len(damaged), "the file is refused"
        assert set(turns.filter(~is_sound(turns))["problem"].to_list() if "problem" in turns.columns else []) <= set(
            OUTCOMES
        )
        if sound.height == len(rows):
            given = [row for row in rows if not isinstance(row, str) or row.strip()]
            assert turns.height >= len(given), f"{len(given)} rows, {turns.height} turns"
            changed = (Counter(said(sound)) - Counter(said(turns))).total()
            assert changed <= 2 * len(damaged), f"{len(damaged)} rows are damaged, {changed} turns have changed"
        return len(damaged), "read"


def as_text(table: NativeFile, suffix: str) -> NativeFile:
    """A table's rows in a text file beside it."""
    path = table.path.with_suffix(suffix)
    frame = pl.DataFrame(table.document)
    if suffix == ".jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_csv(path, separator="\t")
    return opened(path)


def main(total: int) -> None:
    """Read so many damaged rows, formats in turn, and say what came of them."""
    read, outcomes, seed = 0, Counter[str](), 0
    while read < total:
        for name in FORMATS:
            count, outcome = read_damaged(name, seed)
            read += count
            outcomes[outcome] += 1
        seed += 1
    sys.stdout.write(f"{read:,} damaged rows in {seed * len(FORMATS):,} files: {dict(outcomes)}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
