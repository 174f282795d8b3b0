"""The reasoning that models write before an answer: where it ends, and marks of it that are left.

    <think>…</think>                        most open models; also <thinking>, <reasoning>, <thought> …
    …</think>                               where the chat template has written the opening mark
    [THINK]…[/THINK]                        Magistral
    ◁think▷…◁/think▷                        Kimi
    <|begin_of_thought|>…                   and others with marks of their own
    <|channel|>analysis<|message|>…         gpt-oss ("harmony"), where only the channel ``final`` is the answer
    analysis…assistantfinal…                the same from servers that leave the marks out

Nothing is guessed: reasoning that does not end has no answer after it, and where several ends leave two texts that may
be the answer, neither is.
"""

from __future__ import annotations

import re

_TAGS = "think|thinking|thoughts?|reasoning|reason|analysis|reflection|scratchpad|seed:think|antthinking|cot"
_OTHERS = {
    "[think]": "[/think]",
    "◁think▷": "◁/think▷",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|start_thinking|>": "<|end_thinking|>",
    "<|channel>thought": "<channel|>",
    "<unused94>": "<unused95>",
}
_OPEN = rf"<(?:{_TAGS})(?:[ \t][^<>\n]{{0,80}})?>|{'|'.join(map(re.escape, _OTHERS))}"
_CLOSE = rf"</(?:{_TAGS})[ \t]*>|{'|'.join(map(re.escape, _OTHERS.values()))}"
_OPENING = re.compile(rf"[\s\ufeff]*({_OPEN})", re.IGNORECASE)
_TAG = re.compile(r"<([\w:]+)[ >]")
LEFT = re.compile(rf"(?P<open>{_OPEN})|(?P<close>{_CLOSE})", re.IGNORECASE)
"""A mark of reasoning, anywhere."""

_HARMONY = ("<|channel|>", "<|message|>")
_HARMONY_END = re.compile(r"<\|(?:return|end|call|start)\|>")
_UNMARKED = re.compile(r"(?:analysis|commentary)(?=[A-Z\"'\d])")


class UnclosedReasoning(ValueError):
    """It cannot be known where reasoning ends and the answer begins.

    Args:
        reason: A name in `vldata.schema.reasons.GENERATED`.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def without_reasoning(text: str) -> str:
    """What follows the reasoning at the beginning of a text; the very same text when there is none.

    Raises:
        UnclosedReasoning: It does not end, or ends at several places.
    """
    if "<" not in text and "[" not in text and "◁" not in text and not text.startswith(("analysis", "commentary")):
        return text
    text = _final_channel(text)
    start = _after_openings(text, 0)
    # an end without a beginning: the chat template wrote that, so all before is reasoning
    mark = LEFT.search(text, start)
    is_spoken_of = mark is not None and (text[mark.start() - 1 : mark.start()] in ("`", "'", '"') or text[0] in "{[")
    if mark is None or mark["open"] or is_spoken_of:
        return text[start:] if start else text
    end = _after_openings(text, mark.end())
    after = LEFT.search(text, end)
    if (start and text[start : mark.start()].strip()) or (after is not None and after["close"]):
        raise UnclosedReasoning("reply_ambiguous", f"reasoning ends at several places: {mark[0]!r}")
    return text[end:]


def _after_openings(text: str, start: int) -> int:
    """Where what follows the reasoning begins that has its opening mark at ``start``; ``start`` where none has."""
    while opening := _OPENING.match(text, start):
        start = _end_of(opening, text)
    return start


def _end_of(opening: re.Match[str], text: str) -> int:
    """Where the reasoning ends whose opening mark is given; marks inside it count."""
    mark = opening[1].lower()
    if mark in _OTHERS:
        open_, close = re.escape(mark), re.escape(_OTHERS[mark])
    else:
        tag = _TAG.match(mark)
        assert tag is not None, "every other mark is a tag"
        open_, close = rf"<{tag[1]}[ \t>]", rf"</{tag[1]}[ \t]*>"
    depth, marks = 1, re.compile(rf"(?P<close>{close})|{open_}", re.IGNORECASE)
    for mark in marks.finditer(text, opening.end()):
        depth += -1 if mark["close"] else 1
        if depth == 0:
            return mark.end()
    raise UnclosedReasoning("reasoning_unclosed", f"{opening[1]!r} is not closed")


def _final_channel(text: str) -> str:
    """The message of the channel ``final``, where a text has channels at all."""
    if _HARMONY[0] in text or _HARMONY[1] in text:
        channel = text.rfind("<|channel|>final")
        message = text.find(_HARMONY[1], channel)
        if (channel < 0 or message < 0) and not text.startswith("<|"):
            return text
        if channel < 0 or message < 0:
            raise UnclosedReasoning("reasoning_unclosed", "there is no message in the channel 'final'")
        start = message + len(_HARMONY[1])
        end = _HARMONY_END.search(text, start)
        return text[start : end.start() if end else len(text)]
    if _UNMARKED.match(text):
        parts = text.split("assistantfinal")
        if len(parts) != 2:
            reason = "reasoning_unclosed" if len(parts) == 1 else "reply_ambiguous"
            raise UnclosedReasoning(reason, "it begins with 'analysis', and 'assistantfinal' does not follow once")
        return parts[1]
    return text
