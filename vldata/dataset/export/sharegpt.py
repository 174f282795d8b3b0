r"""ShareGPT JSON with images, in the form that LLaMA-Factory reads (``formatting: sharegpt``).

    train.json              [{"id": "vqa/12", "conversations": [{"from": "human", "value": "<image>\nWhat is it?"},
                              {"from": "gpt", "value": "a cat"}], "images": ["images/3f/3f2a….jpg"]}, …]
    images/3f/3f2a….jpg     each image once, named by its bytes
    dataset_info.json       LLaMA-Factory's register: `dataset_dir` is this folder, its datasets are `<name>_<split>`

``<image>`` stands where the image does; a system message is a first speech ``from: system``; ``images`` is there in
every row, so that all rows have the same columns. LLaMA-Factory counts ``<image>``, ``<video>`` and ``<audio>`` in
every text and stops at a wrong number, so samples whose texts contain them are not exported. Repeated samples are
repeated, with the same id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vldata.dataset.export.conversations import IMAGE, speeches, write_conversations
from vldata.dataset.export.images import ImageFolder
from vldata.dataset.export.outcome import Written
from vldata.dataset.open import BuildFolder

RESERVED = (IMAGE, "<video>", "<audio>")


def write(build: BuildFolder, folder: Path, advance: Callable[[int], None]) -> Written:
    """Write a build as ShareGPT JSON."""
    register = {f"{build.manifest.get('name', 'vldata')}_{split}": _entry(split) for split in build.splits}
    (folder / "dataset_info.json").write_text(json.dumps(register, indent=2) + "\n", encoding="utf-8")
    return write_conversations(build, folder, advance, sharegpt_row)


def sharegpt_row(row: Mapping[str, Any], files: ImageFolder) -> dict[str, Any]:
    """One row in ShareGPT's form; writes its images.

    Raises:
        CannotExpressError: See `vldata.dataset.export.conversations.speeches`.
        ImageProblem: An image that the build only names is not there.
    """
    said = speeches(row, reserved=RESERVED)
    images = [files.place(image) for image in row["images"]]
    return {"id": row["id"], "conversations": said, "images": images}


def _entry(split: str) -> dict[str, Any]:
    return {
        "file_name": f"{split}.json",
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "images": "images"},
        "tags": {
            "role_tag": "from",
            "content_tag": "value",
            "user_tag": "human",
            "assistant_tag": "gpt",
            "system_tag": "system",
        },
    }
