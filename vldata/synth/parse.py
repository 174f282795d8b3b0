r"""A reply's text -> exchanges. Pure, so a changed parser reads the kept replies again and asks for nothing.

    llava_blocks     ``Question:\n…\n===\nAnswer:\n…``, blocks parted by lines that are exactly ``===``
    json_lines       ``{"question": …, "answer": …}`` on each line, as in LLaVA's first version
    user_assistant   ``User: …\n\nAssistant: …``, as in LLaVA-Med
    json_schema      one JSON value of the kind's schema
    answer_only      the whole reply is the answer, and the question comes from elsewhere
    scores           a judge's marks: a JSON value of the kind's schema, or numbers in the first line

A parser reads a reply as a whole or raises `ParseError`: half a conversation is no conversation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from vldata.schema.spec import Spec
from vldata.synth.exchange import Exchange, Link, read_links
from vldata.synth.schema_check import violations

REASONS = (
    "reply_empty",
    "reply_unparsable",
    "reply_not_json",
    "reply_off_schema",
    "turns_do_not_alternate",
    "turn_empty",
    "link_broken",
    "scores_missing",
)
"""Why a reply cannot be parsed: names in `vldata.schema.reasons.GENERATED`."""


class ParseError(ValueError):
    """The reply cannot be read as what its kind asks for.

    Args:
        reason: A name in `REASONS`.
        detail: What exactly, with the place in the reply.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[ParseError], tuple[str, str]]:
        """Travel between processes whole."""
        return type(self), (self.reason, self.detail)


class Options(Spec):
    """Options of every parser.

    Args:
        links: Phrases may be marked with the numbers of boxes, ``[two dogs](2, 3)``.
    """

    links: bool = False


class Roles(Options):
    """Options of ``user_assistant``.

    Args:
        user: The word before a question, without its colon.
        assistant: The word before an answer.
    """

    user: str = "User"
    assistant: str = "Assistant"


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


class Scores(Options):
    """Options of ``scores``.

    Args:
        schema_: As in `Json`.
        form: ``json``: a map from candidate to criterion to score. ``first_line``: one number for each candidate,
            whatever follows on later lines.
        candidates: What the reply calls the answers that were judged, in the order in which they were shown.
        criteria: What they were judged by; ``first_line`` has exactly one.
        low: The lowest score there is; what lies below is not a score.
        high: The highest.
    """

    schema_: dict[str, Any] = {}
    form: Literal["json", "first_line"] = "json"
    candidates: tuple[str, ...] = ("first", "second")
    criteria: tuple[str, ...] = ("overall",)
    low: float = 1
    high: float = 10


@dataclass(frozen=True)
class Parser:
    """A named form of reply.

    Args:
        name: What ``kind.yaml`` calls it.
        options: The type of its options.
        read: The text, with white space stripped and not empty, and options -> exchanges.
    """

    name: str
    options: type[Options]
    read: Callable[[str, Any], list[Exchange]]

    def __call__(self, text: str, options: Mapping[str, Any] | Options | None = None) -> list[Exchange]:
        """The exchanges of a reply, at least one.

        Raises:
            ParseError: It does not have this form. Nothing else is raised, whatever the text.
        """
        checked = options if isinstance(options, Options) else self.options.model_validate(options or {})
        stripped = text.strip()
        if not stripped:
            raise ParseError("reply_empty")
        try:
            stripped.encode()
        except UnicodeEncodeError as error:
            raise ParseError("reply_unparsable", f"character {error.start} is half a surrogate pair") from None
        return self.read(stripped, checked)


