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
from collections.abc import Sequence
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
from vldata.sources.reading.image_names import checked_pattern, image_name
from vldata.sources.reading.keep import KEPT, columns_of_texts, texts_of_row
from vldata.sources.reading.native_types import shown
from vldata.sources.reading.rows import one_image, turns_of
from vldata.sources.reading.tables import problem_of_detail
from vldata.sources.standins import drawn, keys_for, scenes_for

_IDS, _TEXTS = ("screen_id", "image_id"), ("screen_annotation", "label")
_EDGES = ("x0", "y0", "x1", "y1")
_LAST = 999
_CLASS = re.compile(r"[A-Z][A-Z_]* ")
_BOX = re.compile(r"(\d{1,3}) (\d{1,3}) (\d{1,3}) (\d{1,3})(\)*)(?:(, )(?=[A-Z][A-Z_]* )|( \()(?=[A-Z][A-Z_]* )|$)")


class Element(NamedTuple):
    """One element of a screen: class and text ("TEXT Account"), and x0, y0, x1, y1 in fractions of the screen."""

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
        screens = pl.concat([_screens(path, self.keep) for path in self.files()])
        found = _elements(screens["text"])
        parts = pl.concat([screens[found["number"]], found], how="horizontal").with_columns(
            row=pl.coalesce(pl.format("{}/{}", "screen", "place"), "screen"),
            images=one_image(image_name(self.image_name, id=pl.col("screen"))),
            problem=problem_of_detail(),
        )
        whole = task == "grounded_caption"
        one = "screen" if whole else "phrase" if task == "rec" else "row"
        turns = parts.group_by("number", pl.col(one).alias("one"), maintain_order=True).agg(
            pl.col("images", "problem", "detail").first(),
            KEPT.first(),
            row=pl.col("screen" if whole else "row").first(),
            phrase=pl.col("phrase").unique(maintain_order=True),
            boxes=pl.col("box").drop_nulls().unique(maintain_order=True),
        )
        if whole:
            return turns_of(turns, "row", "images", "boxes", caption=pl.col("phrase").list.join(", "))
        return turns_of(turns, "row", "images", "boxes", phrase=pl.col("phrase").list.first())

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Scenes as screens: the things in a list, each word a text, as ``valid.csv`` and ``combined/<id>.jpg``."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["screen_id", "screen_annotation"])
        for scene, _ in drawn(scenes_for(rows, 1, seed), folder / "combined", "{}.jpg", images):
            writer.writerow([scene.number + 1, _annotation(scene)])
        path = folder / "valid.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
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


def _screens(path: Path, keep: Sequence[str]) -> pl.DataFrame:
    """A row a screen: ``screen``, ``text``, and what is kept.

    Raises:
        SourceError: The file has no such columns, or is no CSV.
    """
    csv.field_size_limit(1 << 24)
    try:
        head, *rows = [*csv.reader(io.StringIO(read_text(path), newline=""), strict=True)] or [[]]
    except csv.Error as error:
        raise SourceError(str(path), f"not CSV: {error}", "download it again") from None
    ids, texts = (next((name for name in usual if name in head), None) for usual in (_IDS, _TEXTS))
    if ids is None or texts is None:
        problem = f"no columns 'screen_id' and 'screen_annotation', but {', '.join(head) or 'none'}"
        raise SourceError(str(path), problem, "point `path` at another file, or fix `format`")
    feeds = {ids: ("row", "images"), texts: ("caption", "phrase", "boxes", "row")}
    note_columns(feeds, (name for name in head if name not in feeds))
    screen, text = head.index(ids), head.index(texts)
    padded = [[*row, *[""] * len(head)] for row in rows]
    kept = [texts_of_row(dict(zip(head, row, strict=False)), keep) for row in rows] if keep else []
    columns = {"screen": [row[screen] for row in padded], "text": [row[text] for row in padded]}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)).with_columns(columns_of_texts(kept, keep))


def _elements(annotations: pl.Series) -> pl.DataFrame:
    """Each element: ``number`` of its annotation, ``place`` in it, ``phrase``, ``box``; ``detail`` of a broken one."""
    rows: list[tuple[Any, ...]] = []
    for number, annotation in enumerate(annotations):
        try:
            rows += ((number, place, phrase, *box, None) for place, (phrase, box) in enumerate(elements(annotation)))
        except ValueError as error:
            rows.append((number, *[None] * 6, str(error)))
    columns = {"number": pl.Int64, "place": pl.Int64, "phrase": pl.String, **dict.fromkeys(_EDGES, pl.Float64)}
    table = pl.DataFrame(rows, schema={**columns, "detail": pl.String}, orient="row")
    box = pl.struct(*_EDGES, pl.lit(0, pl.Int32).alias("image"), "phrase").cast(BOX)
    return table.with_columns(box=pl.when(pl.col("place").is_not_null()).then(box))


def _annotation(scene: Scene) -> str:
    side = scene.width
    things = [f"PICTOGRAM {region.phrase} {_integers(region.boxes[0], side)}" for region in regions(scene)]
    words = [f"TEXT {word.text} {_integers(word.box, side)}" for word in scene.words]
    boxes = [thing.box for thing in scene.things]
    around = (min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes))
    return ", ".join([f"LIST_ITEM {_integers(around, side)} ({', '.join(things)})", *words])


def _integers(box: Px, side: int) -> str:
    return " ".join(str(round(box[k] / side * _LAST)) for k in (0, 2, 1, 3))
