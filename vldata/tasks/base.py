"""What a task is: the columns it declares, the rows it refuses, and how a turn's columns reach its template.

The words live in ``templates/<task>.jinja``; a task holds no prose and reads no files.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl

from vldata.spec import Spec

PolarsType = pl.DataType | type[pl.DataType]


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
    texts: ClassVar[tuple[str, ...]] = ()
    """String columns that may not be blank; also what near-duplicate search and length filters read, in this order."""
    answer_column: ClassVar[str | None] = None
    """What `dedup.by: answer` compares."""
    needs_image: ClassVar[bool] = True
    needs_box: ClassVar[bool] = False
    group_by: ClassVar[Literal["image", "thread"]] = "image"
    """What a conversation is made of when the recipe says ``group_by: image``: the turns of an image, or a native thread."""

    @classmethod
    def rejects(cls) -> dict[str, pl.Expr]:
        """Reason (a name of `vldata.schema.reasons`) -> expression that is true for the rows to reject."""
        return {}

    def prepare(self, turns: pl.DataFrame, *, seed: int, salt: str) -> pl.DataFrame:
        """Add the columns that the template uses and the table does not have; the rows and their order stay.

        Every choice made here is keyed by the turn's ``key`` column, ``seed`` and ``salt`` (the source's name).
        """
        return turns

    @classmethod
    def template_columns(cls) -> frozenset[str]:
        """What a template of this task may name: declared columns and those that `prepare` adds."""
        return frozenset(cls.columns)
