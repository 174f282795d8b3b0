"""The recipe of `text.py`, written the usual way with Hugging Face `datasets`: load, map, filter, group, select, render, save.

    python tests/bench/hf_peer.py CORPORA OUT --weights captions=5,vqav2=5,gqa=5,aokvqa=4 [--processes N]

It is what a careful engineer writes without vldata: corpora are parsed once, with whichever of `load_dataset` and
`json.load` is faster for their layout (measured), `map` and `filter` run batched, samples are chosen before they are
rendered, templates are compiled once, and what is left over is never made. It does less than vldata does: no content
hash of the inputs, no check that pictures exist, no ledger, no lineage beyond the native ids, no resume.

The last line it prints is a JSON object with the numbers of samples and turns of each source.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import jinja2
from datasets import Dataset, Features, List, Value, concatenate_datasets, disable_progress_bars

SEED = 7
MAX_TURNS = 10
SIMILARITY = 0.8
BATCH = 1_000

TEXT = Value("string")
FEATURES = Features(
    {
        "id": TEXT,
        "images": List(TEXT),
        "messages": List({"role": TEXT, "content": List({"type": TEXT, "text": TEXT})}),
        "source": TEXT,
        "task": TEXT,
        "rows": List(TEXT),
        "num_text_chars": Value("int32"),
    }
)

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

Row = dict[str, object]
Sample = tuple[str, list[Row]]


def captions(folder: Path) -> Dataset:
    document = json.loads((folder / "annotations" / "captions_train2017.json").read_text())
    names = {image["id"]: image["file_name"] for image in document["images"]}
    rows = document["annotations"]
    table = Dataset.from_dict(
        {
            "row": [str(row["id"]) for row in rows],
            "image": [names[row["image_id"]] for row in rows],
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
            "image": [f"train2014/COCO_train2014_{row['image_id']:012d}.jpg" for row in questions],
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
BATCHED = {"batched": True, "batch_size": BATCH}


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

    They stay Python lists until they are chosen: shuffling a `Dataset` puts an index in front of it that makes reading slow.
    """
    rng = random.Random(SEED)
    by_image: dict[str, list[Row]] = {}
    columns = turns.column_names
    for batch in turns.iter(batch_size=BATCH):
        for values in zip(*batch.values(), strict=True):
            turn = dict(zip(columns, values, strict=True))
            by_image.setdefault(turn.pop("image"), []).append(turn)
    samples = []
    for image, of_image in by_image.items():
        rng.shuffle(of_image)
        if name != "captions":
            of_image = list(distinct(of_image, near=name == "gqa", by_question=name == "aokvqa"))
        size = 1 if name == "captions" else MAX_TURNS
        samples += [(image, of_image[start : start + size]) for start in range(0, len(of_image), size)]
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


def render(batch: dict[str, list], indices: list[int], source: str, task: str) -> dict[str, list]:
    user_template, assistant_template = templates(task)
    out: dict[str, list] = {column: [] for column in FEATURES}
    for images, turns, index in zip(batch["images"], batch["turns"], indices, strict=True):
        rng = random.Random(SEED * 1_000_003 + index)
        messages, chars = [], 0
        for k, turn in enumerate(turns):
            if task == "vqa_mc":
                right = turn["choices"][turn["answer"]]
                choices = rng.sample(turn["choices"], len(turn["choices"]))
                turn = {**turn, "choices": choices, "answer": choices.index(right), "letters": "ABCDEFGH"}
            user, assistant = user_template.render(turn).strip(), assistant_template.render(turn).strip()
            content = [{"type": "text", "text": user}]
            if k == 0:
                content.insert(rng.randrange(2), {"type": "image", "text": None})
            messages.append({"role": "user", "content": content})
            messages.append({"role": "assistant", "content": [{"type": "text", "text": assistant}]})
            chars += len(user) + len(assistant)
        rows = [turn["row"] for turn in turns]
        values = (f"{source}/{rows[0]}", images, messages, source, task, rows, chars)
        for column, value in zip(out, values, strict=True):
            out[column].append(value)
    return out


def prefix(samples: list[Sample], wanted: int) -> int:
    """How many samples from the front hold ``wanted`` turns."""
    total = 0
    for number, (_, turns) in enumerate(samples, start=1):
        total += len(turns)
        if total >= wanted:
            return number
    return len(samples)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("corpora", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    disable_progress_bars()
    weights = {name: float(weight) for name, weight in (part.split("=") for part in options.weights.split(","))}

    samples: dict[str, list[Sample]] = {}
    available: dict[str, int] = {}
    for name in weights:
        turns = SOURCES[name][0](options.corpora / name).filter(is_usable, **BATCHED)
        samples[name] = grouped(name, turns)
        available[name] = sum(len(turns) for _, turns in samples[name])
    per_weight = min(available[name] / weight for name, weight in weights.items())

    parts, counts = [], {}
    for name, weight in weights.items():
        images, turns = zip(*samples[name][: prefix(samples[name], round(weight * per_weight))], strict=True)
        chosen = Dataset.from_dict({"images": [[image] for image in images], "turns": turns})
        rendered = chosen.map(
            render,
            with_indices=True,
            fn_kwargs={"source": name, "task": SOURCES[name][1]},
            remove_columns=chosen.column_names,
            features=FEATURES,
            num_proc=options.processes if options.processes > 1 else None,
            **BATCHED,
        )
        parts.append(rendered)
        counts[name] = {"samples": len(turns), "turns": sum(map(len, turns))}
    concatenate_datasets(parts).shuffle(seed=SEED).save_to_disk(options.out)
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
