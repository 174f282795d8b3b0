"""Replies of the other parsers, as public models write them, and the right reading of each.

A row: parser, options, what the model wrote, the pairs (or a reason that starts with ``!``), the repairs.
"""

from __future__ import annotations

from typing import Any

from tests.synth.messy_pairs import ALL, CLEAN, TWO, Pair, written

LINE = '{"question": "What color is the bus?", "answer": "The bus is red."}'
OTHER = '{"question": "How many people wait at the stop?", "answer": "Two people wait there, under one umbrella."}'
LINES = f"{LINE}\n{OTHER}"
VALUE = f'{{"pairs": [{LINE}, {OTHER}]}}'
SCHEMA: dict[str, Any] = {
    "list": "pairs",
    "schema_": {"type": "object", "required": ["pairs"], "properties": {"pairs": {"type": "array", "minItems": 1}}},
}
SCORE = '{"reasons": "The first one is right.", "first": {"overall": 8}, "second": {"overall": 6}}'
BOTH = [("", "first"), ("", "second")]
ROLES = written("User: {q}\n\nAssistant: {a}", TWO, "\n\n")
DOCTOR = {"user": "Patient", "assistant": "Doctor"}

OTHERS: list[tuple[str, dict[str, Any], str, list[Pair] | str, str]] = [
    # one object a line
    ("json_lines", {}, LINES, TWO, ""),
    ("json_lines", {}, LINES.replace("\n", "\n\n"), TWO, ""),
    ("json_lines", {}, f"```jsonl\n{LINES}\n```", TWO, "fence"),
    ("json_lines", {}, f"<think>two lines</think>\n{LINES}", TWO, "reasoning"),
    ("json_lines", {}, f"Sure! Here are the question-answer pairs:\n\n{LINES}", TWO, "preface"),
    ("json_lines", {}, f"Here is what you requested:\n```json\n{LINES}\n```", TWO, "fence preface"),
    ("json_lines", {}, f"{LINES}\n\nLet me know if you need more pairs.", TWO, "signoff"),
    ("json_lines", {}, f"[{LINE}, {OTHER}]", TWO, "json_form"),
    ("json_lines", {}, f"[\n{LINE},\n{OTHER},\n]", TWO, "json_form trailing_comma"),
    ("json_lines", {}, f"{LINE},\n{OTHER}", TWO, "json_form"),
    ("json_lines", {}, VALUE, TWO, "json_form"),
    ("json_lines", {}, LINES.replace('"question"', '"q"').replace('"answer"', '"a"'), TWO, "json_form"),
    ("json_lines", {}, CLEAN, ALL, "json_form"),
    ("json_lines", {}, written("**Q:** {q}\n**A:** {a}", TWO, "\n\n"), TWO,
     "bold_labels json_form other_labels separators"),
    ("json_lines", {}, "What color is the bus? Red.", "!reply_not_json", ""),
    ("json_lines", {}, '["a"]', "!reply_off_schema", ""),
    ("json_lines", {}, f'{LINE}\n{{"question": "How many?"}}', "!reply_off_schema", ""),
    ("json_lines", {}, f'{LINE}\n{{"question": "", "answer": "b"}}', "!turn_empty", ""),
    # users and assistants
    ("user_assistant", {}, ROLES, TWO, ""),
    ("user_assistant", {}, written("User: {q}\nAssistant: {a}", TWO, "\n"), TWO, ""),
    ("user_assistant", {}, written("**User:** {q}\n\n**Assistant:** {a}", TWO, "\n\n"), TWO, "bold_labels"),
    ("user_assistant", {}, written("### User\n{q}\n\n### Assistant\n{a}", TWO, "\n\n"), TWO,
     "heading_labels labels_without_colon"),
    ("user_assistant", {}, written("Human: {q}\n\nAssistant: {a}", TWO, "\n\n"), TWO, "other_labels"),
    ("user_assistant", {}, written("Q: {q}\nA: {a}", TWO, "\n\n"), TWO, "other_labels"),
    ("user_assistant", {}, CLEAN, ALL, "other_labels separators"),
    ("user_assistant", {}, written("User: {q}\nAssistant: {a}", TWO, "\n---\n"), TWO, "separators"),
    ("user_assistant", {}, f"Sure! Here is a conversation:\n\n{ROLES}", TWO, "preface"),
    ("user_assistant", {}, f"```\n{ROLES}\n```", TWO, "fence"),
    ("user_assistant", {}, f"<thinking>hm</thinking>{ROLES}", TWO, "reasoning"),
    ("user_assistant", {}, f"{ROLES}\n\nUser: And the street?", TWO, "dangling_question"),
    ("user_assistant", {}, "用户：图中有什么？\n助手：一辆巴士。", [("图中有什么？", "一辆巴士。")],
     "full_width_colons translated_labels"),
    ("user_assistant", DOCTOR, "Patient: Is it broken?\n\nDoctor: No, it is not.",
     [("Is it broken?", "No, it is not.")],
     ""),
    ("user_assistant", DOCTOR, "**Patient:** Is it broken?\n**Doctor:** No.",
     [("Is it broken?", "No.")], "bold_labels"),
    ("user_assistant", {}, f"[{LINE}]", TWO[:1], "json_form"),
    # one value of a schema
    ("json_schema", SCHEMA, VALUE, TWO, ""),
    ("json_schema", SCHEMA, f"```json\n{VALUE}\n```", TWO, "fence"),
    ("json_schema", SCHEMA, f"<think>a screen</think>\n\n```json\n{VALUE}\n```", TWO, "fence reasoning"),
    ("json_schema", SCHEMA, f"Here is the JSON output:\n\n{VALUE}", TWO, "preface"),
    ("json_schema", SCHEMA, f"Here are the pairs for this screen:\n```\n{VALUE}\n```\nThey cover all elements.", TWO,
     "fence preface"),
    ("json_schema", SCHEMA, f"{VALUE}\n\nI hope this helps!", TWO, "signoff"),
    ("json_schema", SCHEMA, f"{VALUE}<|im_end|>", TWO, "template_marks"),
    ("json_schema", SCHEMA, f'{{"pairs": [{LINE}, {OTHER},]}}', TWO, "trailing_comma"),
    ("json_schema", SCHEMA, f"\ufeff{VALUE}", TWO, "byte_order_mark"),
    ("json_schema", SCHEMA, VALUE.replace("pairs", "items"), "!reply_off_schema", ""),
    ("json_schema", SCHEMA, VALUE[:-2], "!reply_not_json", ""),
    ("json_schema", SCHEMA, "The screen shows a bus.", "!reply_not_json", ""),
    ("json_schema", {**SCHEMA, "is_cut": True}, f'{{"pairs": [{LINE}, {{"question": "How', TWO[:1], "cut_pair"),
    ("json_schema", {**SCHEMA, "is_cut": True}, f'```json\n{{"pairs": [\n{LINE},\n{OTHER},\n{{', TWO, "cut_pair"),
    ("json_schema", {**SCHEMA, "is_cut": True}, '{"pairs": [{"question": "How', "!reply_not_json", ""),
    # a judge's marks
    ("scores", {}, SCORE, BOTH, ""),
    ("scores", {}, f"```json\n{SCORE}\n```", BOTH, "fence"),
    ("scores", {}, f"<think>8 and 6</think>{SCORE}", BOTH, "reasoning"),
    ("scores", {}, f"Here is my evaluation:\n\n```json\n{SCORE}\n```", BOTH, "fence preface"),
    ("scores", {}, f"{SCORE}\n\nLet me know if you need more detail.", BOTH, "signoff"),
    ("scores", {"form": "first_line"}, "8 6\nThe first one is right.", BOTH, ""),
    ("scores", {"form": "first_line"}, "<think>Assistant 1 is better.</think>\n\n8 6\nIt is right.", BOTH, "reasoning"),
    ("scores", {"form": "first_line"}, "I would give the first one 8.", "!scores_missing", ""),
    ("scores", {}, "Both are fine.", "!reply_not_json", ""),
    # strict
    ("llava_blocks", {"strict": True}, CLEAN, ALL, ""),
    ("llava_blocks", {"strict": True}, f"<think>x</think>{CLEAN}", ALL, "reasoning"),
    ("llava_blocks", {"strict": True}, written("**Question:** {q}\n**Answer:** {a}", between="\n"),
     "!reply_needs_repair", ""),
    ("answer_only", {"strict": True}, "Sure! Here is the caption:\n\nA bus.", "!reply_needs_repair", ""),
    ("answer_only", {"strict": True}, "A bus.", [("", "A bus.")], ""),
    ("json_schema", {**SCHEMA, "strict": True}, f"```json\n{VALUE}\n```", "!reply_needs_repair", ""),
    ("llava_blocks", {"strict": True, "is_cut": True}, CLEAN, "!reply_needs_repair", ""),
    # links
    ("llava_blocks", {"links": True}, "**Question:** What is there?\n**Answer:** [A bus](1) and [two people](2, 3).",
     [("What is there?", "A bus and two people.")], "bold_labels separators"),
    ("answer_only", {"links": True}, "Sure! Here is the caption: [A bus](1) stops.", [("", "A bus stops.")], "preface"),
    ("answer_only", {"links": True}, "[A bus](1) stops.", [("", "A bus stops.")], ""),
    ("answer_only", {"links": True}, "[a dog](the first)", "!link_broken", ""),
]  # fmt: skip
