"""The whole reply is the answer: what stands around it is taken away, layer by layer."""

from __future__ import annotations

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
from vldata.synth.replies.base import Options, Reading, linked
from vldata.synth.replies.headings import without_heading, without_label
from vldata.synth.replies.remarks import after_preface, before_signoff, between_rules

_REMARKS = (
    ("signoff", before_signoff),
    ("preface", after_preface),
    ("label", without_label),
)
_STEPS = (
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


def read_answer(text: str, options: Options, is_cut: bool) -> Reading:
    """One exchange without a question."""
    # nearly every answer begins and ends with a word, so that only words may stand around it
    is_plain = text[0].isalnum() and text[-1] in _PLAIN_ENDS and all(step(text) is None for _, step in _REMARKS)
    if is_plain and "\r" not in text:
        return Reading([linked("", text, options)])
    answer, repairs = unwrapped(text.replace("\r\n", "\n"), _STEPS)
    return Reading([linked("", answer if repairs else text, options)], tuple(repairs))
