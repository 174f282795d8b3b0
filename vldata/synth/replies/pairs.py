"""Labelled text -> questions and answers, read tolerantly and never by guess.

The labels of a reply are looked for as the kind asks for them and as models write them. A reply may allow several
readings: with every label; with those alone that are set off as the first ones are; with those alone that stand behind
a separator. It is read when exactly one of these makes pairs, and rejected as ambiguous when two of them do.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from vldata.synth.replies.around import quoted
from vldata.synth.replies.base import SHOWN, ParseError
from vldata.synth.replies.labels import Label, Vocabulary, label_before, labels_of
from vldata.synth.replies.remarks import before_signoff_line


class Pairs(NamedTuple):
    """What was read.

    Args:
        texts: Question and answer, free of white space around them.
        repairs: Names in `vldata.synth.replies.base.REPAIRS`.
    """

    texts: list[tuple[str, str]]
    repairs: list[str]


class _Boundary(NamedTuple):
    """What stands between a text and the label behind it.

    Args:
        start: Where it begins, which is where the text ends.
        separator: The line that parts them; "" when there is none.
        heading: There is a heading over the pair that follows.
    """

    start: int
    separator: str
    heading: bool


_SEPARATOR = re.compile(r"(?:={3,}|-{3,}|\*{3,}|_{3,}|~{3,}|#{3,}|—{2,}|–{3,}|(?:[*=-] ){2,}[*=-]|<(?:sep|br ?/?)>)")
_PAIR = re.compile(
    r"[#*_ \t(\[]*(?:(?:q ?& ?a|qa|question[ -](?:and[ -])?answer|conversation|dialogue|exchange|example|pair"
    r"|round|turn)"
    r"[ \t]*(?:pair[ \t]*)?#?[ \t]*\d{1,3}|\d{1,3}[.)]|第[一二三四五六七八九十\d]{1,3}[轮组对])[)\]:：.*_ \t]*",
    re.IGNORECASE,
)
_TITLE = re.compile(
    r"[#*_ \t]*(?:(?:the|generated|sample|visual|multi-turn|image|example)[ \t]+){0,3}"
    r"(?:conversations?|dialogues?|dialogs?|q ?& ?a|qas?|questions?(?: (?:and|&) answers?)?|output|对话|问答)"
    r"(?:[ \t]+(?:pairs?|session|\d{1,3}))?(?:[ \t]+(?:about|based on|for|of)[ \t]+[^\n]{1,60})?[:：*_ \t]*",
    re.IGNORECASE,
)
_WINDOW = 240
_LINE = 60
_DOUBLED = 4
_RULES = frozenset("=-*_~#—–>")


def read_pairs(text: str, words: Vocabulary, *, separator: str, is_cut: bool) -> Pairs:
    """The pairs of a labelled text.

    Args:
        text: Without white space around it.
        words: The labels to look for.
        separator: The line that is due between texts; "" when there is none.
        is_cut: The end of the last text is missing.

    Raises:
        ParseError: There are no pairs, or it cannot be known which.
    """
    found = _outside_code(labels_of(text, words), text)
    first = next((label for label in found if label.role == "question"), None)
    if first is None:
        raise _unlabelled(text, found, words)
    if next(label for label in found if label.role == "answer" or label is first) is not first:
        raise ParseError("turns_do_not_alternate", f"part 1 is {found[0].word!r}, and should be {first.word!r}")
    used = first.word, _partner(first, found, words)
    labels = [label for label in found if label.word in used]
    afters = [0, *(label.end for label in labels[:-1])]
    ends = {label.start: _boundary(text, after, label) for after, label in zip(afters, labels, strict=True)}
    repairs = _foreword(text[: ends[first.start].start].strip())
    if len(labels) > 1 and all(label.role == "question" for label in labels):
        labels = _in_line(text, labels, words)
        repairs.append("labels_in_line")
    else:
        labels = _the_reading(labels, ends)
    pairs, more = _texts(text, labels, ends, is_cut)
    once = [(_once(one, used[0], words), _once(other, used[1], words)) for one, other in pairs]
    if once != pairs:
        pairs = once
        more.append("doubled_labels")
    _refuse_unlabelled(pairs, {separator, *(boundary.separator for boundary in ends.values())})
    inner = [(quoted(question), quoted(answer)) for question, answer in pairs]
    if all(question and answer for question, answer in inner):
        pairs = [(question or "", answer or "") for question, answer in inner]
        more.append("quotes")
    return Pairs(pairs, [*repairs, *_repairs(labels, ends, words, separator), *more])


def _unlabelled(text: str, found: Sequence[Label], words: Vocabulary) -> ParseError:
    if not text.strip("=-*_ \t\n"):
        return ParseError("reply_empty", "it has separators alone")
    question, answer = (word.capitalize() + ":" for word in words.own)
    if found:
        return ParseError("turns_do_not_alternate", f"part 1 is {found[0].word!r}, and no question comes before it")
    return ParseError("reply_unparsable", f"no line begins with {question!r} or {answer!r}: {text[:SHOWN]!r}")


def _partner(first: Label, found: Sequence[Label], words: Vocabulary) -> str | None:
    """The word of the answers: the one that belongs to the question's, else the only one there is."""
    there = dict.fromkeys(label.word for label in found if label.role == "answer" and label.start > first.start)
    for word in words.partners.get(first.word, ()):
        if word in there:
            return word
    if len(there) > 1:
        raise ParseError("reply_ambiguous", f"its answers may begin with {' or '.join(map(repr, there))}")
    return next(iter(there), None)


