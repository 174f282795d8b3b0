"""Where templates run: Jinja's sandbox, made narrower, with a bound on everything that could grow.

Templates come from strangers. `vldata.prompts.lint` refuses, before anything runs, what a template has no need for;
what stands here holds even if it should miss something. Values are data only: text, numbers, lists, and structs as
dicts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jinja2 import StrictUndefined, Undefined
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import SandboxedEnvironment
from jinja2.tests import TESTS as JINJA_TESTS

MAX_TEXT_CHARS = 1_000_000
"""Longest text that a block may write for one row, and longest text inside an expression."""

MAX_STEPS = 1_000_000
"""Most work in a block's loops for one row: parts of the template (texts, values, conditions) inside, times passes."""

LOOP_FIELDS = frozenset({"first", "index", "index0", "last", "length", "revindex", "revindex0"})
"""What a template may ask of ``loop``."""


class Steps:
    """Counts what the loops of one row do."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_STEPS

    def take(self, items: object, cost: int) -> Sequence[object]:
        """The items to loop over, when they are a list and there are not too many.

        Args:
            items: What the template wants to loop over.
            cost: Parts of the template inside the loop.
        """
        if not isinstance(items, (list, tuple)):
            raise TypeError(f"cannot loop over {_kind(items)}, only over a list")
        self.left -= len(items) * cost
        if self.left < 0:
            raise ValueError(f"loops of {len(items):,} passes are too much work for one row")
        return items


class Sandbox(SandboxedEnvironment):
    """Jinja with nothing but the filters and tests below, no attributes of objects, and no printed nulls."""

    intercepted_binops = frozenset({"+"})

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True, finalize=printable
        )
        self.globals = {}
        self.filters = dict(FILTERS)
        self.tests = dict(TESTS)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A field of a struct, or what `LOOP_FIELDS` names."""
        if isinstance(obj, dict):
            return obj[attribute]
        if isinstance(obj, LoopContext) and attribute in LOOP_FIELDS:
            return getattr(obj, attribute)
        raise SecurityError(f"{_kind(obj)} has no field {attribute!r}")

    def getitem(self, obj: Any, argument: Any) -> Any:
        """An item of a list or text by its position, or a field of a struct."""
        if isinstance(obj, dict) or (isinstance(obj, (list, tuple, str)) and isinstance(argument, int)):
            return obj[argument]
        raise SecurityError(f"{_kind(obj)} has no item {argument!r}")

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Run a helper; the names that Jinja adds to a call inside a loop are not for it."""
        if not __self.is_safe_callable(__obj):
            raise SecurityError("not a helper")
        return __obj(*args)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Add numbers; everything else has its filter."""
        if isinstance(left, (int, float)) and isinstance(right, (int, float)):
            return left + right
        raise TypeError(f"cannot add {_kind(left)} and {_kind(right)}; join text with ~")


def printable(value: object) -> str:
    """What ``{{ value }}`` writes: text as it is, numbers and true or false as Python writes them.

    Raises:
        TypeError: Anything else, null above all, which must never become the word "None" in a dataset.
        jinja2.UndefinedError: The name has no value here.
    """
    if type(value) is str:
        return value
    if isinstance(value, (str, int, float, Undefined)):
        return str(value)
    raise TypeError(f"{_kind(value)} cannot be written as text")


def joined(*parts: object) -> str:
    """What ``a ~ b`` gives."""
    texts = [printable(part) for part in parts]
    _bound(sum(map(len, texts)))
    return "".join(texts)


def _bound(num_chars: int) -> None:
    if num_chars > MAX_TEXT_CHARS:
        raise ValueError(f"a text of {num_chars:,} characters; at most {MAX_TEXT_CHARS:,} are allowed")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {_kind(value)}")
    return value


def _items(value: object) -> Sequence[object]:
    if not isinstance(value, (list, tuple, str)):
        raise TypeError(f"expected a list or text, found {_kind(value)}")
    return value


def _capfirst(value: object) -> str:
    return _text(value)[:1].upper() + _text(value)[1:]


def _lowfirst(value: object) -> str:
    return _text(value)[:1].lower() + _text(value)[1:]


def _join(value: object, separator: str = "") -> str:
    texts = [printable(item) for item in _items(value)]
    _bound(sum(map(len, texts)) + len(_text(separator)) * len(texts))
    return separator.join(texts)


def _replace(value: object, old: str, new: str) -> str:
    text = _text(value)
    _bound(len(text) + text.count(_text(old)) * len(_text(new)))
    return text.replace(old, new)


FILTERS: dict[str, Callable[..., object]] = {
    "capfirst": _capfirst,
    "first": lambda value: _items(value)[0],
    "join": _join,
    "last": lambda value: _items(value)[-1],
    "length": lambda value: len(_items(value)),
    "lower": lambda value: _text(value).lower(),
    "lowfirst": _lowfirst,
    "replace": _replace,
    "trim": lambda value: _text(value).strip(),
    "upper": lambda value: _text(value).upper(),
}
"""The filters that a template may use; each takes text or a list and refuses null."""

TESTS = {name: JINJA_TESTS[name] for name in ("defined", "even", "false", "none", "odd", "true")}
"""The tests that a template may use."""


_KINDS = {
    type(None): "a null",
    bool: "true or false",
    dict: "a struct",
    float: "a number",
    int: "a number",
    list: "a list",
    str: "text",
    tuple: "a list",
}


def _kind(value: object) -> str:
    return _KINDS.get(type(value), f"a {type(value).__name__}")
