"""Every kind of file in the folder of real public data: one recipe entry each, and every record of it accounted for.

The numbers are those of that folder's README. `ENTRIES` is the table of what reads what: the entry as a recipe has it,
the records in its files, and the reasons of those that no row is made of. Images that are only named are kept
as names (``missing: keep``).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import polars as pl
import pytest

from vldata import build
from vldata.errors import SourceError
from vldata.pipeline.plan import plan
from vldata.pipeline.plan_record import Plan
from vldata.pipeline.session import open_session
from vldata.recipe.load import from_tree

LOCAL_PATHS = ("path", "image_root", "split_file")
KEEP = {"images": {"missing": "keep"}}
CORNERS = r"(?<x0>\d+),(?<y0>\d+),\d+,\d+,(?<x1>\d+),(?<y1>\d+),\d+,\d+,(?<words>.*)"
YOLO = r"(?<class>\d+) (?<cx>\S+) (?<cy>\S+) (?<w>\S+) (?<h>\S+)"
SGML = r".*<DESCRIPTION>\s*(?<clauses>.*?)[;\s]*</DESCRIPTION>.*<IMAGE>(?<image>.*)</IMAGE>.*"
PANOPTIC = "coco128/panoptic_segmentation/annotations/panoptic_val2017.json"
PROMPTS = "llava/playground/data/prompts"
FERRET = "ferret_gpt4/ground_conv"
SCREENS = "REGEXP_REPLACE(file_name, '[^/]*$', '') || 'images/' || saved_image_name"
ASK = "'Which caption describes the image?'"
WITH_INPUT = "instruction || CASE WHEN instances.input = '' THEN '' ELSE '\n\n' || instances.input END"


class Entry(NamedTuple):
    """A source.

    Args:
        options: As in a recipe, paths below the folder of data.
        turns: Records in the files: one turn each, or one for each item where lists are exploded.
        reasons: Of the turns that are filtered or rejected.
    """

    options: dict[str, Any]
    turns: int
    reasons: dict[str, int] = {}


def table(path: str, task: str, /, **options: Any) -> dict[str, Any]:
    return {"format": "table", "path": path, "task": task, **options}


def native(name: str, path: str, /, **options: Any) -> dict[str, Any]:
    return {"format": name, "path": path, **options}


def named(path: str, task: str, /, **fields: Any) -> dict[str, Any]:
    """A table of these fields, whose images are only named."""
    return table(path, task, fields=fields, **KEEP)


def coco(folder: str, part: str, captions: int, boxes: tuple[int, int], people: tuple[int, int]) -> dict[str, Entry]:
    """COCO's three files of a part; of boxes, how many there are and how many of them are crowds."""
    root = {"image_root": f"{folder}/{part}2017"}
    path = f"{folder}/annotations/{{}}_{part}2017.json".format
    found = {f"{folder} {part} captions": Entry(native("coco_captions", path("captions"), **root), captions)}
    for name, kind, (turns, crowds) in (("boxes", "instances", boxes), ("keypoints", "person_keypoints", people)):
        options = native("coco_instances", path(kind), task="reg", **root)
        found[f"{folder} {part} {name}"] = Entry(options, turns, {"is_crowd": crowds})
    return found


def yolo(task: str, **options: Any) -> dict[str, Any]:
    names = {"path": "coco128/object_detection/config.yaml", "at": "names", "on": {"class": "key"}}
    return table(
        "coco128/object_detection/labels/val2017",
        task,
        text="lines",
        extract={"line": YOLO},
        join={**names, "keep": {"name": "value"}},
        fields={"images": "file_stem || '.jpg'", "boxes": ["cx", "cy", "w", "h"], "phrase": "name"},
        box_order="cxcywh",
        boxes_are="fraction",
        image_root="coco128/images/val2017",
        **options,
    )


def pair_of_captions(kind: str) -> dict[str, Any]:
    fields = {"images": "filename", "question": ASK, "answer": "caption", "choices": ["caption", "negative_caption"]}
    return table(f"sugar_crepe/data/replace_{kind}.json", "vqa_mc", fields=fields, answer_is="text", **KEEP)


