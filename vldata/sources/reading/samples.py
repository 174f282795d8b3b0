"""Files that belong together by their names -> rows: a photograph with a text, a class or JSON beside it.

What tar shards in the convention of WebDataset and folders of images share. Each kind of file, by its suffix, is a
column: ``txt`` and its like are text, ``json`` is an object (``json.size.width`` leads into it, and its keys are
columns, too), images are references, of anything else the name is all that is read.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from vldata.sources.reading.files import plain_or_error
from vldata.sources.reading.native_types import shown

IMAGES = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "jp2", "ppm"})
TEXTS = frozenset({"txt", "text", "caption", "transcript", "cls", "cls2", "index", "inx"})
_NUMBERED = re.compile(r"(.*?)(\d+)\.(\w+)")
_WIDE = ((codecs.BOM_UTF32_LE, "UTF-32"), (codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"))


class Part(NamedTuple):
    """One file of a sample.

    Args:
        kind: What follows the name that the files of the sample share, in lower case, without the dot.
        name: Of the file, as messages show it.
        reference: Of an image, seen from ``image_root``.
        content: Of a text; None of anything else.
    """

    kind: str
    name: str
    reference: str
    content: bytes | None = None

    @property
    def suffix(self) -> str:
        """What its kind ends in."""
        return self.kind.rpartition(".")[2]

    @property
    def is_image(self) -> bool:
        """By its suffix."""
        return self.suffix in IMAGES


def is_text(name: str) -> bool:
    """Whether a file of this name holds text or JSON, so that its content is to be read."""
    return name.rpartition(".")[2].lower() in {*TEXTS, "json"}


class Rows(NamedTuple):
    """What samples hold: objects, as a table's rows are, and the place of those that are broken to what is wrong."""

    rows: list[dict[str, Any]]
    notes: dict[int, str]


def rows_of(
    samples: Mapping[str, Sequence[Part]], *, images: Sequence[str] | None = None, floats: type[float] = float
) -> Rows:
    """A row for each sample, by its key.

    Besides a column for each kind of file there are ``images``; ``caption`` (the text, else what JSON or a file has as
    such; both, which is no text, where they differ);
    ``urls`` (JSON's ``url``); and the keys of ``json``, unless a column has their name already.

    Args:
        images: Kinds of files that are a sample's images; None: their names decide.
        floats: Of JSON's numbers with a fraction.
    """
    rows: list[dict[str, Any]] = []
    notes: dict[int, str] = {}
    for key, parts in samples.items():
        row: dict[str, Any] = {"__key__": key}
        said = list(_fill(row, parts, floats))
        references, wrong = _images(parts, images)
        if wrong:
            said.append(wrong)
        if references:
            row["images"] = references
        inside = row.get("json")
        if isinstance(inside, dict):
            for name, value in inside.items():
                row.setdefault(name, value)
            named = inside.get("images", inside.get("image"))
            if references and isinstance(named, list) and len(named) != len(references):
                said.append(f"its JSON names {len(named)} images, and it has {len(references)}")
            if inside.get("url") is not None:
                row.setdefault("urls", inside["url"])
        text = row.get("txt") if row.get("txt") is not None or row.get("caption") is not None else row.get("text")
        if text is not None:
            other = row.get("caption")
            differs = bool(text) and isinstance(other, str) and other.strip() not in ("", str(text).strip())
            row["caption"] = {"text": text, "caption": other} if differs else text  # no text: the recipe names one
        if said:
            notes[len(rows)] = "; ".join(said)
        rows.append(row)
    return Rows(rows, notes)


def written_rows(samples: Mapping[str, Sequence[Part]]) -> list[dict[str, Any]]:
    """`rows_of` in which each number of JSON is a text, as its file writes it."""
    parts = {
        key: [part._replace(content=_with_texts(part)) if part.suffix == "json" else part for part in sample]
        for key, sample in samples.items()
    }
    return rows_of(parts).rows


