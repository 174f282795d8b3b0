"""The inverses of parsers: exchanges as a model would write them."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from vldata.synth.exchange import Exchange, write_links


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