def grand(level: str, things: str) -> dict[str, Any]:
    fields = {"images": "key", "phrase": f"{things}.labels[1]", "boxes": f"{things}.bbox"}
    path = f"grand_in_context/GranD/{level}/in_context_examples"
    return table(path, "reg", explode=things, fields=fields, **KEEP)


def screen_qa(**options: Any) -> dict[str, Any]:
    fields = {"images": "image_id || '.jpg'", "answer": "ground_truth[1]", "answers": "ground_truth"}
    return table("screen_qa/short_answers/validation.json.gz", "vqa_open", fields=fields, **KEEP, **options)


def screens_of(split: str) -> dict[str, Any]:
    ids = {"path": f"widget_caption_splits/{split}.txt", "text": "lines", "on": {"image_id": "line"}, "keep": "number"}
    return screen_qa(join=ids, keep="number", where="number IS NOT NULL")


def screenagent(suffix: str) -> dict[str, Any]:
    fields = {"instruction": f"send_prompt{suffix}", "response": f"LLM_response_editer{suffix}"}
    return table("screenagent/train", "instruction", fields={"images": SCREENS, **fields})


def questions_alone(path: str) -> dict[str, Any]:
    """Questions in VQAv2's form, without the file of their answers."""
    fields = {"row": "question_id", "images": "image_id || '.jpg'", "answer": "NULL"}
    return table(path, "vqa_open", at="questions", fields=fields, **KEEP)


def llamafactory(name: str, file: str, **options: Any) -> dict[str, Any]:
    return native(name, f"llamafactory_demo/{file}", **options)


def clauses(**options: Any) -> dict[str, Any]:
    return table(
        "iaprtc12_captions/RefClef_Captions.tgz",
        "caption",
        text="files",
        encoding="iso-8859-1",
        fields={"caption": "STRING_TO_ARRAY(REPLACE(clauses, '; ', ';'), ';')", "row": "file_stem"},
        **KEEP,
        **options,
    )


