r"""LLaVA JSON: a list for each split, and the images as files.

    train.json              [{"id": "vqa/12", "image": "images/3f/3f2a….jpg", "conversations": [{"from": "human",
                              "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "a cat"}]}, …]
    images/3f/3f2a….jpg     each image once, named by its bytes; `--image_folder` is the export's folder

``<image>`` stands where the image does, on a line of its own. A sample of several images has a list in ``image``, one
without images has no ``image``, and a system message becomes the key ``system``. Where a build stores paths, ``image``
is that path, unless the image lies in an archive. A text that itself contains ``<image>`` cannot be distinguished from
an image's place: such samples are not exported. Repeated samples are repeated, with the same id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vldata.dataset.export.conversations import speeches, write_conversations
from vldata.dataset.export.images import ImageFolder
from vldata.dataset.export.outcome import Written
from vldata.dataset.open import BuildFolder


def write(build: BuildFolder, folder: Path, advance: Callable[[int], None]) -> Written:
    """Write a build as LLaVA JSON."""
    return write_conversations(build, folder, advance, llava_row)


def llava_row(row: Mapping[str, Any], files: ImageFolder) -> dict[str, Any]:
    """One row in LLaVA's form; writes its images.

    Raises:
        CannotExpressError: See `vldata.dataset.export.conversations.speeches`.
        ImageProblem: An image that the build only names is not there.
    """
    said = speeches(row)
    images = [files.place(image) for image in row["images"]]
    written: dict[str, Any] = {"id": row["id"]}
    if images:
        written["image"] = images[0] if len(images) == 1 else images
    if said and said[0]["from"] == "system":
        written["system"] = said.pop(0)["value"]
    return {**written, "conversations": said}
