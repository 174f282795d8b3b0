"""The labels of questions and answers as models write them: which words, and how they are set off.

Question:   **Question:**   **Question 1**:   ### Question   1. **Question:**   [Question]   Q1:   问题：   User:
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

Role = Literal["question", "answer"]

_QUESTIONS = {
    "question": ("answer",),
    "ques": ("ans",),
    "q": ("a",),
    "user": ("assistant",),
    "human": ("assistant", "ai"),
    "student": ("teacher", "assistant"),
    "person": ("assistant", "ai"),
    "instruction": ("response", "answer"),
    "问题": ("答案", "回答", "答"),
    "提问": ("回答", "答"),
    "问": ("答",),
    "用户": ("助手", "助理"),
    "人类": ("助手", "助理"),
    "質問": ("回答", "答え"),
    "質问": ("回答",),
    "問題": ("答案", "回答"),
    "問": ("答",),
    "질문": ("답변", "대답", "답"),
    "frage": ("antwort",),
    "pregunta": ("respuesta",),
    "pergunta": ("resposta",),
    "domanda": ("risposta",),
    "вопрос": ("ответ",),
}
"""Word before a question -> the words that belong before its answer."""

_ANSWERS = (
    *dict.fromkeys(word for words in _QUESTIONS.values() for word in words),
    *("ai assistant", "gpt", "gpt-4", "chatgpt", "bot", "chatbot", "model", "réponse", "reponse", "expert"),
)


class Vocabulary(NamedTuple):
    """The words that may be labels.

    Args:
        roles: Word in lower case -> its role.
        partners: Word before a question -> words that belong before its answer.
        own: The words that the kind itself asks for: question, answer.
        pattern: One label at the beginning of a line, in a text that begins with a line break.
    """

    roles: Mapping[str, Role]
    partners: Mapping[str, tuple[str, ...]]
    own: tuple[str, str]
    pattern: re.Pattern[str]


@lru_cache(maxsize=64)
def vocabulary(question: str, answer: str) -> Vocabulary:
    """All words of the tables, and the kind's own."""
    own = question.lower(), answer.lower()
    partners = {**_QUESTIONS, own[0]: (own[1], *_QUESTIONS.get(own[0], ()))}
    roles: dict[str, Role] = {**dict.fromkeys(_ANSWERS, "answer"), **dict.fromkeys(_QUESTIONS, "question")}
    roles |= {own[0]: "question", own[1]: "answer"}
    # the usual words first, as every line is tried with all of them
    words = "|".join(map(re.escape, dict.fromkeys((*own, "question", "answer", "q", "a", "user", "assistant", *roles))))
    firsts = "".join(re.escape(first) for first in sorted({c for word in roles for c in word[0] + word[0].upper()}))
    pattern = (
        r"\n[ \t]*(?P<bullet>(?:[-*+•][ \t]+)?(?:\(?\d{1,3}[.)、][ \t]*)?)(?P<heading>#{1,6}[ \t]*)?"
        r"(?P<bold>\*{1,3}|_{2,3})?(?P<inner>\(?\d{1,3}[.)、][ \t]*)?(?P<bracket>[\[【(])?"
        rf"(?=[{firsts}])(?P<word>{words})(?![^\W\d_一二三四五六七八九十])"
        r"(?:(?P<sign>[ \t]*#?[ \t]?)(?P<number>\d{1,3}|[一二三四五六七八九十]{1,3}))?"
        r"(?P<closed>[\]】)])?[ \t]*(?P<early>\*{1,3}|_{2,3})?[ \t]*(?P<colon>[:：﹕]|(?<=\d)[.)])?"
        r"[ \t]*(?P<late>\*{1,3}|_{2,3})?(?P<after>[ \t]*)"
    )
    return Vocabulary(roles, partners, own, re.compile(pattern, re.IGNORECASE))


_LONG = 4
"""Letters of a word that may be a label without anything that sets it off, alone in its line."""


class Label(NamedTuple):
    """A label at the beginning of a line.

    Args:
        start: Where its line begins, in characters.
        end: Where what it labels begins.
        role: Whose text follows.
        word: In lower case.
        style: How it is set off: ``""``, ``bare``, ``bold``, ``heading``, ``bracket``, with ``listed`` before it.
        number: As written; None when there is none.
        colon: The character behind it; "" when the label stands alone.
        is_open: It is in bold, and what it labels is, too, so that the bold ends later.
    """

    start: int
    end: int
    role: Role
    word: str
    style: str
    number: int | None
    colon: str
    is_open: bool


def labels_of(text: str, words: Vocabulary) -> Iterator[Label]:
    """All that may be a label, in order."""
    for match in words.pattern.finditer(f"\n{text}"):
        label = _label(match, text, words)
        if label is not None:
            yield label


def label_before(text: str, words: Vocabulary) -> Label | None:
    """The label that a text begins with."""
    match = words.pattern.match(f"\n{text[:_BEGINNING]}")
    return _label(match, text, words) if match else None


_BEGINNING = 200


def _label(match: re.Match[str], text: str, words: Vocabulary) -> Label | None:
    bullet, heading, bold, inner, bracket, word, sign, digits, closed, early, colon, late, _ = match.groups()
    word, colon, closing = word.lower(), colon or "", early or late
    # the text that was searched has one character more in front
    end = match.end() - 1
    is_bracket = bracket is not None and closed is not None
    if (bracket is None) != (closed is None) or (closing and closing != bold):
        if bold is not None or not late or not colon:
            return None
        end, closing = match.start("late") - 1, None  # bold begins behind the label
    if is_bracket and text[end : end + 1] == "(":  # the link of a phrase to boxes
        return None
    is_alone = end >= len(text) or text[end] == "\n"
    if colon in (".", ")") and (word not in ("q", "a") or sign.strip(" \t")):
        return None
    is_bare = not colon and not is_bracket and not heading and not (bold and closing)
    if is_bare and (bold or not is_alone or word not in words.own or len(word) < _LONG):
        return None
    if not colon and not is_bracket and not is_alone:
        return None
    set_off = "bare" if is_bare else "heading" if heading else "bold" if bold else "bracket" if is_bracket else ""
    style = f"{set_off} listed" if bullet or inner else set_off
    number = int(digits) if digits and digits.isdecimal() else None
    is_open = bold is not None and closing is None
    return Label(match.start(), end, words.roles[word], word, style, number, colon, is_open)
