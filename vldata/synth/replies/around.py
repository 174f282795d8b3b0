r"""What models put around an answer, and how it is taken away, one layer after the other.

    Sure! Here is a detailed description of the image:      preface
    ```markdown                                             fence
    **Image Description**                                   heading
    "The image shows a bus."                                quotes
    ```
    Let me know if you would like any changes!              signoff

Each step takes a whole layer or nothing: a text that merely begins with a quotation, or with a list that has a heading,
is left alone. A reply that is nothing but layers is empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import orjson

from vldata.synth.replies.base import ParseError, bared
from vldata.synth.replies.remarks import after_preface, before_signoff_line

Step = Callable[[str], "str | None"]
"""Text -> what is left of it without a layer; None when there is no such layer."""

_MOST_LAYERS = 12


def unwrapped(text: str, steps: Sequence[tuple[str, Step]]) -> tuple[str, list[str]]:
    """The text without the layers that the steps know, and the names of those that were taken away.

    Args:
        text: Without white space around it.
        steps: Name of the repair and step, the first one that finds a layer first.

    Raises:
        ParseError: Nothing is left, or there are more layers than an answer has.
    """
    repairs: list[str] = []
    for _ in range(_MOST_LAYERS):
        for name, step in steps:
            inner = step(text)
            if inner is not None:
                text, more = bared(inner)  # reasoning may stand in a fence, too
                repairs += [name, *more]
                break
        else:
            return text, repairs
    raise ParseError("reply_ambiguous", f"more than {_MOST_LAYERS} layers are around it")


_FENCE = re.compile(r"(`{3,}|~{3,})[ \t]*([\w+.-]*)[ \t]*\r?\n")
TEXT = frozenset(
    {"", "text", "txt", "plain", "plaintext", "markdown", "md", "none", "caption", "description", "answer"}
)
"""What models call the language of a fence around prose."""
DATA = frozenset({"json", "jsonl", "json5", "jsonc", "ndjson", "javascript", "js", "python"})


def fenced(text: str, languages: frozenset[str]) -> str | None:
    """What stands in the one fence around all."""
    if text[0] == "`" and "\n" not in text and text[-1] == "`":
        inner = text.strip("`")
        return None if "`" in inner else inner
    fence = _FENCE.match(text) if text[:3] in ("```", "~~~") else None
    if fence is None or fence[2].lower() not in languages:
        return None
    last = text.rfind("\n")
    if text[last + 1 :].strip() != fence[1] or last < fence.end() - 1:
        return None
    inner = text[fence.end() : last]
    return None if f"\n{fence[1]}" in f"\n{inner}" else inner


def after_fence(text: str) -> str | None:
    """What stands in a fence that begins a text and, as that was cut off, does not end."""
    fence = _FENCE.match(text) if text[:3] in ("```", "~~~") else None
    return text[fence.end() :] if fence and f"\n{fence[1]}" not in text else None


def blockquoted(text: str) -> str | None:
    """What stands behind the ``>`` of every line."""
    if text[0] != ">":
        return None
    lines = text.split("\n")
    return "\n".join(line[1:].removeprefix(" ") for line in lines) if all(line[:1] == ">" for line in lines) else None


_QUOTES = {'"': '"', "“": "”", "«": "»", "「": "」", "『": "』", "„": "“", "‘": "’", "'": "'", "”": "”"}
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")


def quoted(text: str) -> str | None:
    """What stands in quotation marks around all; not where these belong to quotations at both ends."""
    close = _QUOTES.get(text[0])
    if close is None or len(text) < 3 or text[-1] != close:
        return None
    inner = text[1:-1]
    bare = _APOSTROPHE.sub("", inner) if close in "'’" else inner
    return None if text[0] in bare or close in bare else inner


_EMPHASIS = ("***", "**", "__", "*", "_")


def emphasized(text: str) -> str | None:
    """What stands in bold or italics around all."""
    for mark in _EMPHASIS:
        if text.startswith(mark) and text.endswith(mark) and len(text) > 2 * len(mark):
            inner = text[len(mark) : -len(mark)]
            return None if mark[0] in inner or "\n\n" in inner or inner != inner.strip() else inner
    return None


_TAG = re.compile(r"<(answer|output|response|final_answer|final|result|caption|description|summary)>", re.IGNORECASE)
_BOXES = (("<|begin_of_box|>", "<|end_of_box|>"), ("<|begin_of_solution|>", "<|end_of_solution|>"))


def tagged(text: str) -> str | None:
    """What stands in tags around all."""
    tag = _TAG.match(text)
    marks = [(tag[0], f"</{tag[1]}>")] if tag else _BOXES if text[0] == "<" else ()
    for open_, close in marks:
        if text.startswith(open_) and text.endswith(close):
            inner = text[len(open_) : -len(close)]
            return None if open_ in inner or close in inner else inner
    return None


_BEGIN = re.compile(
    r"(?:<\|im_start\|>assistant\s*\n|<start_of_turn>model\s*\n|<\|start_header_id\|>assistant<\|end_header_id\|>"
    r"|<\|assistant\|>|<\|START_RESPONSE\|>|<s>|\[/INST\])\s*"
)
_ENDS = (
    "<|im_end|>", "</s>", "<|eot_id|>", "<|endoftext|>", "<end_of_turn>", "<|end|>", "<|return|>", "<eos>", "[/INST]",
    "<|end_of_text|>", "<|eom_id|>", "<｜end▁of▁sentence｜>", "<|END_RESPONSE|>", "<|END_OF_TURN_TOKEN|>", "<|user|>",
)  # fmt: skip


def without_template_marks(text: str) -> str | None:
    """The text without the marks of a chat template before and behind it."""
    if text[0] not in "<[" and text[-1] not in ">]":
        return text[len("assistant\n") :] if text.startswith("assistant\n") else None
    begin = _BEGIN.match(text)
    rest = text[begin.end() :] if begin else text
    while ends := [end for end in _ENDS if rest.endswith(end)]:
        rest = rest[: -len(ends[0])].rstrip()
        if len(text) - len(rest) > _MANY:
            break
    return None if len(rest) == len(text) else rest


_MANY = 400
"""Characters of marks behind one another; what is left then is another layer."""


def in_json(text: str) -> str | None:
    """The one text of a JSON object that has nothing else, or of a JSON string."""
    if text[:1] not in ("{", "[") or text[-1] not in "}]":
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
        return value if isinstance(value, str) else None
    return None


ANY_FORM: tuple[tuple[str, Step], ...] = (
    ("template_marks", without_template_marks),
    ("answer_tags", tagged),
    ("signoff", before_signoff_line),
    ("preface", after_preface),
)
"""Layers around a reply of any form."""
