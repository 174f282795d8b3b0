"""The keys of conversations: which are read, which change nothing, and which may change what is learnt.

A row with a key of the last kind that says anything is refused, so that nobody learns from it what its file never
meant: boxes for placeholders, tools, rejected answers, prompts under another name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from vldata.sources.reading.keys import HARMLESS, is_blank, is_harmless
from vldata.sources.reading.marks import IMAGE_MARK
from vldata.sources.reading.native_types import shown

MESSAGES = ("conversations", "conversatons", "conversation", "messages", "texts")
IMAGES = ("image", "images")
SYSTEMS = ("system", "system_prompt", "system_message", "sys_prompt")
OBJECTS = "objects"
"""Phrases and boxes for the places in messages that stand for them."""
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

_SPEAKING = frozenset({"custom_instruction", "header"})
_HOLDING = frozenset({"meta", "metadata", "info", "extra", "extra_info"}) | _SPEAKING
"""Keys that are harmless unless what they hold is none of the harmless things; of the first, any text is learnt."""
_LEARNT = frozenset(
    {*MESSAGES, *SYSTEMS, *WEIGHTS, MASKED, "instruction", "history", "tools", "functions", "tool_calls", "chosen",
     "rejected", "rejected_response"}
)  # fmt: skip

_HARMLESS_OF_MESSAGE = HARMLESS - {"name", "index", "type"}
_BESIDE_IMAGES = """
    image_url image_urls image_path image_paths image_name image_names image_file image_id img_id img_path img
    image_ids image_hash image_source coco_url flickr_url image_count
"""
_HARMLESS_BESIDE_IMAGES = frozenset(_BESIDE_IMAGES.split())
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


READ = frozenset(
    {*MESSAGES, *SYSTEMS, *IMAGES, *MEDIA, "id", "history", "input", *(key for pair in EXCHANGES for key in pair)}
)
"""Keys of a row that a form may read; to keep one is not to ignore it."""


@lru_cache(maxsize=4096)
def form_of(keys: tuple[str, ...], ignore: frozenset[str] = frozenset()) -> Form:
    """How rows with these keys are read; the keys in ``ignore`` are harmless because the recipe says so."""
    there = dict.fromkeys(key for key in keys if key not in ignore)
    messages = tuple(key for key in MESSAGES if key in there)
    exchange = None if messages else next((pair for pair in EXCHANGES if there.keys() >= set(pair)), None)
    read = {*messages, *SYSTEMS, *IMAGES, *MEDIA, *(exchange or ()), "id"}
    if exchange:
        read |= {"history", "input"} if exchange[0] == "instruction" else {"history"}
    others = tuple(key for key in there if key not in read and (not is_harmless(key) or key.lower() in _HOLDING))
    systems, images, media = (tuple(key for key in names if key in there) for names in (SYSTEMS, IMAGES, MEDIA))
    return Form(messages, exchange, systems, images, media, others)


def feeds_of(form: Form) -> dict[str, tuple[str, ...]]:
    """The canonical columns that the keys of such rows feed."""
    feeds: dict[str, tuple[str, ...]] = dict.fromkeys(form.messages, ("instruction", "response", "system"))
    if form.exchange:
        ask, answer = form.exchange
        feeds |= {ask: ("instruction",), answer: ("response",), "history": ("instruction", "response")}
        feeds |= {"input": ("instruction",)} if ask == "instruction" else {}
    feeds |= dict.fromkeys(form.systems, ("system",)) | dict.fromkeys(form.images, ("images",))
    return feeds | {"id": ("thread", "row"), OBJECTS: ("boxes",)}


def is_harmless_in_message(key: str) -> bool:
    """Whether a message's key surely changes nothing of what is learnt."""
    return key.lower() in _HARMLESS_OF_MESSAGE


def is_silent(key: str, value: Any) -> bool:
    """Whether a key that a form has among its others is harmless with what it holds."""
    return key.lower() in _HOLDING and not says_what_is_learnt(key, value)


def says_what_is_learnt(key: str, value: Any) -> bool:
    """Whether a harmless key holds a text that is an instruction, or an object with what would be learnt."""
    key = key.lower()
    if key not in _HOLDING or is_blank(value):
        return False
    if type(value) is str:
        return key in _SPEAKING or any(f'"{name}"' in value for name in _LEARNT if value.lstrip()[:1] in ("{", "["))
    return _holds(value, _LEARNT)


def _holds(value: Any, names: Collection[str]) -> bool:
    """Whether an object has, at any depth, a key of these names that says something."""
    if type(value) is dict:
        return any((key.lower() in names and not is_blank(one)) or _holds(one, names) for key, one in value.items())
    return type(value) is list and any(_holds(one, names) for one in value)


def unknown_key(row: Mapping[str, Any], form: Form, texts: Collection[str], *, has_images: bool) -> str | None:
    """What a key says that nobody reads, unless that is nothing, or one of the conversation's own texts."""
    for key in form.others:
        value = row[key]
        if is_blank(value) or (type(value) is str and value in texts) or is_silent(key, value):
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


def speaks_of_images(value: Any) -> bool:
    """Whether a native value that could not be read has a key, a kind or a mark of an image in it."""
    if isinstance(value, dict):
        return any(
            speaks_of_images(inside) or (_NAMES_AN_IMAGE.search(key) is not None and not is_blank(inside))
            for key, inside in value.items()
        )
    if isinstance(value, list):
        return any(map(speaks_of_images, value))
    return isinstance(value, str) and (value.startswith("image") or IMAGE_MARK in value)


def the_fix(key: str) -> str:
    """What a recipe says of a key that changes nothing."""
    return f"if that changes nothing of what is learnt, say `ignore: [{key}]`"