ENTRIES: dict[str, Entry] = {
    "coco_captions": Entry(
        native("coco_captions", "coco_captions/annotations/captions_val2017.json.gz", **KEEP), 25_014
    ),
    "multi30k en": Entry(native("multi30k", "multi30k/data", **KEEP), 29_000),
    "multi30k de": Entry(native("multi30k", "multi30k/data", language="de", **KEEP), 29_000),
    "multi30k val, de": Entry(native("multi30k", "multi30k/data", language="de", split="val", **KEEP), 1_014),
    "multi30k five captions": Entry(native("multi30k", "multi30k/data", task2="all", **KEEP), 145_000),
    "multi30k five captions, val": Entry(native("multi30k", "multi30k/data", task2="all", split="val", **KEEP), 5_070),
    "multi30k as any parallel files": Entry(
        table(
            "multi30k/data/task1/raw/train.de.gz",
            "caption",
            text="lines",
            join={
                "path": "multi30k/data/task1/image_splits/train.txt",
                "text": "lines",
                "on": "number",
                "keep": {"image": "line"},
            },
            fields={"caption": "line"},
            **KEEP,
        ),
        29_000,
    ),
    "flickr8k": Entry(native("flickr8k", "flickr8k/Flickr8k.token.txt.gz", **KEEP), 40_460, {"unparsable_row": 1}),
    "flickr8k train": Entry(
        native("flickr8k", "flickr8k/Flickr8k.token.txt.gz", split_file="flickr8k/Flickr_8k.trainImages.txt", **KEEP),
        40_460,
        {"unparsable_row": 1, "other_split": 10_459},  # 8,092 - 6,000 photographs, without the row of the malformed key
    ),
    "iaprtc12_captions": Entry(clauses(extract={"text": SGML}), 35_259),
    "iaprtc12_captions, ReferIt's train": Entry(
        clauses(
            extract={"text": SGML, "file_stem": r".*/(?<photo>\d+)"},
            join={
                "path": "iaprtc12_captions/referit_train_imlist.txt",
                "text": "lines",
                "on": {"photo": "line"},
                "keep": "number",
            },
            keep="number",
            where="number IS NOT NULL",
        ),
        35_259,
        {"where": 19_430},
    ),
    **coco("coco_mini", "train", 400, boxes=(739, 8), people=(172, 5)),
    **coco("coco_mini", "val", 395, boxes=(624, 5), people=(118, 1)),
    **coco("coco_tiny", "train", 250, boxes=(470, 5), people=(99, 3)),
    **coco("coco_tiny", "val", 250, boxes=(382, 5), people=(127, 4)),
    "coco128 yolo": Entry(yolo("reg"), 709),
    "coco128 yolo, all of a class": Entry(yolo("rec", gather=["file_stem", "class"]), 288),
    "coco128 panoptic": Entry(
        table(
            PANOPTIC,
            "reg",
            at="annotations",
            explode="segments_info",
            join={"path": PANOPTIC, "at": "categories", "on": {"segments_info.category_id": "id"}, "keep": "name"},
            fields={
                "row": "image_id",
                "images": "REPLACE(file_name, '.png', '.jpg')",
                "boxes": "segments_info.bbox",
                "phrase": "name",
            },
            box_order="xywh",
            image_root="coco128/images/val2017",
        ),
        1_078,
    ),
    "sugar_crepe att": Entry(pair_of_captions("att"), 788),
    "sugar_crepe obj": Entry(pair_of_captions("obj"), 1_652),
    "sugar_crepe rel": Entry(pair_of_captions("rel"), 1_406),
    "vsr train": Entry(native("vsr", "vsr/data/splits/random/train.jsonl", **KEEP), 7_680),
    "vsr dev": Entry(native("vsr", "vsr/data/splits/random/dev.jsonl", **KEEP), 1_097),
    "vsr dev, as any table": Entry(
        table(
            "vsr/data/splits/random/dev.jsonl",
            "true_false",
            join={"path": "vsr/data/data_files/meta_data.csv", "on": {"annotator_id": "id"}, "keep": "First Language"},
            keep="First Language",
            where="\"First Language\" = 'Chinese'",
            fields={"statement": "caption", "answer": "label"},
            **KEEP,
        ),
        1_097,
        {"where": 781},
    ),
    "pope": Entry(
        named(
            "pope/output/coco/coco_pope_random.json.gz", "vqa_open", row="question_id", question="text", answer="label"
        ),
        3_000,
    ),
    "scienceqa": Entry(native("scienceqa", "scienceqa", **KEEP), 1_412),
    "scienceqa with images": Entry(
        native("scienceqa", "scienceqa/problems.json.gz", where="ARRAY_LENGTH(images) > 0", **KEEP),
        1_412,
        {"where": 700},
    ),
    "scienceqa captions": Entry(
        table(
            "scienceqa/captions.json.gz",
            "caption",
            at="captions",
            fields={"images": "key || '/image.png'", "caption": "value"},
            **KEEP,
        ),
        10_332,
    ),
    "chartqa_split": Entry(native("chartqa", "chartqa_split", image_root="chartqa_split"), 400),
    "okvqa": Entry(native("okvqa", "okvqa/train.json.gz", **KEEP), 9_009),
    "okvqa, native questions": Entry(
        questions_alone("okvqa/OpenEnded_mscoco_train2014_questions.json.gz"), 9_009, {"missing_value": 9_009}
    ),
    "textvqa": Entry(native("textvqa", "textvqa/val_questions_vqa_format.json.gz", **KEEP), 5_000),
    "textvqa train": Entry(
        questions_alone("textvqa/train_questions_vqa_format.json.gz"), 34_602, {"missing_value": 34_602}
    ),
    "llavar_multimodalocr docVQA": Entry(
        named(
            "llavar_multimodalocr/docVQA.json.gz",
            "vqa_open",
            images="image_path",
            answer="gt_answers[1]",
            answers="gt_answers",
        ),
        5_349,
    ),
    "llavar_multimodalocr ocrVQA": Entry(
        named("llavar_multimodalocr/ocrVQA.json.gz", "vqa_open", images="image_path", answer="gt_answers"), 5_000
    ),
    "easy_vqa": Entry(
        table(
            "easy_vqa/train/questions.json",
            "vqa_open",
            fields={"question": "column_1", "answer": "column_2", "images": "column_3 || '.png'"},
            image_root="easy_vqa/train/images",
        ),
        6_842,
    ),
    "owleval": Entry(
        table(
            "owleval/questions.jsonl",
            "instruction",
            join={"path": "owleval/answer/mPLUG_Owl_7b_answer.jsonl", "on": "question_id", "keep": "answer"},
            fields={"row": "question_id", "instruction": "question", "response": "answer"},
            image_root="owleval/cases",
        ),
        82,
        {"image_missing": 23},
    ),
    "refcocos": Entry(native("refcocos", "refcocos/results/refcocos_test.json", **KEEP), 393, {"not_for_task": 17}),
    "screenspot_uground": Entry(
        table(
            "screenspot_uground/re_gpt-4o.jsonl",
            "rec",
            fields={"phrase": "instruction", "boxes": "bbox"},
            box_order="xywh",
            **KEEP,
        ),
        1_272,
        {"image_size_unknown": 1_272},  # pixels of screenshots that are not there
    ),
    "screen_annotation": Entry(native("screen_annotation", "screen_annotation/valid_part1.csv", **KEEP), 1_617),
    "screen_annotation, elements": Entry(
        native("screen_annotation", "screen_annotation/valid_part1.csv", task="reg", **KEEP),
        39_541,  # the two of its 39,543 boxes that are no boxes are numbers in texts on the screens
    ),
    "screen_qa": Entry(screen_qa(), 8_614),
    "screen_qa where there is an answer": Entry(
        screen_qa(where="NOT ARRAY_CONTAINS(answers, '<no answer>')"), 8_614, {"where": 893}
    ),
    "screen_qa of the train screens of widget_caption_splits": Entry(screens_of("train"), 8_614, {"where": 6_375}),
    "screen_qa of the dev screens of widget_caption_splits": Entry(screens_of("dev"), 8_614, {"where": 8_417}),
    "screen_qa of the test screens of widget_caption_splits": Entry(screens_of("test"), 8_614, {"where": 8_440}),
    "screenagent": Entry(screenagent("_en"), 86),
    "screenagent, as written first": Entry(screenagent(""), 86, {"missing_value": 25}),  # _neg_plan and _neg_eval
    "sroie text": Entry(
        table(
            "sroie/data/box",
            "ocr",
            text="lines",
            extract={"line": CORNERS},
            gather="file_stem",
            fields={"boxes": ["x0", "y0", "x1", "y1"], "phrases": ["words"], "images": "file_stem || '.jpg'"},
            image_root="sroie/data/img",
        ),
        32,
    ),
    "sroie key": Entry(
        table(
            "sroie/data/key",
            "vqa_open",
            fields={"question": "'What is the total?'", "answer": "total", "images": "file_stem || '.jpg'"},
            image_root="sroie/data/img",
        ),
        32,
    ),
    "llava captions": Entry(named("llava/caps_boxes_coco2014_val_80.jsonl", "caption", caption="captions"), 401),
    "llava boxes": Entry(
        table(
            "llava/caps_boxes_coco2014_val_80.jsonl",
            "reg",
            explode="instances",
            fields={"phrase": "instances.category", "boxes": "instances.bbox"},
            boxes_are="fraction",
            **KEEP,
        ),
        479,  # 476 boxes, and 3 images without any
        {"nothing_to_explode": 3},
    ),
    "llava answers": Entry(
        named(
            "llava/playground/data/coco2014_val_gpt4_qa_30x3.jsonl",
            "instruction",
            response="output",
            row="id || '/' || type",
        ),
        90,
    ),
    "llava prompts": Entry(
        table(
            f"{PROMPTS}/*/*_conv.txt",
            "text_instruction",
            text="files",
            extract={"file_stem": "(?<number>.*)_conv"},
            join={
                "path": f"{PROMPTS}/*/*_caps.txt",
                "text": "files",
                "extract": {"file_stem": "(?<number>.*)_caps"},
                "on": "number",
                "keep": {"context": "text"},
            },
            fields={"row": "number", "instruction": "context", "response": "text"},
        ),
        8,
    ),
    "ferret_gpt4": Entry(
        table(
            f"{FERRET}/question.jsonl",
            "instruction",
            join={"path": f"{FERRET}/answer.jsonl", "on": "question_id", "keep": {"answer": "text"}},
            fields={"row": "question_id", "instruction": "text", "response": "answer"},
            **KEEP,
        ),
        40,
    ),
    "grand_in_context 3": Entry(grand("level_3_dense_caption", "objects"), 84, {"image_size_unknown": 84}),
    "grand_in_context 4": Entry(grand("level_4_extra_context", "floating_objects"), 139, {"image_size_unknown": 139}),
    "alpaca_small": Entry(native("alpaca", "alpaca/alpaca_small.json.gz"), 2_000),
    "alpaca_data_1k": Entry(native("alpaca", "alpaca/alpaca_data_1k.json"), 1_000, {"image_count_mismatch": 1}),
    "code_alpaca_2k": Entry(native("alpaca", "alpaca/code_alpaca_2k.json"), 2_017, {"empty_text": 2}),
    "new_codealpaca": Entry(native("alpaca", "alpaca/new_codealpaca.json.gz"), 4_535),
    "gsm_8k": Entry(native("alpaca", "alpaca/gsm_8k_train.json.gz"), 7_473),
    "self_instruct": Entry(native("alpaca", "alpaca/self_instruct_seed_tasks.jsonl"), 175),
    "self_instruct as any table": Entry(
        table(
            "alpaca/self_instruct_seed_tasks.jsonl",
            "text_instruction",
            explode="instances",
            fields={"instruction": WITH_INPUT, "response": "instances.output"},
        ),
        175,
    ),
    "sharegpt": Entry(native("sharegpt", "sharegpt/dummy_conversation.json"), 1_000),
    "llamafactory en": Entry(llamafactory("alpaca", "alpaca_en_demo.json"), 999),
    "llamafactory zh": Entry(llamafactory("alpaca", "alpaca_zh_demo.json"), 1_000),
    "llamafactory identity": Entry(llamafactory("alpaca", "identity.json"), 91),
    "llamafactory weights": Entry(llamafactory("sharegpt", "v1_sft_demo.jsonl"), 500),
    "llamafactory images": Entry(llamafactory("llava", "mllm_demo.json", image_root="llamafactory_demo"), 12),
    "llamafactory typed parts": Entry(llamafactory("llava", "v1_multimodal_demo.jsonl", **KEEP), 48),
    "llamafactory video": Entry(llamafactory("llava", "mllm_video_demo.json"), 3, {"unparsable_row": 3}),
    "llamafactory audio": Entry(llamafactory("llava", "mllm_audio_demo.json"), 3, {"unparsable_row": 3}),
    "llamafactory video and audio": Entry(
        llamafactory("llava", "mllm_video_audio_demo.json"), 3, {"unparsable_row": 3}
    ),
}


