"""Replies that are an answer, as public models write them, and what of each is the answer.

A row: parser, what the model wrote, the answer (or a reason that starts with ``!``), the repairs.
"""

from __future__ import annotations

BUS = "A red double-decker bus drives down a wet street, and two people wait under an umbrella at the stop."
OBJECTS = "Here are the objects in the image:\n- a bus\n- two people"
COUNTED = "Yes, there are three vehicles:\n- a bus\n- a van\n- a car"
MATHS = "The graph shows x < 3 and [y] > 2, where think_time is 5."
TWO = f"{BUS}\n\nBehind it stand tall grey buildings: an office, a bank and a hotel."
LIST = 'The table holds:\n\n1. a plate of toast\n2. a glass of milk\n3. a note that says "Back at 5"'
CN = "一辆红色的双层巴士行驶在湿漉漉的街道上，两个人撑着伞在车站等车。"

ANSWERS: list[tuple[str, str, str]] = [
    # reasoning
    (f"<think>\nThe user wants a caption.\n</think>\n\n{BUS}", BUS, "reasoning"),
    (f"<think>\n\n</think>\n\n{BUS}", BUS, "reasoning"),
    (f"Okay, the captions mention a bus. I should describe it.\n</think>\n\n{BUS}", BUS, "reasoning"),
    (f"<thinking>There is a bus.</thinking>\n{BUS}", BUS, "reasoning"),
    (f"<reasoning>five captions, one bus</reasoning>{BUS}", BUS, "reasoning"),
    (f"<thought>\nOne bus.\n</thought>\n{BUS}", BUS, "reasoning"),
    (f"<seed:think>One bus.</seed:think>{BUS}", BUS, "reasoning"),
    (f"[THINK]The user is asking for a description.[/THINK]{BUS}", BUS, "reasoning"),
    (f"◁think▷The image shows a bus.◁/think▷{BUS}", BUS, "reasoning"),
    (f"<|begin_of_thought|>bus<|end_of_thought|>\n\n<|begin_of_solution|>\n{BUS}\n<|end_of_solution|>", BUS,
     "reasoning answer_tags"),
    (f"<|channel|>analysis<|message|>We need a description.<|end|><|start|>assistant<|channel|>final<|message|>{BUS}"
     "<|return|>", BUS, "reasoning"),
    (f"analysisWe need to describe. Let's write.assistantfinal{BUS}", BUS, "reasoning"),
    (f"<|START_THINKING|>bus<|END_THINKING|><|START_RESPONSE|>{BUS}<|END_RESPONSE|>", BUS, "reasoning template_marks"),
    (f"<unused94>thought\nbus<unused95>{BUS}", BUS, "reasoning"),
    (f"<think>He may write <think> himself. </think> So what?</think>\n{BUS}", BUS, "reasoning"),
    (f"<think>one</think>\n<think>two</think>\n{BUS}", BUS, "reasoning"),
    (f"<think>a bus</think>\n<answer>{BUS}</answer>", BUS, "reasoning answer_tags"),
    (f"<think>a bus</think><answer><|begin_of_box|>{BUS}<|end_of_box|></answer>", BUS, "reasoning answer_tags"),
    ("<think>\nThe user wants a caption of a bus. The captions say", "!reasoning_unclosed", ""),
    ("<|channel|>analysis<|message|>We need to describe the bus.", "!reasoning_unclosed", ""),
    ("analysisWe need to describe the bus, and no more than", "!reasoning_unclosed", ""),
    ("<think>a bus</think>", "!reply_empty", ""),
    ("The bus is red.</think>", "!reply_empty", ""),
    (f"It is a bus.</think>{BUS}</think>Done.", "!reply_ambiguous", ""),
    # prefaces
    (f"Sure! Here is a detailed description of the image:\n\n{BUS}", BUS, "preface"),
    (f"Sure, here's a caption for the image:\n\n{TWO}", TWO, "preface"),
    (f"Certainly! Below is the rewritten answer:\n{BUS}", BUS, "preface"),
    (f"Of course! Here's a summary of the screen: {BUS}", BUS, "preface"),
    (f"Here is the description: {BUS}", BUS, "preface"),
    (f"Here is a detailed description of the image.\n\n{BUS}", BUS, "preface"),
    (f"Based on the image, here is a detailed caption:\n\n{BUS}", BUS, "preface"),
    (f"Sure!\n\n{BUS}", BUS, "preface"),
    (f"Sure! {BUS}", BUS, "preface"),
    (f"Okay.\n{BUS}", BUS, "preface"),
    (f"The following is a detailed description of the image:\n\n{BUS}", BUS, "preface"),
    (f"I'd be happy to help!\n\n{BUS}", BUS, "preface"),
    (f"**Here is the caption:**\n\n{BUS}", BUS, "preface"),
    (f"Here is the expanded answer:\n\n---\n\n{BUS}\n\n---", BUS, "preface separators"),
    (f"好的，以下是这张图片的详细描述：\n\n{CN}", CN, "preface"),
    (f"当然可以！\n{CN}", CN, "preface"),
    ("Sure! Here is a description of the image:", "!reply_empty", ""),
    # closing remarks
    (f"{BUS}\n\nLet me know if you would like any changes!", BUS, "signoff"),
    (f"{BUS} Let me know if you need anything else.", BUS, "signoff"),
    (f"{BUS}\n\nI hope this helps! Let me know if you have any other questions.", BUS, "signoff"),
    (f"{BUS} I hope this helps!", BUS, "signoff"),
    (f"{TWO}\n\nFeel free to ask if you have more questions about the image. 😊", TWO, "signoff"),
    (f"{TWO}\n\n---\n\nWould you like me to describe any part in more detail?", TWO, "signoff"),
    (f"{BUS}\n\nIs there anything else you'd like to know about this image?", BUS, "signoff"),
    (f"{BUS}\n\nIf you'd like a shorter version, just let me know.", BUS, "signoff"),
    (f"{CN}\n\n希望这个描述对您有帮助！", CN, "signoff"),
    (f"{CN}\n如果您需要更多信息，请随时告诉我。", CN, "signoff"),
    # what stands around all
    (f"```\n{BUS}\n```", BUS, "fence"),
    (f"```markdown\n{TWO}\n```", TWO, "fence"),
    (f"~~~text\n{BUS}\n~~~", BUS, "fence"),
    (f'"{BUS}"', BUS, "quotes"),
    (f"“{BUS}”", BUS, "quotes"),
    (f"'{BUS}'", BUS, "quotes"),
    (f"「{CN}」", CN, "quotes"),
    (f"**{BUS}**", BUS, "emphasis"),
    (f"*{BUS}*", BUS, "emphasis"),
    (f"> {BUS}\n>\n> It rains.", f"{BUS}\n\nIt rains.", "blockquote"),
    (f"<answer>\n{BUS}\n</answer>", BUS, "answer_tags"),
    (f"<caption>{BUS}</caption>", BUS, "answer_tags"),
    (f'{{"caption": "{BUS}"}}', BUS, "json_string"),
    (f'```json\n{{"description": "{BUS}"}}\n```', BUS, "json_string"),
    (f"{BUS}<|im_end|>", BUS, "template_marks"),
    (f"<|im_start|>assistant\n{BUS}<|im_end|>\n<|endoftext|>", BUS, "template_marks"),
    (f"\ufeff{BUS}", BUS, "byte_order_mark"),
    # headings and labels
    (f"**Image Description**\n\n{BUS}", BUS, "heading"),
    (f"**Image Description:**\n{BUS}", BUS, "heading"),
    (f"## Description\n\n{TWO}", TWO, "heading"),
    (f"# A Rainy Day at the Bus Stop\n\n{BUS}", BUS, "heading"),
    (f"**A Rainy Day**\n\n{BUS}", BUS, "heading"),
    (f"Caption: {BUS}", BUS, "label"),
    (f"**Caption:** {BUS}", BUS, "label"),
    (f"Detailed description of the image: {BUS}", BUS, "label"),
    (f"Answer: {BUS}", BUS, "label"),
    (f"Assistant: {BUS}", BUS, "label"),
    (f"图片描述：{CN}", CN, "label"),
    (f"答：{CN}", CN, "label"),
    # several layers
    (f"<think>ok</think>\n\nSure! Here is the caption:\n\n```\n**Caption:** \"{BUS}\"\n```\n\nI hope this helps!", BUS,
     "reasoning signoff preface fence label quotes"),
    (f"Sure! Here's the description:\n\n\"{BUS}\"\n\nLet me know if you'd like it shorter.", BUS,
     "signoff preface quotes"),
    # nothing around it: unchanged
    (BUS, BUS, ""),
    (TWO, TWO, ""),
    (LIST, LIST, ""),
    (CN, CN, ""),
    (OBJECTS, OBJECTS, ""),
    ('"STOP" is written on the sign, and next to it "GO"', '"STOP" is written on the sign, and next to it "GO"', ""),
    ("**Foreground:** a bus.\n\n**Background:** a bank.", "**Foreground:** a bus.\n\n**Background:** a bank.", ""),
    ("### Left\n\na bus\n\n### Right\n\na bank", "### Left\n\na bus\n\n### Right\n\na bank", ""),
    ("A sign reads 'Let me know if you are coming'", "A sign reads 'Let me know if you are coming'", ""),
    ("Okay signs hang over the door of the shop.", "Okay signs hang over the door of the shop.", ""),
    ("This is a close-up photograph of a poster with the following text:\nSTOP",
     "This is a close-up photograph of a poster with the following text:\nSTOP", ""),
    (COUNTED, COUNTED, ""),
    ("Use this code:\n```python\nprint('Question: 1')\n```\nIt prints a line.",
     "Use this code:\n```python\nprint('Question: 1')\n```\nIt prints a line.", ""),
    ("Text on the shirt: “I think, therefore I am.”", "Text on the shirt: “I think, therefore I am.”", ""),
    (MATHS, MATHS, ""),
]  # fmt: skip
