"""The keys of conversations: which are read, which change nothing, and which may change what is learnt.

A row with a key of the last kind that says anything is refused, so that nobody learns from it what its file never
meant: boxes for placeholders, tools, rejected answers, prompts under another name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from vldata.sources.reading.rows import shown

MESSAGES = ("conversations", "conversatons", "conversation", "messages", "texts")
IMAGES = ("image", "images")
SYSTEMS = ("system", "system_prompt", "system_message", "sys_prompt")
MEDIA = ("video", "videos", "audio", "audios")
EXCHANGES = (("query", "response"), ("instruction", "output"), ("prompt", "completion"))
"""A question and its answer as two keys of a row: ms-swift's, Alpaca's, TRL's."""

PAIRS = (
    ("user", "assistant"), ("human", "assistant"), ("human", "gpt"), ("query", "response"), ("question", "answer"),
    ("input", "output"), ("prompt", "response"),
)  # fmt: skip
"""A question and its answer as two keys of one object in a list."""

SPOKEN = frozenset({"from", "value", "role", "content"})
WEIGHTS = frozenset(
    {"loss", "loss_weight", "loss_scale", "loss_mask", "weight", "train", "training", "trainable", "need_loss",
     "output_with_loss"}
)  # fmt: skip
"""Of a message: whether, or how much, it is learnt."""
MASKED = "masked"
"""Of a message: whether it is not learnt."""

_HARMLESS_KEYS = """
    id ids uid uuid guid idx index key row sample_id question_id conv_id dialog_id turn_id message_id parent_id hash md5
    sha256 __index_level_0__ source sources dataset dataset_name datasource data_source origin subset split config task
    tasks task_name category categories cate domain topic topics subject subjects tag tags kind type level difficulty
    quality intent knowledge score scores rating ratings similarity clip_score reward helpfulness width height widths
    heights w h width_list height_list size image_size image_sizes image_width image_height length num_turns turn turns
    num_tokens token_count tokens license licence licenses copyright attribution author authors annotator language lang
    languages locale country model models model_name generator engine temperature timestamp tstamp created created_at
    updated_at date time year url urls link links title page meta metadata info extra extra_info comment comments note
    notes version views state header toxic redacted hashed_ip openai_moderation detoxify_moderation turn_identifier
    skip_prompt_formatting custom_instruction choice_list is_classification name file_name filename avatarurl
"""
_HARMLESS = frozenset(_HARMLESS_KEYS.split())
_HARMLESS_OF_MESSAGE = _HARMLESS - {"name", "index", "reward", "type"}
_BESIDE_IMAGES = """
    image_url image_urls image_path image_paths image_name image_names image_file image_id img_id img_path img
    image_ids image_hash image_source coco_url flickr_url image_count
"""
_HARMLESS_BESIDE_IMAGES = frozenset(_BESIDE_IMAGES.split())
_HARMLESS_ENDING = re.compile(
    r"(^|.+_)(ids?|uids?|hash|urls?|scores?|ratings?|min|max|source|name|type|category|count|tokens?|length|len|width"
    r"|height|size|license|licence|lang|language|version|date|time|timestamp|difficulty|quality|reward|model)$"
    r"|^(num|n)_\w+$"
)
_NEVER = re.compile("loss|mask|weight|train|reject|chosen|tool|func|system|prompt|box|label|object|answer|image|input")
_NAMES_AN_IMAGE = re.compile("ima?g|pict|photo|pixel|frame|media|file|path", re.IGNORECASE)


class Form(NamedTuple):
    """How rows with certain keys hold a conversation.

    Args:
        messages: Keys that may hold it, in order.
        exchange: Else the keys of a question and its answer.
        systems: Keys of what the system says.
        images: Keys of its images.
        media: Keys of what is not read.
        others: Keys that are neither read nor harmless.
    """

    messages: tuple[str, ...]
    exchange: tuple[str, str] | None
    systems: tuple[str, ...]
    images: tuple[str, ...]
    media: tuple[str, ...]
    others: tuple[str, ...]


@lru_cache(maxsize=4096)
def form_of(keys: tuple[str, ...], ignore: frozenset[str] = frozenset()) -> Form:
    """How rows with these keys are read; the keys in ``ignore`` are harmless because the recipe says so."""
    there = dict.fromkeys(key for key in keys if key not in ignore)
    messages = tuple(key for key in MESSAGES if key in there)
    exchange = None if messages else next((pair for pair in EXCHANGES if there.keys() >= set(pair)), None)
    read = {*messages, *SYSTEMS, *IMAGES, *MEDIA, *(exchange or ()), "id"}
    if exchange:
        read |= {"history", "input"} if exchange[0] == "instruction" else {"history"}
    others = tuple(key for key in there if key not in read and not is_harmless(key))
    systems, images, media = (tuple(key for key in names if key in there) for names in (SYSTEMS, IMAGES, MEDIA))
    return Form(messages, exchange, systems, images, media, others)


def is_harmless(key: str) -> bool:
    """Whether a row's key surely changes nothing of what is learnt: ids, sources, scores, sizes, licences and such."""
    key = key.strip().lower()
    if key in _HARMLESS or key == "" or key.startswith("unnamed:"):
        return True
    return _HARMLESS_ENDING.match(key) is not None and _NEVER.search(key) is None


def is_harmless_in_message(key: str) -> bool:
    """Whether a message's key surely changes nothing of what is learnt."""
    return key.lower() in _HARMLESS_OF_MESSAGE


def unknown_key(row: Mapping[str, Any], form: Form, texts: Collection[str], *, has_images: bool) -> str | None:
    """What a key says that nobody reads, unless that is nothing, or one of the conversation's own texts."""
    for key in form.others:
        value = row[key]
        if is_blank(value) or (type(value) is str and value in texts):
            continue
        if has_images and key.lower() in _HARMLESS_BESIDE_IMAGES:
            continue
        return f"{key!r} is {shown(value)}; {the_fix(key)}"
    return None


def may_name_images(form: Form, row: Mapping[str, Any]) -> str | None:
    """A key that is not read and may name the images of a row that seems to have none."""
    for key in form.others:
        if _NAMES_AN_IMAGE.search(key) and not is_blank(row[key]):
            fix = f"if these are its images, read it as a table with `fields: {{images: {key}}}`; {the_fix(key)}"
            return f"{key!r} is {shown(row[key])}; {fix}"
    return None


def the_fix(key: str) -> str:
    """What a recipe says of a key that changes nothing."""
    return f"if that changes nothing of what is learnt, say `ignore: [{key}]`"


def is_blank(value: Any) -> bool:
    """Whether a value says nothing: null, empty, or made of nothing but such values."""
    if value is None:
        return True
    if type(value) is str:
        return not value or value.isspace() or value in ("[]", "{}", "null", "None")
    if type(value) is dict:
        return all(map(is_blank, value.values()))
    return type(value) is list and all(map(is_blank, value))
