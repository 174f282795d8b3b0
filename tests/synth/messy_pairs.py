"""Replies with questions and answers, as public models write them, and what of each is a question and what an answer.

A row: what the model wrote, the pairs (or a reason that starts with ``!``), the repairs.
"""

from __future__ import annotations

Pair = tuple[str, str]

Q1, A1 = "What color is the bus?", "The bus is red."
Q2, A2 = "How many people wait at the stop?", "Two people wait there, under one umbrella."
Q3, A3 = "Why might they hold an umbrella?", "The street is wet:\n\n- it rains, or\n- it has rained shortly before."
ALL = [(Q1, A1), (Q2, A2), (Q3, A3)]
TWO = ALL[:2]
C1, C2 = ("图中的巴士是什么颜色？", "红色的。"), ("有几个人在等车？", "两个人，撑着一把伞。")


def written(form: str, pairs: list[Pair] | None = None, between: str = "") -> str:
    """The pairs in a form with ``{q}``, ``{a}`` and ``{n}``."""
    many = enumerate(TWO if pairs is None else pairs, 1)
    return between.join(form.replace("{q}", q).replace("{a}", a).replace("{n}", str(n)) for n, (q, a) in many)


CLEAN = written("Question:\n{q}\n===\nAnswer:\n{a}", ALL, "\n===\n")
JSON = '[{"question": "What color is the bus?", "answer": "The bus is red."}]'

