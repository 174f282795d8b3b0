"""A heading over an answer, and a label before it."""

from __future__ import annotations

import re

_ADJECTIVES = (
    r"(?:(?:final|full|expanded|detailed|long|short|brief|complete|new|rewritten|revised|improved|image|scene|visual|photo"
    r"|pic(?:ture)?|screen|overall|generated|alt|my)[ \t]+){0,3}"
)
_OF = r"(?:[ \t]+of[ \t]+(?:the|this)[ \t]+(?:image|pic(?:ture)?|photo|photograph|scene|screen))?"
_NOUNS = r"(?:description|caption|summary|answer|response|output)"
_MORE = r"(?:description|caption|summary|answer|response|output|reply|result|overview|text|version|analysis)"
_CHINESE = r"(?:详细|图片|图像|画面|完整|最终)*(?:描述|说明|标题|回答|答案|答|摘要|总结|概述)"
_NAME = rf"(?:{_ADJECTIVES}{_NOUNS}{_OF}|assistant|{_CHINESE})"
_LABEL = re.compile(
    rf"(?:\*\*|__)?{_NAME}[ \t]*(?:(?:\*\*|__)[ \t]*[:：]|[:：][ \t]*(?:\*\*|__)|[:：])[ \t]*\n?\s*", re.IGNORECASE
)
_BOLD_LABEL_ALONE = re.compile(rf"(?:\*\*|__){_NAME}(?:\*\*|__)[ \t]*\n", re.IGNORECASE)
_NAME_ALONE = re.compile(rf"{_NAME}[ \t]*\n(?:[=-]{{3,}}[ \t]*\n)?[ \t]*\n", re.IGNORECASE)
_HEADING = re.compile(r"(?:#{1,6}[ \t]+([^\n]{1,100})|(\*\*|__)([^*_\n]{1,100})\2[ \t]*[:：]?)[ \t]*\n")
_OTHER = re.compile(r"\n[ \t]*(?:[-*+•][ \t]+|\d{1,3}[.)][ \t]*)?(?:#{1,6}[ \t]|\*\*|__)")
_FIELD = re.compile(r"\n[ \t]*[A-Z][\w ]{0,24}:[ \t\n]")
"""Another label: the first one is the first of several, each before a part of the answer."""
_NAMED = re.compile(rf"[*_ \t]*(?:{_NAME}|{_ADJECTIVES}{_MORE}{_OF})[*_ \t]*[:：]?[*_ \t]*", re.IGNORECASE)


def without_label(text: str) -> str | None:
    """The text behind ``Description:`` and the like; None when it does not begin so."""
    if text[0] == "*" or text[0] == "_":
        label = _LABEL.match(text) or _BOLD_LABEL_ALONE.match(text)
        return None if label is None or _OTHER.search(text, label.end() - 1) else text[label.end() :]
    label = _LABEL.match(text) or _NAME_ALONE.match(text)
    return None if label is None or _FIELD.search(text, label.end()) else text[label.end() :]


def without_heading(text: str) -> str | None:
    """The text under the heading over all; a heading over a first part of several is one of the answer's own."""
    if text[0] not in "#*_":
        return None
    heading = _HEADING.match(text)
    if heading is None:
        return None
    title = (heading[1] or heading[3]).strip()
    if title.endswith((".", "!", "?")) and not heading[1]:
        return None
    rest = text[heading.end() :]
    if _NAMED.fullmatch(title):
        return rest
    return rest if rest[:1] == "\n" and not _OTHER.search(rest) else None  # a comment has its code in the next line
