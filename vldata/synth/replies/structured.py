"""One JSON value of the kind's schema -> exchanges."""

from __future__ import annotations

from typing import Any

from vldata.synth.exchange import Exchange, Link
from vldata.synth.replies.around import ANY_FORM, unwrapped
from vldata.synth.replies.base import Options, ParseError, ReplyReading, linked
from vldata.synth.replies.json_forms import fenced_json, json_value, whole_items
from vldata.synth.replies.remarks import after_lead
from vldata.synth.schema_check import violations


class Json(Options):
    """Options of ``json_schema``.

    Args:
        schema_: The form of the reply; a kind's own ``schema`` is put here.
        list: Where the list of exchanges stands in the reply; null: the reply is one exchange.
        question: The name of the question in an exchange; null when there is none.
        answer: The name of the answer; null when the answer is a box.
        element: The name of the number of a box: the answer, or with ``answer``, too, what the question is about.
    """

    schema_: dict[str, Any] = {}
    list: str | None = None
    question: str | None = "question"
    answer: str | None = "answer"
    element: str | None = None


_STEPS = (*ANY_FORM, ("preface", after_lead), ("fence", fenced_json))


def read_json(text: str, options: Json, is_cut: bool) -> ReplyReading:
    """The exchanges of a value that has the schema's form."""
    text, repairs = unwrapped(text, _STEPS)
    try:
        value, more = json_value(text)
    except ParseError:
        items = whole_items(text, options.list) if is_cut and options.list is not None else None
        if not items:
            raise
        value, more = {options.list: items}, ["cut_pair"]
    if problem := next(violations(value, options.schema_), None):
        raise ParseError("reply_off_schema", problem)
    rows = [value] if options.list is None else _named(value, options.list)
    if not isinstance(rows, list) or not rows:
        raise ParseError("reply_off_schema", f"{options.list!r} is not a list with something in it")
    exchanges = [_exchange_of(row, number, options) for number, row in enumerate(rows, 1)]
    return ReplyReading(exchanges, (*repairs, *more))


def _exchange_of(row: Any, number: int, options: Json) -> Exchange:
    texts = [_words(row, name, number) if name else "" for name in (options.question, options.answer)]
    exchange = linked(texts[0], texts[1], options)
    if options.element is None:
        return exchange
    element = _named(row, options.element)
    if not isinstance(element, int) or isinstance(element, bool) or not 0 < element < 10**6:
        raise ParseError("reply_off_schema", f"exchange {number}: {options.element!r} is not the number of a box")
    # the words are the phrase, and the box is what they mean
    link = (Link(0, exchange.question or exchange.answer, (element,)),)
    if options.answer is None:
        return exchange._replace(answer_links=link)
    return exchange._replace(question_links=link)


def _named(row: Any, name: str) -> Any:
    if not isinstance(row, dict) or name not in row:
        raise ParseError("reply_off_schema", f"there is no {name!r}")
    return row[name]


def _words(row: Any, name: str, number: int) -> str:
    value = _named(row, name)
    if not isinstance(value, str):
        raise ParseError("reply_off_schema", f"exchange {number}: {name!r} is not a text")
    if not value.strip():
        raise ParseError("turn_empty", f"exchange {number}, {name!r}")
    return value.strip()
