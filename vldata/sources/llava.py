r"""LLaVA-Instruct and all that is written like it: conversations about an image.

https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K (CC BY 4.0; made with GPT-4, so OpenAI's terms apply too)
Layout: ``path`` is a JSON list or JSON lines, Parquet, Arrow, CSV or TSV, a folder of them, or what ``datasets``'
``save_to_disk`` wrote; ``image_root`` is the folder below which the images lie, unless they are bytes in a column
``image`` or ``images``. A row: {"id": "000000033471", "image": "000000033471.jpg", "conversations": [{"from": "human",
"value": "<image>\nWhat are the colors of the bus in the image?"}, {"from": "gpt", "value": "The bus in the image is
white and red."}, ...]}
Quirks: the mark ``<image>`` stands before or after the first question at random; rows without ``image`` are text only
(a quarter of the 665k mix has come from ShareGPT); ``id`` is that of the image and repeats between the parts of a
mix; some originals spell the key ``conversatons``. Read too, in the same file or in others: several images (``image``
or ``images`` is a list), ``messages`` of ``role`` and ``content`` with texts or typed parts (OpenAI, TRL, Qwen),
``query``, ``response`` and ``history`` (ms-swift), ``instruction``, ``input`` and ``output`` with ``images`` (Alpaca),
``texts`` (The Cauldron), any of these as JSON in a text, and marks of images as Qwen, Mantis, MiniGPT-4 and others
write them. A message's ``weight``, ``loss``, ``loss_weight`` or ``train`` is the weight of its answer's loss, and
``objects`` holds the phrases and boxes of ``<ref-object>`` and ``<bbox>`` (`vldata.sources.reading.objects`). Rows with
sound or video are refused, and so is one with a key that may change what is learnt
(`vldata.sources.reading.talk_keys`).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
from pydantic import computed_field, model_validator

from vldata.shapes.language import arithmetic, conversation
from vldata.sources.base import Keys, Source
from vldata.sources.reading.conversations import exchanges, talks_in
from vldata.sources.reading.embedded import name_below
from vldata.sources.reading.marks import IMAGE_MARK
from vldata.sources.reading.talk_files import folder_of_images, talk_files
from vldata.sources.standins import drawn, messages, scenes_for, written


class Llava(Source):
    """One turn an exchange; ``thread`` is the conversation's id and ``row`` is ``<thread>/<position>``.

    Conversations about images are for the task ``instruction``, those without for ``text_instruction``; the others
    are filtered as ``not_for_task``.
    """

    format: ClassVar[str] = "llava"
    about: ClassVar[str] = "LLaVA: conversations about images, or without (id, image, conversations)"
    licence: ClassVar[str] = "CC BY 4.0, generated with GPT-4 (OpenAI's terms)"
    tasks: ClassVar[tuple[str, ...]] = ("instruction", "text_instruction")
    version: ClassVar[int] = 5

    @model_validator(mode="before")
    @classmethod
    def _with_root(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("path"), str) and data.get("image_root") is None:
            return {**data, "image_root": folder_of_images(data["path"])}
        return data

    @computed_field  # type: ignore[prop-decorator]
    @property
    def below_root(self) -> str | None:
        """Where tables that hold images lie, seen from ``image_root``: references to these begin with it."""
        folder = folder_of_images(self.path)
        return None if folder is None else name_below(Path(folder), self.image_root)

    def files(self) -> list[Path]:
        """``path``, or the tables below it."""
        return talk_files(self.path)

    def turns(self, task: str) -> pl.DataFrame:
        """Every exchange; a conversation in disorder is an ``unparsable_row`` for each of its questions."""
        read = partial(talks_in, pictured=task == "instruction", ignore=self.ignore, keep=self.keep)
        return exchanges([talk for path in self.files() for talk in read(path, image_root=self.image_root)], self.keep)

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Conversations about scenes as ``llava_mix.json`` and ``images/``, and word problems without image."""
        talks: list[dict[str, Any]] = []
        scenes = scenes_for(rows, lambda scene: len(conversation(scene)), seed)
        for scene, name in drawn(scenes, folder / "images", "{:012d}.jpg", images):
            (question, answer), *rest = conversation(scene)
            opening = f"{question}\n{IMAGE_MARK}" if scene.number % 2 else f"{IMAGE_MARK}\n{question}"
            said = messages([(opening, answer), *rest])
            talks.append({"id": Path(name).stem, "image": name, "conversations": said})
            problem = messages([arithmetic(scene.number, seed=seed)])
            talks.append({"id": f"text_{scene.number}", "conversations": problem})
        return written(folder / "llava_mix.json", talks, folder / "images")
