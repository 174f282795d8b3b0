"""Rows -> words: the wording of each row by its keyed choice, every wording rendered for all its rows at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vldata.prompts.models import Templates
from vldata.prompts.program import compile_block
from vldata.prompts.template import File, Template
from vldata.schema.keyed import Keys, below, fractions

Columns = Mapping[str, Sequence[object]]
Texts = list[str | None]


class Rendered(NamedTuple):
    """The words of n rows.

    Args:
        user: Questions; null where the row failed.
        assistant: Answers; null where the row failed.
        system: System messages; null where the row failed or has none.
        variant: The block that asks: ``user``, ``user_2``, ``flip_user``.
        failed: Row to what went wrong there, with the template's line.
    """

    user: Texts
    assistant: Texts
    system: Texts
    variant: list[str]
    failed: dict[int, str]


class _Wording(NamedTuple):
    """One way to ask: ``user_2`` is wording ``_2``, ``flip_user_2`` is wording ``_2`` the other way round."""

    prefix: str
    number: str

    @property
    def variant(self) -> str:
        return f"{self.prefix}user{self.number}"

    def block(self, file: File, part: str) -> str | None:
        """The block for a part of the exchange: this wording's own, else the one for all wordings."""
        own, common = f"{self.prefix}{part}{self.number}", f"{self.prefix}{part}"
        return own if own in file.blocks else common if common in file.blocks else None


def render(
    template: Template,
    columns: Columns,
    *,
    num_rows: int,
    options: Templates,
    variant_keys: Keys,
    flip_keys: Keys,
    dataset: str,
) -> Rendered:
    """Put rows into words.

    Args:
        template: From `vldata.prompts.template.load`, with the same ``options``.
        columns: At least those that the template reads (``template.file.reads``); structs as dicts.
        num_rows: How many values each column has, n.
        variant_keys: Which wording, when there are many; shape (n,).
        flip_keys: Whether a row is put the other way round; shape (n,).
        dataset: What templates call ``dataset``.
    """
    groups = _groups(template, options, variant_keys, flip_keys)
    if len(groups) == 1:
        return _render(template, groups[0][0], columns, num_rows, options, dataset)
    user, assistant, system, variant = (np.full(num_rows, None, dtype=object) for _ in range(4))
    failed: dict[int, str] = {}
    for wording, rows in groups:
        part = _render(template, wording, _Taken(columns, rows), len(rows), options, dataset)
        user[rows], assistant[rows], system[rows] = part.user, part.assistant, part.system
        variant[rows] = wording.variant
        failed.update({int(rows[at]): why for at, why in part.failed.items()})
    return Rendered(user.tolist(), assistant.tolist(), system.tolist(), variant.tolist(), dict(sorted(failed.items())))


def _groups(
    template: Template, options: Templates, variant_keys: Keys, flip_keys: Keys
) -> list[tuple[_Wording, npt.NDArray[np.intp]]]:
    """Each wording that occurs, with its rows."""
    can_flip = "flip_user" in template.file.blocks
    flipped = (fractions(flip_keys) < options.flip) & can_flip
    groups = []
    for prefix, side in (("", ~flipped), ("flip_", flipped)):
        wrapper = template.wrapper
        blocks = wrapper.wordings("user") if wrapper else template.file.wordings(f"{prefix}user")
        numbers = [block.rpartition("user")[2] for block in blocks[: 1 if options.prompts == "one" else None]]
        choice = below(variant_keys, max(len(numbers), 1))
        groups += [(_Wording(prefix, number), np.flatnonzero(side & (choice == i))) for i, number in enumerate(numbers)]
    return [(wording, rows) for wording, rows in groups if len(rows)]


def _render(
    template: Template, wording: _Wording, columns: Columns, num_rows: int, options: Templates, dataset: str
) -> Rendered:
    """Rows that all have the same wording."""
    variant = wording.variant
    failed: dict[int, str] = {}
    constants = {**template.names.helpers, "dataset": dataset, "task": template.task}

    def texts(block: str | None, file: File = template.file, columns: Columns = columns) -> Texts:
        if block is None:
            return [None] * num_rows
        names = template.names.columns if file is template.file else frozenset(columns)
        written, why = compile_block(file.text, file.name, block, names).texts(
            columns, num_rows=num_rows, constants=constants
        )
        for row, problem in why.items():
            failed.setdefault(row, problem)
        return written

    if template.wrapper:
        around, wording = f"user{wording.number}", wording._replace(number="")  # it numbers the wrapper's wordings
        content = texts(wording.block(template.file, "bare") or wording.variant)
        user = texts(around, template.wrapper, {"content": content})
    else:
        user = texts(wording.variant)
        form_block = wording.block(template.file, "response_format")
        if form_block and options.response_format != "none":
            form = texts(form_block)
            first, second = (form, user) if options.response_format == "before" else (user, form)
            user = [f"{a}\n{b}" if a and b else a or b for a, b in zip(first, second, strict=True)]
    assistant = texts(wording.block(template.file, "assistant"))
    system = texts(wording.block(template.file, "system") or _Wording("", "").block(template.file, "system"))
    for row in failed:
        user[row] = assistant[row] = system[row] = None
    return Rendered(user, assistant, [text or None for text in system], [variant] * num_rows, failed)


class _Taken(dict[str, Sequence[object]]):
    """The values of some rows, taken from a column when a block reads it."""

    def __init__(self, columns: Columns, rows: npt.NDArray[np.intp]) -> None:
        super().__init__()
        self.columns = columns
        self.rows = rows.tolist()

    def __missing__(self, name: str) -> Sequence[object]:
        column = self.columns[name]
        self[name] = values = list(map(column.__getitem__, self.rows))
        return values
