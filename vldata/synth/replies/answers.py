"""The whole reply is the answer: what stands around it is taken away, layer by layer."""

from __future__ import annotations

from vldata.synth.replies.around import ANY_FORM, TEXT, blockquoted, emphasized, fenced, in_json, quoted, unwrapped
from vldata.synth.replies.base import Options, Reading, linked
from vldata.synth.replies.headings import without_heading, without_label
from vldata.synth.replies.remarks import before_signoff

_STEPS = (
    ("signoff", before_signoff),
    *ANY_FORM,
    ("fence", lambda text: fenced(text, TEXT)),
    ("blockquote", blockquoted),
    ("json_string", in_json),
    ("quotes", quoted),
    ("emphasis", emphasized),
    ("heading", without_heading),
    ("label", without_label),
)


def read_answer(text: str, options: Options, is_cut: bool) -> Reading:
    """One exchange without a question."""
    answer, repairs = unwrapped(text, _STEPS)
    return Reading([linked("", answer, options)], tuple(repairs))
