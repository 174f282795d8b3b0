"""One native conversation -> what the system says, the exchanges, their weights and the images, in whichever form.

Messages of ``from`` and ``value`` or of ``role`` and ``content``, with texts or typed parts; pairs of question and
answer; a question, an answer and a history beside each other; and any of these as JSON in a text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from vldata.sources.reading.keys import is_blank
from vldata.sources.reading.marks import IMAGE_MARK
from vldata.sources.reading.message_images import (
    _REFERENCES,
    Images,
    Refused,
    from_text,
    is_text,
    listed_images,
    reference_of,
)
from vldata.sources.reading.native_types import as_written, shown
from vldata.sources.reading.talk_keys import (
    MASKED,
    PAIRS,
    SPOKEN,
    WEIGHTS,
    Form,
    is_harmless_in_message,
    says_what_is_learnt,
    the_fix,
)

_ROLES = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant",
    "system": "system", "developer": "system",
}  # fmt: skip
_TEXT_PARTS = ("text", "input_text", "output_text")
_IMAGE_PARTS = ("image", "image_url", "input_image")
_HARMLESS_IN_PART = frozenset({"detail", "min_pixels", "max_pixels", "resized_height", "resized_width", "annotations"})


class Said(NamedTuple):
    """What is said in a conversation.

    Args:
        system: What is said before it, if anything.
        exchanges: (user, assistant), in order.
        weights: Of each answer's loss; None: all are learnt alike.
    """

    system: str | None
    exchanges: list[tuple[str, str]]
    weights: list[float] | None


def conversation_of(row: Mapping[str, Any], form: Form, images: Images, ignore: frozenset[str]) -> Said:
    """What a row says.

    Args:
        images: Those of the row, to which those of its messages are added.
        ignore: Keys of messages that change nothing.

    Raises:
        Refused: Something is out of order, and what.
    """
    system, exchanges, weights = _exchanges(_messages(row, form), images, ignore)
    for key in form.systems:
        words = row[key]
        if is_blank(words):
            continue
        if not is_text(words):
            raise Refused("unparsable_row", f"{key!r} is {shown(words)}, not text")
        if system is not None and system.strip() != words.strip():
            detail = f"{key!r} is {shown(words)}, elsewhere the system says {shown(system)}"
            raise Refused("unknown_key", f"{detail}; {the_fix(key)}")
        system = system or words
    return Said(system, images.in_questions(exchanges), weights or _weights_of_turns(row.get("turns"), len(exchanges)))


def _weights_of_turns(turns: Any, num: int) -> list[float] | None:
    """The weights that a finished row of vldata has beside its messages; None where all are 1, or in other rows."""
    if not isinstance(turns, list) or len(turns) != num:
        return None
    weights = [_weight(turn.get("weight")) if isinstance(turn, dict) else None for turn in turns]
    found = [1.0 if weight is None else weight for weight in weights]
    return None if {*found} == {1.0} else found


def num_questions(row: Mapping[str, Any], form: Form) -> int:
    """How many questions a row has that is not used; at least one."""
    try:
        messages = _messages(row, form)
    except Refused:
        return 1
    return max(1, sum(_role(message) == "user" for message in messages))


def name_of(thread: Any) -> str | None:
    """A native id as text; None of what is none."""
    if type(thread) is str:
        return thread if thread.strip() and is_text(thread) else None
    if type(thread) is int or (isinstance(thread, float) and math.isfinite(thread)):
        return str(thread)
    return None


def _messages(row: Mapping[str, Any], form: Form) -> list[Any]:
    """The messages of a row, pairs of questions and answers taken apart."""
    if form.exchange is not None:
        return _of_exchange(row, form.exchange)
    value: Any = row[form.messages[0]] if form.messages else None
    if len(form.messages) == 1 and isinstance(value, list) and value and _has_speaker(value[0]):
        return value  # as most rows are
    for key in form.messages[1:]:
        if value is None or is_blank(value):
            value = row[key]
        elif not is_blank(row[key]) and row[key] != value:
            raise Refused("unknown_key", f"{form.messages[0]!r} and {key!r} say different things; {the_fix(key)}")
    if type(value) is str:
        value = from_text(value)
    if type(value) is dict and _is_columns(value):  # as `datasets` writes lists of objects
        value = [dict(zip(value, one, strict=True)) for one in zip(*value.values(), strict=True)]
    if not isinstance(value, list):
        raise Refused("unparsable_row", f"no list of messages, but {shown(value)}")
    if value and type(value[0]) is dict and not value[0].keys() & {"from", "role"}:
        for asked, answered in PAIRS:
            if value[0].keys() >= {asked, answered}:
                return [message for pair in value for message in _of_pair(pair, asked, answered)]
    return value


def _has_speaker(message: Any) -> bool:
    return type(message) is dict and ("from" in message or "role" in message)


def _is_columns(value: dict[str, Any]) -> bool:
    """Whether an object is one of lists of one length."""
    are_lists = all(isinstance(column, list) for column in value.values())
    return are_lists and len({len(column) for column in value.values()}) == 1


def _of_pair(pair: Any, asked: str, answered: str) -> list[Any]:
    if type(pair) is not dict or not pair.keys() >= {asked, answered}:
        return [pair]
    more = {key: value for key, value in pair.items() if key not in (asked, answered)}
    return [{"role": "user", "content": pair[asked]}, {"role": "assistant", "content": pair[answered], **more}]


def _of_exchange(row: Mapping[str, Any], keys: tuple[str, str]) -> list[Any]:
    question, answer = (row[key] for key in keys)
    if isinstance(question, list) and isinstance(answer, list):
        return [*question, *answer]  # TRL writes both as messages
    if "input" in row and keys[0] == "instruction" and not is_blank(row["input"]):
        if not (is_text(question) and is_text(row["input"])):
            raise Refused("unparsable_row", f"'input' is {shown(row['input'])}, not text")
        question = f"{question}\n{row['input']}"
    history = row.get("history")
    if type(history) is str:
        history = [] if is_blank(history) else from_text(history)
    if is_blank(history):
        history = []
    if not isinstance(history, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in history):
        raise Refused("unparsable_row", f"'history' is {shown(history)}, not a list of questions and answers")
    pairs = [*history, [question, answer]]
    return [
        {"role": who, "content": text} for pair in pairs for who, text in zip(("user", "assistant"), pair, strict=True)
    ]


def _exchanges(
    messages: Sequence[Any], images: Images, ignore: frozenset[str]
) -> tuple[str | None, list[tuple[str, str]], list[float] | None]:
    system: str | None = None
    question: str | None = None
    found: list[tuple[str, str]] = []
    weights: list[float] | None = None
    looks_for_tags = not images
    for number, message in enumerate(messages, start=1):
        try:
            role = _ROLES[message["from"]]
        except (KeyError, TypeError):
            role = _role(message) or _refuse(message, number)
        words = message["value"] if "value" in message else message.get("content")
        if type(words) is not str and words is not None:
            words = as_written(words)
            words = words if type(words) is str else _joined(words, images, number, ignore)
        weight = None
        if len(message) > 2:
            words, weight = _with_more(message, role, number, words, images, ignore)
        if looks_for_tags and words and ("<img>" in words or "<Img>" in words):
            images.of_text(words)
        if role == "system":
            if number > 1:
                raise Refused("unparsable_row", f"message {number}: the system speaks in the middle")
            system = _words(words, number) if words else None
        elif role == "user":
            if question is not None:
                raise Refused("unparsable_row", f"message {number}: the user speaks twice in a row")
            question = _words(words, number)
        else:
            if question is None:
                what = f"the assistant speaks {'twice in a row' if found else 'first'}"
                raise Refused("unparsable_row", f"message {number}: {what}")
            found.append((question, _words(words, number)))
            question = None
            if weight is not None and weights is None:
                weights = [1.0] * (len(found) - 1)
            if weights is not None:
                weights.append(1.0 if weight is None else weight)
    if question is not None:
        raise Refused("unparsable_row", f"message {len(messages)}: the last question has no answer")
    if not found:
        raise Refused("unparsable_row", "no messages")
    return system, found, weights


def _role(message: Any) -> str | None:
    if type(message) is not dict:
        return None
    speaker = message["from"] if "from" in message else message.get("role")
    if type(speaker) is not str:
        return None
    return _ROLES.get(speaker) or _ROLES.get(speaker.lower())


def _refuse(message: Any, number: int) -> NoReturn:
    if not isinstance(message, dict):
        raise Refused("unparsable_row", f"message {number} is no object, but {shown(message)}")
    speaker = message.get("from", message.get("role"))
    raise Refused("unparsable_row", f"message {number}: unknown speaker {shown(speaker)}")


def _with_more(
    message: Mapping[str, Any], role: str, number: int, words: Any, images: Images, ignore: frozenset[str]
) -> tuple[Any, float | None]:
    """The words of a message with images of its own, and the weight of an answer, where its keys speak of them.

    Raises:
        Refused: Another key says something.
    """
    weight: float | None = None
    for key, other in (("value", "content"), ("from", "role")):
        one, two = message.get(key), message.get(other)
        if not is_blank(one) and not is_blank(two) and one != two:
            raise _unknown_key(other, two, number)
    for key, value in message.items():
        if key in SPOKEN or key in ignore or is_blank(value):
            continue
        if is_harmless_in_message(key) and not says_what_is_learnt(key, value):
            continue
        if key in ("image", "images"):
            words = _with_images(listed_images(key, value).named, words, number, images)
        elif key in WEIGHTS or key == MASKED:
            own = _weight(value)
            own = 1.0 - own if own is not None and key == MASKED else own
            is_said_twice = weight is not None and own != weight
            if own is None or own < 0 or is_said_twice or (own > 0 and role != "assistant"):
                raise _unknown_key(key, value, number)
            weight = own
        else:
            raise _unknown_key(key, value, number)
    return words, weight if role == "assistant" else None


def _unknown_key(key: str, value: Any, number: int) -> Refused:
    return Refused("unknown_key", f"message {number}: {key!r} is {shown(value)}; {the_fix(key)}")


def _weight(value: Any) -> float | None:
    """A mask or a weight as a number; None of what is neither."""
    if type(value) is str:
        value = {"true": True, "false": False}.get(value.lower())
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _with_images(references: list[str], words: Any, number: int, images: Images) -> Any:
    marks = words.count(IMAGE_MARK) if type(words) is str else 0
    if marks not in (0, len(references)):
        detail = f"message {number}: {marks} {IMAGE_MARK}, {len(references)} images of its own"
        raise Refused("image_count_mismatch", detail)
    placed = "".join(f"{images.place(reference)}\n" for reference in references)
    return words if marks or type(words) is not str else placed + words


def _joined(parts: Any, images: Images, number: int, ignore: frozenset[str]) -> str:
    """The text of typed parts, with `IMAGE_MARK` where an image stands."""
    if isinstance(parts, dict):
        parts = [parts]
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts) or not parts:
        raise Refused("unparsable_row", f"message {number}: its text is {shown(parts)}")
    texts = []
    for part in parts:
        kind = part.get("type") or next((key for key in ("text", *_IMAGE_PARTS) if not is_blank(part.get(key))), None)
        if kind in _TEXT_PARTS:
            read = {"text", "value", "content"}
            text = as_written(
                next((part[key] for key in ("text", "value", "content") if part.get(key) is not None), None)
            )
            if not is_text(text):
                raise Refused("unparsable_row", f"message {number}: the text of a part is {shown(text)}")
            texts.append(text)
        elif kind in _IMAGE_PARTS:
            read = {*_REFERENCES, "index"}
            texts.append(images.place(reference_of(part)))
        else:
            raise Refused("unparsable_row", f"message {number}: a part of type {shown(kind)}, which is not read")
        for key in part.keys() - read - _HARMLESS_IN_PART - ignore - {"type", "index"}:
            if not is_blank(part[key]):
                raise _unknown_key(key, part[key], number)
    return "".join(texts)


def _words(words: Any, number: int) -> str:
    if type(words) is str and words.isascii() and not words.isspace() and words:
        return words
    if not is_text(words):
        raise Refused("unparsable_row", f"message {number}: its text is {shown(words)}")
    if not words or words.isspace():
        raise Refused("unparsable_row", f"message {number} is empty")
    return words
