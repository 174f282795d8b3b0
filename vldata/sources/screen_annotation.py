"""Screen Annotation: what stands where on the screens of Rico, as text with boxes (ScreenAI's screen schema).

https://github.com/google-research-datasets/screen_annotation (CC BY 4.0; screenshots: Rico's own terms)
Layout: ``path`` is a CSV with the columns ``screen_id`` and ``screen_annotation``, or a folder of them;
``image_root`` is the folder of Rico's screenshots, ``<screen_id>.jpg``. A row, shortened: 11107,"PICTOGRAM three bars
0 132 30 109, TOOLBAR 0 999 31 109 (TEXT Account 171 352 54 84), LIST_ITEM 27 968 244 326 (LABEL Name 29 137 248 272
(LABEL Name 30 134 248 272), TEXT_INPUT 41 957 276 318)"
An element is a class in capitals, perhaps a text, four integers, and perhaps its children in parentheses. The
integers are **x0 x1 y0 y1**, 0 to 999 across the screen.
Quirks: texts hold commas, numbers and lone parentheses of their own, so only what follows four integers and precedes
the next class is structure: counted blindly, 22 of 1,617 rows of the validation set have too many or too few
parentheses, and a phone number and a company number pass for boxes; read so, none is broken. Classes without a text
and repeated texts make phrases that several elements bear, a quarter of them: whoever asks for one gets all. The README
calls the columns image_id and label.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import polars as pl
from pydantic import AfterValidator

from vldata.errors import SourceError
from vldata.schema.turns import BOX
from vldata.shapes.language import regions
from vldata.shapes.scene import Px, Scene
from vldata.sources.base import Keys, Source
from vldata.sources.reading.columns import note_columns
from vldata.sources.reading.files import expand, read_text
from vldata.sources.reading.keep import KEPT, columns_of_texts, texts_of_row
from vldata.sources.reading.rows import PolarsType, checked_pattern, image_name, one_image, shown
from vldata.sources.standins import draw, keys_for, scenes_for

_IDS, _TEXTS = ("screen_id", "image_id"), ("screen_annotation", "label")
_LAST = 999
_CLASS = re.compile(r"[A-Z][A-Z_]* ")
_BOX = re.compile(r"(\d{1,3}) (\d{1,3}) (\d{1,3}) (\d{1,3})(\)*)(?:(, )(?=[A-Z][A-Z_]* )|( \()(?=[A-Z][A-Z_]* )|$)")


class Element(NamedTuple):
    """One element of a screen.

    Args:
        phrase: Class and text: "TEXT Account".
        box: x0, y0, x1, y1 in fractions of the screen.
    """

    phrase: str
    box: tuple[float, float, float, float]


class ScreenAnnotation(Source):
    """One turn a screen (``grounded_caption``: all its phrases), a phrase (``rec``) or an element (``reg``).

    A phrase is class and text, as "TEXT Account". ``row`` is the screen's id, with "/" and the place of the (first)
    element in the annotation.

    Args:
        image_name: Screenshot of a row: ``{id}`` is its screen_id.
    """

    format: ClassVar[str] = "screen_annotation"
    about: ClassVar[str] = "Screen Annotation: Rico's screens as nested elements with boxes (CSV)"
    licence: ClassVar[str] = "annotations CC BY 4.0; screenshots under Rico's terms"
    tasks: ClassVar[tuple[str, ...]] = ("grounded_caption", "rec", "reg")
    version: ClassVar[int] = 2
    box_unit: ClassVar[Literal["px", "fraction"]] = "fraction"

    image_name: Annotated[str, AfterValidator(checked_pattern("id"))] = "{id}.jpg"

    def files(self) -> list[Path]:
        """``path``, or the ``.csv`` below it."""
        return expand(self.path, suffixes=(".csv",))

    def turns(self, task: str) -> pl.DataFrame:
        """Every screen, phrase or element; an annotation that does not nest is one ``unparsable_row``."""
        screens = list(chain.from_iterable(_screens(path, self.keep) for path in self.files()))
        rows = chain.from_iterable(_rows(number, screen, text) for number, (screen, text, _) in enumerate(screens))
        schema: dict[str, PolarsType] = {
            "number": pl.Int64,
            "screen": pl.String,
            "row": pl.String,
            "phrase": pl.String,
            "box": BOX,
            "problem": pl.String,
            "detail": pl.String,
        }
        table = pl.DataFrame(list(rows), schema=schema, orient="row")
        table = table.with_columns(images=one_image(image_name(self.image_name, id=pl.col("screen"))))
        kept = columns_of_texts([texts for _, _, texts in screens], self.keep)
        table = table.with_columns(column.gather(table["number"]) for column in kept)
        one = {"grounded_caption": "screen", "rec": "phrase", "reg": "row"}[task]
        turns = table.group_by("number", one, maintain_order=True).agg(
            pl.col("images", "problem", "detail").first(),
            KEPT.first(),
            first=pl.col("row").first(),
            phrases=pl.col("phrase").unique(maintain_order=True),
            boxes=pl.col("box").drop_nulls().unique(maintain_order=True),
        )
        common = (pl.col("images", "problem", "detail", "boxes"), KEPT)
        if task == "grounded_caption":
            return turns.select(*common, row="screen", caption=pl.col("phrases").list.join(", "))
        return turns.select(*common, row="first" if task == "rec" else "row", phrase=pl.col("phrases").list.first())

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Scenes as screens: the things in a list, each word a text, as ``valid.csv`` and ``combined/<id>.jpg``."""
        folder.mkdir(parents=True, exist_ok=True)
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["screen_id", "screen_annotation"])
        for scene in scenes_for(rows, 1, seed):
            writer.writerow([scene.number + 1, _annotation(scene)])
            if images:
                draw(folder / "combined", f"{scene.number + 1}.jpg", scene)
        path = folder / "valid.csv"
        path.write_text(out.getvalue(), encoding="utf-8")
        return keys_for(path, folder / "combined")