def below(data: Path, options: Any) -> Any:
    """Options with their paths below the folder of data."""
    if isinstance(options, dict):
        return {
            key: str(data / value) if key in LOCAL_PATHS and isinstance(value, str) else below(data, value)
            for key, value in options.items()
        }
    return options


def source_name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name.lower())


def recipe_of(data: Path, names: list[str], **head: Any) -> Any:
    sources = {source_name(name): {"max_reject_rate": 1, **below(data, ENTRIES[name].options)} for name in names}
    mixture = {"sources": {name: {"epochs": 1} for name in sources}}
    return from_tree({"name": "public", "sources": sources, "mixture": mixture, **head})


@pytest.fixture(scope="module")
def planned(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plan]:
    recipe = recipe_of(shared_data, [*ENTRIES], output={"images": "path"})
    with open_session(tmp_path_factory.mktemp("public") / "store", 1) as session:
        yield plan(recipe, session)


@pytest.mark.parametrize("name", ENTRIES)
def test_every_record_is_read_or_named(planned: Plan, name: str) -> None:
    found = planned.sources[source_name(name)]
    expected = ENTRIES[name]
    assert (found.rows_in, found.reasons) == (expected.turns, expected.reasons)
    assert found.rows_out == expected.turns - sum(expected.reasons.values())


