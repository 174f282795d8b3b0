"""Where images stand in what a conversation says.

``<image>`` is a place, as LLaVA and its kin write it. What other corpora write instead is a place too, where the row
names as many images as it has places; else the conversation is refused, as its words would be a mark's letters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import polars as pl

from vldata.prompts.places import BOX_MARK
from vldata.sources.reading.rows import note, with_remarks

IMAGE_MARK = "<image>"
"""Where LLaVA and its kin put an image in a text."""

FOREIGN = (
    r"<\|(?:image|img|vision|video|audio|media|IMAGE|IMG|VIDEO|AUDIO|object_ref|box|quad|endofchunk)[a-z0-9_]*\|>"
    r"|<[Ii]mg>[^<\n]*(?:<\w+>)*</[Ii]mg>"
    r"|<(?:Image|IMAGE|ImageHere|ImageContent|image_placeholder|IMAGE_PLACEHOLDER|image_pad|image_soft_token"
    r"|start_of_image|im_start|im_patch|im_end|video|audio|VIDEO|AUDIO)>"
    r"|<(?:[Ii]mage|[Ii]mg|IMG|[Vv]ideo|[Aa]udio)[_ -]?\d+>|</[Ii]mage>"
    r"|<\|?(?:[A-Za-z]+_)*(?:[Ii]mage|IMAGE|[Ii]mg|IMG|[Vv]ideo|VIDEO|[Aa]udio|AUDIO|vision)(?:_[A-Za-z]+)+\|?>"
    r"|<\|?(?:[A-Za-z]+_)+(?:image|IMAGE|img|IMG|video|audio)\|?>"
)
"""What other corpora write where an image, a sound, a video or a box is to stand."""

_TEXTS = ("instruction", "response", "system")
_WORDS = ("question", "statement", "caption", "context", "phrase", "answer")
_BOX_PLACES = rf"{BOX_MARK}|<ref-object>"

_SPOKEN_OF = (
    r"^\s*<[Ii]mg>|<[Ii]mg>\s*$|<IMG>|<image ?/>|< image >"
    r"|\[(?:[Ii]mage|IMAGE|[Ii]mg|IMG)\]|&lt;(?:image|img)&gt;"
)
"""What is a mark as well, but also what people write about; it is no mark where every image has its `IMAGE_MARK`."""

_FOREIGN = re.compile(FOREIGN)
_ANY = re.compile(f"{FOREIGN}|{_SPOKEN_OF}")
_PLACE = re.compile(
    r"<\|vision_start\|>(?:<\|image_pad\|>)+<\|vision_end\|>|(?:<\|image_pad\|>)+"
    r"|<(?P<tag>[Ii]mg|Image)>(?:<ImageHere>|(?:<IMG_CONTEXT>)+)</(?P=tag)>"
    r"|<[Ii]mg>(?P<path>[^<>\n]*)</[Ii]mg>"
    r"|<image>(?:\./)?</image>|<im_start>(?:<image>|(?:<im_patch>)+)<im_end>"
    r"|<(?P<side>image|img)_start><image><(?P=side)_end>|(?P<around><fake_token_around_image>)<image>(?P=around)"
    r"|<(?:(?:[Ii]mage|[Ii]mg|IMG)[_ -]?|\|image_)(?P<number>\d+)\|?>"
    r"|<(?:image|Image|IMAGE|ImageHere|image_placeholder|IMAGE_PLACEHOLDER|image_pad|image_soft_token|start_of_image)>"
    r"|<\|(?:image|IMAGE|img|IMG|imgpad|media_pad)\|>|<(?:image_token|image_here|image_tag|MM_IMG)>"
    rf"|{_SPOKEN_OF}"
)
_CONTROL = (
    r"<\|(?:im_start|im_end|im_sep|endoftext|eot_id|begin_of_text|end_of_text|start_header_id|end_header_id|eom_id"
    r"|python_tag|user|assistant|system|end|start|message|channel|return)\|>"
    r"|</?s>|</?tool_(?:call|response)>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>"
)
"""What chat templates write between messages."""
_GROUNDED = (
    r"<ref>|<box>|<quad>|<loc_?\d+>|<p>[^<]*</p>\s*\[|<\|(?:box|quad|object_ref)_(?:start|end)\|>"
    r'|"(?:bbox|bbox_2d|box_2d)"\s*:'
)
"""What other corpora write their boxes with."""
_TAG = re.compile(r"<[Ii]mg>([^<>\n]+)</[Ii]mg>")


def tagged_images(text: str) -> list[str]:
    """The paths that stand in a text as Qwen-VL writes them, ``<img>path</img>``."""
    return [path.strip() for path in _TAG.findall(text)]


def with_image_places(turns: pl.DataFrame) -> pl.DataFrame:
    """Write every mark of an image as `IMAGE_MARK`, take that of a lone image out, and check the number of all others.

    A single mark at the start or end of the first question about a single image says nothing that the recipe would
    not decide, so it goes, with the line break beside it, unless it is the whole question. Texts without any mark leave
    the place to the recipe as well. Other marks stay; there must be one for each image, and none in what the system or
    the assistant says.

    Args:
        turns: ``thread`` (a turn without one stands alone), ``position``, ``images``, ``instruction``, ``response``,
            ``system``, ``problem`` and ``detail``; ``boxes`` where a turn may have places of boxes.
    """
    alone = pl.format("\0{}", pl.int_range(pl.len()))
    turns = _of_other_corpora(_without_unfilled(turns.with_columns(talk=pl.coalesce("thread", alone))))
    turns = turns.with_columns(text=pl.col("instruction").str.strip_chars())
    here, num_images = _marks("instruction"), pl.col("images").list.len().fill_null(0)
    astray = (_marks("response") + _marks("system")).sum().over("talk")
    turns = turns.with_columns(marks=here.sum().over("talk"), astray=astray, num_images=num_images)
    at_edge = pl.col("text").str.starts_with(IMAGE_MARK) | pl.col("text").str.ends_with(IMAGE_MARK)
    is_first = pl.col("position").fill_null(0) == 0
    is_lone = (pl.col("marks") == 1) & (pl.col("num_images") == 1) & (here == 1) & is_first & at_edge
    bare = pl.col("text").str.strip_prefix(IMAGE_MARK).str.strip_suffix(IMAGE_MARK).str.strip_chars()
    is_mismatch = (pl.col("astray") > 0) | ((pl.col("marks") > 0) & (pl.col("marks") != pl.col("num_images")))
    said = pl.format(
        "{} {} in the questions, {} in answers, {} images", "marks", pl.lit(IMAGE_MARK), "astray", "num_images"
    )
    turns = note(turns, is_mismatch, "image_count_mismatch", said)
    turns = turns.with_columns(instruction=pl.when(is_lone & (bare != "")).then(bare).otherwise("instruction"))
    return _with_remarks_of_tokens(turns.drop("talk", "text", "marks", "astray", "num_images"))


def with_remark_of_marks(turns: pl.DataFrame, task: str) -> pl.DataFrame:
    """The turns of a task that places no images, with a remark on those whose words hold the mark of a place."""
    mark_in = f"({FOREIGN}|{IMAGE_MARK})"
    words = {name: pl.col(name) for name in _WORDS if turns.schema.get(name) == pl.String}
    if turns.schema.get("choices") == pl.List(pl.String):
        words["choices"] = pl.col("choices").list.join("\n", ignore_nulls=True)
    holding = [text for text in words.values() if turns.select(text.str.contains(mark_in).any()).item()]
    if not holding:
        return turns
    mark = pl.coalesce(text.str.extract(mark_in) for text in holding)
    kind = mark.str.replace_all(r"\d+", "1").str.replace(r"(<[Ii]mg>).*(</[Ii]mg>)", "${1}path${2}")
    said = pl.format(f"{task!r} places no images, so marks such as {{}} in its words are text", kind)
    own = [pl.col("remark")] if "remark" in turns.columns else []
    return turns.with_columns(remark=pl.coalesce(*own, pl.when(pl.col("problem").is_null()).then(said)))


def _with_remarks_of_tokens(turns: pl.DataFrame) -> pl.DataFrame:
    """The turns with a remark on those whose words hold tokens of a chat template, or boxes as other corpora write."""
    for pattern, said in (
        (_CONTROL, "tokens of chat templates in its words, such as {}, may be learnt as special tokens"),
        (_GROUNDED, "boxes in its words, such as at {}, are words as any others: no codec of ours writes them"),
    ):
        if turns.select(pl.any_horizontal(pl.col(name).str.contains(pattern).any() for name in _TEXTS)).item():
            first = pl.coalesce(pl.col(name).str.extract(f"({pattern})") for name in _TEXTS).str.replace_all(
                r"\d+", "1"
            )
            first = first.str.replace(r"<p>.*", "<p>")
            turns = with_remarks(turns, [pl.when(pl.col("problem").is_null()).then(pl.format(said, first))])
    return turns


def _marks(column: str) -> pl.Expr:
    return pl.col(column).str.count_matches(IMAGE_MARK, literal=True).fill_null(0)


def _without_unfilled(turns: pl.DataFrame) -> pl.DataFrame:
    """The turns of conversations with a place of a box, or of its phrase, that nothing fills, refused."""
    if not turns.select(pl.any_horizontal(pl.col(_TEXTS).str.contains(_BOX_PLACES)).any()).item():
        return turns
    found = [pl.col(column).str.extract(f"({_BOX_PLACES})") for column in _TEXTS]
    if "boxes" in turns.columns:
        in_order = [pl.when(pl.col("boxes").is_null()).then(mark).otherwise(None) for mark in found[:2]]
        found = [*in_order, found[2]]
    unfilled = pl.coalesce(found).drop_nulls().first().over("talk")
    return note(turns, unfilled.is_not_null(), "image_mark_in_text", pl.format("{}, and nothing fills it", unfilled))


def _of_other_corpora(turns: pl.DataFrame) -> pl.DataFrame:
    """The turns with other corpora's marks written as `IMAGE_MARK`, or with ``image_mark_in_text``."""
    has_any = pl.any_horizontal(pl.col(column).str.contains(_ANY.pattern).fill_null(False) for column in _TEXTS)
    suspects = turns.select(is_suspect=has_any & pl.col("problem").is_null())["is_suspect"]
    if not suspects.any():
        return turns
    whole = turns.with_row_index("place").filter(
        pl.col("talk").is_in(turns.filter(suspects)["talk"].unique().implode()) & pl.col("problem").is_null()
    )
    places: list[int] = []
    questions: list[str] = []
    refused: dict[int, str] = {}
    for rows in whole.sort("talk", "position", "place").partition_by("talk", maintain_order=True):
        asked = rows["instruction"].fill_null("").to_list()
        elsewhere = [*rows["response"].drop_nulls().to_list(), *rows["system"].drop_nulls().to_list()]
        found = _placed(asked, elsewhere, (rows["images"].drop_nulls().to_list() or [[]])[0])
        if isinstance(found, str):
            refused |= dict.fromkeys(rows["place"].to_list(), found)
        else:
            places += rows["place"].to_list()
            questions += found
    turns = turns.with_columns(turns["instruction"].scatter(places, questions) if places else turns["instruction"])
    details = pl.Series("mark", [None], dtype=pl.String).new_from_index(0, turns.height)
    turns = turns.with_columns(details.scatter(list(refused), list(refused.values())) if refused else details)
    return note(turns, pl.col("mark").is_not_null(), "image_mark_in_text", pl.col("mark")).drop("mark")


