"""Native keys that a format does not read: which of them change nothing, and what is said of the others.

A key that nobody knows may change what is learnt (a loss mask, a rejected answer, boxes that fill places in a text), so
a row with one is no row that was read right.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any


def keys_named(names: str) -> frozenset[str]:
    """Keys in one text, with blanks between them."""
    return frozenset(names.split())


HARMLESS = keys_named("""
    annotators annotator_id annotator_ids confidence date_captured provenance worker_id info lang
    id ids uid uuid guid idx index key row sample_id question_id conv_id dialog_id turn_id message_id parent_id hash md5
    sha256 __index_level_0__ source sources dataset dataset_name datasource data_source origin subset split config task
    tasks task_name category categories cate domain topic topics subject subjects tag tags kind type level difficulty
    quality intent knowledge score scores rating ratings similarity clip_score helpfulness width height widths
    heights w h width_list height_list size image_size image_sizes image_width image_height length num_turns turn turns
    num_tokens token_count tokens license licence licenses copyright attribution author authors annotator language lang
    languages locale country model models model_name generator engine temperature timestamp tstamp created created_at
    updated_at date time year url urls link links title page meta metadata info extra extra_info comment comments note
    notes version views state header toxic redacted hashed_ip openai_moderation detoxify_moderation turn_identifier
    skip_prompt_formatting custom_instruction choice_list is_classification name file_name filename avatarurl
""")
"""Keys that any format may have and that change nothing of what is learnt: where a row is from, who made it when."""

_HARMLESS_ENDING = re.compile(
    r"(^|.+_)(ids?|uids?|hash|urls?|scores?|ratings?|min|max|source|name|type|category|count|tokens?|length|len|width"
    r"|height|size|license|licence|lang|language|version|date|time|timestamp|difficulty|quality|model)$"
    r"|^(num|n)_\w+$"
)
_NEVER = re.compile(
    "loss|mask|weight|train|reject|chosen|reward|tool|func|system|prompt|box|label|object|answer|image|input"
)
_IS_JUDGED = re.compile(r"_(ratings?|scores?|min|max)$")


def is_harmless(key: str) -> bool:
    """Whether a row's key surely changes nothing of what is learnt: ids, sources, scores, sizes, licences and such."""
    key = key.strip().lower()
    if key in HARMLESS or key == "" or key.startswith("unnamed:"):
        return True
    if _IS_JUDGED.search(key):
        key = key.replace("image", "")  # FineVision's image_correspondence_ratings
    return _HARMLESS_ENDING.match(key) is not None and _NEVER.search(key) is None


def is_blank(value: Any) -> bool:
    """Whether a value says nothing: null, empty, or made of nothing but such values."""
    if value is None:
        return True
    if type(value) is str:
        return not value or value.isspace() or value in ("[]", "{}", "null", "None")
    if type(value) is dict:
        return all(map(is_blank, value.values()))
    return type(value) is list and all(map(is_blank, value))


def unknown_key(key: str) -> tuple[str, str]:
    """The problem and the detail of a row with a key that its format does not read."""
    return "unknown_key", f"{key!r} is not read here; if it changes nothing of what is learnt, say `ignore: [{key}]`"


def keys_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every key of any row, each once, in the order in which they come."""
    return [*dict.fromkeys(key for kind in dict.fromkeys(map(tuple, rows)) for key in kind)]


def unknown_keys(
    rows: Sequence[Mapping[str, Any]], known: Collection[str], keys: Collection[str]
) -> dict[int, tuple[str, str]]:
    """Problem and detail of each row with a key that is not ``known`` and holds something.

    Args:
        keys: Those of all rows, as `keys_of` has them.
    """
    unread = {key for key in keys if key not in known and not is_harmless(key)}
    if not unread:
        return {}
    found = {}
    for place, row in enumerate(rows):
        if not unread.isdisjoint(row):
            named = next((key for key in row if key in unread and not is_blank(row[key])), None)
            if named is not None:
                found[place] = unknown_key(named)
    return found
