"""RefCOCO, RefCOCO+, RefCOCOg and RefClef: phrases that pick one object out of a photograph.

https://github.com/lichengunc/refer (annotations: Apache-2.0; photographs: COCO 2014, their Flickr owners' terms)
Three formats are read here.

``refcoco``, the publishers' own. Layout: ``path`` is the folder of one corpus with ``refs(<splitBy>).p`` and
``instances.json``, or the ``refs(...).p`` itself; ``image_root`` is ``train2014/``. The pickle is a list of objects:
{"ref_id": 0, "ann_id": 1719310, "image_id": 581857, "category_id": 1, "file_name":
"COCO_train2014_000000581857_16.jpg", "split": "train", "sent_ids": [0, 1, 2], "sentences": [{"sent_id": 0, "sent":
"the lady with the blue shirt", "raw": "THE LADY WITH THE BLUE SHIRT", "tokens": [...]}]}
Quirks: it is a pickle of Python 2, read here as data only (`vldata.sources.reading.pickle`); ``file_name`` is that
of the object, not of the photograph, which ``instances.json`` names; the splits are train, val, testA and testB
(people, other things), for RefCOCOg train, val, test by ``umd`` (no photograph in two splits) or train, val by
``google`` (photographs shared).

``refcoco_mdetr``, as MDETR (and after it Honeybee) has it. Layout: ``path`` is ``finetune_refcoco_train.json``,
COCO's form with a phrase for a caption: ``images`` {"id": 0, "original_id": 581857, "file_name":
"COCO_train2014_000000581857.jpg", "height": 640, "width": 427, "caption": "the lady with the blue shirt", ...},
``annotations`` {"id": 0, "image_id": 0, "bbox": [103.93, 299.99, 134.22, 177.42], ...}
Quirk: ``image_id`` numbers phrases, so a photograph stands once for each of its phrases.

``refcocos``. Layout: ``path`` is a list: {"annotation_id": "000000547144_1744240036431", "image":
"val2017/000000547144.jpg", "width": 640, "height": 480, "normal_caption": "the monitor farther from the laptop among
the ones that are on", "solution": [431, 134, 547, 248]}
Quirk: ``solution`` is [x0, y0, x1, y1] in pixels, and null where nothing in the photograph fits: such a row is
``not_for_task``.
"""

from __future__ import annotations

import pickle
from collections.abc import Collection, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from vldata.errors import SourceError
from vldata.paths import packed_or_not
from vldata.schema.turns import BOX
from vldata.shapes.language import Expression, expressions
from vldata.shapes.scene import Px, Scene
from vldata.sources.base import Keys, Source
from vldata.sources.coco_captions import coco_image
from vldata.sources.coco_instances import UNREAD
from vldata.sources.reading.boxes import box_of
from vldata.sources.reading.files import expand, open_json
from vldata.sources.reading.json import json_rows
from vldata.sources.reading.keep import heads, listed, merged, set_beside
from vldata.sources.reading.keys import keys_named
from vldata.sources.reading.lookup import looked_up, with_coco_images
from vldata.sources.reading.pickle import load_pickle
from vldata.sources.reading.rows import (
    FLAG,
    ID,
    SIDE,
    TEXT,
    XYWH,
    files_named,
    image_sizes,
    list_of_rows,
    note,
    one_image,
    rows_under,
    turns_of,
    typed,
    with_both_sides,
)
from vldata.sources.standins import draw, keys_for, scenes_for, write_json

REFS = "refs(*).p"
MDETR_UNREAD = keys_named(
    "area category_id coco_url flickr_url iscrowd original_img_id segmentation sent_id tokens_negative "
    "tokens_positive ann_id ref_id split"
)
"""What MDETR's rows say besides the phrase, its photograph and its boxes."""

_REF_UNREAD = keys_named("ref_id category_id file_name sent_ids sentences")
_SENTENCE_UNREAD = keys_named("raw tokens")
UNREAD_OF_S = keys_named("text_type file_name problem normalized_solution categories image_index")
"""What RefCOCO-s says besides the phrase, its photograph and its box, which it gives twice."""


class _Phrases(Source):
    """What the three formats share."""

    tasks: ClassVar[tuple[str, ...]] = ("rec", "reg")
    version: ClassVar[int] = 3


