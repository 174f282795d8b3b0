"""A judge's scores: a JSON value, or numbers in the first line."""

from __future__ import annotations

import math
import re
from typing import Any, Literal

from vldata.synth.exchange import Exchange
from vldata.synth.replies.around import ANY_FORM, unwrapped
from vldata.synth.replies.base import SHOWN, Options, ParseError, ReplyReading
from vldata.synth.replies.json_forms import fenced_json, json_value
from vldata.synth.replies.remarks import after_lead


class Scores(Options):
    """Options of ``scores``.

    Args:
        schema_: As in `vldata.synth.replies.structured.Json`.
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


def read_scores(text: str, options: Scores, is_cut: bool) -> ReplyReading:
    """One exchange for each candidate, named in its answer."""
    if options.form == "first_line":
        marks, repairs = _first_line(text, options), list[str]()
    else:
        text, repairs = unwrapped(text, _STEPS)
        value, more = json_value(text)
        marks, repairs = _marks(value, options), repairs + more
    if not any(marks.values()):
        raise ParseError("scores_missing", f"no number from {options.low:g} to {options.high:g}: {text[:SHOWN]!r}")
    return ReplyReading([Exchange("", name, scores=marks[name]) for name in options.candidates], tuple(repairs))


_STEPS = (*ANY_FORM, ("preface", after_lead), ("fence", fenced_json))


def _marks(value: Any, options: Scores) -> dict[str, dict[str, float]]:
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
        detail = f"the first line should hold {len(options.candidates)} numbers: {text[:SHOWN]!r}"
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
