"""Every bundled template, word by word, as a dataset will have it: tests/golden/<template>.prompt.txt.

``pytest --update-golden`` writes the files again; a review reads the difference.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vldata import bundled
from vldata.prompts.models import Templates
from vldata.prompts.render import Rendered, render
from vldata.prompts.template import Template, load
from vldata.tasks import TASKS, task_class

LANGUAGES = ("de", "fr", "zh")
GOLDEN = Path(__file__).parents[1] / "golden"

BOXES = [{"x0": 12.0, "y0": 8.0, "x1": 88.0, "y1": 56.0, "image": 0, "phrase": "STOP"}]
ROWS: dict[str, list[dict[str, Any]]] = {
    "caption": [{"caption": "A dog runs on the beach."}],
    "grounded_caption": [
        {
            "caption": "A dog on a sofa.",
            "boxes": BOXES,
            "bbox": "[0.10, 0.20, 0.30, 0.40]",
            "grounded": "A dog [0.10, 0.20, 0.30, 0.40] on a sofa.",
        }
    ],
    "instruction": [
        {"instruction": "What is odd here?", "response": "A man irons on a taxi.", "system": None},
        {"instruction": "Why?", "response": "Nobody knows.", "system": "You are brief."},
    ],
    "ocr": [
        {"boxes": BOXES, "bbox": "[0.1]", "lines": ["STOP", "ALL WAY"], "located": None},
        {"boxes": BOXES, "bbox": "[0.1]", "lines": ["STOP"], "located": ["STOP [0.10, 0.20, 0.30, 0.40]"]},
    ],
    "rec": [{"phrase": "man on the left", "boxes": BOXES, "bbox": "[0.10, 0.20, 0.30, 0.40]"}],
    "reg": [{"phrase": "man on the left", "boxes": BOXES, "bbox": "[0.10, 0.20, 0.30, 0.40]"}],
    "text_instruction": [{"instruction": "Name a color.", "response": "Red.", "system": None}],
    "true_false": [
        {"statement": "The cat is red.", "question": "Is the cat red?", "answer": True},
        {"statement": "The cat is red.", "question": "Is the cat red?", "answer": False},
    ],
    "vqa_mc": [
        {"question": "What is shown?", "choices": ["a cat", "a dog"], "answer": 1, "context": None},
        {"question": "Which is alive?", "choices": ["a rock", "a tree", "rain"], "answer": 1, "context": "A forest."},
    ],
    "vqa_open": [{"question": "What color is the bus?", "answer": "red", "answers": ["red", "red"]}],
}


def bundled_templates() -> list[str]:
    folder = bundled("templates")
    languages = (path for language in LANGUAGES for path in (folder / language).glob("*.jinja"))
    return sorted(str(path.relative_to(folder)) for path in (*folder.glob("*.jinja"), *languages))


def every_wording(template: Template, options: Templates, rows: list[dict[str, Any]]) -> list[Rendered]:
    """Each row in each wording: the keys walk through all of them."""
    asking = template.wrapper or template.file
    plain = len(asking.wordings("user"))
    flipped = len((template.wrapper or template.file).wordings("user" if template.wrapper else "flip_user"))
    found = []
    for flip, wordings in ((0.0, plain), (1.0, flipped if "flip_user" in template.file.blocks else 0)):
        for number in range(wordings):
            keys = np.full(len(rows), (2 * number + 1) * 2**63 // wordings, dtype=np.uint64)
            found.append(
                render(
                    template,
                    {name: [row[name] for row in rows] for name in rows[0]},
                    num_rows=len(rows),
                    options=options.model_copy(update={"flip": flip, "prompts": "many"}),
                    variant_keys=keys,
                    flip_keys=keys,
                    dataset="corpus",
                )
            )
    return found


def transcript(renders: list[Rendered]) -> str:
    lines = []
    for done in renders:
        assert done.failed == {}
        for row, variant in enumerate(done.variant):
            lines += [f"# {variant}", ""]
            lines += [f"SYSTEM {done.system[row]}"] if done.system[row] else []
            lines += [f"USER {done.user[row]}", f"ASSISTANT {done.assistant[row]}", ""]
    return "\n".join(lines)


def check(golden: Path, text: str, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden", default=False):
        golden.write_text(text, encoding="utf-8")
    assert golden.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("file", bundled_templates())
def test_the_words_of_a_template_are_these(file: str, request: pytest.FixtureRequest) -> None:
    language, _, name = file.removesuffix(".jinja").rpartition("/")
    task, *dataset = name.split(".")
    options = Templates(per="dataset")
    names = task_class(task)().template_names()
    template = load(task, names, options, datasets=dataset, language=language or None)
    assert template.file.name == file
    text = transcript(every_wording(template, options, ROWS[task]))
    check(GOLDEN / f"{'.'.join(filter(None, [language, name]))}.prompt.txt", text, request)


@pytest.mark.parametrize("per", ["instruction", "dataset_name", "task_name"])
def test_the_words_around_every_task_are_these(per: Any, request: pytest.FixtureRequest) -> None:
    options = Templates(per=per)
    texts = []
    for task in sorted(TASKS):
        template = load(task, task_class(task)().template_names(), options)
        assert template.name == f"per/{per}.jinja+{task}.jinja"
        texts.append(f"## {task}\n\n{transcript(every_wording(template, options, ROWS[task]))}")
    check(GOLDEN / f"per_{per}.prompt.txt", "\n".join(texts), request)


def test_each_file_belongs_to_a_task() -> None:
    tasks = {name.rpartition("/")[2].partition(".")[0] for name in bundled_templates()}
    assert tasks == TASKS.keys() == ROWS.keys()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("per", ["task", "dataset", "instruction", "dataset_name", "task_name"])
def test_a_language_has_words_for_every_task_and_as_many_wordings(language: str, per: Any) -> None:
    options = Templates(per=per)
    for task in TASKS:
        names = task_class(task)().template_names()
        own, english = load(task, names, options, language=language), load(task, names, options)
        assert own.words_in_other_than(language) == []
        assert (own.file.blocks, own.wrapper and own.wrapper.blocks) == (
            english.file.blocks,
            english.wrapper and english.wrapper.blocks,
        )
