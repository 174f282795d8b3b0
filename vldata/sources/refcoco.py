"""RefCOCO, RefCOCO+, RefCOCOg and RefClef as published: phrases that pick one object out of a photograph.

https://github.com/lichengunc/refer (annotations: Apache-2.0; photographs: COCO 2014, their Flickr owners' terms)
Layout: ``path`` is the folder of one corpus with ``refs(<splitBy>).p`` and ``instances.json``, or the ``refs(...).p``
itself; ``image_root`` is ``train2014/``. The pickle is a list of objects: {"ref_id": 0, "ann_id": 1719310, "image_id":
581857, "category_id": 1, "file_name": "COCO_train2014_000000581857_16.jpg", "split": "train", "sent_ids": [0, 1, 2],
"sentences": [{"sent_id": 0, "sent": "the lady with the blue shirt", "raw": "THE LADY WITH THE BLUE SHIRT", "tokens":
[...]}]}
Quirks: it is a pickle of Python 2, read here as data only (`vldata.sources.reading.pickle`); ``file_name`` is that
of the object, not of the photograph, which ``instances.json`` names; the splits are train, val, testA and testB
(people, other things), for RefCOCOg train, val, test by ``umd`` (no photograph in two splits) or train, val by
``google`` (photographs shared).
"""

from __future__ import annotations

import pickle
from collections.abc import Collection, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from vldata.errors import SourceError
from vldata.paths import packed_or_not
from vldata.shapes.language import expressions
from vldata.shapes.scene import Px
from vldata.sources.base import Keys
from vldata.sources.coco_instances import UNREAD
from vldata.sources.native_rows import NativeRows
from vldata.sources.reading.files import expand, open_json
from vldata.sources.reading.keep import heads
from vldata.sources.reading.keys import keys_named
from vldata.sources.reading.lookup import looked_up, with_coco_images
from vldata.sources.reading.native_types import FLAG, ID, TEXT, XYWH, NativeType
from vldata.sources.reading.pickle import load_pickle
from vldata.sources.reading.regions import one_box
from vldata.sources.reading.rows import image_sizes, list_of_rows, note, one_image, rows_under, turns_of, typed
from vldata.sources.standins import coco_image, drawn, keys_for, scenes_for, write_json, xywh

_REF_UNREAD = keys_named("ref_id category_id file_name sent_ids sentences")
_SENTENCE_UNREAD = keys_named("raw tokens")