class RefCoco(_Phrases):
    """One turn a sentence; ``row`` is its sent_id.

    Args:
        split_by: Who divided the corpus, as in the file's name: unc, google, umd or berkeley. None takes the only
            ``refs(...).p`` there is.
        split: Sentences of other splits are filtered as ``other_split``; None takes all.
    """

    format: ClassVar[str] = "refcoco"
    about: ClassVar[str] = "RefCOCO, RefCOCO+, RefCOCOg, RefClef: refs(...).p and instances.json"
    licence: ClassVar[str] = "annotations Apache-2.0; photographs under their Flickr owners' terms"
    version: ClassVar[int] = 3

    split_by: str | None = None
    split: str | None = "train"

    def files(self) -> list[Path]:
        """The pickle and the ``instances.json`` beside it.

        Raises:
            SourceError: One of them is missing, or there are several pickles and ``split_by`` names none.
        """
        refs = self._refs()
        return [refs, *expand(str(packed_or_not(refs.parent / "instances.json")))]

    def turns(self, task: str) -> pl.DataFrame:
        """Every sentence with the box of what it refers to; a reference without a sentence is one ``missing_value``.

        Raises:
            SourceError: The pickle wants to run something, a file is of another form, or no sentence is of the split.
        """
        refs, instances = self.files()
        turns = _sentences(list_of_rows(load_pickle(refs), refs), self.ignore, self.keep)
        if self.split is not None:
            turns = self._of_split(turns, refs)
        document = open_json(instances)
        boxes = typed(
            rows_under(document, "annotations", instances),
            {"id": ID.to("boxes"), "bbox": XYWH.to("boxes"), "iscrowd": FLAG.to()},
            optional={"iscrowd"},
            ignored={"image_id", "category_id", *UNREAD, *self.ignore},
            of="annotations",
            keep=self.keep,
        )
        turns = looked_up(
            turns,
            boxes.rename({"id": "ann_id"}),
            "ann_id",
            unlisted="annotation {} is not among the file's `annotations`",
            twice="the file's `annotations` lists {} twice, with different values",
        )
        turns = with_coco_images(turns, document, instances, keep=self.keep)
        turns = note(turns, pl.col("iscrowd").fill_null(False), "is_crowd", pl.lit("a crowd region"))
        return _turns(turns.with_columns(boxes=_one_box("bbox")), row="sent_id", phrase="sent").with_columns(
            turns["urls"]
        )

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """The phrases that fit one thing of a scene, as ``refs(unc).p``, ``instances.json`` and ``train2014/``."""
        refs: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        image_rows: list[dict[str, Any]] = []
        sentences = count()
        for scene, found in _described(rows, seed):
            image = _coco2014(scene)
            image_rows.append(image)
            for box in dict.fromkeys(expression.boxes[0] for expression in found):
                said = [expression.phrase for expression in found if expression.boxes[0] == box]
                numbered = [
                    {"sent_id": next(sentences), "sent": text, "raw": text, "tokens": text.split()} for text in said
                ]
                annotations.append(
                    {"id": len(refs), "image_id": image["id"], "category_id": 1, "bbox": _xywh(box), "iscrowd": 0}
                )
                refs.append(
                    {
                        "ref_id": len(refs),
                        "ann_id": len(refs),
                        "image_id": image["id"],
                        "category_id": 1,
                        "file_name": image["file_name"].replace(".jpg", f"_{len(refs)}.jpg"),
                        "split": "train",
                        "sent_ids": [sentence["sent_id"] for sentence in numbered],
                        "sentences": numbered,
                    }
                )
            if images:
                draw(folder / "train2014", image["file_name"], scene)
        corpus = folder / "refcoco"
        categories = [{"id": 1, "name": "shape", "supercategory": "shape"}]
        write_json(
            corpus / "instances.json", {"images": image_rows, "annotations": annotations, "categories": categories}
        )
        (corpus / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
        return keys_for(corpus, folder / "train2014")

    def _refs(self) -> Path:
        found = files_named(self.path, REFS)
        named = [path for path in found if path.name == f"refs({self.split_by}).p"] if self.split_by else found
        if len(named) != 1:
            names = ", ".join(path.name for path in found)
            problem = f"no refs({self.split_by}).p" if self.split_by else f"{len(found)} files of references"
            raise SourceError(
                self.path, f"{problem}; there are: {names}", "set `split_by` to what stands in the parentheses"
            )
        return named[0]

    def _of_split(self, turns: pl.DataFrame, path: Path) -> pl.DataFrame:
        splits = turns["split"].drop_nulls().unique().sort().to_list()
        if self.split not in splits:
            problem = f"no reference is of the split {self.split!r}"
            raise SourceError(str(path), problem, f"set `split` to one of: {', '.join(splits) or 'null'}")
        other = pl.col("split").is_not_null() & (pl.col("split") != self.split)
        return note(turns, other, "other_split", pl.col("split"))


class RefCocoMdetr(_Phrases):
    """One turn a phrase; ``row`` is the id of its row of ``images``."""

    format: ClassVar[str] = "refcoco_mdetr"
    about: ClassVar[str] = "RefCOCO as MDETR has it: finetune_refcoco_train.json"
    licence: ClassVar[str] = "annotations Apache-2.0; photographs under their Flickr owners' terms"

    def files(self) -> list[Path]:
        """``path``, or the ``finetune_*.json`` below it."""
        return files_named(self.path, "finetune_*.json")

    def turns(self, task: str) -> pl.DataFrame:
        """Every phrase with its boxes; one without any has ``no_box``."""
        return pl.concat([_mdetr(path, self.ignore, self.keep) for path in self.files()])

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """The phrases that fit one thing of a scene, as ``finetune_refcoco_train.json`` and ``train2014/``."""
        phrases: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for scene, found in _described(rows, seed):
            image = _coco2014(scene)
            for expression in found:
                own = {"id": len(phrases), "original_id": image["id"], "caption": expression.phrase}
                annotations.append(
                    {"id": len(phrases), "image_id": len(phrases), "bbox": _xywh(expression.boxes[0]), "iscrowd": 0}
                )
                phrases.append({**image, **own})
            if images:
                draw(folder / "train2014", image["file_name"], scene)
        path = folder / "finetune_refcoco_train.json"
        write_json(path, {"info": [], "licenses": [], "images": phrases, "annotations": annotations, "categories": []})
        return keys_for(path, folder / "train2014")


class RefCocoS(_Phrases):
    """One turn a phrase; ``row`` is its annotation_id."""

    format: ClassVar[str] = "refcocos"
    about: ClassVar[str] = "RefCOCO-s: a list of phrases with a box, or none where nothing fits"
    licence: ClassVar[str] = "annotations MIT; photographs under their Flickr owners' terms"
    version: ClassVar[int] = 3

    def files(self) -> list[Path]:
        """``path``, or the ``refcocos_*.json`` below it."""
        return files_named(self.path, "refcocos_*.json")

    def turns(self, task: str) -> pl.DataFrame:
        """Every phrase; one that fits nothing is ``not_for_task``."""
        return pl.concat([_annotated(path, self.ignore, self.keep) for path in self.files()])

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """The phrases that fit one thing of a scene, as ``refcocos_test.json`` and ``val2017/``."""
        data: list[dict[str, Any]] = []
        for scene, found in _described(rows, seed):
            name = f"{scene.number + 1:012d}"
            for k, expression in enumerate(found):
                head = {
                    "annotation_id": f"{name}_{k}",
                    "image": f"val2017/{name}.jpg",
                    "width": scene.width,
                    "height": scene.height,
                }
                data.append({**head, "normal_caption": expression.phrase, "solution": list(expression.boxes[0])})
            if images:
                draw(folder, f"val2017/{name}.jpg", scene)
        path = folder / "refcocos_test.json"
        write_json(path, data)
        return keys_for(path, folder)


def _sentences(refs: list[Any], ignore: Collection[str], keep: Sequence[str]) -> pl.DataFrame:
    """One row a sentence: ``sent_id``, ``sent``, ``ann_id``, ``image_id``, ``split``, ``problem``, ``detail``."""
    rows: list[Any] = []
    unread, unread_of_sentence = _REF_UNREAD - heads(keep), _SENTENCE_UNREAD - heads(keep)
    for ref in refs:
        if not isinstance(ref, dict):
            rows.append(ref)
            continue
        head = {key: value for key, value in ref.items() if key not in unread}
        sentences = ref.get("sentences")
        if not isinstance(sentences, list) or not sentences:
            rows.append({**head, "sent_id": f"ref/{ref.get('ref_id')}"})
            continue
        for sentence in sentences:
            said = sentence if isinstance(sentence, dict) else {}
            own = {key: value for key, value in said.items() if key not in unread_of_sentence}
            rows.append({**head, **own, "sent": said.get("sent", said.get("raw"))})
    said = {"sent_id": ID.to("row"), "sent": TEXT.to("phrase", "boxes"), "split": TEXT.to()}
    fields = {**said, "ann_id": ID.to("boxes"), "image_id": ID.to("images")}
    return typed(rows, fields, optional={"sent_id", "split"}, ignored=ignore, keep=keep)


def _mdetr(path: Path, ignore: Collection[str], keep: Sequence[str]) -> pl.DataFrame:
    document = open_json(path)
    sides = dict.fromkeys(("width", "height"), SIDE.to("image_sizes"))
    fields = {"id": ID.to("row"), "caption": TEXT.to("phrase", "boxes"), "file_name": TEXT.to("images"), **sides}
    images = rows_under(document, "images", path)
    phrases = typed(images, fields, optional={"width", "height"}, ignored={*MDETR_UNREAD, *ignore}, keep=keep)
    phrases = with_both_sides(phrases)
    annotations = rows_under(document, "annotations", path)
    of_box = {"id": ID.to(), "image_id": ID.to("boxes"), "bbox": XYWH.to("boxes")}
    boxes = set_beside(typed(annotations, of_box, ignored={*MDETR_UNREAD, *ignore}, of="annotations", keep=keep))
    sized = phrases.select("caption", "width", "height", image_id="id", is_listed=True).unique("image_id", keep="first")
    boxes = boxes.join(sized, on="image_id", how="left", maintain_order="left")
    listed_boxes = boxes.filter(pl.col("is_listed")).with_columns(box=box_of("bbox", "caption"))
    by_phrase = listed_boxes.group_by("image_id", maintain_order=True).agg(
        *listed(listed_boxes),
        boxes="box",
        box_problem=pl.col("problem").drop_nulls().first(),
        box_detail=pl.col("detail").drop_nulls().first(),
    )
    turns = phrases.join(by_phrase, left_on="id", right_on="image_id", how="left", maintain_order="left")
    turns = merged(turns).with_columns(
        problem=pl.coalesce("problem", "box_problem"),
        detail=pl.when(pl.col("problem").is_null()).then("box_detail").otherwise("detail"),
    )
    turns = note(turns, pl.col("boxes").is_null(), "no_box", pl.lit("no annotation names it"))
    lost = merged(boxes.filter(pl.col("is_listed").is_null())).with_columns(
        id=pl.format("annotation/{}", "id"), file_name=pl.lit(None, pl.String), boxes=pl.lit(None, pl.List(BOX))
    )
    lost = note(lost, pl.lit(True), "missing_value", pl.lit("no row of `images` has its image_id"))
    return pl.concat([_turns(turns, row="id", phrase="caption"), _turns(lost, row="id", phrase="caption")])


def _annotated(path: Path, ignore: Collection[str], keep: Sequence[str]) -> pl.DataFrame:
    fields = {
        "annotation_id": ID.to("row"),
        "normal_caption": TEXT.to("phrase", "boxes"),
        "image": TEXT.to("images"),
        "width": SIDE.to("image_sizes"),
        "height": SIDE.to("image_sizes"),
        "solution": XYWH.to("boxes"),
    }
    rows = typed(
        json_rows(path),
        fields,
        optional={"annotation_id", "width", "height", "solution"},
        ignored={*UNREAD_OF_S, *ignore},
        keep=keep,
    )
    rows = with_both_sides(rows)
    rows = note(rows, pl.col("solution").is_null(), "not_for_task", pl.lit("nothing in the image fits"))
    x0, y0, x1, y1 = (pl.col("solution").arr.get(k) for k in range(4))
    box = pl.struct(x0=x0, y0=y0, x1=x1, y1=y1, image=pl.lit(0, pl.Int32), phrase=pl.col("normal_caption")).cast(BOX)
    boxes = pl.when(pl.col("solution").is_not_null()).then(pl.concat_list(box))
    rows = rows.with_columns(boxes=boxes, file_name="image")
    return _turns(rows, row="annotation_id", phrase="normal_caption")


def _one_box(bbox: str) -> pl.Expr:
    return pl.when(pl.col(bbox).is_not_null()).then(pl.concat_list(box_of(bbox, "sent")))


def _turns(rows: pl.DataFrame, *, row: str, phrase: str) -> pl.DataFrame:
    return turns_of(
        rows,
        "boxes",
        row=row,
        phrase=phrase,
        images=one_image(pl.col("file_name")),
        image_sizes=image_sizes(),
    )


def _described(rows: int, seed: int) -> Iterator[tuple[Scene, list[Expression]]]:
    """Scenes with their unambiguous phrases, until there are ``rows`` phrases."""
    said = 0
    for scene in scenes_for(rows, 1, seed):
        if said >= rows:
            return
        found = expressions(scene)
        said += len(found)
        yield scene, found


def _coco2014(scene: Scene) -> dict[str, Any]:
    image = coco_image(scene.number + 1, scene.width, scene.height)
    return {**image, "file_name": f"COCO_train2014_{image['file_name']}"}


def _xywh(box: Px) -> list[float]:
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]