PAIRS: list[tuple[str, list[Pair] | str, str]] = [
    # as requested, or nearly
    (CLEAN, ALL, ""),
    (f"{CLEAN}\n===", ALL, ""),
    (CLEAN.replace("\n", "\r\n"), ALL, ""),
    (written("Question: {q}\n===\nAnswer: {a}", ALL, "\n===\n"), ALL, ""),
    (written("QUESTION:\n{q}\n===\nANSWER:\n{a}", ALL, "\n===\n"), ALL, ""),
    (f"===\n{CLEAN}", ALL, ""),
    (f"\ufeff{CLEAN}", ALL, "byte_order_mark"),
    (f"<think>Three questions.\nQuestion:\nno\n===\nAnswer:\nno</think>\n\n{CLEAN}", ALL, "reasoning"),
    (f"I will write three questions.\n</think>\n{CLEAN}", ALL, "reasoning"),
    (f"{CLEAN}<|im_end|>", ALL, "template_marks"),
    # bold, headings, lists, brackets, numbers
    (written("**Question:** {q}\n**Answer:** {a}", ALL, "\n\n"), ALL, "bold_labels separators"),
    (written("**Question:**\n{q}\n===\n**Answer:**\n{a}", ALL, "\n===\n"), ALL, "bold_labels"),
    (written("**Question**: {q}\n\n**Answer**: {a}", ALL, "\n\n"), ALL, "bold_labels separators"),
    (written("**Question {n}:** {q}\n**Answer {n}:** {a}", ALL, "\n\n"), ALL, "bold_labels numbered_labels separators"),
    (written("**Question {n}**\n{q}\n\n**Answer**\n{a}", TWO, "\n\n"), TWO,
     "bold_labels labels_without_colon numbered_labels separators"),
    (written("__Question:__ {q}\n__Answer:__ {a}", TWO, "\n"), TWO, "bold_labels separators"),
    (written("*Question:* {q}\n*Answer:* {a}", TWO, "\n"), TWO, "bold_labels separators"),
    (written("**Question: {q}**\n\nAnswer: {a}", TWO, "\n\n"), TWO, "bold_labels separators"),
    (written("Question: **{q}**\nAnswer: {a}", TWO, "\n\n"), [(f"**{q}**", a) for q, a in TWO], "separators"),
    (written("### Question {n}\n{q}\n\n### Answer {n}\n{a}", ALL, "\n\n"), ALL,
     "heading_labels labels_without_colon numbered_labels separators"),
    (written("## Question:\n{q}\n\n## Answer:\n{a}", ALL, "\n\n---\n\n"), ALL, "heading_labels separators"),
    (written("#### **Question {n}:** {q}\n#### **Answer {n}:** {a}", TWO, "\n\n"), TWO,
     "heading_labels numbered_labels separators"),
    (written("{n}. **Question:** {q}\n   **Answer:** {a}", TWO, "\n\n"), TWO, "bold_labels listed_labels separators"),
    (written("{n}. Question: {q}\n   Answer: {a}", TWO, "\n"), TWO, "listed_labels separators"),
    (written("- Question: {q}\n- Answer: {a}", TWO, "\n"), TWO, "listed_labels separators"),
    (written("{n}) Q: {q}\nA: {a}", TWO, "\n\n"), TWO, "listed_labels other_labels separators"),
    (written("[Question]\n{q}\n[Answer]\n{a}", TWO, "\n\n"), TWO, "bracket_labels labels_without_colon separators"),
    (written("[Question]: {q}\n[Answer]: {a}", TWO, "\n"), TWO, "bracket_labels separators"),
    (written("Question {n}: {q}\nAnswer {n}: {a}", ALL, "\n\n"), ALL, "numbered_labels separators"),
    (written("Question #{n}: {q}\nAnswer: {a}", TWO, "\n\n"), TWO, "numbered_labels separators"),
    # other words
    (written("Q: {q}\nA: {a}", ALL, "\n\n"), ALL, "other_labels separators"),
    (written("Q{n}: {q}\nA{n}: {a}", ALL, "\n\n"), ALL, "numbered_labels other_labels separators"),
    (written("Q{n}. {q}\nA{n}. {a}", ALL, "\n\n"), ALL, "numbered_labels other_labels separators"),
    (written("**Q{n}: {q}**\n\n**A{n}:** {a}", ALL, "\n\n"), ALL,
     "bold_labels numbered_labels other_labels separators"),
    (written("**Q:** {q}\n===\n**A:** {a}", ALL, "\n===\n"), ALL, "bold_labels other_labels"),
    (written("User: {q}\nAssistant: {a}", ALL, "\n\n"), ALL, "other_labels separators"),
    (written("**User:** {q}\n\n**Assistant:** {a}", ALL, "\n\n"), ALL, "bold_labels other_labels separators"),
    (written("Human: {q}\n\nAssistant: {a}", ALL, "\n\n"), ALL, "other_labels separators"),
    (written("Human: {q}\nAI: {a}", TWO, "\n"), TWO, "other_labels separators"),
    (written("Question: {q}\nResponse: {a}", TWO, "\n\n"), TWO, "other_labels separators"),
    (written("Student: {q}\nTeacher: {a}", TWO, "\n\n"), TWO, "other_labels separators"),
    (written("Instruction: {q}\nResponse: {a}", TWO, "\n\n"), TWO, "other_labels separators"),
    (written("Frage: {q}\nAntwort: {a}", TWO, "\n\n"), TWO, "other_labels separators"),
    (written("Question : {q}\nRéponse : {a}", TWO, "\n\n"), TWO, "translated_labels separators"),
    (written("Pregunta: {q}\nRespuesta: {a}", TWO, "\n\n"), TWO, "other_labels separators"),
    # Chinese, full width
    (written("Question：{q}\nAnswer：{a}", TWO, "\n\n"), TWO, "full_width_colons separators"),
    (written("问题：{q}\n答案：{a}", [C1, C2], "\n\n"), [C1, C2], "full_width_colons separators translated_labels"),
    (written("问题：\n{q}\n===\n回答：\n{a}", [C1, C2], "\n===\n"), [C1, C2], "full_width_colons translated_labels"),
    (written("问：{q}\n答：{a}", [C1, C2], "\n"), [C1, C2], "full_width_colons separators translated_labels"),
    (written("问题{n}：{q}\n答案{n}：{a}", [C1, C2], "\n\n"), [C1, C2],
     "full_width_colons numbered_labels separators translated_labels"),
    (written("**问题：** {q}\n**回答：** {a}", [C1, C2], "\n\n"), [C1, C2],
     "bold_labels full_width_colons separators translated_labels"),
    (written("【问题】{q}\n【回答】{a}", [C1, C2], "\n"), [C1, C2],
     "bracket_labels labels_without_colon separators translated_labels"),
    (written("用户：{q}\n助手：{a}", [C1, C2], "\n"), [C1, C2], "full_width_colons separators translated_labels"),
    (written("Q：{q}\nA：{a}", [C1, C2], "\n"), [C1, C2], "full_width_colons other_labels separators"),
    (written("問題：{q}\n回答：{a}", [C1], ""), [C1], "full_width_colons separators translated_labels"),
    ("好的，以下是根据图片生成的对话：\n\n" + written("问：{q}\n答：{a}", [C1, C2], "\n"), [C1, C2],
     "full_width_colons preface separators translated_labels"),
    # separators
    (written("Question:\n{q}\nAnswer:\n{a}", ALL, "\n"), ALL, "separators"),
    (written("Question:\n{q}\n\nAnswer:\n{a}", ALL, "\n\n"), ALL, "separators"),
    (written("Question:\n{q}\n---\nAnswer:\n{a}", ALL, "\n---\n"), ALL, "separators"),
    (written("Question:\n{q}\n====\nAnswer:\n{a}", ALL, "\n====\n"), ALL, "separators"),
    (written("Question:\n{q}\nAnswer:\n{a}", ALL, "\n===\n"), ALL, "separators"),
    (written("Question: {q}\nAnswer: {a}", ALL, "\n\n***\n\n"), ALL, "separators"),
    (written("Question:\n{q}\n \n===\n \nAnswer:\n{a}", ALL, "\n\n===\n\n"), ALL, ""),
    (CLEAN.replace("\n===\nAnswer", "\nAnswer", 1), ALL, "separators"),
    (CLEAN.replace("\n===\nQuestion", "\nQuestion", 1), ALL, "separators"),
    (written("**Round {n}**\n\nQuestion: {q}\nAnswer: {a}", TWO, "\n\n"), TWO, "pair_headings separators"),
    (written("### Conversation {n}\n**Question:** {q}\n**Answer:** {a}", TWO, "\n\n---\n\n"), TWO,
     "bold_labels pair_headings separators"),
    (written("{n}.\nQuestion: {q}\nAnswer: {a}", TWO, "\n\n"), TWO, "pair_headings separators"),
    (written("第{n}轮\n问：{q}\n答：{a}", [C1, C2], "\n"), [C1, C2],
     "full_width_colons pair_headings separators translated_labels"),
    (written("Question: {q} Answer: {a}", TWO, "\n"), TWO, "labels_in_line separators"),
    (written("Q: {q} A: {a}", TWO, "\n"), TWO, "labels_in_line other_labels separators"),
    (written("问：{q}答：{a}", [C1, C2], "\n"), [C1, C2],
     "full_width_colons labels_in_line separators translated_labels"),
    # prefaces, titles, remarks, fences
    (f"Sure! Here is a conversation about the image:\n\n{CLEAN}", ALL, "preface"),
    (f"Here's a possible conversation based on the captions:\n\n{CLEAN}", ALL, "preface"),
    (f"Certainly! Below are the question-answer pairs.\n\n{CLEAN}", ALL, "preface"),
    (f"Based on the five captions, one could ask the following:\n\n{CLEAN}", ALL, "preface"),
    (f"**Conversation:**\n\n{CLEAN}", ALL, "heading"),
    (f"# Visual Q&A\n\n{CLEAN}", ALL, "heading"),
    (f"{CLEAN}\n\nLet me know if you would like more questions!", ALL, "signoff"),
    (f"{CLEAN}\n===\n\nI hope these questions help! Feel free to ask for more.", ALL, "signoff"),
    (f"{CLEAN}\n\n---\n\nWould you like me to write more?", ALL, "signoff"),
    (f"```\n{CLEAN}\n```", ALL, "fence"),
    (f"```text\n{CLEAN}\n```\n\nLet me know if you need more.", ALL, "fence signoff"),
    (f"Here is the conversation:\n\n```\n{CLEAN}\n```\n\nThese questions cover colors, counts and reasons.", ALL,
     "fence preface"),
    ("> " + CLEAN.replace("\n", "\n> "), ALL, "blockquote"),
    (f"<answer>\n{CLEAN}\n</answer>", ALL, "answer_tags"),
    # JSON where text was due
    (JSON, ALL[:1], "json_form"),
    (f"```json\n{JSON}\n```", ALL[:1], "fence json_form"),
    (f"Here is the JSON:\n\n```json\n{JSON}\n```\n\nIt has one pair.", ALL[:1], "fence json_form preface"),
    (f'{{"conversation": {JSON}}}', ALL[:1], "json_form"),
    (f'{{"image": "bus", "qa_pairs": {JSON}}}', ALL[:1], "json_form"),
    (JSON[1:-1] + "\n" + JSON[1:-1].replace("color", "colour"), [(Q1, A1), (Q1.replace("color", "colour"), A1)],
     "json_form"),
    (JSON.replace('."}', '.",}'), ALL[:1], "json_form trailing_comma"),
    ('[{"Q": "What color is the bus?", "A": "The bus is red."}]', ALL[:1], "json_form"),
    ('[{"role": "user", "content": "What color is the bus?"}, {"role": "assistant", "content": "The bus is red."}]',
     ALL[:1], "json_form"),
    ('{"conversations": [{"from": "human", "value": "What color is the bus?"}, {"from": "gpt", "value": '
     '"The bus is red."}]}', ALL[:1], "json_form"),
    ('[{"question": "a", "prompt": "b", "answer": "c"}]', "!reply_ambiguous", ""),
    ('{"easy": [{"question": "a", "answer": "c"}], "hard": [{"question": "a", "answer": "c"}]}',
     "!reply_ambiguous", ""),
    ('[{"question": "a", "answer": ""}]', "!turn_empty", ""),
    # more of the same
    (written("<question>{q}</question>\n<answer>{a}</answer>", ALL, "\n\n"), ALL, "tag_form"),
    (f"<qa>\n{written('<q>{q}</q><a>{a}</a>', TWO, chr(10))}\n</qa>", TWO, "tag_form"),
    ("<question>What?</question>\n<answer>A cat.", "!reply_unparsable", ""),
    (written('- question: "{q}"\n  answer: "{a}"', TWO, "\n"), TWO, "listed_labels quotes separators"),
    (written('Question: "{q}"\nAnswer: "{a}"', TWO, "\n\n"), TWO, "quotes separators"),
    (written("Question\n{q}\n\nAnswer\n{a}", TWO, "\n\n"), TWO, "labels_without_colon separators"),
    (written("Question:\n{q}\n= = =\nAnswer:\n{a}", TWO, "\n= = =\n"), TWO, "separators"),
    (written("### Human: {q}\n### Assistant: {a}", TWO, "\n"), TWO, "heading_labels other_labels separators"),
    ("问题一：有什么？\n回答一：巴士。\n\n问题二：几个？\n回答二：两个。",
     [("有什么？", "巴士。"), ("几个？", "两个。")], "full_width_colons separators translated_labels"),
    ("[{'question': 'What color is the bus?', 'answer': 'The bus is red.'}]", ALL[:1], "json_form python_quotes"),
    ('[{"question": "Which?", "answer": "One.\nTwo."}]', [("Which?", "One.\nTwo.")], "json_form json_line_breaks"),
    ('{"question_1": "a?", "answer_1": "a", "question_2": "b?", "answer_2": "b"}', [("a?", "a"), ("b?", "b")],
     "json_form"),
    ('{"1": {"question": "a?", "answer": "a"}, "2": {"question": "b?", "answer": "b"}}', [("a?", "a"), ("b?", "b")],
     "json_form"),
    (f"Here are three question-answer pairs about the image\n\n{CLEAN}", ALL, "preface"),
    (JSON[1:-1].replace("{", "{\n  ").replace("}", "\n}") + "\n" + JSON[1:-1], ALL[:1] * 2, "json_form"),
    (CLEAN.replace("\n===\nQuestion", "\n===\n===\nQuestion"), ALL, ""),
    (f"{CLEAN}\n===\nNote: the answers follow the image.", "!reply_ambiguous", ""),
    (written("**Question:** {q}\n**Answer:** {a}", TWO, "\n\n---\n\n") + "\n\n---\n\nAll follow the image.",
     "!reply_ambiguous", ""),
    # what is not whole
    (f"{CLEAN}\n===\nQuestion:\nWhat else?", ALL, "dangling_question"),
    (f"{CLEAN}\n===\nQuestion:\nWhat else?\n===\nAnswer:", ALL, "dangling_question"),
    (written("**Question:** {q}\n**Answer:** {a}", TWO, "\n\n") + "\n\n**Question:** What else?", TWO,
     "bold_labels dangling_question separators"),
    ("Question:\nWhat?", "!turns_do_not_alternate", ""),
    ("Question:\nWhat?\n===\nAnswer:", "!turn_empty", ""),
    # answers that look like more than they are
    ("Question:\nWhat does the sign say?\n===\nAnswer:\nIt says \"Question: are you ready?\" in red.",
     [("What does the sign say?", 'It says "Question: are you ready?" in red.')], ""),
    ("Question:\nWhat does it say?\n===\nAnswer:\nUser: admin\nPassword: none\nQ: 5",
     [("What does it say?", "User: admin\nPassword: none\nQ: 5")], ""),
    ("**Question:** Which is it?\nA: red\nB: blue\n**Answer:** A", [("Which is it?\nA: red\nB: blue", "A")],
     "bold_labels separators"),
    ("**Question:** How?\n**Answer:** So:\n```\nQuestion: x\nAnswer: y\n```\nand done.",
     [("How?", "So:\n```\nQuestion: x\nAnswer: y\n```\nand done.")], "bold_labels separators"),
    ("Question:\nHow?\n===\nAnswer:\nTitle\n=====\n\n1. one: a\n2. two: b\n\n---\n\nEnd.",
     [("How?", "Title\n=====\n\n1. one: a\n2. two: b\n\n---\n\nEnd.")], ""),
    ("Question:\nHow?\n===\nAnswer:\nAnswers differ: some say so.\nQuestions remain.",
     [("How?", "Answers differ: some say so.\nQuestions remain.")], ""),
    ("Question:\nIs it?\n===\nAnswer:\nThe form reads\nAnswer: 42", [("Is it?", "The form reads\nAnswer: 42")], ""),
    # two readings, or none
    ("Question:\nWhat?\n===\nAnswer:\nIt reads:\nQuestion: x\nAnswer: y\n===\nQuestion:\nq\n===\nAnswer:\na",
     "!reply_ambiguous", ""),
    ("**Question:** What?\n**Answer:** It reads\nQuestion: x\nAnswer: y", "!reply_ambiguous", ""),
    ("Question: What?\nA: a cat\nResponse: a dog", "!reply_ambiguous", ""),
    (written("Q{n}: {q}\nA3: {a}", TWO, "\n"), "!reply_ambiguous", ""),
    ("Q1: a?\nQ2: b?\nA1: a.\nA2: b.", "!turns_do_not_alternate", ""),
    ("The image shows a red bus at a stop.", "!reply_unparsable", ""),
    (f"The bus is red, the street is wet.\n\n{CLEAN}", "!reply_unparsable", ""),
    ("1. What color is the bus?\nRed.\n2. How many?\nTwo.", "!reply_unparsable", ""),
    ("Answer: red.\nQuestion: What?", "!turns_do_not_alternate", ""),
    ("===\n===", "!reply_empty", ""),
    ("<think>Question:\na\n===\nAnswer:\nb", "!reasoning_unclosed", ""),
]  # fmt: skip

CUT: list[tuple[str, list[Pair] | str, str]] = [
    (CLEAN[:-8], TWO, "cut_pair"),
    (CLEAN, TWO, "cut_pair"),
    (f"{CLEAN}\n===\nQuestion:\nWhat el", ALL, "cut_pair"),
    (written("**Question:** {q}\n**Answer:** {a}", ALL, "\n\n"), TWO, "bold_labels cut_pair separators"),
    ("Question:\nWhat?\n===\nAnswer:\nA ca", "!reply_unparsable", ""),
    (f"```json\n{JSON[:-1]}, {{\"question\": \"How", ALL[:1], "cut_pair fence json_form"),
    (JSON[1:-1] + '\n{"question": "How', ALL[:1], "cut_pair json_form"),
    ('{"pairs": ' + JSON[:-1] + ", {", ALL[:1], "cut_pair json_form"),
]  # fmt: skip