def _boundary(text: str, after: int, label: Label) -> _Boundary:
    """What stands before a label: white space, a heading over a pair, a separator."""
    start = max(after, label.start - _WINDOW)
    before = text[start : label.start].rstrip()
    heading = separator = ""
    line = before[before.rfind("\n") + 1 :]
    is_whole = len(line) < len(before) or start == after
    if is_whole and len(line) < _LINE and label.role == "question" and _PAIR.fullmatch(line):
        heading, before = line, before[: len(before) - len(line)].rstrip()
        line = before[before.rfind("\n") + 1 :]
        is_whole = len(line) < len(before) or start == after
    if line[-1:] in _RULES and is_whole and _SEPARATOR.fullmatch(line.strip()):
        separator = line.strip()
        for _ in range(_DOUBLED):
            before = before[: len(before) - len(line)].rstrip()
            line = before[before.rfind("\n") + 1 :]
            if line.strip() != separator:
                break
    if not before and start > after:  # more white space than anybody writes
        start = after + len(text[after : label.start].rstrip())
    return _Boundary(start + len(before), separator, bool(heading))


_LEAD = re.compile(r"[^\n]{1,240}[:：][*_ \t]*(?:\n\s*[-=*_]{3,}[ \t]*)?")


_FOREWORDS = (("separators", _SEPARATOR), ("heading", _TITLE), ("pair_headings", _PAIR), ("preface", _LEAD))


def _foreword(before: str) -> list[str]:
    """The repairs that what stands before the first question is: a title, a line that leads to it, or a separator."""
    if not before or before == "===":
        return []
    for name, form in _FOREWORDS:
        if form.fullmatch(before):
            return [name]
    raise ParseError("reply_unparsable", f"before the first question stands {before[:SHOWN]!r}")


