"""The options of a table: what a recipe says of its files and columns, and the files, opened as it says."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import polars as pl
from pydantic import BeforeValidator, Field, computed_field, field_validator, model_validator

from vldata.errors import SourceError, nearest
from vldata.paths import home
from vldata.sources.base import Source, as_list
from vldata.sources.reading.answers import AnswerRule
from vldata.sources.reading.boxes import BoxesAre, BoxOrder, BoxUnit, box_unit
from vldata.sources.reading.casts import LISTS, Origin
from vldata.sources.reading.choices import AnswerForm
from vldata.sources.reading.conversations import holds_talks
from vldata.sources.reading.embedded import embedded_images, name_below
from vldata.sources.reading.fields import field_names
from vldata.sources.reading.files import UTF8, visible
from vldata.sources.reading.join import Join, join_files, read_join, unmatched, with_columns_of
from vldata.sources.reading.open import (
    Encoding,
    OpenOptions,
    Pattern,
    TextRows,
    folder_of,
    opened,
    paths_of,
    refuse_beside_text,
)
from vldata.sources.reading.samples import IMAGES
from vldata.sources.reading.table_file import FILE_NAME, FILE_STEM, TableFile
from vldata.sources.reading.tables import refuse_options, with_file_name
from vldata.sources.reading.take import Take
from vldata.sources.reading.talk_files import saved_files
from vldata.sources.reading.tars import is_tar, open_tar
from vldata.sources.reading.tfrecords import is_records, open_records

DIALOGUES = ("instruction", "text_instruction")
EXCHANGE = ("instruction", "response", "position")
"""Columns of a table that has an exchange a row."""
WHOLE = "messages"
"""What `fields` call the column with whole conversations, where it has a name of its own."""
_NESTED = re.compile(r"\w+(?:\.\w+)+")
_FILE = re.compile(rf"\b(?:{FILE_NAME}|{FILE_STEM})\b")


class TableOptions(Source):
    """What a recipe says of a table, and its files, opened as it says.

    Args:
        fields: Canonical column -> column of the table, or one Polars SQL expression. What is not named is taken from a
            column of its own name, images also from ``image`` and row from ``id``. Columns inside columns have dotted
            names; ``messages`` is that of whole conversations. Where a list is needed (choices, images, answers …; of
            one box its four numbers), a list of columns or expressions is one, without what is empty. The boxes'
            phrases may lie side by side with them, in a list that ``phrases`` names. ``file_name`` is the file seen
            from ``path``, ``file_stem`` that without suffix.
        at: Dotted path to the rows inside a JSON document that has more than them; ``.`` where the document is one row.
            The rows of an object of objects have its keys as the column ``key``, which is their id; where it holds
            texts, numbers or lists instead, these are the column ``value``.
        columns: Names of the columns of a CSV or TSV file without a header, or of the items of rows that are lists.
        text: Read the files as plain text: ``lines``, a row for each with the columns ``line`` and ``number`` (from 1),
            or ``files``, a row for each (also for those of a tar archive) with the column ``text``.
        encoding: Of text, CSV and TSV files; UTF-8 unless it is named.
        extract: Column of texts -> regular expression that each of them fits as a whole; its named groups
            ``(?<name>...)`` are columns, and a dot is any character.
        gather: Columns; the rows of a file that agree in them are one turn, with the boxes (answers, choices) of all.
            A column of ``keep`` is a list of their values there, unless it never differs within a turn.
        explode: Columns with lists, side by side, whose items become rows of their own, ``row/0``, ``row/1`` ….
        join: Other files with more columns for the same rows; the plan notes how many rows have no partner.
        take: A part of the rows, before lists are exploded; nothing else of the source is looked at.
        box_order: What the four numbers of a box are: corners (also with x and y by turns, or y first), or a corner or
            the centre with width and height. Polygons become the box around them.
        boxes_are: Pixels of the upright image, or fractions, percent or thousandths of its sides.
        answer: Which of several people's ``answers`` to an open question is learnt; None: the one in ``answer`` where
            the table has one, else the most frequent.
        answer_is: How a multiple-choice row says which choice is right: by its words, its letter, or its number from 0
            or 1. None: the one way that fits all rows; numbers count from 0 where nothing speaks against it.
    """

    inner_paths: ClassVar[tuple[str, ...]] = ("join.path",)

    fields: dict[str, str | Annotated[list[str], Field(min_length=1)]] = {}
    at: str | None = None
    columns: list[str] | None = None
    text: TextRows | None = None
    encoding: Encoding = UTF8
    extract: dict[str, Pattern] = {}
    explode: Annotated[list[str], BeforeValidator(as_list)] = []
    gather: Annotated[list[str], BeforeValidator(as_list)] = []
    join: Annotated[list[Join], BeforeValidator(as_list)] = []
    take: Take | None = None
    box_order: BoxOrder = "xyxy"
    boxes_are: BoxesAre = "px"
    answer: AnswerRule | None = None
    answer_is: AnswerForm | None = None

    @property
    def box_unit(self) -> BoxUnit:  # type: ignore[override]
        """Frame of the boxes that `turns` returns."""
        return box_unit(self.boxes_are)

    @property
    def root_when_unset(self) -> str | None:
        """Said of the table's own folder, whether or not the recipe names it."""
        is_own = self.image_root == str(folder_of(self.path))
        return "the table's own folder, as where image_root is unset" if is_own else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def below_root(self) -> str:
        """Where the table lies, seen from ``image_root``: references to images inside it begin with it."""
        return name_below(folder_of(self.path), self.image_root)

    @field_validator("path")
    @classmethod
    def _is_named(cls, path: str) -> str:
        if not path.strip():
            raise ValueError("it is empty; name a file, a folder or a pattern")
        return path

    @field_validator("fields")
    @classmethod
    def _are_canonical(cls, fields: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
        names = [*field_names(), WHOLE]
        for name, given in fields.items():
            if name not in names:
                raise ValueError(f"no canonical column is named {name!r}; {nearest(name, names)}")
            if not isinstance(given, str) and name not in LISTS:
                raise ValueError(f"{name!r} is one value: name one column, or an expression such as a || ' ' || b")
        return fields

    @model_validator(mode="after")
    def _is_table_or_text(self) -> Self:
        refuse_beside_text(self.text, at=self.at, columns=self.columns, explode=self.explode)
        return self

    @field_validator("explode")
    @classmethod
    def _lie_side_by_side(cls, explode: list[str]) -> list[str]:
        for name in explode:
            if any(f"{name}.".startswith(f"{other}.") for other in explode if other != name):
                raise ValueError(f"{name!r} lies inside another of them: lists that are exploded lie side by side")
        return explode

    @model_validator(mode="before")
    @classmethod
    def _with_root(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("path"), str) and data.get("image_root") is None:
            return {**data, "image_root": str(folder_of(data["path"]))}
        return data

    def files(self) -> list[Path]:
        """``path``; of a folder all tables below it, of one that ``save_to_disk`` wrote those that its state names.

        Raises:
            SourceError: There is none, or the folder holds several splits.
        """
        joined = [path for join in self.join for path in join_files(join)]
        return [*self._tables(), *joined]

    def _tables(self) -> list[Path]:
        try:
            return (None if self.text else saved_files(self.path)) or paths_of(self.path, self.text)
        except SourceError as error:
            better = None if self.text else _format_of(home(self.path))
            if better is None:
                raise
            raise SourceError(error.where, error.problem, f"say `format: {better}`") from None

    def notes(self) -> list[str]:
        """How many rows have no partner in the files that are joined, and how many of theirs are nobody's."""
        if not self.join:
            return []
        return unmatched([self._opened(path) for path in self._tables()], [read_join(join) for join in self.join])

    def _columns_named(self, columns: Collection[str]) -> set[str]:
        """Those of some columns that the recipe's fields name, as they are or in an expression."""
        given = self._texts()
        return {name for name in columns if any(re.search(rf"\b{re.escape(name)}\b", text) for text in given)}

    def _texts(self) -> list[str]:
        """Every column and expression in ``fields``."""
        return [text for given in self.fields.values() for text in ([given] if isinstance(given, str) else given)]

    def _plain_fields(self) -> dict[str, str]:
        """``fields`` where each reads columns of one row: what a stand-in's table can be written for."""
        plain = {name: text for name, text in self.fields.items() if isinstance(text, str)}
        is_other = bool(self.text or self.extract or self.gather or self.explode or self.join or self.keep)
        is_other = is_other or self.take is not None or len(plain) < len(self.fields) or WHOLE in plain
        parts = [text.partition(".")[0] for text in plain.values() if _NESTED.fullmatch(text)]
        is_other = is_other or len(parts) > len({*parts})  # two parts of one column, which is written for one
        return {} if is_other or any(_FILE.search(text) for text in plain.values()) else plain

    def _first(self) -> TableFile:
        return with_columns_of(self._opened(self._tables()[0]), [read_join(join) for join in self.join])

    def _holds_conversations(self, frame: TableFile, task: str) -> bool:
        return self._holds_talks(frame, task) or self._is_cauldron(frame, task)

    def _holds_talks(self, frame: TableFile, task: str) -> bool:
        if task not in DIALOGUES or self.explode:
            return False
        return WHOLE in self.fields or holds_talks(frame.columns, self.fields, self.ignore)

    def _is_cauldron(self, frame: TableFile, task: str) -> bool:
        is_named = bool({*frame.columns, *self.fields} & {*EXCHANGE})
        return task in DIALOGUES and "texts" in frame.columns and not is_named

    def _opened(self, path: Path) -> TableFile:
        name = Path(os.path.relpath(path, folder_of(self.path))).as_posix()
        frame = self._frame(path, name)
        if frame.row == FILE_STEM and {"row", "id"} & {*frame.columns}:
            frame = replace(frame, row=None)
        if any(_FILE.search(text) for text in (frame.row or "", *self._texts(), *self.keep, *self.gather)):
            frame = with_file_name(frame, name, but=[column for join in self.join for column in join.keep])
        return frame

    def _frame(self, path: Path, name: str) -> TableFile:
        """Look at a file.

        Args:
            name: Its name, seen from the source's folder.
        """
        if self.text is None and (is_tar(path) or is_records(path)):
            refuse_options(path, at=self.at, columns=self.columns)
        if self.text is None and is_tar(path):
            stem = name[: name.lower().rindex(".t")]
            images = self._named_images()
            return open_tar(path, image_root=self.image_root, stem=stem, explode=self.explode, images=images)
        if is_records(path):
            return self._records(path)
        options = OpenOptions(self.at, self.columns, self.explode, self.text, self.extract, self.encoding)
        return opened(path, options, self.path)

    def _records(self, path: Path) -> TableFile:
        return open_records(path, image_root=self.image_root, explode=self.explode, images=self._named_images())

    def _named_images(self) -> list[str] | None:
        named = self.fields.get("images")
        return [named] if isinstance(named, str) else named

    def named(self, frame: TableFile) -> tuple[dict[str, str | list[str]], tuple[str, ...]]:
        """``fields`` with the id that the form of the file gives, and every name that they may use."""
        fields = dict(self.fields)
        if frame.row is not None:
            fields.setdefault("row", frame.row)
        texts = [text for given in fields.values() for text in ([given] if isinstance(given, str) else given)]
        is_nested = self.explode or any("." in text for text in (*texts, *self.keep))
        return fields, (*frame.columns, *frame.inside()) if is_nested else frame.columns


def _format_of(folder: Path) -> str | None:
    """The format of a folder that holds no table, where its files tell."""
    if not folder.is_dir():
        return None
    for path in visible(folder):
        if is_tar(path) or is_records(path):
            return "webdataset" if is_tar(path) else "tfrecord"
        if path.suffix[1:].lower() in IMAGES:
            return "image_folder"
    return None


def inside_of(frame: TableFile, images: Origin, image_root: str | None) -> pl.Series | None:
    """References to the images inside a table, for each of its rows; None where the column names files."""
    if images.expression is not None:
        return None
    parts = [embedded_images(frame, part.text, image_root) for part in images.parts or (images,)]
    found = [references.alias(str(k)) for k, references in enumerate(parts) if references is not None]
    if found and len(found) < len(parts):
        raise SourceError("fields.images", f"{images.text} are bytes and paths", "name columns of one kind")
    return pl.DataFrame(found).select(pl.concat_list(pl.all())).to_series() if found else None
