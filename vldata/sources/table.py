"""Any table: JSON lines, JSON, CSV, TSV, Parquet, Arrow, a Hugging Face ``datasets`` folder, for any task.

Licence and terms are those of whoever made the table.
Layout: ``path`` is a file, a folder, a glob, or what ``datasets``' ``save_to_disk`` wrote; ``fields`` says which
column, or which SQL expression over columns, each canonical column comes from (`vldata.sources.reading.fields`). A
row of POPE, for one: {"question_id": 1, "image": "COCO_val2014_000000310196.jpg", "text": "Is there a snowboard in the
image?", "label": "yes"} is read with ``fields: {row: question_id, question: text, answer: label}``; ``images`` finds
its column ``image`` by itself.
Plain text is a table with ``text``: parallel files of captions by their lines' numbers, one text region a line (YOLO's
labels, ICDAR's words) with ``extract`` and ``gather``, or thousands of marked-up files in a tar archive.
``width`` and ``height`` beside boxes are the size that these were annotated on, where whole sides stand in them.
Images are paths (text or lists of text) below ``image_root``, which is the folder of the table when the recipe
names none; or they are the bytes in a Parquet or Arrow column, as the Hub has them, and then a reference is
"<file>::<column>/<row>/<place in the list>"; or base64 or data URIs in any column, named by their place in the file.
The Cauldron (https://huggingface.co/datasets/HuggingFaceM4/the_cauldron; licences of its 50 parts) is known by its
columns: ``images``, and ``texts`` of [{"user": "What is shown?", "assistant": "A cat.", "source": "VQAv2"}, ...], the
exchanges of one conversation. So is a column ``conversations``, ``conversation`` or ``messages``, or ``query`` beside
``response``: such rows are read as `vldata.sources.llava` reads them.
Quirks: the rows of JSON that are lists have the columns ``column_1``, ``column_2`` … ; a CSV has text only, to be
cast by expressions where it matters; a value that does not fit costs its row (``unparsable_row``), a column that
cannot fit is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from vldata.errors import SourceError, nearest
from vldata.paths import home
from vldata.schema.turns import KEPT_PREFIX, META
from vldata.shapes.language import questions
from vldata.sources.reading.answers import AnswerRule, with_answer, without_blank_remarks
from vldata.sources.reading.boxes import cast_boxes
from vldata.sources.reading.casts import PHRASES, Origin, cast, complaint
from vldata.sources.reading.choices import with_right_choice
from vldata.sources.reading.columns import UNREAD, note_columns
from vldata.sources.reading.conversations import (
    Talk,
    exchanges,
    in_order,
)
from vldata.sources.reading.embedded import name_below
from vldata.sources.reading.exchanges import (
    CHANGING,
    OTHER_ANSWERS,
    as_dialogue,
    one_exchange_a_row,
    without_unread,
)
from vldata.sources.reading.fields import TASKS, evaluated, fields_of, origins, texts_of
from vldata.sources.reading.gather import gathered, with_kept_joined
from vldata.sources.reading.inline_images import located, named_in_cells, referenced, texts_of_cells
from vldata.sources.reading.inverse import table_for
from vldata.sources.reading.join import Joined, read_join, with_columns_of
from vldata.sources.reading.keep import KEPT
from vldata.sources.reading.kept_columns import with_kept
from vldata.sources.reading.keys import is_harmless
from vldata.sources.reading.marks import with_remark_of_marks
from vldata.sources.reading.nested import ITEM, PLACE, ROW, UNEVEN
from vldata.sources.reading.rows import note, with_remarks
from vldata.sources.reading.sizes_beside import sides_beside, with_remark_of_first_image, with_sizes_beside
from vldata.sources.reading.table_file import FILE_NAME, FILE_STEM, TableFile
from vldata.sources.reading.tables import details_of, kept_in, problem_of_detail, with_columns_seen
from vldata.sources.reading.text_lists import lists_from_texts
from vldata.sources.standins import draw, scenes_for
from vldata.sources.table_options import DIALOGUES, EXCHANGE, TableOptions, inside_of
from vldata.sources.table_standins import all_columns, turns_of_shapes
from vldata.sources.table_talks import taken_talks, talks_of_table

_TEXTS = pl.List(pl.String)
_OF_ROWS = ("fields", "box_order", "boxes_are")
"""Options that say how a row is read, wherever it comes from."""

_RECORD, _RECORD_ID, _TAKEN = "\0record", "\0record id", "\0taken"
_GIVEN = "given answer"


class Table(TableOptions):
    """One turn a row (of The Cauldron, an exchange); its id is the field ``row``, else a column ``id``, else a hash."""

    format: ClassVar[str] = "table"
    about: ClassVar[str] = (
        "any table (JSON, JSON lines, CSV, TSV, Parquet, Arrow, datasets folder), columns named by `fields`"
    )
    licence: ClassVar[str] = "as the table's publisher states"
    tasks: ClassVar[tuple[str, ...]] = tuple(TASKS)
    version: ClassVar[int] = 7

    def turns(self, task: str) -> pl.DataFrame:
        """Every row; a value that does not fit its column makes its row an ``unparsable_row``.

        Native columns that are kept have the names that the recipe gives them.

        Raises:
            SourceError: A file that is no table, or a field that cannot be filled from it.
        """
        return self.read(task).drop(META, strict=False).rename({KEPT_PREFIX + name: name for name in self.keep})

    def read(self, task: str) -> pl.DataFrame:
        """As `Source.read`."""
        turns = self._all_turns(task)
        return with_kept(turns, self.keep, meta=self.meta, files=self.files()) if self.keep else turns

    def _all_turns(self, task: str) -> pl.DataFrame:
        parts: dict[int, pl.DataFrame | list[Talk]] = {}
        others = [read_join(join) for join in self.join]
        seen, said = dict[str, None](), dict[str | None, None]()
        paths, late = self._tables(), list[int]()
        is_nested = any("." in text for text in self._texts())
        for place, path in enumerate(paths):
            try:
                frame = self._opened(path)
            except SourceError as error:
                raise _narrowed(error, self.path, 1, len(paths)) from None
            if frame.is_part:
                frame = with_columns_seen(frame, seen)
            elif len(paths) > 1:
                seen |= dict.fromkeys((*frame.columns, *(frame.inside() if is_nested else ())))
            try:
                parts[place] = self._of_file(path, frame, others, task, said)
            except SourceError:
                if len(paths) == 1:
                    raise
                late.append(place)
        for place in late:  # a column that they lack may be one that another file has
            frame = self._opened(paths[place])
            frame = with_columns_seen(frame, seen, None if frame.is_part else self._columns_named(seen))
            try:
                parts[place] = self._of_file(paths[place], frame, others, task, said)
            except SourceError as error:
                raise _narrowed(error, self.path, len(late), len(paths)) from None
        each = [parts[place] for place in range(len(paths))]
        tables = [part for part in each if isinstance(part, pl.DataFrame)]
        talks = [one for part in each if isinstance(part, list) for one in part]
        if self.take is not None:
            tables, talks = self._taken(tables), taken_talks(talks, self.take)
        tables = [turns.drop(_RECORD, _RECORD_ID) for turns in tables]
        spoken = [located(exchanges(talks, self.keep), self._tables, self.image_root)] if talks or not tables else []
        turns = pl.concat([*tables, *spoken], how="diagonal_relaxed")
        if self.gather:
            turns = with_kept_joined(turns)
        if task == "vqa_mc":
            turns = with_right_choice(turns, self.answer_is, has_gaps=isinstance(self.fields.get("choices"), list))
        turns = with_remarks(turns, said)  # of conversations, which have none of their own
        if task not in DIALOGUES:
            return with_remark_of_marks(turns, task)
        return in_order(turns) if tables and {"thread", "position"} <= {*turns.columns} else turns

    def _of_file(
        self, path: Path, frame: TableFile, others: Sequence[Joined], task: str, said: dict[str | None, None]
    ) -> pl.DataFrame | list[Talk]:
        try:
            frame = with_columns_of(frame, others)
            if self._holds_talks(frame, task):
                said[frame.remark] = None
                return talks_of_table(self, frame, task)
            return with_remarks(self._turns(frame, task), [frame.remark])
        except SourceError as error:
            if error.where.partition(".")[0] not in ("fields", "keep", "gather", "explode"):
                raise
            raise SourceError(f"{path}, {error.where}", error.problem, error.fix) from None

    @classmethod
    def standin(
        cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True
    ) -> dict[str, Any]:
        """Open questions about scenes, as ``questions.parquet`` and ``images/``; other tasks as ``turns.parquet``."""
        if task not in (None, "vqa_open"):
            return turns_of_shapes(folder, rows=rows, seed=seed, task=task, images=images)
        table: list[tuple[str, str, str, str]] = []
        for scene in scenes_for(rows, 10, seed):
            name = f"{scene.number + 1:06d}.jpg"
            numbered = enumerate(questions(scene)[:10])
            table += [(f"{scene.number + 1:06d}-{k}", name, q.question, q.answer) for k, q in numbered]
            if images:
                draw(folder / "images", name, scene)
        path = folder / "questions.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame(table, schema=["question_id", "image", "question", "label"], orient="row").write_parquet(path)
        fields = {"row": "question_id", "answer": "label"}
        return {"path": str(path.resolve()), "image_root": str((folder / "images").resolve()), "fields": fields}

    def standin_key(self) -> Any:
        """The fields and the forms of boxes, where a stand-in is read with them."""
        return {name: getattr(self, name) for name in _OF_ROWS} if self._plain_fields() else None

    def standin_for(self, folder: Path, *, rows: int, seed: int, task: str) -> dict[str, Any]:
        """A table that this one's own ``fields`` read; one of canonical columns where they are not of its rows alone.

        Raises:
            SourceError: They cannot be inverted, are not the task's, or are not those of the files that are there.
        """
        fields = self._plain_fields()
        self._refuse_other_columns(task)
        if not fields:
            return self.standin(folder, rows=rows, seed=seed, task=task)
        keys = turns_of_shapes(folder, rows=rows, seed=seed, task=task, images=True, scenes=-(-rows // 10))
        world = all_columns(pl.read_parquet(keys["path"]), fields, task, self.boxes_are)
        table_for(world, fields).write_parquet(keys["path"])
        source = self.model_validate({**keys, **{name: getattr(self, name) for name in _OF_ROWS}})
        try:
            turns = source.turns(task)
        except SourceError as error:
            raise SourceError(error.where.rpartition(", ")[2], error.problem, error.fix) from None
        wrong = turns.filter(pl.col("problem").fill_null("not_for_task") != "not_for_task")
        lost = [
            name
            for name in fields
            if name in world.columns and name != PHRASES and _count(world, name) > _count(turns, name)
        ]
        if wrong.height or lost:
            name = next(iter(lost or fields))
            detail = wrong["detail"][0] if wrong.height else "it is null there"
            problem = f"{fields[name]!r} does not read back what was written for it into a stand-in ({detail})"
            raise SourceError(f"fields.{name}", problem, "name a plain column, or build from the files themselves")
        return source.model_dump(include={"path", "image_root", *_OF_ROWS})

    def _refuse_other_columns(self, task: str) -> None:
        """Hold the fields against the files, where these are there already, or the columns that the recipe names."""
        try:
            self.files()
        except SourceError:  # they are what the stand-in stands for
            if self.columns is not None and not (self.join or self.extract):
                origins(self.fields, (*self.columns, FILE_NAME, FILE_STEM), task)
            return
        frame = self._first()
        if not self._holds_conversations(frame, task):
            origins(*self.named(frame), task)

    def _turns(self, frame: TableFile, task: str) -> pl.DataFrame:
        is_cauldron = self._is_cauldron(frame, task)
        fields, columns = self.named(frame)
        found = origins(fields, (*columns, *EXCHANGE) if is_cauldron else columns, task)
        if is_cauldron:
            found |= {name: Origin(name, name, ("texts",)) for name in EXCHANGE}
        for name in self.gather:
            if name not in columns:
                raise SourceError("gather", f"no column {name!r}", nearest(name, columns))
        sides = sides_beside(found, columns)
        self._note_columns(frame, found, sides)
        inside = inside_of(frame, found["images"], self.image_root) if "images" in found else None
        images = found.pop("images") if inside is not None else None
        needs = dict.fromkeys(column for origin in found.values() for column in origin.needs)
        table, notes = frame.read(tuple(needs | dict.fromkeys((*self.gather, *sides))), texts_of(found, task))
        table = table.with_columns(kept_in(frame, self.keep))
        if is_cauldron:
            table = one_exchange_a_row(table, frame.path, self.ignore)
        records = table[ROW if self.explode else PLACE]
        if "images" in found:
            table = self._with_images_named(table, found["images"], frame, records)
        turns = self._canonical(table, found, notes, task)
        if "boxes" in found:
            turns = with_remark_of_first_image(turns, evaluated(found["boxes"], table))
        if sides:
            turns = with_sizes_beside(turns, *(table[side] for side in sides))
        turns = turns.with_columns(table.select(KEPT))
        below = name_below(frame.path, self.image_root)
        if "images" in found:
            turns = turns.with_columns(images=referenced(turns["images"], frame.path, below, places=records))
        if inside is not None and images is not None:
            own = inside.gather(records)
            turns = turns.with_columns(images=_of_items(own, table[ITEM]) if images.text in self.explode else own)
        turns = _identified(turns.with_columns(records.alias(_RECORD)), below, is_cauldron)
        turns = self._itemized(turns, table)
        if self.gather:
            turns = gathered(turns, table.select(self.gather), task)
        if task == "vqa_open" and "answers" in turns.columns:
            return self._answered(turns)
        if task not in DIALOGUES:
            return turns
        unread = [name for name in CHANGING if name in frame.columns and name not in (*needs, *self.ignore)]
        if "response" in self.fields:
            unread = [name for name in unread if name not in OTHER_ANSWERS]
        return as_dialogue(turns if is_cauldron else without_unread(turns, frame, unread), task)

    def _itemized(self, turns: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
        """A turn for each item of the lists that are exploded, and for each of several captions."""
        if self.explode:
            turns = _items(turns.with_columns(table[ITEM]), self.explode)
        if not isinstance(turns.schema.get("caption"), pl.List):
            return turns
        length = pl.col("caption").list.len().cast(pl.Int32)
        item = pl.when(length > 0).then(pl.int_ranges(length, dtype=pl.Int32)).alias(ITEM)
        lists = turns.with_columns(item, caption=pl.when(length > 0).then("caption"))
        return _items(lists.explode("caption", ITEM), ["caption"])

    def _answered(self, turns: pl.DataFrame) -> pl.DataFrame:
        """The turns with one of several people's answers each, or a turn for each."""
        own = _GIVEN if "answer" in turns.columns else None
        rule: AnswerRule = self.answer or ("given" if own else "majority")
        if rule == "all" and "row" not in turns.columns:
            turns = turns.with_columns(row=_RECORD_ID)
        key = "row" if "row" in turns.columns else _RECORD_ID
        answered = with_answer(turns.rename({"answer": _GIVEN}, strict=False), rule, key=key, given=own)
        answer = pl.col(_GIVEN if rule == "given" else "answer").alias("answer")
        return without_blank_remarks(answered.with_columns(answer).drop(_GIVEN, strict=False))

    def _canonical(
        self, table: pl.DataFrame, origin_of: Mapping[str, Origin], notes: Mapping[int, str], task: str
    ) -> pl.DataFrame:
        """The canonical columns of a table, with ``problem`` and ``detail`` for the rows that were or are none."""
        wanted = fields_of(task)
        given = {name: evaluated(origin, table) for name, origin in origin_of.items()}
        if "images" in given:
            given["images"] = texts_of_cells(given["images"])
        if task == "vqa_mc":
            wanted["answer"] = pl.String
        if "caption" in given:
            given["caption"] = lists_from_texts(given["caption"])
            if task == "caption" and isinstance(given["caption"].dtype, pl.List):  # each becomes a turn
                wanted["caption"] = _TEXTS
        casts = {name: cast(origin_of[name], given[name], wanted[name]) for name in origin_of if name != "boxes"}
        phrases = {name: casts[name].values for name in (PHRASES, "phrase") if name in casts}
        if "boxes" in origin_of:
            casts["boxes"] = cast_boxes(
                origin_of["boxes"],
                given["boxes"],
                order=self.box_order,
                boxes_are=self.boxes_are,
                phrases=phrases.get(PHRASES),
                phrase=phrases.get("phrase"),
            )
        detail = details_of(table[PLACE], notes)
        for name, (_, misfits) in casts.items():
            at = (misfits & detail.is_null()).arg_true()
            said = [complaint(origin_of[name], value, wanted[name]) for value in given[name].gather(at).to_list()]
            detail = detail.scatter(at, said) if said else detail
        columns = [values.alias(name) for name, (values, _) in casts.items() if name != PHRASES]
        if task == "vqa_mc":
            is_number = given["answer"].dtype.is_numeric()
            columns.append(pl.Series("is_number", [is_number]).new_from_index(0, table.height))
        return pl.DataFrame([*columns, detail]).with_columns(problem_of_detail())

    def _note_columns(self, frame: TableFile, origin_of: Mapping[str, Origin], sides: Sequence[str]) -> None:
        """What the recipe names is read; of the others, what surely changes nothing has a reason of its own."""
        read: dict[str, list[str]] = {}
        for canonical, origin in origin_of.items():
            for column in origin.needs:
                read.setdefault(column, []).extend(("boxes",) if canonical == PHRASES else (canonical,))
        read |= {side: ["image_sizes"] for side in sides}
        read |= {column: [] for join in self.join for column in join.on if column not in read}
        parts = {*read, *self.keep, *self.explode, *self.gather, *self.extract}
        parts |= {column.partition(".")[0] for column in parts}
        rest = [column for column in frame.columns if column not in parts]
        note_columns(read, [column for column in rest if is_harmless(column)])
        note_columns({}, rest, why=UNREAD)

    def _taken(self, tables: list[pl.DataFrame]) -> list[pl.DataFrame]:
        """The tables with one ``not_taken`` turn for each record that is left out."""
        assert self.take is not None
        records = [turns.select(_RECORD, _RECORD_ID).unique(_RECORD, keep="first").sort(_RECORD) for turns in tables]
        taken = self.take.taken(pl.concat(records)[_RECORD_ID]) if records else pl.Series(dtype=pl.Boolean)
        parts, start = [], 0
        for turns, record in zip(tables, records, strict=True):
            is_taken = taken.slice(start, record.height)
            start += record.height
            marked = turns.join(
                record.select(_RECORD, is_taken.alias(_TAKEN)), on=_RECORD, how="left", maintain_order="left"
            )
            left_out = marked.filter(~pl.col(_TAKEN)).unique(_RECORD, keep="first", maintain_order=True)
            if self.explode or (turns[_RECORD].is_duplicated().any() and "row" in turns.columns):
                left_out = left_out.with_columns(row=_RECORD_ID)
            left_out = left_out.with_columns(problem=pl.lit("not_taken"), detail=pl.lit(None, pl.String))
            parts.append(pl.concat([marked.filter(_TAKEN), left_out]).drop(_TAKEN))
        return parts

    def _with_images_named(
        self, table: pl.DataFrame, images: Origin, frame: TableFile, records: pl.Series
    ) -> pl.DataFrame:
        """The table with images that are text in cells of Parquet or Arrow named by where they stand.

        Raises:
            SourceError: They stand where they cannot be read from: inside another column, or in a joined file.
        """
        joined = {name for join in self.join for name in join.keep}
        for part in images.parts or (images,):
            name = part.text
            if part.expression is not None or (frame.path.suffix not in (".parquet", ".arrow") and name not in joined):
                continue
            cells = texts_of_cells(table[name])
            items = table[ITEM] if name in self.explode else None
            below = name_below(frame.path, self.image_root)
            values = named_in_cells(cells, frame.path, below, places=records, column=name, items=items)
            if values is cells:
                continue
            if name in joined or name not in frame.columns:
                place = "a joined file" if name in joined else "another column"
                problem = f"{name!r} holds images as text, and lies in {place}"
                raise SourceError("fields.images", problem, "give them a column of their own in the table of the rows")
            table = table.with_columns(values.alias(name))
        return table


