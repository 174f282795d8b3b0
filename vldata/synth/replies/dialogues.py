"""Questions and answers in text or in JSON, in the form that a kind asks for or in another one that leaves no doubt."""

from __future__ import annotations

import re

import orjson

from vldata.synth.replies.around import (
    ANY_FORM,
    TEXT,
    after_fence,
    blockquoted,
    fenced,
    unwrapped,
    without_template_marks,
)
from vldata.synth.replies.base import Options, ParseError, ReplyReading, linked
from vldata.synth.replies.json_forms import fenced_json, pairs_in_json
from vldata.synth.replies.labels import labels_of, vocabulary
from vldata.synth.replies.pairs import read_pairs
from vldata.synth.replies.remarks import after_lead, before_signoff_line


class Roles(Options):
    """Options of ``user_assistant``.

    Args:
        user: The word before a question, without its colon.
        assistant: The word before an answer.
    """

    user: str = "User"
    assistant: str = "Assistant"


_STEPS = (
    *ANY_FORM,
    ("preface", after_lead),
    ("fence", lambda text: fenced(text, TEXT)),
    ("fence", fenced_json),
    ("fence", lambda text: _only_fence(text)),
    ("blockquote", blockquoted),
)


def _read(text: str, options: Options, own: tuple[str, str], separator: str, is_cut: bool) -> ReplyReading:
    steps = (*_STEPS, ("fence", after_fence)) if is_cut else _STEPS
    text, repairs = unwrapped(text.replace("\r\n", "\n"), steps)
    in_json = pairs_in_json(text, is_cut=is_cut)
    if in_json is not None:
        pairs, more = in_json
        repairs += [*more, "json_form"]
    elif (in_tags := _pairs_in_tags(text)) is not None:
        pairs = in_tags
        repairs.append("tag_form")
    else:
        pairs, more = read_pairs(text, vocabulary(*own), separator=separator, is_cut=is_cut)
        repairs += more
    return ReplyReading([linked(question, answer, options) for question, answer in pairs], tuple(repairs))


_TAGGED = re.compile(
    r"\s*(?:</?(?:qa|pair|qa_pair|conversation|dialogue|turn|exchange|item)[^<>\n]{0,40}>\s*)*"
    r"(?:<(question|q|user)>((?:[^<]|<(?!/?\1>))*+)</\1>\s*<(answer|a|assistant)>((?:[^<]|<(?!/?\3>))*+)</\3>|\Z)",
    re.IGNORECASE,
)


def _pairs_in_tags(text: str) -> list[tuple[str, str]] | None:
    """The pairs of ``<question>…</question><answer>…</answer>``; None when the text is not just that."""
    pairs, place = list[tuple[str, str]](), 0
    while text[:1] == "<":
        pair = _TAGGED.match(text, place)
        if pair is None:
            return None
        if pair[1] is None:
            return pairs or None
        texts = pair[2].strip(), pair[4].strip()
        if not all(texts):
            raise ParseError("turn_empty", f"pair {len(pairs) + 1}")
        pairs.append(texts)
        place = pair.end()
    return None


def _only_fence(text: str) -> str | None:
    """What stands in the only fence of a reply that speaks of it around; not of one with labels outside."""
    if "```" not in text or text.count("```") != 2:
        return None
    words = vocabulary("question", "answer")
    before, inside, behind = text.split("```")
    language, _, inner = inside.partition("\n")
    if language.strip().lower() not in TEXT or next(labels_of(f"{before}\n{behind}", words), None) is not None:
        return None
    return inner if next(labels_of(inner, words), None) is not None else None


_MAY_BE_LABEL = re.compile(r"\n[^\w\n]{0,8}(?:\d{1,3}[^\w\n]{1,3})?(?:question|answer)\b", re.IGNORECASE)
_BLOCK = re.compile(r"(question|answer)[ \t]*:[ \t]*", re.IGNORECASE)


def read_blocks(text: str, options: Options, is_cut: bool) -> ReplyReading:
    r"""``Question:\n…\n===\nAnswer:\n…``, blocks parted by lines that are exactly ``===``."""
    text = text.replace("\r\n", "\n")
    plain = None if is_cut else _plain_blocks(text)
    if plain is not None:
        return ReplyReading([linked(question, answer, options) for question, answer in plain])
    return _read(text, options, ("question", "answer"), "===", is_cut)


def _plain_blocks(text: str) -> list[tuple[str, str]] | None:
    """The pairs of a text that is just as requested, which nearly every reply is: found in a tenth of the time."""
    blocks = text.removesuffix("\n===").split("\n===\n")
    labels = [_BLOCK.match(block) for block in blocks]
    if len(blocks) % 2 or sum(1 for _ in _MAY_BE_LABEL.finditer(text)) != len(blocks) - 1:
        return None
    bodies = []
    for number, (label, block) in enumerate(zip(labels, blocks, strict=True)):
        if label is None or label[1].lower() != ("question", "answer")[number % 2]:
            return None
        body = block[label.end() :].strip()
        if not body or (number == 0 and "===" in body.split("\n")):
            return None
        bodies.append(body)
    if before_signoff_line(bodies[-1]) is not None or without_template_marks(text) is not None:
        return None
    return list(zip(bodies[::2], bodies[1::2], strict=True))


def read_roles(text: str, options: Roles, is_cut: bool) -> ReplyReading:
    r"""``User: …\n\nAssistant: …``, or the like with other words."""
    return _read(text, options, (options.user, options.assistant), "", is_cut)


def read_json_lines(text: str, options: Options, is_cut: bool) -> ReplyReading:
    """``{"question": …, "answer": …}`` on each line."""
    text, repairs = unwrapped(text, (*ANY_FORM, ("preface", after_lead), ("fence", fenced_json)))
    pairs = _plain_lines(text)
    if pairs is None:
        found = pairs_in_json(text, is_cut=is_cut)
        if found is None:
            reading = _labelled(text, options)
            return reading._replace(repairs=(*repairs, *reading.repairs, "json_form"))
        pairs, more = found
        repairs += [*more, *([] if "cut_pair" in more else ["json_form"])]
    return ReplyReading([linked(question, answer, options) for question, answer in pairs], tuple(repairs))


def _plain_lines(text: str) -> list[tuple[str, str]] | None:
    pairs = list[tuple[str, str]]()
    for line in text.split("\n"):
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(value, dict) or not all(isinstance(value.get(k), str) for k in ("question", "answer")):
            return None
        question, answer = value["question"].strip(), value["answer"].strip()
        for name, said in (("question", question), ("answer", answer)):
            if not said:
                raise ParseError("turn_empty", f"pair {len(pairs) + 1}, {name!r}")
        pairs.append((question, answer))
    return pairs


def _labelled(text: str, options: Options) -> ReplyReading:
    words = vocabulary("question", "answer")
    if next(labels_of(text, words), None) is None:
        raise ParseError("reply_not_json", f"it begins with {text[:60]!r}")
    return _read(text, options, ("question", "answer"), "===", False)
