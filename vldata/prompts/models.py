"""How a recipe chooses its words, and which names a template may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from vldata.schema.spec import Spec

Language = Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}([_-][A-Za-z0-9]{2,8})*$")]
"""A language tag, such as ``de`` or ``pt-BR``."""


class Templates(Spec):
    """How turns are put into words.

    Args:
        per: What a wording belongs to. ``task``: one file a task. ``dataset``: a source's own file where there is one,
            for annotation conventions that differ. ``instruction``: one and the same sentence for all tasks.
            ``dataset_name`` and ``task_name``: a bracketed name instead of words.
        prompts: ``one`` wording for all turns (the block ``user``), or ``many``: a keyed choice among the file's
            ``user``, ``user_2``, ``user_3`` …
        flip: Share of turns put the other way round, 0 to 1, where the file says how (``flip_user``).
        response_format: Where the sentence stands that says what form the answer has: behind the question, before it,
            or nowhere. It is no part of the last three forms of ``per``.
        path: A folder of templates that win over the bundled ones of the same name.
        language: Of the words; null is the source's own ``language``. The templates of a language lie in a folder of
            its name: ``de/caption.jinja``.
    """

    per: Literal["task", "dataset", "instruction", "dataset_name", "task_name"] = "task"
    prompts: Literal["one", "many"] = "one"
    flip: Annotated[float, Field(ge=0, le=1)] = 0.0
    response_format: Literal["none", "before", "after"] = "after"
    path: str | None = None
    language: Language | None = None

    @model_serializer(mode="wrap")
    def _plain(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As plain data, which goes into keys: a recipe that names no language has those from before there were any."""
        values: dict[str, Any] = plain(self)
        return {name: value for name, value in values.items() if name != "language" or value is not None}


@dataclass(frozen=True)
class Names:
    """What a template of a task may name, besides ``dataset`` and ``task``.

    Args:
        columns: Columns of the turns.
        fields: Fields of the columns' structs, such as ``phrase`` of a box.
        helpers: Functions that the template may call, by name.
    """

    columns: frozenset[str]
    fields: frozenset[str] = frozenset()
    helpers: Mapping[str, Callable[..., object]] = field(default_factory=dict)