def talks_of(
    samples: Mapping[str, Sequence[Part]], found: Rows, ids: Sequence[str], *, harmless: Sequence[str] = ()
) -> list[Any]:
    """The samples as conversations: JSON's keys with the images, and every other file as a key of its own.

    Args:
        found: The same samples, as `rows_of` has them.
        ids: Of those whose JSON has none.
        harmless: Keys that are left out.
    """
    talks: list[Any] = []
    for place, (sample, row) in enumerate(zip(samples.values(), found.rows, strict=True)):
        inside = row.get("json")
        if place in found.notes:
            talks.append(ValueError(found.notes[place]))
            continue
        talk = with_own_turns(dict(inside)) if isinstance(inside, dict) else {}
        talk.setdefault("id", ids[place])
        if "images" in row:
            talk.pop("image", None)
            talk["images"] = row["images"]
        rest = (part.kind for part in sample if part.kind != "json" and not part.is_image)
        talk |= {kind: row[kind] for kind in rest if kind not in harmless}
        talks.append(talk)
    return talks


def with_own_turns(row: dict[str, Any]) -> dict[str, Any]:
    """A row that vldata has exported, with the list that the text ``turns`` says: each answer's weight and boxes."""
    turns = plain_or_error(row["turns"].encode()) if isinstance(row.get("turns"), str) else None
    if "num_text_chars" not in row or not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        return row
    row.pop("images", None)  # paths of where they lay
    row["turns"] = turns
    weights = [turn.get("weight") for turn in turns]
    messages = row.get("messages")
    is_one_each = isinstance(messages, list) and len(turns) == sum(_is_answer(message) for message in messages)
    if not is_one_each and any(weight not in (None, 1) for weight in weights):
        row["weights"] = weights  # a key that nobody reads, so that the row is refused
    return row


def _is_answer(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "assistant"


def _fill(row: dict[str, Any], parts: Sequence[Part], floats: type[float]) -> Iterator[str]:
    """Put what the files hold into a row; what is wrong with them."""
    for part in parts:
        if part.kind in row:
            yield f"two files of it are called .{part.kind}"
            continue
        row[part.kind] = part.reference if part.is_image else part.name
        if part.content is None:
            continue
        row[part.kind] = None
        wide = next((name for mark, name in _WIDE if part.content.startswith(mark)), None)
        if wide is not None:
            yield f"{part.name} is {wide}, not UTF-8"
            continue
        content = part.content.removeprefix(codecs.BOM_UTF8)
        if part.suffix == "json":
            found = plain_or_error(content, floats)
            if isinstance(found, Exception):
                yield f"{part.name} is no JSON: {found}" if content.strip() else f"{part.name} is empty"
            elif not isinstance(found, dict):
                yield f"{part.name} holds {shown(found)}, no object"
            else:
                row[part.kind] = found
            continue
        try:
            row[part.kind] = content.decode().strip()
        except UnicodeDecodeError as error:
            yield f"byte {error.object[error.start]:#04x} of {part.name} is not UTF-8"


def _images(parts: Sequence[Part], named: Sequence[str] | None) -> tuple[list[str], str | None]:
    """References to the images of a sample, and why these are not clear."""
    found = {part.kind: part.reference for part in parts if part.is_image}
    if named is not None:
        return [found[kind] for kind in named if kind in found], None
    if len(found) < 2:
        return list(found.values()), None
    numbered = [match for kind in found if (match := _NUMBERED.fullmatch(kind))]
    if len(numbered) < len(found) or len({match[1] for match in numbered}) > 1:
        kinds = ", ".join(f".{kind}" for kind in found)
        return [], f"it has the images {kinds}; say which with `fields: {{images: [{next(iter(found))}]}}`"
    numbered.sort(key=lambda match: int(match[2]))
    numbers = [int(match[2]) for match in numbered]
    if numbers not in ([*range(len(numbers))], [*range(1, len(numbers) + 1)]):
        return [], f"its images have the numbers {', '.join(map(str, numbers))}"
    return [found[match[0]] for match in numbered], None


def _with_texts(part: Part) -> bytes | None:
    try:
        numbers = json.loads((part.content or b"").removeprefix(codecs.BOM_UTF8), parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return part.content
    return json.dumps(numbers).encode()
