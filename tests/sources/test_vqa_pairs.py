import pytest
from pydantic import ValidationError

from vldata.errors import SourceError
from vldata.sources.standins import write_json
from vldata.sources.vqa_pairs import OkVqa, VqaV2


def question(number, text="What is it?", image=458752):
    return {"question_id": number, "image_id": image, "question": text}


def annotation(number, *answers, **more):
    rows = [{"answer": answer, "answer_confidence": "yes", "answer_id": k + 1} for k, answer in enumerate(answers)]
    return {"question_id": number, "image_id": 458752, "answers": rows, **more}


def pair(tmp_path, questions, annotations, split="train2014"):
    head = {"data_subtype": split} if split else {}
    path = tmp_path / "v2_OpenEnded_mscoco_train2014_questions.json"
    write_json(path, {**head, "questions": questions})
    write_json(tmp_path / "v2_mscoco_train2014_annotations.json", {**head, "annotations": annotations})
    return str(path)


def test_a_question_is_a_turn_with_the_answer_that_most_people_gave(tmp_path):
    path = pair(tmp_path, [question(458752000)], [annotation(458752000, "a net", "net", "net")])
    assert VqaV2(path=path).turns("vqa_open").to_dicts() == [
        {
            "question": "What is it?",
            "answer": "net",
            "answers": ["a net", "net", "net"],
            "problem": None,
            "detail": None,
            "row": "458752000",
            "images": ["COCO_train2014_000000458752.jpg"],
        }
    ]


@pytest.mark.parametrize("kind", [OkVqa, VqaV2])
@pytest.mark.parametrize(
    ("rule", "rows"),
    [
        ("majority", {"1": "chair", "2": "b"}),
        ("given", {"1": "porch", "2": "b"}),
        ("first", {"1": "porch", "2": "a"}),
        ("all", {"1/0": "porch", "1/1": "chair", "2/0": "a", "2/1": "b"}),
    ],
)
def test_the_files_own_answer_is_learnt_only_when_the_recipe_says_so(tmp_path, kind, rule, rows):
    answers = [
        annotation(1, "porch", "chair", "chair ", " ", multiple_choice_answer="porch"),
        annotation(2, "", "a", "b", "b", multiple_choice_answer="b"),
    ]
    path = pair(tmp_path, [question(1), question(2)], answers)
    turns = kind(path=path, answer=rule).turns("vqa_open")
    assert dict(zip(turns["row"], turns["answer"], strict=True)) == rows
    told = turns["remark"].drop_nulls().to_list() if "remark" in turns.columns else []
    assert [remark.partition(" is not ")[0] for remark in told] == ["'multiple_choice_answer'"] * (
        rule in ("majority", "given")
    )


def test_the_files_own_answers_are_asked_for_where_there_are_none(tmp_path):
    path = pair(tmp_path, [question(1)], [annotation(1, "a")])
    with pytest.raises(SourceError, match="answer: no question has an answer of its own"):
        OkVqa(path=path, answer="given").turns("vqa_open")


def two_pairs(tmp_path, first, second):
    for folder, word in (("a", first), ("b", second)):
        write_json(tmp_path / folder / "train_questions.json", {"questions": [question(1, word)]})
        write_json(tmp_path / folder / "train_annotations.json", {"annotations": [annotation(1, word)]})


def test_ids_of_questions_are_a_files_own(tmp_path):
    two_pairs(tmp_path, "one", "two")
    turns = OkVqa(path=str(tmp_path)).turns("vqa_open")
    assert turns["question"].to_list() == turns["answer"].to_list() == ["one", "two"]


def test_files_of_answers_that_no_name_tells_apart_must_not_differ_about_an_id(tmp_path):
    two_pairs(tmp_path, "one", "two")
    named = {"annotations": str(tmp_path / "*" / "*annotations.json")}
    with pytest.raises(SourceError, match="says something else of the question '1'"):
        OkVqa(path=str(tmp_path), **named).turns("vqa_open")
    with pytest.raises(SourceError, match="says something else of the question '1'"):
        OkVqa(path=str(tmp_path / "a" / "train_questions.json"), **named).turns("vqa_open")
    two_pairs(tmp_path, "one", "one")
    assert OkVqa(path=str(tmp_path), **named).turns("vqa_open")["answer"].to_list() == [
        "one",
        "one",
        None,
    ]


def test_questions_and_annotations_meet_by_id_and_not_by_place(tmp_path):
    path = pair(tmp_path, [question(1, "One?"), question(2, "Two?")], [annotation(2, "two"), annotation(1, "one")])
    turns = VqaV2(path=path).turns("vqa_open")
    assert list(zip(turns["question"], turns["answer"], strict=True)) == [("One?", "one"), ("Two?", "two")]


