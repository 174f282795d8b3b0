"""ms-swift's ``objects``: the phrases and boxes that belong at the places ``<ref-object>`` and ``<bbox>`` of a text.

    {"ref": ["a mug"], "bbox": [[20, 10, 100, 50]], "bbox_type": "real", "image_id": [0]}
    [{"caption": "a mug", "bbox": [[20, 10, 100, 50], …], "bbox_type": "norm_1000", "image": 0}, …]

The n-th place has the n-th phrase, or box; of the second, older form the boxes of one object stand at one place. A
phrase is written into the text, a place of a box stays: `vldata.tasks.instruction` writes it as the recipe says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from vldata.prompts.places import BOX_MARK
from vldata.schema.turns import BOX
from vldata.sources.reading.keys import is_blank
from vldata.sources.reading.message_images import Refused, from_text, is_text
from vldata.sources.reading.native_types import shown
from vldata.sources.reading.talk_keys import OBJECTS, the_fix

PHRASE_MARK = "<ref-object>"

_PLACE = re.compile(f"{PHRASE_MARK}|{BOX_MARK}")
_UNITS = {"real": None, "norm1": 1.0, "norm_1": 1.0, "norm1000": 1000.0, "norm_1000": 1000.0}
"""What a side of the image is in boxes of each ``bbox_type``; None: its pixels."""
_COLUMNS = frozenset({"ref", "bbox", "bbox_type", "image_id"})
_OF_ONE = frozenset({"caption", "ref", "bbox", "bbox_type", "image"})

Exchange = tuple[str, str]
BoxFields = dict[str, Any]


class Placed(NamedTuple):
    """Exchanges with their phrases.

    Args:
        exchanges: With one `BOX_MARK` for each box.
        boxes: Of each exchange, the fields of `vldata.schema.turns.BOX` in the order of their places.
        unit: Of the boxes: ``px`` or ``fraction``.
    """

    exchanges: list[Exchange]
    boxes: list[list[BoxFields]]
    unit: str


class _Objects(NamedTuple):
    phrases: list[str]
    boxes: list[list[BoxFields]]
    unit: str


def has_places(exchanges: Sequence[Exchange]) -> bool:
    """Whether a text has any place that `OBJECTS` may fill."""
    return any(_PLACE.search(text) for exchange in exchanges for text in exchange)


def placed(value: Any, exchanges: Sequence[Exchange], *, num_images: int, ignore: Collection[str]) -> Placed:
    """Fill the places of a conversation, in order.

    Args:
        value: Of the row's `OBJECTS`.
        num_images: That the row has.
        ignore: Keys inside ``value`` that change nothing.

    Raises:
        Refused: The objects cannot be read, or are not as many as their places.
    """
    objects = _objects(from_text(value) if type(value) is str else value, ignore)
    texts = [text for exchange in exchanges for text in exchange]
    marks = [mark for text in texts for mark in _PLACE.findall(text)]
    num_phrases, num_boxes = marks.count(PHRASE_MARK), marks.count(BOX_MARK)
    are_named = num_phrases == 0 and len(objects.phrases) in (0, len(objects.boxes))  # in the text already
    if num_boxes != len(objects.boxes) or not (num_phrases == len(objects.phrases) or are_named):
        have = f"{len(objects.phrases)} phrases and {len(objects.boxes)} boxes"
        detail = f"{num_phrases} {PHRASE_MARK} and {num_boxes} {BOX_MARK} in the text, {have} in {OBJECTS!r}"
        raise Refused("box_count_mismatch", detail)
    for box in (box for boxes in objects.boxes for box in boxes):
        if not 0 <= box["image"] < num_images:
            raise Refused("box_wrong_image", f"{OBJECTS!r} names the image {box['image']} of {num_images}")
    phrases, boxes = iter(objects.phrases), iter(objects.boxes)
    filled: list[str] = []
    of_texts: list[list[BoxFields]] = []
    for text in texts:
        own: list[BoxFields] = []
        parts = []
        for part in re.split(f"({_PLACE.pattern})", text):
            if part == BOX_MARK:
                here = next(boxes)
                own += here
                part = BOX_MARK * len(here)
            parts.append(next(phrases) if part == PHRASE_MARK else part)
        filled.append("".join(parts))
        of_texts.append(own)
    pairs = range(0, len(texts), 2)
    exchanged = [(filled[k], filled[k + 1]) for k in pairs]
    return Placed(exchanged, [of_texts[k] + of_texts[k + 1] for k in pairs], objects.unit)


def boxes_of_turns(turns: Any, num: int, num_images: int) -> list[list[BoxFields]] | None:
    """The boxes that a finished row of vldata has for each of its turns, in pixels; None where it has none.

    Args:
        turns: Of the row.
        num: Exchanges that it has.
    """
    if not isinstance(turns, list) or len(turns) != num:
        return None
    of_turns = [(turn.get("boxes") if isinstance(turn, dict) else None) or () for turn in turns]
    if not any(of_turns) or not all(_is_own(box, num_images) for boxes in of_turns for box in boxes):
        return None
    names = BOX.to_schema()
    return [[{name: box.get(name) for name in names} for box in boxes] for boxes in of_turns]


def _is_own(box: Any, num_images: int) -> bool:
    if (
        not isinstance(box, dict)
        or not box.keys() <= BOX.to_schema().keys()
        or box.get("image") not in range(num_images)
    ):
        return False
    return all(isinstance(box.get(edge), float | int) for edge in ("x0", "y0", "x1", "y1"))


def _objects(value: Any, ignore: Collection[str]) -> _Objects:
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        phrases, boxes, kinds = [], [], []
        for each in value:
            _refuse_others(each, _OF_ONE, ignore)
            phrase = each.get("caption", each.get("ref"))
            phrases.append(_phrase(phrase))
            numbers = each.get("bbox")
            are_several = isinstance(numbers, list) and numbers and isinstance(numbers[0], list)
            kind, image = each.get("bbox_type"), each.get("image")
            boxes.append([_box(one, kind, image, phrase) for one in (numbers if are_several else [numbers])])
            kinds.append(kind)
        return _Objects(phrases, boxes, _unit(kinds))
    if not isinstance(value, dict):
        raise Refused("unparsable_row", f"{OBJECTS!r} is {shown(value)}, not phrases and boxes")
    _refuse_others(value, _COLUMNS, ignore)
    phrases, numbers = ([] if is_blank(value.get(key)) else value[key] for key in ("ref", "bbox"))
    if not isinstance(phrases, list) or not isinstance(numbers, list):
        raise Refused("unparsable_row", f"{OBJECTS!r} is {shown(value)}, not lists of phrases and boxes")
    phrases = [_phrase(phrase) for phrase in phrases]
    images = value.get("image_id")
    if is_blank(images) or not isinstance(images, list):
        images = [images] * len(numbers)
    if len(images) != len(numbers):
        raise Refused("unparsable_row", f"{OBJECTS!r} has {len(numbers)} boxes and {len(images)} 'image_id'")
    names: list[str | None] = [*phrases] if len(phrases) == len(numbers) else [None] * len(numbers)
    names = names if len(phrases) != 1 else [*phrases] * len(numbers)
    kind = value.get("bbox_type")
    each_box = zip(numbers, images, names, strict=True)
    return _Objects(phrases, [[_box(one, kind, image, name)] for one, image, name in each_box], _unit([kind]))


def _refuse_others(part: Mapping[str, Any], known: Collection[str], ignore: Collection[str]) -> None:
    for key, value in part.items():
        if key not in known and key not in ignore and not is_blank(value):
            raise Refused("unknown_key", f"{key!r} in {OBJECTS!r} is {shown(value)}; {the_fix(key)}")


def _phrase(phrase: Any) -> str:
    if not is_text(phrase) or _PLACE.search(phrase):
        raise Refused("unparsable_row", f"a phrase in {OBJECTS!r} is {shown(phrase)}, not text")
    return phrase


def _unit(kinds: Sequence[Any]) -> str:
    units = {"px" if _side(kind) is None else "fraction" for kind in kinds}
    if len(units) > 1:
        raise Refused("unparsable_row", f"{OBJECTS!r} has boxes in pixels and others in parts of the image")
    return next(iter(units), "px")


def _side(kind: Any) -> float | None:
    if is_blank(kind):
        return None
    if type(kind) is not str or kind not in _UNITS:
        raise Refused("unparsable_row", f"'bbox_type' is {shown(kind)}, not one of {', '.join(_UNITS)}")
    return _UNITS[kind]


def _box(numbers: Any, kind: Any, image: Any, phrase: str | None) -> BoxFields:
    is_list = isinstance(numbers, list)
    if not is_list or not all(isinstance(n, int | float) and type(n) is not bool for n in numbers):
        raise Refused("unparsable_row", f"a box in {OBJECTS!r} is {shown(numbers)}, not four numbers")
    if len(numbers) != 4:
        what = "a point, which no box format writes" if len(numbers) == 2 else f"{len(numbers)} numbers, not four"
        raise Refused("unparsable_row", f"a box in {OBJECTS!r} is {shown(numbers)}: {what}")
    image = 0 if is_blank(image) else image
    if type(image) is not int:
        raise Refused("unparsable_row", f"{OBJECTS!r} names the image {shown(image)}, not its place in the row's")
    side = _side(kind) or 1.0
    edges = [float(n) / side if math.isfinite(n) else math.nan for n in numbers]
    return {**dict(zip(("x0", "y0", "x1", "y1"), edges, strict=True)), "image": image, "phrase": phrase}
