"""VSR, visual spatial reasoning: one true or false statement about a photograph a line.

https://github.com/cambridgeltl/visual-spatial-reasoning (data: Apache-2.0; photographs: COCO 2017, their Flickr
owners' terms)
Layout: ``path`` is a ``*.jsonl`` or a folder of them; ``image_root`` is the folder of all photographs, or set
``image_name``.
A line: {"image": "000000085637.jpg", "image_link": "http://images.cocodataset.org/train2017/000000085637.jpg",
"caption": "The cat is on top of the suitcase.", "label": 1, "relation": "on top of", "annotator_id": 31,
"vote_true_validator_id": "[2, 6]", "vote_false_validator_id": "[]", "reference_frame": null}
Quirks: 259 of 7,680 training statements have no "is" ("The suitcase contains the cat."); the lists of votes are text;
there is no id, so a row is known by its contents.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, ClassVar

import polars as pl
from pydantic import AfterValidator

from vldata.shapes.language import statements
from vldata.sources.base import Keys
from vldata.sources.native_rows import LINES, NativeRows
from vldata.sources.reading.image_names import checked_pattern, image_name
from vldata.sources.reading.inline_images import path_or_text
from vldata.sources.reading.keys import keys_named
from vldata.sources.reading.native_types import FLAG, TEXT, NativeType
from vldata.sources.reading.rows import one_image, turns_of
from vldata.sources.standins import drawn, scenes_for, written

UNREAD = keys_named("relation subj obj annotator_id vote_true_validator_id vote_false_validator_id reference_frame")
"""What a statement of VSR says besides itself and whether it is true."""


class Vsr(NativeRows):
    """One turn a line; ``label`` 1 is true.

    Args:
        image_name: Photograph of a line: ``{image}`` is its file's name, ``{folder}`` that of its link (train2017 or
            val2017), so "{folder}/{image}" finds them where COCO keeps them.
    """

    format: ClassVar[str] = "vsr"
    about: ClassVar[str] = "VSR: true or false statements about where things are (*.jsonl)"
    licence: ClassVar[str] = "Apache-2.0; photographs under their Flickr owners' terms"
    tasks: ClassVar[tuple[str, ...]] = ("true_false",)
    version: ClassVar[int] = 3

    names: ClassVar[tuple[str, ...]] = ("*.jsonl",)
    rows_at: ClassVar[str] = LINES
    native: ClassVar[Mapping[str, NativeType]] = {
        "image": TEXT.to("images"),
        "image_link": TEXT.to("images", "urls"),
        "caption": TEXT.to("statement"),
        "label": FLAG.to("answer"),
    }
    optional: ClassVar[Collection[str]] = ("image_link",)
    unread: ClassVar[Collection[str]] = UNREAD

    image_name: Annotated[str, AfterValidator(checked_pattern("image", "folder"))] = "{image}"

    def of_rows(self, rows: pl.DataFrame, path: Path, task: str) -> pl.DataFrame:
        """Every statement; a line that is not JSON is an ``unparsable_row``."""
        folder = pl.col("image_link").str.extract(r"/([^/]+)/[^/]+$")
        name = image_name(self.image_name, image=pl.col("image"), folder=folder)
        return turns_of(
            rows,
            statement=pl.col("caption").str.strip_chars(),
            answer=pl.col("label"),
            images=one_image(path_or_text(pl.col("image"), name)),
            urls=one_image(pl.col("image_link")),
        )

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Four statements a scene, as ``train.jsonl`` and ``images/``."""
        lines = []
        for scene, name in drawn(scenes_for(rows, 4, seed), folder / "images", "{:012d}.jpg", images):
            for statement in islice(statements(scene), 4):
                line = {
                    "image": name,
                    "image_link": f"http://images.cocodataset.org/train2017/{name}",
                    "caption": statement.statement,
                    "label": int(statement.truth),
                    "relation": statement.relation,
                    "annotator_id": 1,
                    "vote_true_validator_id": "[2, 3]" if statement.truth else "[]",
                    "vote_false_validator_id": "[]" if statement.truth else "[2, 3]",
                    "reference_frame": None,
                }
                lines.append(line)
        return written(folder / "train.jsonl", lines, folder / "images")
