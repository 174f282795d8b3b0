"""The recipe of `text.py`, the usual way with Hugging Face `datasets`: load, map, filter, group, select, render, save.

    python tests/bench/hf_peer.py CORPORA OUT --weights captions=4,vqav2=4,gqa=4,aokvqa=2 [--tuned]

It is what a careful engineer writes without vldata. Corpora are parsed once, cleaned by a batched `map` and `filter`,
grouped in dicts, and chosen before they are rendered: one compiled Jinja template a task, one `map` over the samples.
The rows are those of a vldata build. ``--tuned`` renders in batches, in a process for each core, which readable code
seldom does. Either does less than vldata: no content hash of the inputs, no look whether pictures exist, no account of
what left and why, no resume, nothing to share with the next build.

The last line it prints is a JSON object with the numbers of samples and turns of each source.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from datasets import Dataset, Features, List, Value, concatenate_datasets, disable_progress_bars

SEED = 7
MAX_TURNS = 10
SIMILARITY = 0.8

TEXT, SIDE, COORDINATE = Value("string"), Value("int32"), Value("float64")
BOX = {"x0": COORDINATE, "y0": COORDINATE, "x1": COORDINATE, "y1": COORDINATE, "image": SIDE, "phrase": TEXT}
LINEAGE = {"row": TEXT, "template": TEXT, "variant": TEXT, "boxes": List(BOX), "synthetic": TEXT}
FEATURES = Features(
    {
        "id": TEXT,
        "images": List({"bytes": Value("binary"), "path": TEXT}),
        "image_sizes": List({"width": SIDE, "height": SIDE}),
        "messages": List({"role": TEXT, "content": List({"type": TEXT, "text": TEXT})}),
        "source": TEXT,
        "task": TEXT,
        "split": TEXT,
        "turns": List({**LINEAGE, "weight": Value("float32")}),
        "num_text_chars": SIDE,
    }
)
BATCHED = {"batched": True, "batch_size": 1_000}

TEMPLATES = {
    "caption": ("Describe the image briefly.", "{{ caption }}"),
    "vqa_open": ("{{ question }}\nAnswer with a single word or a short phrase.", "{{ answer }}"),
    "vqa_mc": (
        "{{ question }}\n"
        "{% for choice in choices %}{{ letters[loop.index0] }}. {{ choice }}\n{% endfor %}"
        "Answer with the letter of the right option.",
        "{{ letters[answer] }}",
    ),
}

Row = dict[str, Any]


class Sample(NamedTuple):
    image: str
    turns: list[Row]
    is_image_first: bool


def captions(folder: Path) -> Dataset:
    document = json.loads((folder / "annotations" / "captions_train2017.json").read_text())
    images = {image["id"]: image for image in document["images"]}
    rows = document["annotations"]
    table = Dataset.from_dict(
        {
            "row": [str(row["id"]) for row in rows],
            "image": [images[row["image_id"]]["file_name"] for row in rows],
            "width": [images[row["image_id"]]["width"] for row in rows],
            "height": [images[row["image_id"]]["height"] for row in rows],
            "caption": [row["caption"] for row in rows],
        }
    )
    return table.map(lambda batch: {"caption": [" ".join(text.split()) for text in batch["caption"]]}, **BATCHED)


def vqav2(folder: Path) -> Dataset:
    questions = json.loads((folder / "v2_OpenEnded_mscoco_train2014_questions.json").read_text())["questions"]
    document = json.loads((folder / "v2_mscoco_train2014_annotations.json").read_text())
    answers = {row["question_id"]: row["multiple_choice_answer"] for row in document["annotations"]}
    return Dataset.from_dict(
        {
            "row": [str(row["question_id"]) for row in questions],
            "image": [f"COCO_train2014_{row['image_id']:012d}.jpg" for row in questions],
            "question": [row["question"] for row in questions],
            "answer": [answers[row["question_id"]] for row in questions],
        }
    )


def gqa(folder: Path) -> Dataset:
    rows = json.loads((folder / "train_balanced_questions.json").read_text())
    return Dataset.from_dict(
        {
            "row": list(rows),
            "image": [f"{row['imageId']}.jpg" for row in rows.values()],
            "question": [row["question"] for row in rows.values()],
            "answer": [row["answer"] for row in rows.values()],
        }
    )


def aokvqa(folder: Path) -> Dataset:
    rows = json.loads((folder / "aokvqa_v1p0_train.json").read_text())
    return Dataset.from_dict(
        {
            "row": [row["question_id"] for row in rows],
            "image": [f"{row['split']}2017/{row['image_id']:012d}.jpg" for row in rows],
            "question": [row["question"] for row in rows],
            "choices": [row["choices"] for row in rows],
            "answer": [row["correct_choice_idx"] for row in rows],
        }
    )


SOURCES: dict[str, tuple[Callable[[Path], Dataset], str]] = {
    "captions": (captions, "caption"),
    "vqav2": (vqav2, "vqa_open"),
    "gqa": (gqa, "vqa_open"),
    "aokvqa": (aokvqa, "vqa_mc"),
}


def is_usable(batch: dict[str, list]) -> list[bool]:
    """A text that is not blank in every text column, and an answer among the options."""
    usable = [bool(image) for image in batch["image"]]
    for column in ("caption", "question", "answer"):
        for i, value in enumerate(batch.get(column, ())):
            if value is None or (isinstance(value, str) and not value.strip()):
                usable[i] = False
    for i, choices in enumerate(batch.get("choices", ())):
        if len(choices) < 2 or not 0 <= batch["answer"][i] < len(choices) or not all(map(str.strip, choices)):
            usable[i] = False
    return usable


def grouped(name: str, turns: Dataset) -> list[Sample]:
    """The turns of an image as conversations of at most `MAX_TURNS`, without those that say the same, shuffled.

    They stay Python lists until they are chosen: shuffling a `Dataset` puts an index in front of it, and reading slows.
    """
    rng = random.Random(SEED)
    by_image: dict[str, list[Row]] = {}
    columns = turns.column_names
    for batch in turns.iter(batch_size=1_000):
        for values in zip(*batch.values(), strict=True):
            turn = dict(zip(columns, values, strict=True))
            by_image.setdefault(turn.pop("image"), []).append(turn)
    samples = []
    for image, of_image in by_image.items():
        rng.shuffle(of_image)
        if name != "captions":
            of_image = list(distinct(of_image, near=name == "gqa", by_question=name == "aokvqa"))
        for turn in of_image:
            if "choices" in turn:
                right = turn["choices"][turn["answer"]]
                rng.shuffle(turn["choices"])
                turn["answer"] = turn["choices"].index(right)
        size = 1 if name == "captions" else MAX_TURNS
        for start in range(0, len(of_image), size):
            samples.append(Sample(image, of_image[start : start + size], rng.random() < 0.5))
    rng.shuffle(samples)
    return samples


def distinct(turns: list[Row], *, near: bool, by_question: bool) -> Iterable[Row]:
    seen: set[object] = set()
    kept_words: list[set[str]] = []
    for turn in turns:
        said = (turn["question"], turn["answer"]) if by_question else turn["answer"]
        if said in seen:
            continue
        seen.add(said)
        if near:
            words = set(re.findall(r"\w+", str(turn["question"]).lower()))
            if any(len(words & kept) >= SIMILARITY * len(words | kept) for kept in kept_words):
                continue
            kept_words.append(words)
        yield turn


@cache
def templates(task: str) -> tuple[jinja2.Template, jinja2.Template]:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    user, assistant = (environment.from_string(text) for text in TEMPLATES[task])
    return user, assistant


def render(sample: Row, source: str, task: str, root: str) -> Row:
    user_template, assistant_template = templates(task)
    messages, lineage, chars = [], [], 0
    for k, turn in enumerate(sample["turns"]):
        user = user_template.render(turn, letters="ABCDEFGH").strip()
        assistant = assistant_template.render(turn, letters="ABCDEFGH").strip()
        content = [{"type": "text", "text": user}]
        if k == 0:
            content.insert(0 if sample["is_image_first"] else 1, {"type": "image", "text": None})
        messages.append({"role": "user", "content": content})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": assistant}]})
        shown = {"row": turn["row"], "template": task, "variant": "user", "boxes": [], "synthetic": None, "weight": 1.0}
        lineage.append(shown)
        chars += len(user) + len(assistant)
    first = sample["turns"][0]
    return {
        "id": f"{source}/{first['row']}",
        "images": [{"bytes": None, "path": f"{root}/{sample['image']}"}],
        "image_sizes": [{"width": first["width"], "height": first["height"]} if "width" in first else None],
        "messages": messages,
        "source": source,
        "task": task,
        "split": "train",
        "turns": lineage,
        "num_text_chars": chars,
    }


def render_batch(batch: dict[str, list], **of_source: str) -> dict[str, list]:
    rows = [render(dict(zip(batch, values, strict=True)), **of_source) for values in zip(*batch.values(), strict=True)]
    return {column: [row[column] for row in rows] for column in FEATURES}


def prefix(samples: list[Sample], wanted: int) -> int:
    """How many samples from the front hold ``wanted`` turns."""
    total = 0
    for number, sample in enumerate(samples, start=1):
        total += len(sample.turns)
        if total >= wanted:
            return number
    return len(samples)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("corpora", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--tuned", action="store_true")
    options = parser.parse_args()
    disable_progress_bars()
    weights = {name: float(weight) for name, weight in (part.split("=") for part in options.weights.split(","))}

    samples: dict[str, list[Sample]] = {}
    available: dict[str, int] = {}
    for name in weights:
        turns = SOURCES[name][0](options.corpora / name).filter(is_usable, **BATCHED)
        samples[name] = grouped(name, turns)
        available[name] = sum(len(sample.turns) for sample in samples[name])
    per_weight = min(available[name] / weight for name, weight in weights.items())

    parts, counts = [], {}
    for name, weight in weights.items():
        taken = samples[name][: prefix(samples[name], round(weight * per_weight))]
        chosen = Dataset.from_dict({field: [getattr(one, field) for one in taken] for field in Sample._fields})
        tuned = {**BATCHED, "num_proc": len(os.sched_getaffinity(0))} if options.tuned else {}
        rendered = chosen.map(
            render_batch if options.tuned else render,
            fn_kwargs={"source": name, "task": SOURCES[name][1], "root": str(options.corpora / name)},
            remove_columns=["image", "is_image_first"],
            features=FEATURES,
            **tuned,
        )
        parts.append(rendered)
        counts[name] = {"samples": len(taken), "turns": sum(len(sample.turns) for sample in taken)}
    concatenate_datasets(parts).shuffle(seed=SEED).save_to_disk(options.out)
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
