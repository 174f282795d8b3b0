from vldata.sources.sharegpt import ShareGpt
from vldata.sources.standins import write_json


def read(tmp_path, *rows):
    write_json(tmp_path / "sharegpt.json", list(rows))
    return ShareGpt(path=str(tmp_path)).turns("text_instruction")


def said(*texts):
    return [{"from": ("human", "gpt")[k % 2], "value": text} for k, text in enumerate(texts)]


def test_an_exchange_is_a_turn_without_images(tmp_path):
    (first, second) = read(
        tmp_path, {"id": "identity_0", "conversations": said("Who?", "Me.", "Bye.", "Bye!")}
    ).to_dicts()
    assert first == {
        "row": "identity_0/0",
        "thread": "identity_0",
        "position": 0,
        "images": [],
        "instruction": "Who?",
        "response": "Me.",
        "system": None,
        "problem": None,
        "detail": None,
    }
    assert (second["row"], second["instruction"], second["response"]) == ("identity_0/1", "Bye.", "Bye!")


def test_what_the_system_says_goes_with_every_exchange(tmp_path):
    head = {"from": "system", "value": "Be brief."}
    turns = read(
        tmp_path,
        {"id": "a", "conversations": [head, *said("A?", "B.", "C?", "D.")]},
        {"id": "b", "system": "Be long.", "conversations": said("A?", "B.")},
        {"id": "c", "system": "", "conversations": [{**head, "value": ""}, *said("A?", "B.")]},
    )
    assert turns["system"].to_list() == ["Be brief.", "Be brief.", "Be long.", None]


def test_a_conversation_that_begins_with_an_answer_is_refused_whole(tmp_path):
    turns = read(tmp_path, {"id": "a", "conversations": said("A?", "B.", "C?", "D.")[1:]})
    assert turns.select("row", "problem").rows() == [("a/0", "unparsable_row")]


def test_a_conversation_about_an_image_is_not_for_this_format(tmp_path):
    turns = read(tmp_path, {"id": "a", "image": "a.jpg", "conversations": said("<image>\nA?", "B.")})
    assert turns["problem"].to_list() == ["not_for_task"]


def test_all_of_the_real_sample_is_read(shared_data):
    turns = ShareGpt(path=str(shared_data / "sharegpt")).turns("text_instruction")
    assert turns["thread"].n_unique() == 500
    assert turns["problem"].null_count() == turns.height == 1000
    assert turns["row"].is_unique().all()
