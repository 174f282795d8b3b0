"""What LLaVA JSON and ShareGPT JSON share: speeches ``{from, value}``, and a JSON list for each split.

Neither can say that an answer counts less than another or is not to be learnt: such samples are not exported.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vldata.dataset.export.images import ImageFolder
from vldata.dataset.export.outcome import CannotExpressError, NotExported, Written
from vldata.dataset.open import BuildFolder
from vldata.images.problem import ImageProblem
from vldata.schema.rows import META

IMAGE = "<image>"

_SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}


def write_conversations(
    build: BuildFolder,
    folder: Path,
    advance: Callable[[int], None],
    form: Callable[[Mapping[str, Any], ImageFolder], Mapping[str, Any]],
) -> Written:
    """Write ``<split>.json`` for each split, and the images.

    Args:
        form: A row of the build -> a row of the list; raises what the list of rows that are not exported takes.
    """
    images = ImageFolder(folder)
    rows = 0
    with NotExported(folder) as skipped:
        for split in build.splits:
            with _json_list(folder / f"{split}.json") as append:
                for row in build.rows(split):
                    try:
                        _refuse_weighted(row)
                        append({**form(row, images), **({META: row[META]} if META in row else {})})
                        rows += 1
                    except (CannotExpressError, ImageProblem) as why:
                        skipped.add(row, why)
                    advance(1)
        return Written(rows, skipped.rows)


def speeches(row: Mapping[str, Any], *, reserved: Collection[str] = (IMAGE,)) -> list[dict[str, str]]:
    """The messages of a row, each content part on lines of its own and each image as ``<image>`` at its place.

    Args:
        row: A finished row.
        reserved: Words that the form's readers take for images, sounds or videos wherever they stand.

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


def _refuse_weighted(row: Mapping[str, Any]) -> None:
    """Readers of these forms learn every answer alike, whatever stands beside it."""
    weights = {turn["row"]: turn["weight"] for turn in row["turns"] or () if turn["weight"] not in (None, 1)}
    masked = [name for name, weight in weights.items() if weight == 0]
    if masked:
        raise CannotExpressError("answer_masked", f"the answer of {', '.join(masked)} is not to be learnt")
    if weights:
        said = ", ".join(f"that of {name} by {weight:.6g}" for name, weight in weights.items())
        raise CannotExpressError("answer_weighted", f"its answers count differently: {said}")


@contextmanager
def _json_list(path: Path) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A JSON list as a file, one row a line; gives the function that appends a row."""
    with path.open("w", encoding="utf-8") as file:
        before = "[\n"

        def append(row: Mapping[str, Any]) -> None:
            nonlocal before
            file.write(before + json.dumps(row, ensure_ascii=False))
            before = ",\n"

        yield append
        file.write("[]\n" if before == "[\n" else "\n]\n")