def _the_reading(labels: list[Label], ends: dict[int, _Boundary]) -> list[Label]:
    """The labels of the one reading that makes pairs.

    Raises:
        ParseError: Two readings do.
    """
    styles: dict[str, str] = {}
    for label in labels:
        styles.setdefault(label.role, label.style)
    alike = [label for label in labels if label.style == styles[label.role]]
    parted = [label for label in labels if label is labels[0] or ends[label.start].separator]
    whole = labels[:-1] if len(labels) > 2 and labels[-1].role == "question" else labels  # the last one may dangle
    readings = [labels] if _makes_pairs(whole) else []
    for some in (alike, parted):
        if len(some) < len(labels) and _makes_pairs(some) and some not in readings:
            readings.append(some)
    if len(readings) > 1:
        counts = " or ".join(str(len(reading) // 2) for reading in readings)
        raise ParseError("reply_ambiguous", f"it may have {counts} questions")
    return readings[0] if readings else labels


_FENCE = re.compile(r"^[ \t]*```", re.MULTILINE)


def _outside_code(labels: Iterable[Label], text: str) -> list[Label]:
    """The labels that do not stand in a code fence of an answer."""
    if "```" not in text:
        return list(labels)
    fences = [fence.start() for fence in _FENCE.finditer(text)]
    end = fences[-1] if len(fences) % 2 and fences else len(text)  # one that is not closed is no fence
    return [label for label in labels if label.start >= end or bisect(fences, label.start) % 2 == 0]


def _makes_pairs(labels: Sequence[Label]) -> bool:
    roles = [label.role for label in labels]
    return len(roles) % 2 == 0 and roles == ["question", "answer"] * (len(roles) // 2)


def _in_line(text: str, questions: list[Label], words: Vocabulary) -> list[Label]:
    """Labels of answers that stand in the line of their question: exactly one in each."""
    partners = "|".join(map(re.escape, words.partners[questions[0].word]))
    label = re.compile(
        rf"(?<=[?？.!。）)\"*])[ \t]*(?:\*\*)?\b({partners})(?:[ \t]*\d{{1,3}})?[:：](?:\*\*)?[ \t]*", re.I
    )
    both = []
    for question, after in zip(questions, [*(q.start for q in questions[1:]), len(text)], strict=True):
        line = text.find("\n", question.end)
        inside = list(label.finditer(text, question.end, min(after, line if line >= 0 else after)))
        if len(inside) != 1:
            raise ParseError("turns_do_not_alternate", f"the {question.word!r} at {question.start} has no answer")
        start, end = inside[0].span()
        both += [question, Label(start, end, "answer", inside[0][1].lower(), "", None, ":", False)]
    return both


def _once(body: str, word: str | None, words: Vocabulary) -> str:
    """A text without a label at its beginning that says what its own label has said already."""
    label = label_before(body, words) if word is not None and word in body[:_LINE].lower() else None
    if label is None or label.word != word or label.is_open:
        return body
    return body[label.end :].strip() or body


def _refuse_unlabelled(pairs: Sequence[tuple[str, str]], separators: set[str]) -> None:
    """What stands behind a separator without a label may be the answer's or a remark about it."""
    for separator in filter(None, separators):
        for body in (body for pair in pairs for body in pair if separator in body):
            if separator in map(str.strip, body.split("\n")):
                raise ParseError("reply_ambiguous", f"no label follows {separator!r} in {body[:SHOWN]!r}")


def _texts(
    text: str, labels: Sequence[Label], ends: dict[int, _Boundary], is_cut: bool
) -> tuple[list[tuple[str, str]], list[str]]:
    """Question and answer of every pair; a last one that is not whole is left out where others are."""
    for number, label in enumerate(labels):
        if label.role != ("question", "answer")[number % 2]:
            raise ParseError("turns_do_not_alternate", f"part {number + 1} is {label.word!r}, out of turn")
    starts = [ends[label.start].start if label.start in ends else label.start for label in labels[1:]]
    bodies = [_body(text, label, end) for label, end in zip(labels, [*starts, len(text)], strict=True)]
    repairs = []
    if is_cut and len(bodies) > 2:
        bodies = bodies[: (len(bodies) - 1) // 2 * 2]
        repairs.append("cut_pair")
    elif is_cut:
        raise ParseError("reply_unparsable", "it was cut off in its first pair")
    elif len(bodies) > 2 and (len(bodies) % 2 or not bodies[-1]):
        bodies = bodies[: (len(bodies) - 1) // 2 * 2]
        repairs.append("dangling_question")
    elif len(bodies) % 2:
        raise ParseError("turns_do_not_alternate", f"the last {labels[-1].word!r} has no answer")
    else:
        bodies[-1], more = _without_remark(bodies[-1])
        repairs += more
    for number, body in enumerate(bodies):
        if not body:
            raise ParseError("turn_empty", f"part {number + 1}, {labels[number].word!r}")
    for question, answer in zip(labels[: len(bodies) : 2], labels[1 : len(bodies) : 2], strict=True):
        if None not in (question.number, answer.number) and question.number != answer.number:
            raise ParseError("reply_ambiguous", f"answer {answer.number} follows question {question.number}")
    return list(zip(bodies[::2], bodies[1::2], strict=True)), repairs


def _body(text: str, label: Label, end: int) -> str:
    body = text[label.end : end].strip()
    if not label.is_open:
        return body
    first, _, rest = body.partition("\n")
    opened = first.rstrip()
    for mark in ("***", "**", "__", "*"):
        if opened.endswith(mark):
            return f"{opened[: -len(mark)].rstrip()}\n{rest}".strip()
    raise ParseError("reply_ambiguous", f"bold begins at {label.word!r} and does not end in its line")


def _without_remark(answer: str) -> tuple[str, list[str]]:
    """The last answer without what stands behind it: a closing separator, a remark to the user."""
    repairs = []
    while True:
        line = answer[answer.rfind("\n") + 1 :]
        if _SEPARATOR.fullmatch(line.strip()) and len(line) < len(answer):
            answer = answer[: -len(line)].rstrip()
            repairs += ["separators"] if line.strip() != "===" else []
            continue
        before = before_signoff_line(answer)
        if not before:
            return answer, list(dict.fromkeys(repairs))
        answer = before
        repairs.append("signoff")


def _repairs(labels: Sequence[Label], ends: dict[int, _Boundary], words: Vocabulary, separator: str) -> list[str]:
    styles = {word for style in {label.style for label in labels} for word in style.split()}
    repairs = [f"{style}_labels" for style in ("bold", "heading", "bracket", "listed") if style in styles]
    colons = {label.colon for label in labels}
    if not colons.isdisjoint("：﹕"):
        repairs.append("full_width_colons")
    if "" in colons:
        repairs.append("labels_without_colon")
    if any(label.number is not None for label in labels):
        repairs.append("numbered_labels")
    foreign = {label.word for label in labels} - set(words.own)
    if foreign:
        repairs.append("other_labels" if all(word.isascii() for word in foreign) else "translated_labels")
    between = [ends[label.start] for label in labels if label.start in ends]
    if any(boundary.separator != separator for boundary in between[1:]):
        repairs.append("separators")
    if any(boundary.heading for boundary in between):
        repairs.append("pair_headings")
    return repairs