def test_nothing_is_lost_when_the_two_files_do_not_match(tmp_path):
    questions = [question(1), question(2), question(3), question(4), "no object", question(None)]
    answers = [annotation(1, "a"), annotation(1, "b"), annotation(3), annotation(9, "z"), annotation(4), 7]
    answers[4] = {"question_id": 4, "answers": [{"answer": [5]}]}
    path = pair(tmp_path, questions, answers)
    rows = VqaV2(path=path).turns("vqa_open").to_dicts()
    assert [(row["row"], row["problem"], row["detail"]) for row in rows[:6]] == [
        ("1", None, None),
        ("2", "missing_value", "the question has no annotation"),
        ("3", "missing_value", "no answer"),
        ("4", "unparsable_row", "'answers' is [{'answer': [5]}], not a list of objects with an `answer`"),
        (None, "unparsable_row", "not an object: 'no object'"),
        (None, "missing_value", "no 'question_id'"),
    ]
    assert [(row["row"], row["problem"], row["detail"]) for row in rows[6:]] == [
        ("annotation/1", "unparsable_row", "a second annotation of the same question"),
        ("annotation/9", "missing_value", "the annotation has no question"),
        (None, "unparsable_row", "not an object: 7"),
    ]


def test_a_repeated_question_stays_twice_with_the_same_answer(tmp_path):
    path = pair(tmp_path, [question(1), question(1)], [annotation(1, "a")])
    assert VqaV2(path=path).turns("vqa_open")["answer"].to_list() == ["a", "a"]


def test_different_questions_with_one_id_share_no_annotation(tmp_path):
    other = {**question(1), "question": "What else?"}
    turns = VqaV2(path=pair(tmp_path, [question(1), other, question(2)], [annotation(1, "a"), annotation(2, "b")]))
    rows = turns.turns("vqa_open").select("answer", "problem", "detail").rows()
    assert [problem for _, problem, _ in rows] == ["unparsable_row", "unparsable_row", None]
    assert "which one its annotation answers is open" in rows[0][2]


def test_an_annotation_of_another_photograph_is_no_answer(tmp_path):
    path = pair(tmp_path, [question(1), question(2)], [{**annotation(1, "a"), "image_id": 7}, annotation(2, "b")])
    turns = VqaV2(path=path).turns("vqa_open")
    assert turns["problem"].to_list() == ["unparsable_row", None]
    assert turns["detail"][0].startswith("its annotation is of image 7, and the question of ")


@pytest.mark.parametrize(
    ("subtype", "name"),
    [("val2014", "COCO_val2014_000000458752.jpg"), ("test-dev2015", "COCO_test2014_000000458752.jpg")],
)
def test_the_split_in_an_images_name_is_the_files(tmp_path, subtype, name):
    path = pair(tmp_path, [question(1)], [annotation(1, "a")], split=subtype)
    assert VqaV2(path=path).turns("vqa_open")["images"].to_list() == [[name]]


def test_a_split_that_the_file_does_not_tell_is_read_from_its_name(tmp_path):
    path = pair(tmp_path, [question(1)], [annotation(1, "a")], split=None)
    assert VqaV2(path=path).turns("vqa_open")["images"].to_list() == [["COCO_train2014_000000458752.jpg"]]


def test_a_split_that_nothing_tells_is_required(tmp_path):
    write_json(tmp_path / "questions.json", {"questions": [question(1)]})
    write_json(tmp_path / "annotations.json", {"annotations": [annotation(1, "a")]})
    path = str(tmp_path / "questions.json")
    with pytest.raises(SourceError, match=r"write it into `image_name`: COCO_train2014_\{id:012d\}"):
        VqaV2(path=path).turns("vqa_open")
    named = VqaV2(path=path, image_name="{id}.png").turns("vqa_open")
    assert named["images"].to_list() == [["458752.png"]]


def test_the_answers_are_found_beside_the_questions_or_named(tmp_path):
    path = pair(tmp_path, [question(1)], [annotation(1, "beside")])
    write_json(tmp_path / "elsewhere" / "mine.json", {"annotations": [annotation(1, "named")]})
    assert [file.name for file in VqaV2(path=path).files()] == [
        "v2_OpenEnded_mscoco_train2014_questions.json",
        "v2_mscoco_train2014_annotations.json",
    ]
    named = VqaV2(path=path, annotations=str(tmp_path / "elsewhere" / "mine.json"))
    assert [file.name for file in named.files()][1:] == ["mine.json"]
    assert named.turns("vqa_open")["answer"].to_list() == ["named"]


