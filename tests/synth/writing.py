"""The inverses of parsers: exchanges as a model would write them, and how much of a text stands in others."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from vldata.synth.exchange import Exchange, Link
from vldata.synth.validate.base import words_of


def write_links(text: str, links: Sequence[Link]) -> str:
    """The text with its links marked; for texts and phrases without square brackets, the inverse of `read_links`."""
    for link in reversed(links):
        end = link.start + len(link.phrase)
        text = f"{text[: link.start]}[{link.phrase}]({', '.join(map(str, link.numbers))}){text[end:]}"
    return text


def write_blocks(exchanges: Sequence[Exchange]) -> str:
    """The exchanges as ``llava_blocks`` reads them, links marked."""
    blocks = [
        f"{label}:\n{text}"
        for pair in _marked(exchanges)
        for label, text in zip(("Question", "Answer"), pair, strict=True)
    ]
    return "\n===\n".join(blocks)


def write_json_lines(exchanges: Sequence[Exchange]) -> str:
    """The exchanges as ``json_lines`` reads them."""
    lines = [orjson.dumps({"question": question, "answer": answer}) for question, answer in _marked(exchanges)]
    return b"\n".join(lines).decode()


def write_user_assistant(exchanges: Sequence[Exchange]) -> str:
    """The exchanges as ``user_assistant`` reads them with its own options."""
    return "\n\n".join(f"User: {question}\n\nAssistant: {answer}" for question, answer in _marked(exchanges))


def _marked(exchanges: Sequence[Exchange]) -> list[tuple[str, str]]:
    return [(write_links(e.question, e.question_links), write_links(e.answer, e.answer_links)) for e in exchanges]


def longest_shared_run(words: Sequence[str], texts: Sequence[str]) -> int:
    """The most words in a row that also stand in one of the texts: how the checks for echoes got their lengths."""
    padded = [f" {' '.join(words_of(text).all)} " for text in texts]
    longest = 0
    for start in range(len(words)):
        while start + longest < len(words) and any(
            f" {' '.join(words[start : start + longest + 1])} " in text for text in padded
        ):
            longest += 1
    return longest
