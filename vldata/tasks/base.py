"""What a task is: the columns it declares, the rows it refuses, and how a turn's columns reach its template.

The words live in ``templates/<task>.jinja``; a task holds no prose and reads no files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import polars as pl

from vldata.codecs.base import Codec
from vldata.prompts.models import Names
from vldata.schema.boxes import Box
from vldata.schema.spec import Spec

PolarsType = pl.DataType | type[pl.DataType]

PhraseBox = tuple[str | None, Box]
"""A phrase, or none, and a box in fractions of its image."""


class TurnFacts(NamedTuple):
    """What a turn says of its image or text, for a model that is to write about it.

    Args:
        captions: About the whole image.
        objects: Phrases and where what they name is.
        readings: Texts that stand in the image, and where.
        texts: By the names that kinds of synthetic data know them by: ``question``, ``answer`` and ``text``.
    """

    captions: Sequence[str]
    objects: Sequence[tuple[str, Box]]
    readings: Sequence[tuple[str, Box]]
    texts: Mapping[str, str]


_TEXTS = {"question": "question", "answer": "answer", "instruction": "question", "response": "answer"}


class Task(Spec):
    """One kind of turn.

    A subclass declares `columns` (name to Polars type), which of them may be null, and its checks. Its pydantic fields
    are the options that a recipe may set in a source's ``task_options``.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    """One line for `vldata formats`."""
    columns: ClassVar[dict[str, PolarsType]]
    optional: ClassVar[frozenset[str]] = frozenset()
    """Columns that may be null or missing."""
    extras: ClassVar[dict[str, PolarsType]] = {}
    """Columns that few sources give, and turns of the others do not have."""
    texts: ClassVar[tuple[str, ...]] = ()
    """String columns that may not be blank; also what near-duplicate search and length filters read, in this order."""
    places: ClassVar[tuple[str, ...]] = ()
    """String columns in which ``<image>`` is the place of an image; everywhere else it is a word as any other."""
    answer_column: ClassVar[str | None] = None
    """What `dedup.by: answer` compares."""
    needs_image: ClassVar[bool] = True
    needs_box: ClassVar[bool] = False
    asks_where: ClassVar[Literal["never", "flipped", "always"]] = "never"
    """Whether its question names a ``phrase`` and wants the boxes, so that the phrase may mean nothing else."""
    version: ClassVar[int] = 1
    """Raised when `prepare` does something else with the same turns, so that remembered words are written again."""
    group_by: ClassVar[Literal["image", "thread"]] = "image"
    """What a conversation is when the recipe says ``group_by: image``: the turns of an image, or a native thread."""

    def identity(self) -> list[Any]:
        """All that decides what the task makes of a turn, as plain values for keys."""
        return [self.name, self.model_dump(mode="json"), *([self.version] if self.version > 1 else [])]

    @classmethod
    def rejects(cls) -> dict[str, pl.Expr]:
        """Reason (a name of `vldata.schema.reasons`) -> expression that is true for the rows to reject."""
        return {}

    def prepare(self, turns: pl.DataFrame, *, seed: int, salt: str) -> pl.DataFrame:
        """Add the columns that the template uses and the table does not have; the rows and their order stay.

        Every choice made here is keyed by the turn's ``key`` column, ``seed`` and ``salt`` (the source's name).
        """
        return turns

    def remarks(self, turns: pl.DataFrame) -> dict[str, int]:
        """What a reader of the plan should know of some of these turns, and of how many; before `prepare`."""
        return {}

    def write_boxes(
        self, columns: Mapping[str, Sequence[Any]], boxes: Sequence[Sequence[PhraseBox]], codec: Codec
    ) -> dict[str, list[Any]]:
        """The columns of a template that hold boxes as text; only called when the task needs boxes.

        Args:
            columns: The turns' columns, each a sequence of the same length n.
            boxes: The boxes of each of the n turns, with their phrases.
            codec: How the recipe writes boxes.

        Returns:
            ``bbox``, all boxes of a turn in one text, and what else the task's templates use; n values each.
        """
        return {"bbox": [codec.encode([box for _, box in row]) for row in boxes]}

    def facts(self, turn: Mapping[str, Any], boxes: Sequence[PhraseBox]) -> TurnFacts:
        """What a turn says.

        Args:
            turn: Its columns, as the source has them: `prepare` has not been called.
            boxes: Its boxes with their phrases; one without is what the turn's own ``phrase`` means.
        """
        caption = turn.get("caption")
        objects = [(named, box) for phrase, box in boxes if (named := phrase or turn.get("phrase"))]
        texts = {name: turn[column] for column, name in _TEXTS.items() if isinstance(turn.get(column), str)}
        own = (turn[column] for column in self.texts if isinstance(turn.get(column), str))
        if text := texts.get("question") or "\n".join(own):
            texts["text"] = text
        return TurnFacts([caption] if isinstance(caption, str) else [], objects, [], texts)

    @classmethod
    def template_columns(cls) -> frozenset[str]:
        """What a template of this task may name: declared columns and those that the two methods above add."""
        return frozenset({*cls.columns, "bbox"} if cls.needs_box else cls.columns)

    def template_helpers(self) -> dict[str, Callable[..., object]]:
        """Functions that a template of this task may call; each can be pickled, to render in other processes."""
        return {}

    def template_names(self) -> Names:
        """Everything that a template of this task may name."""
        fields = {name for dtype in self.columns.values() for name in _struct_fields(dtype)}
        return Names(self.template_columns(), frozenset(fields), self.template_helpers())


def _struct_fields(dtype: Any) -> Iterator[str]:
    """The field names of every struct inside a type."""
    if isinstance(dtype, pl.List):
        yield from _struct_fields(dtype.inner)
    elif isinstance(dtype, pl.Struct):
        for part in dtype.fields:
            yield part.name
            yield from _struct_fields(part.dtype)
