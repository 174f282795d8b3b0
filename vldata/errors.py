"""Everything vldata raises on purpose.

    VldataError            the user's or the world's fault: one block on stderr, exit code 2, no traceback
    ├── RecipeError        the recipe asks for something that cannot be built
    │   └── RecipeErrors   several of them, found in one pass and printed together
    ├── SourceError        the files of a source cannot be read as what the recipe says they are
    ├── TemplateError      a template cannot be used: syntax, unknown columns, an attempt to leave the sandbox
    ├── CodecError         a text does not hold the boxes that its codec writes
    ├── StoreError         the store or the output folder cannot be used: full, locked, unwritable, damaged
    ├── BuildError         the build stopped: too many rejects, counts that do not add up, an --out in use
    ├── EndpointError      (in `vldata.llm.endpoint`) a model's endpoint: not configured, without a key, refusing
    └── TrainError         (in `vldata.train.config`) the config, the model folders or the data of a training do not fit

Anything else that escapes is a bug of vldata's: a full traceback and exit code 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class VldataError(Exception):
    """Something the user can fix.

    Args:
        where: The place as the user knows it: a dotted path in the recipe, ``file:line``, a row id.
        problem: What is wrong, naming the offending value.
        fix: The shortest edit or command that would make it right.
    """

    def __init__(self, where: str, problem: str, fix: str) -> None:
        super().__init__(f"{where}: {problem}\n  fix: {fix}")
        self.where = where
        self.problem = problem
        self.fix = fix

    def __reduce__(self) -> tuple[type[VldataError], tuple[str, str, str]]:
        """Travel between processes whole."""
        return type(self), (self.where, self.problem, self.fix)


class RecipeError(VldataError):
    """The recipe asks for something that cannot be built."""


class RecipeErrors(RecipeError):
    """All problems of one recipe, in the order in which the user would meet them.

    Args:
        errors: At least one.
    """

    def __init__(self, errors: Sequence[VldataError]) -> None:
        Exception.__init__(self, "\n".join(str(error) for error in errors))
        self.errors = tuple(errors)
        self.where, self.problem, self.fix = errors[0].where, errors[0].problem, errors[0].fix

    def __reduce__(self) -> tuple[type[RecipeErrors], tuple[Sequence[VldataError]]]:  # type: ignore[override]
        """Travel between processes whole."""
        return type(self), (self.errors,)


class SourceError(VldataError):
    """The files of a source cannot be read as what the recipe says they are."""


class TemplateError(VldataError):
    """A template cannot be used."""


class CodecError(VldataError):
    """A text does not hold the boxes that its codec writes."""


class StoreError(VldataError):
    """The store or the output folder cannot be used."""


class BuildError(VldataError):
    """The build stopped before anything was replaced."""


def nearest(name: str, names: Iterable[str]) -> str:
    """A fix for a misspelt name: the closest of the names, else all of them."""
    choices = sorted(names)
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"use one of: {', '.join(choices)}" if choices else "leave it out: nothing can stand here"
