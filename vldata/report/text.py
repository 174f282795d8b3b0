"""Texts from data as inert HTML, and numbers for people."""

from __future__ import annotations

import math
import re
from typing import Any

from markupsafe import Markup, escape

_ODD = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
# Controls, invisible characters and those that change the direction of what stands around them. The joiners U+200C and
# U+200D stay: Persian and emoji are written with them.
_FOLDERS = re.compile(r"(?<![\w/.:])(?:/[^/\s:'\",;()\[\]]+)+/(?=[^/\s])")


def inert(text: object) -> Markup:
    """The text as HTML that cannot do anything: escaped, isolated from its surroundings, odd characters by name.

    Args:
        text: From a dataset, a ledger or a recipe.
    """
    return Markup('<bdi dir="auto">{}</bdi>').format(_named(str(text)))


def _named(text: str) -> Markup:
    """Escaped, with characters that could not be seen, or would steer the others, written as ``U+202E``."""
    parts: list[Markup] = []
    end = 0
    for match in _ODD.finditer(text):
        parts += [escape(text[end : match.start()]), Markup('<span class="odd">{}</span>').format(_code(match[0]))]
        end = match.end()
    return Markup("").join([*parts, escape(text[end:])])


def plain(text: object, limit: int = 80) -> str:
    """One line of text for a label or an attribute: odd characters by name, cut at ``limit`` characters."""
    line = _ODD.sub(lambda match: _code(match[0]), " ".join(str(text).split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def without_folders(text: str) -> str:
    """The text with absolute paths cut to their last name, so that a page says nothing about a machine."""
    return _FOLDERS.sub("…/", text)


def cut(text: str, limit: int) -> str:
    """At most ``limit`` characters, and how many more there are."""
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text) - limit:,} more characters)"


def count(number: float | None) -> str:
    """12,345."""
    return "–" if number is None else f"{number:,.0f}"


def short(number: float) -> str:
    """12.3 k, 4.5 M: for headings."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= limit:
            scaled = number / (1e3 if unit == "k" else limit)
            return f"{scaled:.0f} {unit}" if scaled >= 100 else f"{scaled:.1f} {unit}"
    return f"{number:,.0f}"


def percent(share: float | None) -> str:
    """12.3 %; a share that is not 0 never reads as 0."""
    if share is None or math.isnan(share):
        return "–"
    return "< 0.1 %" if 0 < share < 0.001 else f"{share:.1%}".replace("%", " %")


def signed(number: float | None, digits: int = 3) -> str:
    """+0.012, with a real minus sign."""
    if number is None or math.isnan(number):
        return "–"
    return f"{number:+.{digits}f}".replace("-", "−")


def p_value(probability: float | None) -> str:
    """0.041; a small one is not 0."""
    return "–" if probability is None else "< 0.001" if probability < 0.001 else f"{probability:.3f}"


def value(thing: Any) -> str:
    """A value of a recipe or of a table of changes."""
    if thing is None:
        return "not set"
    return without_folders(thing if isinstance(thing, str) else _as_json(thing))


def _as_json(thing: Any) -> str:
    import json

    return json.dumps(thing, ensure_ascii=False)


def _code(character: str) -> str:
    return f"U+{ord(character):04X}"