def _narrowed(error: SourceError, path: str, num_failed: int, num_files: int) -> SourceError:
    """An error of one of several files, with what to do where the others are the table."""
    if num_failed == num_files or not home(path).is_dir():
        return error
    fix = f"{error.fix}; if the file is no part of the table, name the others: {path.rstrip('/')}/<pattern>"
    return SourceError(error.where, error.problem, fix)


def _of_items(images: pl.Series, items: pl.Series) -> pl.Series:
    """Of each row's images the one at the place of its item; none where its list has none."""
    place, is_item = pl.col(ITEM).clip(0), pl.when(pl.col(ITEM) >= 0).then(1).otherwise(0)
    one = pl.DataFrame([images.alias("of"), items]).select(pl.col("of").list.slice(place, is_item))
    return one["of"].fill_null([])


def _identified(turns: pl.DataFrame, below: str, is_cauldron: bool) -> pl.DataFrame:
    """Turns with the id of the record that each is from; The Cauldron's with ids of conversation and exchange.

    Args:
        turns: With `_RECORD`.
        below: The table, seen from ``image_root``.
    """
    by_place = pl.format("{}/{}", pl.lit(below), pl.col(_RECORD))
    names = [pl.col(name) for name in ("thread", "row") if name in turns.columns]
    own = pl.coalesce(*(names if is_cauldron else names[-1:]), by_place)
    turns = turns.with_columns(own.alias(_RECORD_ID))
    if not is_cauldron:
        return turns
    exchange = pl.format("{}/{}", "thread", pl.col("position").fill_null(0))
    return turns.with_columns(thread=_RECORD_ID).with_columns(row=exchange)


def _items(turns: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Turns that are items of lists, with ids of their own, and those of rows whose lists have none.

    Args:
        turns: With `ITEM` and, where they have no ``row``, `_RECORD_ID`.
        names: The columns with the lists.
    """
    record = pl.col("row" if "row" in turns.columns else _RECORD_ID).fill_null(pl.col(_RECORD_ID))
    is_item = pl.col(ITEM) >= 0
    turns = turns.with_columns(row=pl.when(is_item).then(pl.format("{}/{}", record, ITEM)).otherwise(record))
    lists = ", ".join(names)
    turns = note(turns, pl.col(ITEM) == UNEVEN, "unparsable_row", pl.lit(f"{lists}: the lists have not one length"))
    return note(turns, pl.col(ITEM).is_null(), "nothing_to_explode", pl.lit(f"{lists}: no items")).drop(ITEM)


def _count(turns: pl.DataFrame, name: str) -> int:
    return turns.height - turns[name].null_count() if name in turns.columns else 0
