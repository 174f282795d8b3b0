"""Messages -> speeches ``{from, value}``, as LLaVA and ShareGPT write conversations, and a JSON list that is written as it comes."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vldata.export.written import CannotExpressError

IMAGE = "<image>"

_SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}


def speeches(row: Mapping[str, Any], *, reserved: Collection[str] = (IMAGE,)) -> list[dict[str, str]]:
    """The messages of a row, each content part on lines of its own and each image as ``<image>`` at its place.

    Args:
        row: A finished row.
        reserved: Words that the form's readers take for pictures, sounds or films wherever they stand.

    Raises:
        CannotExpressError: A text holds a reserved word, a system message does not stand first, or the image places are
            not as many as the images.
    """
    said = []
    places = 0
    for number, message in enumerate(row["messages"]):
        if message["role"] == "system" and number:
            raise CannotExpressError("system_not_first", f"message {number} is a system message")
        for part in message["content"]:
            places += part["type"] == "image"
            for word in reserved:
                if part["type"] != "image" and word in part["text"]:
                    raise CannotExpressError("reserved_word_in_text", f"message {number} has {word} in its text")
        value = "\n".join(IMAGE if part["type"] == "image" else part["text"] for part in message["content"])
        said.append({"from": _SPEAKERS[message["role"]], "value": value})
    if places != len(row["images"]):
        raise CannotExpressError("image_count_mismatch", f"{places} image places, {len(row['images'])} images")
    return said


@contextmanager
def json_list(path: Path) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A JSON list as a file, one row a line; gives the function that appends a row."""
    with path.open("w", encoding="utf-8") as file:
        before = "[\n"

        def append(row: Mapping[str, Any]) -> None:
            nonlocal before
            file.write(before + json.dumps(row, ensure_ascii=False))
            before = ",\n"

        yield append
        file.write("[]\n" if before == "[\n" else "\n]\n")