_BLOCK = re.compile(r"(question|answer)[ \t]*:[ \t]*", re.IGNORECASE)
_SEPARATOR = re.compile(r"^[ \t]*===[ \t]*$", re.MULTILINE)
_LABEL_LINE = re.compile(r"^[ \t]*(question|answer)[ \t]*:[ \t]*$", re.IGNORECASE | re.MULTILINE)
_FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*)\n[ \t]*```", re.DOTALL)
_SHOWN = 60


def _llava_blocks(text: str, options: Options) -> list[Exchange]:
    text = text.replace("\r\n", "\n")
    # nearly every reply has plain separators only: splitting at these takes a tenth of the time
    is_plain = text.count("===") == text.count("\n===\n")
    blocks = [block.strip() for block in (text.split("\n===\n") if is_plain else _SEPARATOR.split(text))]
    while blocks and not blocks[-1]:  # some models close the last block, too
        blocks.pop()
    while blocks and not blocks[0]:
        blocks.pop(0)
    turns = []
    for number, block in enumerate(blocks, 1):
        label = _BLOCK.match(block)
        if label is None:
            raise ParseError("reply_unparsable", f"block {number} has no 'Question:' or 'Answer:': {block[:_SHOWN]!r}")
        body = block[label.end() :].strip()
        inner = _LABEL_LINE.search(body) if ":" in body else None
        if inner is not None:
            raise ParseError("reply_unparsable", f"no '===' before {inner[0].strip()!r} in block {number}")
        turns.append((label[1].lower(), body))
    return _exchanges(turns, ("question", "answer"), options)


def _user_assistant(text: str, options: Roles) -> list[Exchange]:
    label = re.compile(rf"^[ \t]*({re.escape(options.user)}|{re.escape(options.assistant)})[ \t]*:", re.MULTILINE)
    before, *rest = label.split(text)
    if not rest or before.strip():
        raise ParseError("reply_unparsable", f"it begins with neither {options.user!r} nor {options.assistant!r}")
    turns = [(name, body.strip()) for name, body in zip(rest[::2], rest[1::2], strict=True)]
    return _exchanges(turns, (options.user, options.assistant), options)


def _json_lines(text: str, options: Options) -> list[Exchange]:
    turns = []
    for number, line in enumerate(_unfenced(text).split("\n"), 1):
        if not line.strip():
            continue
        value = _json(line, f"line {number}: ")
        if not isinstance(value, dict) or not all(isinstance(value.get(k), str) for k in ("question", "answer")):
            raise ParseError("reply_off_schema", f"line {number} is no map of 'question' and 'answer', both texts")
        turns += [(name, value[name].strip()) for name in ("question", "answer")]
    return _exchanges(turns, ("question", "answer"), options)


def _json_schema(text: str, options: Json) -> list[Exchange]:
    value = _json(_unfenced(text), "")
    if problem := next(violations(value, options.schema_), None):
        raise ParseError("reply_off_schema", problem)
    rows = [value] if options.list is None else _named(value, options.list)
    if not isinstance(rows, list) or not rows:
        raise ParseError("reply_off_schema", f"{options.list!r} is not a list with something in it")
    return [_exchange_of(row, number, options) for number, row in enumerate(rows, 1)]


def _exchange_of(row: Any, number: int, options: Json) -> Exchange:
    texts = [_words(row, name, number) if name else "" for name in (options.question, options.answer)]
    exchange = _linked(texts[0], texts[1], options)
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


def _answer_only(text: str, options: Options) -> list[Exchange]:
    return [_linked("", text, options)]


def _scores(text: str, options: Scores) -> list[Exchange]:
    marks = _first_line(text, options) if options.form == "first_line" else _marks(text, options)
    if not any(marks.values()):
        raise ParseError("scores_missing", f"no number from {options.low:g} to {options.high:g}: {text[:_SHOWN]!r}")
    return [Exchange("", name, scores=marks[name]) for name in options.candidates]


def _marks(text: str, options: Scores) -> dict[str, dict[str, float]]:
    value = _json(_unfenced(text), "")
    if not isinstance(value, dict):
        raise ParseError("reply_off_schema", "the reply is not of type object")
    marks = {}
    for name in options.candidates:
        given = value.get(name)
        given = given if isinstance(given, dict) else {}
        marks[name] = {word: float(given[word]) for word in options.criteria if _is_score(given.get(word), options)}
    return marks


def _first_line(text: str, options: Scores) -> dict[str, dict[str, float]]:
    numbers = re.split(r"[\s,;/]+", text.split("\n", 1)[0].strip())
    if len(numbers) != len(options.candidates):
        detail = f"the first line should hold {len(options.candidates)} numbers: {text[:_SHOWN]!r}"
        raise ParseError("scores_missing", detail)
    marks = {}
    for name, number in zip(options.candidates, numbers, strict=True):
        score = float(number) if re.fullmatch(r"\d{1,6}(\.\d{1,6})?", number) else None
        marks[name] = {options.criteria[0]: score} if score is not None and _is_score(score, options) else {}
    return marks


def _is_score(value: Any, options: Scores) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and options.low <= value <= options.high


def _exchanges(turns: Sequence[tuple[str, str]], roles: tuple[str, str], options: Options) -> list[Exchange]:
    for number, (role, body) in enumerate(turns):
        if role != roles[number % 2]:
            expected = roles[number % 2]
            raise ParseError("turns_do_not_alternate", f"part {number + 1} is {role!r}, and should be {expected!r}")
        if not body:
            raise ParseError("turn_empty", f"part {number + 1}, {role!r}")
    if not turns:
        raise ParseError("reply_empty")
    if len(turns) % 2:
        raise ParseError("turns_do_not_alternate", f"the last {turns[-1][0]!r} has no answer")
    bodies = [body for _, body in turns]
    return [_linked(question, answer, options) for question, answer in zip(bodies[::2], bodies[1::2], strict=True)]


def _linked(question: str, answer: str, options: Options) -> Exchange:
    if not options.links:
        return Exchange(question, answer)
    texts, links = zip(*(read_links(text) for text in (question, answer)), strict=True)
    for text in texts:
        if "](" in text:
            place = text.index("](")
            raise ParseError("link_broken", f"near {text[max(0, place - _SHOWN // 2) : place + _SHOWN // 2]!r}")
    return Exchange(*texts, *links)


def _unfenced(text: str) -> str:
    """What stands between three backticks, when the whole text does: many models wrap JSON so."""
    fenced = _FENCE.fullmatch(text)
    return fenced[1].strip() if fenced else text


def _json(text: str, where: str) -> Any:
    # orjson refuses what Python's own reader lets pass: NaN, half surrogates, a thousand nested lists
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ParseError("reply_not_json", f"{where}{error}") from None


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


PARSERS: dict[str, Parser] = {
    parser.name: parser
    for parser in (
        Parser("llava_blocks", Options, _llava_blocks),
        Parser("json_lines", Options, _json_lines),
        Parser("user_assistant", Roles, _user_assistant),
        Parser("json_schema", Json, _json_schema),
        Parser("answer_only", Options, _answer_only),
        Parser("scores", Scores, _scores),
    )
}
"""Every form of reply that a ``kind.yaml`` may name."""
