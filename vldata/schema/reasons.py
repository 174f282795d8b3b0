"""Why a turn is not in the dataset: a closed list, so that ledgers can be counted and compared.

*Filtered* was requested; *rejected* is broken; *not chosen* is fine and was not needed.
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
    "ambiguous_phrase": "other things of the same image bear its phrase too, so no box would be the right one",
    "nothing_to_explode": "the list whose items are turns is empty or not there",
    "blank_line": "its line of a CSV or TSV file is blank, or has separators alone",
    "conversation_filtered": "another exchange of its conversation was filtered, so the rest would hang in the air",
    "image_in_two_splits": "its images fall into different splits, and a photograph must not be in two",
    "other_split": "the row belongs to a split of the source that the recipe did not ask for",
}

REJECTED = {
    "not_generated": "its request has no answer: `vldata synth run` asks for it, `vldata synth status` says why not",
    "missing_input": "what it would be made from lacks something that the kind needs",
    "unparsable_row": "the row does not have the form of its format",
    "unknown_key": "the row has a key that its format does not read, and that may change what is learnt",
    "missing_value": "a column that the task needs is null",
    "empty_text": "a text that the task needs is empty",
    "answer_out_of_range": "the right answer's index points outside the choices",
    "too_few_choices": "a multiple-choice question has fewer than two choices",
    "equal_choices": "two choices of a multiple-choice question say the same",
    "phrase_not_in_caption": "a phrase with boxes does not occur in its caption",
    "no_box": "the task needs a box and the row has none",
    "box_outside_image": "a box lies outside its image",
    "box_corners_swapped": "a box ends left of or above where it begins",
    "box_empty": "a box has no area, or less than a pixel either way",
    "box_wrong_image": "a box names an image that the row does not have",
    "broken_conversation": "another exchange of its conversation is unusable or missing, or has the same place, so the "
    "rest would hang in the air",
    "image_mark_in_text": "its text has another corpus's mark of an image or a box, and the row has none for it",
    "box_count_mismatch": "the text's places of boxes and phrases are not as many as the row's boxes and phrases",
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

GENERATED = {
    "not_best": "another draw of the same sample was better",
    "reply_empty": "the model replied with nothing",
    "reply_unparsable": "the reply does not have the form that its kind asks for",
    "reply_ambiguous": "the reply can be read in more than one way",
    "reply_needs_repair": "the reply could only be read with a repair, and its source is strict",
    "reasoning_unclosed": "the reply is reasoning without an end, and no answer",
    "reasoning_in_text": "a text of the reply holds marks of reasoning",
    "assistant_speaks": "an answer speaks of the assistant who wrote it, or to the one who requested it",
    "reply_wrapped": "an answer stands in a fence or in quotation marks as a whole",
    "control_character": "a text holds NUL, an escape or another control character, or one that turns its direction",
    "reply_not_json": "the reply should be JSON and is not",
    "reply_off_schema": "the reply is JSON, but not of the form that was asked for",
    "turns_do_not_alternate": "the reply's questions and answers do not take turns",
    "turn_empty": "a question or an answer of the reply is empty",
    "link_broken": "a phrase of the reply is marked as a link to a box, but the mark cannot be read",
    "scores_missing": "the judge's reply holds no score that can be read",
    "reply_truncated": "the reply was cut off at the largest number of tokens",
    "reply_filtered": "the endpoint's content filter cut the reply",
    "reply_unfinished": "the reply did not end as a reply should",
    "refusal": "the model refused, or said that it cannot see the image",
    "too_few_turns": "the reply has fewer questions than were asked for",
    "too_many_turns": "the reply has more questions than were asked for",
    "question_too_short": "a question is too short",
    "question_too_long": "a question is too long",
    "answer_too_short": "an answer is too short",
    "answer_too_long": "an answer is too long",
    "source_leaked": "the reply speaks of captions, boxes or other sources instead of the image itself",
    "raw_coordinates": "the reply gives coordinates instead of saying where",
    "special_token_in_text": "the reply holds a mark of a chat template",
    "few_shot_echo": "the reply repeats an example of the prompt",
    "prompt_echo": "the reply repeats the instructions of the prompt",
    "question_repeated": "the reply asks the same question twice",
    "answer_repeated": "the reply gives the same answer twice",
    "answer_runs_in_circles": "an answer says the same words again and again",
    "object_not_annotated": "an answer names an object that is not in the image, going by its annotation",
    "count_above_annotation": "an answer counts more of an object than the image's annotation has",
    "box_reference_unknown": "a phrase is linked to the number of a box that is not there",
    "box_reference_outside": "a phrase is linked to a box that lies outside the image or has no area",
    "box_references_missing": "the reply links fewer phrases to boxes than were asked for",
    "answer_not_in_inputs": "an answer that should be read off holds words that stand nowhere in the image",
    "short_answer_lost": "the reply no longer says what the short answer says",
    "not_evolved": "the new instruction is nearly the old one",
    "evolved_too_long": "the new instruction is many times as long as the old one",
    "evolution_leaked": "the new instruction speaks of the task of rewriting",
    "same_answer_over_images": "the same answer, or nearly the same, is given for many different images",
    "opening_too_frequent": "more turns of the source begin with the same words than a limit allows",
    "question_over_images": "nearly the same question is put about more images than a limit allows",
    "rejected_by_person": "a person who reviewed it rejected it",
    "review_outdated": "a person reviewed the turn, and the reply is not read as it was then",
    "no_exchange": "nothing of the reply is left when what is wrong with it is taken out",
}
"""Why a reply is not used: filtered, as its kind requires. A second request quotes these texts to the model."""

FILTERED |= GENERATED

NOT_CHOSEN = {
    "not_taken": "the source's `take` leaves its record out",
    "beyond_count": "its source gives fewer turns than it has; rows of lower keyed rank were taken",
    "split_full": "its split already has what the mixture gives it",
}

OUTCOMES: dict[str, Outcome] = {
    **dict.fromkeys(FILTERED, "filtered"),
    **dict.fromkeys(REJECTED, "rejected"),
    **dict.fromkeys(NOT_CHOSEN, "not_chosen"),
}
"""Every reason, and what it counts as."""