def elements(annotation: str) -> list[Element]:
    """Every element of an annotation, parents before their children.

    Raises:
        ValueError: It does not nest, or a part of it is no element.
    """
    found: list[Element] = []
    at = depth = 0
    while at < len(annotation) or not found:
        head, box = _CLASS.match(annotation, at), _BOX.search(annotation, at)
        if head is None or box is None or box.start() < head.end():
            raise ValueError(f"no element with a box at {shown(annotation[at:])}")
        x0, x1, y0, y1 = (int(edge) / _LAST for edge in box.groups()[:4])
        found.append(Element(annotation[at : box.start()].rstrip(), (x0, y0, x1, y1)))
        depth += (box[7] is not None) - len(box[5])
        if depth < 0:
            raise ValueError(f"a parenthesis too many after {shown(found[-1].phrase)}")
        at = box.end()
    if depth:
        raise ValueError(f"{depth} parentheses are not closed")
    return found


def _screens(path: Path, keep: Sequence[str]) -> Iterator[tuple[str, str, tuple[str | None, ...]]]:
    """(id, annotation, what is kept) of every row.

    Raises:
        SourceError: The file has no such columns, or is no CSV.
    """
    csv.field_size_limit(1 << 24)
    try:
        rows = list(csv.reader(io.StringIO(read_text(path), newline=""), strict=True))
    except csv.Error as error:
        raise SourceError(str(path), f"not CSV: {error}", "download it again") from None
    head = rows[0] if rows else []
    columns = [next((head.index(name) for name in names if name in head), None) for names in (_IDS, _TEXTS)]
    if None in columns:
        problem = f"no columns 'screen_id' and 'screen_annotation', but {', '.join(head) or 'none'}"
        raise SourceError(str(path), problem, "point `path` at another file, or fix `format`")
    names = [head[place] for place in columns if place is not None]
    read = dict(zip(names, (("row", "images"), ("caption", "phrase", "boxes", "row")), strict=True))
    note_columns(read, (name for name in head if name not in read))
    for row in rows[1:]:
        padded = [*row, *[""] * len(head)]
        kept = texts_of_row(dict(zip(head, row, strict=False)), keep)
        yield padded[columns[0]], padded[columns[1]], kept  # type: ignore[index]


def _rows(number: int, screen: str, text: str) -> list[tuple[Any, ...]]:
    try:
        parts = elements(text)
    except ValueError as error:
        return [(number, screen, screen, None, None, "unparsable_row", str(error))]
    rows = []
    for k, (phrase, (x0, y0, x1, y1)) in enumerate(parts):
        box = {"x0": x0, "y0": y0, "x1": x1, "y1": y1, "image": 0, "phrase": phrase}
        rows.append((number, screen, f"{screen}/{k}", phrase, box, None, None))
    return rows


def _annotation(scene: Scene) -> str:
    side = scene.width
    things = [f"PICTOGRAM {region.phrase} {_integers(region.boxes[0], side)}" for region in regions(scene)]
    words = [f"TEXT {word.text} {_integers(word.box, side)}" for word in scene.words]
    boxes = [thing.box for thing in scene.things]
    around = (min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes))
    return ", ".join([f"LIST_ITEM {_integers(around, side)} ({', '.join(things)})", *words])


def _integers(box: Px, side: int) -> str:
    return " ".join(str(round(box[k] / side * _LAST)) for k in (0, 2, 1, 3))
