"""What a parser of replies is, what it reads, and why a reply cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from vldata.schema.spec import Spec
from vldata.synth.exchange import Exchange, read_links
from vldata.synth.replies.reasoning import UnclosedReasoning, without_reasoning

REPLIES_VERSION = 1
"""Raised when the same reply is read otherwise: builds then read every reply again. No request depends on it."""

REASONS = (
    "reply_empty",
    "reply_unparsable",
    "reply_ambiguous",
    "reply_needs_repair",
    "reasoning_unclosed",
    "reply_not_json",
    "reply_off_schema",
    "turns_do_not_alternate",
    "turn_empty",
    "link_broken",
    "scores_missing",
)
"""Why a reply cannot be parsed: names in `vldata.schema.reasons.GENERATED`."""

REPAIRS = {
    "byte_order_mark": "a byte order mark before the text",
    "reasoning": "reasoning before the answer, such as <think>…</think>",
    "template_marks": "marks of a chat template at the beginning or the end",
    "answer_tags": "tags around all, such as <answer>…</answer>",
    "preface": "an opening remark: Sure! Here is …:",
    "signoff": "a closing remark: Let me know if …",
    "fence": "a code fence around all",
    "blockquote": "a quotation mark before every line",
    "heading": "a heading over all",
    "label": "a label before the answer: Description:",
    "quotes": "quotation marks around all",
    "emphasis": "bold or italics around all",
    "json_string": "a JSON object around the answer",
    "bold_labels": "**Question:**",
    "heading_labels": "### Question",
    "bracket_labels": "[Question]",
    "listed_labels": "1. Question: or - Question:",
    "numbered_labels": "Question 1:",
    "other_labels": "Q: and A:, User: and Assistant:, Human: …",
    "translated_labels": "labels in another language",
    "full_width_colons": "a full-width colon after labels",
    "labels_without_colon": "no colon after labels that stand alone",
    "labels_in_line": "an answer's label in the question's line",
    "separators": "missing separators between questions and answers, or others",
    "pair_headings": "headings over pairs of question and answer",
    "json_form": "pairs in JSON where text was due, or the reverse",
    "trailing_comma": "a comma behind the last value of a list or object of JSON",
    "json_line_breaks": "line breaks inside texts of JSON",
    "python_quotes": "a literal of Python's where JSON was due",
    "tag_form": "pairs in tags: <question>…</question>",
    "labelled_reasoning": "a part before the answer that is labelled Reasoning:",
    "doubled_labels": "a label that stands twice before the same text",
    "cut_pair": "the last pair is left out, as the reply was cut off at the largest number of tokens",
    "dangling_question": "a last question without an answer is left out",
}
"""What may be taken from around an answer, or read otherwise than as requested; the names are counted."""

NEVER_REFUSED = frozenset({"byte_order_mark", "reasoning"})
"""Repairs that a strict source lets pass: what is taken away is no part of the reply."""


class ParseError(ValueError):
    """The reply cannot be read as what its kind asks for.

    Args:
        reason: A name in `REASONS`.
        detail: What exactly, with the place in the reply.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[ParseError], tuple[str, str]]:
        """Travel between processes whole."""
        return type(self), (self.reason, self.detail)


class Options(Spec):
    """Options of every parser.

    Args:
        links: Phrases may be marked with the numbers of boxes, ``[two dogs](2, 3)``.
        strict: Refuse replies that could only be read with a repair, other than leaving reasoning out.
    """

    links: bool = False
    strict: bool = False


class ReplyReading(NamedTuple):
    """What was read of a reply.

    Args:
        exchanges: At least one.
        repairs: Names in `REPAIRS`, each once.
    """

    exchanges: list[Exchange]
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parser:
    """A named form of reply.

    Args:
        name: What ``kind.yaml`` calls it.
        options: The type of its options.
        read: Text (with white space stripped, not empty, without reasoning), options, and whether the text was cut off.
    """

    name: str
    options: type[Options]
    read: Callable[[str, Any, bool], ReplyReading]

    def __call__(self, text: str, options: Mapping[str, Any] | Options | None = None) -> list[Exchange]:
        """The exchanges of a reply, at least one; see `reading`."""
        return self.reading(text, options).exchanges

    def reading(
        self, text: str, options: Mapping[str, Any] | Options | None = None, *, is_cut: bool = False
    ) -> ReplyReading:
        """The exchanges of a reply, and what was repaired to read them.

        Args:
            is_cut: It was cut off at the largest number of tokens, so that its end cannot be trusted.

        Raises:
            ParseError: It does not have this form. Nothing else is raised, whatever the text.
        """
        checked = options if isinstance(options, Options) else self.options.model_validate(options or {})
        bare, before = bared(text)
        exchanges, repairs = self.read(bare, checked, is_cut)
        if not before and not repairs:
            return ReplyReading(exchanges)
        repairs = tuple(dict.fromkeys((*before, *repairs)))
        if checked.strict and (refused := [name for name in repairs if name not in NEVER_REFUSED]):
            raise ParseError("reply_needs_repair", ", ".join(refused))
        return ReplyReading(exchanges, repairs)


def bared(text: str) -> tuple[str, tuple[str, ...]]:
    """The text without white space, byte order mark and reasoning around it, and the repairs.

    Raises:
        ParseError: Nothing is left, or it cannot be known where reasoning ends.
    """
    repairs = []
    stripped = text.strip()
    if stripped.startswith("\ufeff"):
        stripped = stripped.lstrip("\ufeff \t\r\n")
        repairs.append("byte_order_mark")
    try:
        rest = without_reasoning(stripped)
    except UnclosedReasoning as error:
        raise ParseError(error.reason, str(error)) from None
    if rest is not stripped:
        stripped = rest.strip().lstrip("\ufeff \t\r\n")
        repairs.append("reasoning")
    if not stripped:
        raise ParseError("reply_empty")
    if not stripped.isascii():
        try:
            stripped.encode()
        except UnicodeEncodeError as error:
            raise ParseError("reply_unparsable", f"character {error.start} is half a surrogate pair") from None
    return stripped, tuple(repairs)


def linked(question: str, answer: str, options: Options) -> Exchange:
    """The exchange of two texts, with the marks of links taken out where there may be some.

    Raises:
        ParseError: A mark cannot be read.
    """
    if not options.links:
        return Exchange(question, answer)
    texts, links = zip(*(read_links(text) for text in (question, answer)), strict=True)
    for text in texts:
        if "](" in text:
            place = text.index("](")
            raise ParseError("link_broken", f"near {text[max(0, place - SHOWN // 2) : place + SHOWN // 2]!r}")
    return Exchange(*texts, *links)


SHOWN = 60
"""Characters of a reply that a detail quotes."""