def rows_of(data: Path, out: Path, *names: str, **head: Any) -> list[dict[str, Any]]:
    built = build(recipe_of(data, [*names], **head), out / "out", store=out / "store", workers=1)
    return list(datasets.load_from_disk(str(built.out)).cast_column("images", [datasets.Image(decode=False)]))


def test_text_regions_keep_their_commas_and_their_order(shared_data: Path, tmp_path: Path) -> None:
    rows = {row["id"]: row for row in rows_of(shared_data, tmp_path, "sroie text")}
    assert len(rows) == 32
    said = [row["messages"][1]["content"][0]["text"].split("\n") for row in rows.values()]
    assert sum(map(len, said)) == 1_278
    first = rows["sroie_text/000"]["messages"][1]["content"][0]["text"].split("\n")
    assert first[:4] == [
        "TAN WOON YANN",
        "BOOK TA .K(TAMAN DAYA) SDN BND",
        "789417-W",
        "NO.53 55,57 & 59, JALAN SAGU 18,",
    ]
    (image,) = rows["sroie_text/000"]["images"]
    assert image["bytes"] == (shared_data / "sroie/data/img/000.jpg").read_bytes()


def test_photographs_of_yolo_and_of_coco_have_the_same_boxes(shared_data: Path, tmp_path: Path) -> None:
    """The things of COCO's panoptic file and the lines of the YOLO files were written from the same annotations."""
    rows = rows_of(shared_data, tmp_path, "coco128 yolo", "coco128 panoptic", output={"images": "path"})
    found: dict[str, set[tuple[str, str, str]]] = {}
    for row in rows:
        question, answer = (message["content"][-1]["text"] for message in row["messages"])
        box = question[question.index("[") :]
        found.setdefault(row["source"], set()).add((row["images"][0]["path"], box, answer))
    yolo, panoptic = found["coco128_yolo"], found["coco128_panoptic"]
    assert len(yolo & panoptic) > 300


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("okvqa", "okvqa/OpenEnded_mscoco_train2014_questions.json.gz"),
        ("textvqa", "textvqa/train_questions_vqa_format.json.gz"),
    ],
)
def test_questions_without_their_answers_are_refused_by_the_format(shared_data: Path, name: str, path: str) -> None:
    entry = from_tree({"name": "q", "sources": {"q": {"format": name, "path": str(shared_data / path)}}}).entries["q"]
    with pytest.raises(SourceError, match="no such file of answers beside the questions"):
        entry.source.turns(entry.task.name)


