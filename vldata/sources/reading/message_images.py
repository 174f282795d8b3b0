"""The images of a conversation: those that its row names, and those that its messages do."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any, TypeGuard

from vldata.sources.reading.keys import is_blank
from vldata.sources.reading.marks import IMAGE_MARK, tagged_images
from vldata.sources.reading.native_types import shown
from vldata.sources.reading.talk_keys import (
    Form,
)

_REFERENCES = ("bytes", "base64", "image", "image_url", "url", "path", "value", "file_name", "source", "data")
"""Keys of an image: its bytes as text come before its path, as ``datasets`` reads both."""


class Refused(ValueError):
    """A conversation that cannot be used.

    Args:
        problem: A name of `vldata.schema.reasons`.
        detail: What exactly is wrong.
    """

    def __init__(self, problem: str, detail: str) -> None:
        super().__init__(detail)
        self.problem = problem


class Images:
    """The images of a conversation, which a row names as a whole, its messages one by one, or both.

    Args:
        named: References that the row names.
        lengths: How many each of its lists has, when these are lists in a list.
    """

    def __init__(self, named: list[str], lengths: list[int] | None = None) -> None:
        self.named = named
        self._lengths = lengths
        self._own: list[str | int | None] = []

    def __bool__(self) -> bool:
        return bool(self.named or self._own)

    def place(self, reference: str | int | None) -> str:
        """The mark of an image that stands here: a reference, the place of one in the row's, or the next of these."""
        self._own.append(reference)
        return IMAGE_MARK

    def of_text(self, text: str) -> None:
        """Take the paths that a text has in it, where the row names no image."""
        if not self.named:
            self._own += tagged_images(text)

    def references(self) -> list[str]:
        """All of them, in the order of their places.

        Raises:
            Refused: What the messages name does not fit what the row names.
        """
        own, named = self._own, self.named
        if not own or all(reference is None for reference in own):
            return named
        places = [reference for reference in own if type(reference) is int]
        if len(places) == len(own):
            if {*places} != {*range(len(named))}:
                raise Refused("image_count_mismatch", f"its parts name the images {places} of {len(named)}")
            return [named[place] for place in places]
        found = [reference for reference in own if type(reference) is str]
        if len(found) < len(own):
            raise Refused("unparsable_row", "some of its parts name an image, and others the next of the row's")
        if named and named != found:
            detail = f"its messages name the images {shown(found)}, the row names {shown(named)}"
            raise Refused("unparsable_row", detail)
        return found

    def in_questions(self, exchanges: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """The exchanges, with the images of a list in a list in the question that the list belongs to.

        Raises:
            Refused: Which one that is, is not clear.
        """
        if self._lengths is None or len(self._lengths) == 1:
            return exchanges
        marks = [question.count(IMAGE_MARK) for question, _ in exchanges]
        if marks == self._lengths:
            return exchanges
        if any(marks) or len(marks) != len(self._lengths):
            detail = f"its lists of images have {self._lengths}, its questions {marks} {IMAGE_MARK}"
            raise Refused("image_count_mismatch", detail)
        counted = zip(exchanges, self._lengths, strict=True)
        return [(f"{IMAGE_MARK}\n" * count + question, answer) for (question, answer), count in counted]


def images_of(row: Mapping[str, Any], form: Form) -> Images:
    """The images that a row names for all of its messages.

    Raises:
        Refused: They are no paths, or one among others is missing.
    """
    found: Images | None = None
    for key in form.images:
        value = row[key]
        if type(value) is str and value[:1] != "[" and not is_blank(value) and is_text(value):
            one = Images([value])
        elif is_blank(value):
            continue
        else:
            one = listed_images(key, value)
        if found is not None and found.named != one.named:
            raise Refused("unparsable_row", f"{form.images[0]!r} and {key!r} name different images")
        found = found or one
    return found or Images([])


def from_text(text: str) -> Any:
    """What a text holds that JSON or Python wrote; the text itself where it is neither."""
    if text.lstrip()[:1] not in ("[", "{"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def listed_images(key: str, value: Any) -> Images:
    """Images of a list, of a list of lists, of an object with a path, or of any of these in a text."""
    if type(value) is str:
        inside = from_text(value)
        return Images([value]) if type(inside) is str else listed_images(key, inside)
    items = value if isinstance(value, list) else [value]
    is_nested = any(isinstance(item, list) for item in items)
    lists = [item if isinstance(item, list) else [item] for item in items] if is_nested else [items]
    references = []
    for item in (item for items in lists for item in items):
        reference = item if not isinstance(item, dict) else reference_of(item)
        if not is_text(reference) or is_blank(reference):
            raise Refused("unparsable_row", f"{key!r} is {shown(value)}, not a path or a list of paths")
        references.append(reference)
    return Images(references, list(map(len, lists)) if is_nested else None)


def reference_of(part: Mapping[str, Any]) -> str | int | None:
    """The path or address of an image, its place in the row's images, or None: the next of these.

    Raises:
        Refused: It is something else.
    """
    for key in _REFERENCES:
        value = part.get(key)
        if is_blank(value):
            continue
        if key == "source" and not isinstance(value, dict):
            continue  # where it is from
        reference = reference_of(value) if isinstance(value, dict) else value
        if not is_text(reference):
            raise Refused("unparsable_row", f"an image is {shown(value)}, not a path")
        return reference
    place = part.get("index")
    return place if type(place) is int else None


def is_text(value: Any) -> TypeGuard[str]:
    """False also for text with half a surrogate pair, which JSON can write and UTF-8 cannot."""
    if type(value) is not str:
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