def _placed(questions: Sequence[str], elsewhere: Sequence[str], images: Sequence[str]) -> list[str] | str:
    """The questions of a conversation with `IMAGE_MARK` at every place of an image, or what does not fit."""
    are_named = not images or sum(text.count(IMAGE_MARK) for text in questions) == len(images)
    foreign = _FOREIGN if are_named else _ANY
    for text in elsewhere:
        if found := _FOREIGN.search(text):
            return f"{found[0]:.80} in what the system or the assistant says"
    if not any(map(foreign.search, questions)):
        return list(questions)
    first = next((found[0] for text in questions if (found := foreign.search(text))), IMAGE_MARK)
    places = [place for text in questions for place in _PLACE.finditer(text)]
    written = [_PLACE.sub(IMAGE_MARK, text) for text in questions]
    for text in written:
        if found := foreign.search(text):
            return f"{found[0]:.80} in a question means no place of an image"
    if len(places) != len(images):
        return f"{first:.80} in a question: {len(places)} places in all, {len(images)} images"
    numbers = [int(place["number"]) for place in places if place["number"]]
    if numbers and numbers not in (list(range(len(images))), list(range(1, len(images) + 1))):
        return f"{first:.80} in a question: places numbered {numbers}, {len(images)} images"
    for place, image in zip(places, images, strict=True):
        if (place["path"] or "").strip() and PurePosixPath(place["path"].strip()).name != PurePosixPath(image).name:
            return f"{place[0]:.80} in a question, where the row's image is {image:.80}"
    return written
