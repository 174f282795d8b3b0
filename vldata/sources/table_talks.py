"""The rows of a table of whole conversations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from vldata.errors import SourceError, nearest
from vldata.sources.reading.casts import cast, complaint
from vldata.sources.reading.columns import note_columns
from vldata.sources.reading.conversations import Talk, talk
from vldata.sources.reading.fields import evaluated, fields_of, origins
from vldata.sources.reading.json import LINES
from vldata.sources.reading.nested import value as value_at
from vldata.sources.reading.table_file import TableFile, suffix_of
from vldata.sources.reading.tables import kept_in
from vldata.sources.reading.take import Take
from vldata.sources.reading.talk_files import note_rows, talk_rows
from vldata.sources.reading.talk_keys import MESSAGES
from vldata.sources.table_options import EXCHANGE, WHOLE, TableOptions, inside_of

_OF_TALKS = {"images": "images", "thread": "id", "row": "id", "system": "system", WHOLE: WHOLE}
"""What `fields` may name of a table of conversations, to the key of a conversation."""


def talks_of_table(table: TableOptions, frame: TableFile, task: str) -> list[Talk]:
    """The rows of a table of conversations.

    Raises:
        SourceError: A field that conversations do not have.
    """
    for name in table.fields:
        if name not in _OF_TALKS:
            problem = f"{frame.path} holds conversations, of which a row has no {name!r}"
            raise SourceError(f"fields.{name}", problem, nearest(name, _OF_TALKS))
    if table.gather:
        raise SourceError("gather", "a row is a whole conversation here, which is part of no other", "leave it out")
    rows = talk_rows(frame.path, image_root=table.image_root, frame=frame, at=table.at)
    _add_joined(table, rows, frame)
    fields, columns = table.named(frame)
    if isinstance(said := fields.pop(WHOLE, None), str):
        _give_messages(rows, said, columns)
    if frame.talks is not None and "row" not in table.fields:
        fields.pop("row", None)  # its rows have their ids already
    found = {name: one for name, one in origins(fields, columns, task, whole=False).items() if name in fields}
    note_columns({column: (name,) for name, one in found.items() for column in one.needs})
    inside = inside_of(frame, found["images"], table.image_root) if "images" in found else None
    needs = {name: one.needs for name, one in found.items() if name != "images" or inside is None}
    read, _ = frame.read(tuple(dict.fromkeys(column for of in needs.values() for column in of)), set(needs))
    for name, one in found.items():
        given = inside if name not in needs else evaluated(one, read)
        assert given is not None
        values, misfits = (given, None) if name not in needs else cast(one, given, fields_of(task)[name])
        for place, value in enumerate(values.to_list()):
            if isinstance(rows[place], dict) and misfits is not None and misfits[place]:
                rows[place] = ValueError(complaint(one, given[place], fields_of(task)[name]))
            elif isinstance(rows[place], dict):
                kept = {key: said for key, said in rows[place].items() if key not in one.needs}
                rows[place] = {**kept, _OF_TALKS[name]: value}
    ignore = frozenset(table.ignore)
    talks = [talk(row, pictured=task == "instruction", ignore=ignore, keep=tuple(table.keep)) for row in rows]
    if not table.keep:
        return talks
    texts = zip(*kept_in(frame, table.keep), strict=True)
    return [one._replace(kept=own) for one, own in zip(talks, texts, strict=True)]


def taken_talks(talks: list[Talk], take: Take | None) -> list[Talk]:
    """The conversations with one ``not_taken`` exchange for each that is left out."""
    if take is None or not talks:
        return talks
    ids = pl.Series([talk.thread or str(place) for place, talk in enumerate(talks)], dtype=pl.String)
    return [
        talk if is_taken else Talk(talk.thread, (), None, [(None, None)], "not_taken", None, kept=talk.kept)
        for talk, is_taken in zip(talks, take.taken(ids).to_list(), strict=True)
    ]


def _add_joined(table: TableOptions, rows: list[Any], frame: TableFile) -> None:
    """Give rows that are whole objects the columns of the files that are joined, too; a table's have them."""
    names = [name for join in table.join for name in join.keep]
    if names and (frame.talks is not None or suffix_of(frame.path) in (*LINES, ".json")):
        theirs = frame.read(names)[0].select(names)
        for row, values in zip(rows, theirs.iter_rows(named=True), strict=True):
            if isinstance(row, dict):
                row.update(values)
        note_rows(rows)


def _give_messages(rows: list[Any], name: str, columns: Sequence[str]) -> None:
    """Give each row the column that the recipe calls its conversation under a key by which that is known.

    Raises:
        SourceError: There is no such column.
    """
    if name not in columns:
        raise SourceError(f"fields.{WHOLE}", f"no column {name!r}", nearest(name, columns))
    for row in rows:
        if isinstance(row, dict):
            said = value_at(row, name)
            for key in {*MESSAGES, name.partition(".")[0]} & row.keys():
                del row[key]
            row[WHOLE] = said
    note_columns({name: EXCHANGE[:2]})