def test_questions_without_a_file_of_answers_are_refused_with_the_name_looked_for(tmp_path):
    write_json(tmp_path / "OpenEnded_mscoco_val2014_questions.json", {"questions": []})
    source = OkVqa(path=str(tmp_path / "OpenEnded_mscoco_val2014_questions.json"))
    with pytest.raises(SourceError, match=r"mscoco_val2014_annotations\.json: no such file of answers"):
        source.files()
    write_json(tmp_path / "val.json", {"questions": []})
    with pytest.raises(SourceError, match="no file of answers\n  fix: name it with `annotations`"):
        OkVqa(path=str(tmp_path / "val.json")).turns("vqa_open")


def test_a_folder_stands_for_all_its_pairs(tmp_path):
    for split in ("train2014", "val2014"):
        number = 1 if split == "train2014" else 2
        head = {"data_subtype": split}
        write_json(tmp_path / f"OpenEnded_mscoco_{split}_questions.json", {**head, "questions": [question(number)]})
        write_json(tmp_path / f"mscoco_{split}_annotations.json", {**head, "annotations": [annotation(number, split)]})
    turns = OkVqa(path=str(tmp_path)).turns("vqa_open")
    assert turns["answer"].to_list() == ["train2014", "val2014"]
    assert [names[0][:10] for names in turns["images"].to_list()] == ["COCO_train", "COCO_val20"]


def test_lxmerts_form_gives_the_answer_with_the_highest_score(tmp_path):
    rows = [
        {
            "sent": "What?",
            "question_id": 516065,
            "label": {"braid": 0.667, "pony tail": 1},
            "img_id": "COCO_train2014_1",
        },
        {"sent": "Why?", "question_id": 2, "label": {}, "img_id": "COCO_train2014_1"},
        {"sent": "Who?", "question_id": 3, "label": {"a": "high"}, "img_id": "COCO_train2014_1"},
        {"sent": "Who?", "question_id": 4, "label": {"b": 0.3, "a": 0.3}, "img_id": "COCO_train2014_1"},
    ]
    write_json(tmp_path / "train.json", rows)
    turns = OkVqa(path=str(tmp_path / "train.json")).turns("vqa_open")
    assert turns["answer"].to_list()[:3] == ["pony tail", None, None]
    assert turns["answer"].to_list()[3] in ("a", "b")
    assert turns["answers"].to_list() == [["pony tail", "braid"], [], None, ["b", "a"]]
    assert turns["problem"].to_list() == [None, "missing_value", "unparsable_row", None]
    assert turns["images"][0].to_list() == ["COCO_train2014_1.jpg"]
    assert turns["row"].to_list() == ["516065", "2", "3", "4"]


def test_an_image_name_that_reads_attributes_is_refused():
    with pytest.raises(ValidationError, match="not known here"):
        VqaV2(path="x", image_name="{id.__class__}")


def test_the_real_lxmert_file_of_ok_vqa_gives_every_question(shared_data):
    turns = OkVqa(path=str(shared_data / "okvqa" / "train.json.gz")).turns("vqa_open")
    assert turns.height == 9_009
    assert turns["problem"].null_count() == 9_009
    assert turns["row"].is_unique().all()
    assert turns["images"].explode().n_unique() == 8_998
    assert turns["images"][0].to_list() == ["COCO_train2014_000000051606.jpg"]
    assert turns["answer"][0] == "pony tail"


def test_the_real_questions_of_ok_vqa_meet_annotations_of_the_native_form(shared_data, tmp_path):
    lxmert = OkVqa(path=str(shared_data / "okvqa" / "train.json.gz")).turns("vqa_open")
    answers = [annotation(int(row), answer) for row, answer in zip(lxmert["row"], lxmert["answer"], strict=True)]
    write_json(tmp_path / "annotations.json", {"annotations": answers[:-9]})
    source = OkVqa(
        path=str(shared_data / "okvqa" / "OpenEnded_mscoco_train2014_questions.json.gz"),
        annotations=str(tmp_path / "annotations.json"),
    )
    turns = source.turns("vqa_open")
    assert turns.height == 9_009
    assert turns["problem"].to_list().count("missing_value") == 9
    both = turns.join(lxmert, on="row", suffix="_lxmert")
    assert both.height == 9_009
    assert (both["question"] == both["question_lxmert"]).all()
    assert (both["images"] == both["images_lxmert"]).all()
