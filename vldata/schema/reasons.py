"""Why a turn is not in the dataset: a closed list, so that ledgers can be counted and compared.

*Filtered* was asked for; *rejected* is broken; *not chosen* is fine and was not needed.
"""

from __future__ import annotations

from typing import Literal

Outcome = Literal["filtered", "rejected", "not_chosen"]

FILTERED = {
    "where": "the source's `where` expression is false or null for it",
    "text_too_short": "its text is shorter than a filter allows",
    "text_too_long": "its text is longer than a filter allows",
    "text_repetitive": "its text repeats itself more than a filter allows",
    "text_not_ascii": "its text has characters outside ASCII, and a filter allows none",
    "text_is_file_name": "its text is nothing but a camera's file name",
    "image_too_small": "an image is smaller than a filter allows",
    "image_too_large": "an image is larger than a filter allows",
    "image_too_long": "an image's longer side is too many times its shorter one for a filter",
    "duplicate": "another turn of the same image has the same values in the columns named by `dedup.by`",
    "near_duplicate": "another turn of the same image asks nearly the same",
    "duplicate_across": "a turn of another source about the same photograph says the same",
    "excluded": "it, its image or its URL is on the exclusion list",
    "is_crowd": "the annotation is a crowd region, which no phrase refers to",
    "not_for_task": "the source has the row for another task than the recipe asks for",
    "conversation_filtered": "another exchange of its conversation was filtered, so the rest would hang in the air",
    "image_in_two_splits": "its images fall into different splits, and a photograph must not be in two",
    "other_split": "the row belongs to a split of the source that the recipe did not ask for",
}

REJECTED = {
    "unparsable_row": "the row does not have the form of its format",
    "missing_value": "a column that the task needs is null",
    "empty_text": "a text that the task needs is empty",
    "answer_out_of_range": "the right answer's index points outside the choices",
    "too_few_choices": "a multiple-choice question has fewer than two choices",
    "phrase_not_in_caption": "a phrase with boxes does not occur in its caption",
    "no_box": "the task needs a box and the row has none",
    "box_outside_image": "a box lies outside its image",
    "box_empty": "a box has no area",
    "box_wrong_image": "a box names an image that the row does not have",
    "broken_conversation": "another exchange of its conversation is unusable, so the rest would hang in the air",
    "image_count_mismatch": "the text's image places and the row's images do not match in number",
    "no_image": "the task needs an image and the row names none",
    "image_missing": "the image file does not exist",
    "image_outside_root": "the image's path leaves the source's image_root",
    "image_unreadable": "the bytes are not an image of a known kind, or cannot be read",
    "image_truncated": "the image file ends too early",
    "image_bomb": "the image has more pixels than the limit allows",
    "image_undecodable": "the image's pixels cannot be decoded",
    "image_size_mismatch": "the image does not have the size that its boxes were annotated on",
    "image_size_unknown": "boxes in pixels need the image's size, which nothing tells",
    "template_error": "the template failed on this row",
    "empty_message": "the rendered message is empty",
}

NOT_CHOSEN = {
    "beyond_count": "its source gives fewer turns than it has; rows of lower keyed rank were taken",
    "split_full": "its split already has what the mixture gives it",
}

OUTCOMES: dict[str, Outcome] = {
    **dict.fromkeys(FILTERED, "filtered"),
    **dict.fromkeys(REJECTED, "rejected"),
    **dict.fromkeys(NOT_CHOSEN, "not_chosen"),
}
"""Every reason, and what it counts as."""