class RefCoco(NativeRows):
    """One turn a sentence; ``row`` is its sent_id.

    Args:
        split_by: Who divided the corpus, as in the file's name: unc, google, umd or berkeley. None takes the only
            ``refs(...).p`` there is.
        split: Sentences of other splits are filtered as ``other_split``; None takes all.
    """

    format: ClassVar[str] = "refcoco"
    about: ClassVar[str] = "RefCOCO, RefCOCO+, RefCOCOg, RefClef: refs(...).p and instances.json"
    licence: ClassVar[str] = "annotations Apache-2.0; photographs under their Flickr owners' terms"
    tasks: ClassVar[tuple[str, ...]] = ("rec", "reg")
    version: ClassVar[int] = 3

    names: ClassVar[tuple[str, ...]] = ("refs(*).p",)
    native: ClassVar[Mapping[str, NativeType]] = {
        "sent_id": ID.to("row"),
        "sent": TEXT.to("phrase", "boxes"),
        "split": TEXT.to(),
        "ann_id": ID.to("boxes"),
        "image_id": ID.to("images"),
    }
    optional: ClassVar[Collection[str]] = ("sent_id", "split")

    split_by: str | None = None
    split: str | None = "train"

    def files(self) -> list[Path]:
        """The pickle and the ``instances.json`` beside it."""
        return [file for refs in self.row_files() for file in (refs, *_instances_beside(refs))]

    def row_files(self) -> list[Path]:
        """The pickle.

        Raises:
            SourceError: There is none, or there are several and ``split_by`` names none of them.
        """
        found = super().row_files()
        named = [path for path in found if path.name == f"refs({self.split_by}).p"] if self.split_by else found
        if len(named) != 1:
            names = ", ".join(path.name for path in found)
            problem = f"no refs({self.split_by}).p" if self.split_by else f"{len(found)} files of references"
            fix = "set `split_by` to what stands in the parentheses"
            raise SourceError(self.path, f"{problem}; there are: {names}", fix)
        return named

    def rows_in(self, path: Path, task: str) -> pl.DataFrame:
        """Every sentence; a reference without one is one ``missing_value``."""
        rows = self.typed_rows([*_sentences(list_of_rows(load_pickle(path), path), heads(self.keep))], task)
        if self.split is None:
            return rows
        splits = rows["split"].drop_nulls().unique().sort().to_list()
        if self.split not in splits:
            problem = f"no reference is of the split {self.split!r}"
            raise SourceError(str(path), problem, f"set `split` to one of: {', '.join(splits) or 'null'}")
        return note(rows, pl.col("split") != self.split, "other_split", pl.col("split"))

    def of_rows(self, rows: pl.DataFrame, path: Path, task: str) -> pl.DataFrame:
        """Every sentence with its photograph and the box of what it refers to."""
        (instances,) = _instances_beside(path)
        document = open_json(instances)
        boxes = typed(
            rows_under(document, "annotations", instances),
            {"id": ID.to("boxes"), "bbox": XYWH.to("boxes"), "iscrowd": FLAG.to()},
            optional={"iscrowd"},
            ignored={"image_id", "category_id", *UNREAD, *self.ignore},
            of="annotations",
            keep=self.keep,
        )
        rows = looked_up(
            rows,
            boxes.rename({"id": "ann_id"}),
            "ann_id",
            unlisted="annotation {} is not among the file's `annotations`",
            twice="the file's `annotations` lists {} twice, with different values",
        )
        rows = with_coco_images(rows, document, instances, keep=self.keep)
        rows = note(rows, pl.col("iscrowd").fill_null(False), "is_crowd", pl.lit("a crowd region"))
        rows = rows.with_columns(boxes=one_box("bbox", "sent"))
        images = one_image(pl.col("file_name"))
        return turns_of(rows, "boxes", "urls", row="sent_id", phrase="sent", images=images, image_sizes=image_sizes())

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """The phrases that fit one thing of a scene, as ``refs(unc).p``, ``instances.json`` and ``train2014/``."""
        corpus, root = folder / "refcoco", folder / "train2014"
        refs: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        photographs: list[dict[str, Any]] = []
        ids = count()
        scenes = scenes_for(rows, lambda scene: len(expressions(scene)), seed)
        for scene, name in drawn(scenes, root, "COCO_train2014_{:012d}.jpg", images):
            photographs.append(coco_image(scene, name))
            texts: dict[Px, list[str]] = {}
            for text, (box,) in expressions(scene):
                texts.setdefault(box, []).append(text)
            for box, phrases in texts.items():
                numbered = [
                    {"sent_id": next(ids), "sent": text, "raw": text, "tokens": text.split()} for text in phrases
                ]
                number, of = len(refs), {"image_id": scene.number + 1, "category_id": 1}
                annotations.append({"id": number, **of, "bbox": xywh(box), "iscrowd": 0})
                file = name.replace(".jpg", f"_{number}.jpg")
                head = {"ref_id": number, "ann_id": number, **of, "file_name": file, "split": "train"}
                refs.append({**head, "sent_ids": [said["sent_id"] for said in numbered], "sentences": numbered})
        categories = [{"id": 1, "name": "shape", "supercategory": "shape"}]
        document = {"images": photographs, "annotations": annotations, "categories": categories}
        write_json(corpus / "instances.json", document)
        (corpus / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
        return keys_for(corpus, root)


def _instances_beside(refs: Path) -> list[Path]:
    return expand(str(packed_or_not(refs.parent / "instances.json")))


def _sentences(refs: list[Any], kept: frozenset[str]) -> Iterator[Any]:
    """Every sentence with what its reference says, too; a reference without one, by itself."""
    unread, unread_of_sentence = _REF_UNREAD - kept, _SENTENCE_UNREAD - kept
    for ref in refs:
        if not isinstance(ref, dict):
            yield ref
            continue
        head = {key: value for key, value in ref.items() if key not in unread}
        sentences = ref.get("sentences")
        if not isinstance(sentences, list) or not sentences:
            yield {**head, "sent_id": f"ref/{ref.get('ref_id')}"}
            continue
        for sentence in sentences:
            said = sentence if isinstance(sentence, dict) else {}
            own = {key: value for key, value in said.items() if key not in unread_of_sentence}
            yield {**head, **own, "sent": said.get("sent", said.get("raw"))}
