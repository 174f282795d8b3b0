"""The whole reply is the answer: what stands around it is taken away, layer by layer."""

from __future__ import annotations

import re

from vldata.synth.replies.around import (
    ANY_FORM,
    DATA,
    TEXT,
    blockquoted,
    emphasized,
    fenced,
    in_json,
    quoted,
    unwrapped,
)
from vldata.synth.replies.base import Options, ParseError, ReplyReading, linked
from vldata.synth.replies.headings import without_heading, without_label
from vldata.synth.replies.remarks import after_preface, before_signoff, between_rules

_REASONING = re.compile(
    r"(?:#{1,6}[ \t]*)?(?:\*\*|__)?(?:reasoning|thoughts?|thinking|analysis|rationale|step[- ]by[- ]step)"
    r"(?:[ \t]+\w+)?(?:\*\*|__)?[:：](?:\*\*|__)?|<reasoning",
    re.IGNORECASE,
)
_RESULT = re.compile(
    r"\n[ \t]*(?:#{1,6}[ \t]*)?(?:\*\*|__)?(?:(?:final|detailed|full|short|image)[ \t]+){0,2}"
    r"(?:answer|description|caption|summary|response|output)(?:\*\*|__)?[ \t]*[:：](?:\*\*|__)?[ \t]*",
    re.IGNORECASE,
)
_SEVERAL = re.compile(
    r"here are (?:[\w-]+[ \t]+){0,4}(?:captions|descriptions|versions|options|summaries|answers)\b", re.IGNORECASE
)
_FIRST_OF_SEVERAL = re.compile(
    r"[*#_ \t]*(?:option|version|caption|description) (?:1|a|one)\b[*_ \t]*[:：.)\n]", re.IGNORECASE
)
_FIELDS = re.compile(
    r"(?:\*\*|__)?(?:(?:final|short|full)[ \t]+)?(?:answer|response|output|caption|title)(?:\*\*|__)?[ \t]*[:：][^\n]*"
    r"(?:\n\s*)+?(?:\*\*|__)?(?-i:[A-Z])[\w ]{1,24}(?:\*\*|__)?:",
    re.IGNORECASE,
)
_RUNAWAY = re.compile(
    r"\n(?:User|Human|Assistant|Question|Q|### ?(?:User|Human|Instruction|Input|Response|Assistant))[ \t]*:"
)


def _after_reasoning(text: str) -> str | None:
    """The answer behind a part that is labelled as reasoning.

    Raises:
        ParseError: No label says where the answer begins, or several do.
    """
    if _REASONING.match(text) is None:
        return None
    results = list(_RESULT.finditer(text))
    if len(results) != 1:
        raise ParseError("reply_ambiguous", f"it begins with reasoning, and an answer begins {len(results)} times")
    return text[results[0].end() :]


_REMARKS = (
    ("labelled_reasoning", _after_reasoning),
    ("signoff", before_signoff),
    ("preface", after_preface),
    ("label", without_label),
)
_STEPS = (
    ("labelled_reasoning", _after_reasoning),
    ("signoff", before_signoff),
    *ANY_FORM,
    ("fence", lambda text: fenced(text, TEXT)),
    ("separators", between_rules),
    ("blockquote", blockquoted),
    ("json_string", lambda text: in_json((fenced(text, DATA) or text).strip())),
    ("quotes", quoted),
    ("emphasis", emphasized),
    ("heading", without_heading),
    ("label", without_label),
)


_PLAIN_ENDS = frozenset(".!?。！？,;:") | frozenset("abcdefghijklmnopqrstuvwxyz")


def read_answer(text: str, options: Options, is_cut: bool) -> ReplyReading:
    """One exchange without a question.

    Raises:
        ParseError: It offers several answers, or goes on with turns of its own.
    """
    opening = text[:80].partition("\n")[0]
    if ("here are" in opening.lower() and _SEVERAL.search(text, 0, 160)) or _FIRST_OF_SEVERAL.match(text):
        raise ParseError("reply_ambiguous", "it offers several answers")
    if _FIELDS.match(text) is not None:
        raise ParseError("reply_ambiguous", "it has an answer, and more under other labels")
    if _RUNAWAY.search(text) is not None:
        raise ParseError("reply_ambiguous", "it goes on with turns of its own")
    # nearly every answer begins and ends with a word, so that only words may stand around it
    is_plain = text[0].isalnum() and text[-1] in _PLAIN_ENDS and all(step(text) is None for _, step in _REMARKS)
    if is_plain and "\r" not in text:
        return ReplyReading([linked("", text, options)])
    answer, repairs = unwrapped(text.replace("\r\n", "\n"), _STEPS)
    return ReplyReading([linked("", answer if repairs else text, options)], tuple(repairs))
