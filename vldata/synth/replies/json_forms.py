"""JSON as models write it: values, pairs of question and answer under many names, the whole part of a cut list."""

from __future__ import annotations

import ast
import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from vldata.synth.replies.around import DATA, TEXT, fenced
from vldata.synth.replies.base import ParseError

_TRAILING = re.compile(r'("(?:[^"\\]|\\.)*+"?)|,(?=\s*+[}\]])', re.DOTALL)
_DECODER = json.JSONDecoder()


def json_value(text: str, where: str = "") -> tuple[Any, list[str]]:
    """The value, and the repairs that reading it took.

    Raises:
        ParseError: It is no JSON.
    """
    # orjson refuses what Python's own reader lets pass: NaN, half surrogates, a thousand nested lists
    try:
        return orjson.loads(text), []
    except orjson.JSONDecodeError as error:
        for name, read in _LENIENT:
            with contextlib.suppress(ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
                return read(text), [name]
        raise ParseError("reply_not_json", f"{where}{error}") from None


def _without_commas(text: str) -> Any:
    if "," not in text:
        raise ValueError("no comma")
    return orjson.loads(_TRAILING.sub(lambda match: match[1] or "", text))


def _with_line_breaks(text: str) -> Any:
    value = json.loads(text, strict=False, parse_constant=_no_number)
    orjson.dumps(value)  # no half surrogates, no thousand levels
    return value


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON's")


def _of_python(text: str) -> Any:
    if text[:1] not in ("[", "{") or "'" not in text or sum(map(text.count, "[{(-+~")) > _MOST_NESTED:
        raise ValueError("no literal")
    value = ast.literal_eval(text)
    return orjson.loads(orjson.dumps(value))


_MOST_NESTED = 5_000
_LENIENT: tuple[tuple[str, Callable[[str], Any]], ...] = (
    ("trailing_comma", _without_commas),
    ("json_line_breaks", _with_line_breaks),
    ("python_quotes", _of_python),
)


def fenced_json(text: str) -> str | None:
    """What stands in the one fence around all, or in the only fence of a reply that explains its JSON around it."""
    around = fenced(text, DATA | TEXT)
    if around is not None or "```" not in text or text.count("```") != 2:
        return around
    before, inside, behind = text.split("```")
    word, _, value = inside.partition("\n")
    bare = value.strip()
    is_json = word.strip().lower() in DATA | {""} and bare[:1] in ("{", "[") and bare[-1:] in ("}", "]")
    return bare if is_json and not re.search(r"[{\[]", before + behind) else None


def whole_items(text: str, list_name: str | None = None) -> list[Any] | None:
    """The values of a list that are whole, where the text was cut off inside it; None when there is no list.

    Args:
        list_name: The list stands under this name in an object; None: under any, or it is the text itself.
    """
    name = r'"(?:[^"\\\n]){1,60}"' if list_name is None else re.escape(json.dumps(list_name))
    begin = re.match(rf"(?:```\w*\s*)?(?:\{{\s*{name}\s*:\s*)?\[\s*", text)
    if begin is None:
        return None
    items, place = list[Any](), begin.end()
    try:
        while True:
            item, place = _DECODER.raw_decode(text, place)
            items.append(item)
            comma = _COMMA.match(text, place)
            if comma is None:
                return items
            place = comma.end()
    except (ValueError, RecursionError):
        return items


_COMMA = re.compile(r"\s*,\s*")

_QUESTIONS = ("question", "q", "query", "user", "human", "instruction", "prompt", "问题", "问")
_ANSWERS = ("answer", "a", "response", "assistant", "gpt", "output", "reply", "答案", "回答", "答")
_SPEAKERS = {
    **dict.fromkeys(("user", "human", "question", "questioner"), 0),
    **dict.fromkeys(("assistant", "gpt", "answer", "model", "answerer"), 1),
}


def pairs_in_json(text: str, *, is_cut: bool) -> tuple[list[tuple[str, str]], list[str]] | None:
    """The pairs of a list of objects, of an object with such a list, or of an object a line; None: it is no JSON.

    Raises:
        ParseError: It is JSON, and holds no pairs or holds them in two ways.
    """
    if text[:1] not in ("[", "{"):
        return None
    try:
        value, repairs = json_value(text)
    except ParseError:
        return _of_values(text, is_cut) or _of_cut_list(text, is_cut)
    return _pairs(_list_in(value)), repairs


def _of_values(text: str, is_cut: bool) -> tuple[list[tuple[str, str]], list[str]] | None:
    """The pairs of objects that stand one behind the other, in lines or not."""
    values, place = list[Any](), 0
    try:
        while place < len(text):
            value, place = _DECODER.raw_decode(text, place)
            values.append(value)
            place = _BETWEEN.match(text, place).end()  # type: ignore[union-attr]  # it may be empty
    except (ValueError, RecursionError):
        if not is_cut or not values:
            return None
    try:
        orjson.dumps(values)
    except TypeError:  # half a surrogate pair, or a thousand levels
        return None
    return _pairs(values), [] if place == len(text) else ["cut_pair"]


_BETWEEN = re.compile(r"[\s,]*")


def _of_cut_list(text: str, is_cut: bool) -> tuple[list[tuple[str, str]], list[str]] | None:
    items = whole_items(text) if is_cut else None
    return (_pairs(items), ["cut_pair"]) if items else None


def _list_in(value: Any) -> list[Any]:
    """The objects with pairs: the value itself, the value in a list, or the one list of an object."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        raise ParseError("reply_off_schema", "the reply is neither an object nor a list")
    lists = [member for member in value.values() if isinstance(member, list)]
    members = list(value.values())
    if members and all(isinstance(member, dict) for member in members):  # {"1": {"question": …}, "2": …}
        return members
    if numbered := _numbered(value):
        return numbered
    if len(lists) > 1:
        raise ParseError("reply_ambiguous", f"the object has {len(lists)} lists")
    return lists[0] if lists else [value]


_NUMBERED = re.compile(r"(question|q|answer|a)[ _-]?(\d{1,3})", re.IGNORECASE)


def _numbered(value: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects of ``{"question_1": …, "answer_1": …, "question_2": …}``; none when it has other names."""
    matches = [_NUMBERED.fullmatch(str(name)) for name in value]
    by_number: dict[str, dict[str, Any]] = {}
    for match, member in zip(matches, value.values(), strict=True):
        if match is None:
            return []
        by_number.setdefault(match[2], {})[match[1]] = member
    return list(by_number.values())


def _pairs(items: list[Any]) -> list[tuple[str, str]]:
    if items and all(isinstance(item, dict) and _speaker(item) is not None for item in items):
        turns = [_speaker(item) for item in items]
        return list(_of_turns([turn for turn in turns if turn is not None]))
    pairs = [_pair(item, number) for number, item in enumerate(items, 1)]
    if not pairs:
        raise ParseError("reply_empty")
    return pairs


def _pair(item: Any, number: int) -> tuple[str, str]:
    texts = []
    names = {str(name).strip().lower(): value for name, value in item.items()} if isinstance(item, dict) else {}
    for what, aliases in (("question", _QUESTIONS), ("answer", _ANSWERS)):
        given = [names[alias] for alias in aliases if alias in names]
        if len(given) != 1 or not isinstance(given[0], str):
            reason = "reply_ambiguous" if len(given) > 1 else "reply_off_schema"
            raise ParseError(reason, f"item {number} has {len(given)} texts that may be the {what}")
        if not given[0].strip():
            raise ParseError("turn_empty", f"item {number}, {what!r}")
        texts.append(given[0].strip())
    return texts[0], texts[1]


def _speaker(item: dict[str, Any]) -> tuple[int, str] | None:
    """Whose turn it is, and the text, of ``{"from": "human", "value": …}`` and ``{"role": "user", "content": …}``."""
    for who, what in (("from", "value"), ("role", "content"), ("speaker", "text")):
        speaker = _SPEAKERS.get(str(item.get(who)).lower())
        if speaker is not None and isinstance(item.get(what), str):
            return speaker, item[what].strip()
    return None


def _of_turns(turns: list[tuple[int, str]]) -> Iterator[tuple[str, str]]:
    for number, (speaker, text) in enumerate(turns):
        if speaker != number % 2:
            raise ParseError("turns_do_not_alternate", f"turn {number + 1} is out of turn")
        if not text:
            raise ParseError("turn_empty", f"turn {number + 1}")
    if len(turns) % 2:
        raise ParseError("turns_do_not_alternate", "the last question has no answer")
    for question, answer in zip(turns[::2], turns[1::2], strict=True):
        yield question[1], answer[1]