def test_conversations_with_tools_are_all_read_or_named(shared_data: Path) -> None:
    path = shared_data / "llamafactory_demo/glaive_toolcall_en_demo.json"
    entry = from_tree({"name": "t", "sources": {"t": {"format": "sharegpt", "path": str(path)}}}).entries["t"]
    assert entry.source.turns(entry.task.name)["thread"].n_unique() == 300


def test_clauses_of_other_encodings_are_their_letters(shared_data: Path) -> None:
    entry = recipe_of(shared_data, ["iaprtc12_captions"], output={"images": "path"}).entries["iaprtc12_captions"]
    turns = entry.source.turns(entry.task.name)
    assert turns["images"].list.first().n_unique() == 20_000
    assert turns.filter(pl.col("caption").str.contains("[^\\x00-\\x7f]")).height > 0
    assert not turns["caption"].str.contains("\ufffd").any()
    assert (turns["caption"].str.strip_chars() != "").all()


def test_records_of_tensorflow_are_phrases_with_one_of_the_objects(shared_data: Path, tmp_path: Path) -> None:
    """uibert_refexp: the label is the place of a box in four lists of edges; the file is unpacked first."""
    pytest.importorskip("vldata.sources.tfrecord")
    path = tmp_path / "dev.tfrecord"
    path.write_bytes(gzip.decompress((shared_data / "uibert_refexp/ref_exp/dev.tfrecord.gz").read_bytes()))
    edges = [f'"image/object/bbox/{edge}"' for edge in ("xmin", "ymin", "xmax", "ymax")]
    fields = {
        "images": "\"image/id\" || '.jpg'",
        "phrase": '"image/ref_exp/text"',
        "boxes": [f'ARRAY_GET({edge}, "image/ref_exp/label" + 1)' for edge in edges],
    }
    options = {"task": "rec", "boxes_are": "fraction", "fields": fields, **KEEP}
    source = {"format": "tfrecord", "path": str(path), **options}
    tree = {"name": "u", "sources": {"u": source}, "output": {"images": "path"}}
    with open_session(tmp_path / "store", 1) as session:
        report = plan(from_tree(tree), session).sources["u"]
    assert (report.rows_in, report.rows_out, report.reasons) == (509, 509, {})
