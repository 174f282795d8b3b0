import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.errors import SourceError
from vldata.sources.llava import Llava
from vldata.sources.reading.conversations import exchanges, talk
from vldata.sources.standins import write_json, write_json_lines


def said(*texts):
    speakers = ("human", "gpt")
    return [{"from": speakers[k % 2], "value": text} for k, text in enumerate(texts)]


def row(*texts, **more):
    return {"id": "000000033471", "image": "000000033471.jpg", "conversations": said(*texts), **more}


def read(tmp_path, *rows, task="instruction"):
    write_json(tmp_path / "llava.json", list(rows))
    return Llava(path=str(tmp_path / "llava.json")).turns(task)


def test_an_exchange_is_a_turn_and_a_conversation_a_thread(tmp_path):
    turns = read(tmp_path, row("<image>\nWhat are the colors of the bus?", "White and red.", "Where?", "In a street."))
    common = {"thread": "000000033471", "images": ["000000033471.jpg"], "system": None, "problem": None, "detail": None}
    assert turns.to_dicts() == [
        {
            **common,
            "row": "000000033471/0",
            "position": 0,
            "instruction": "What are the colors of the bus?",
            "response": "White and red.",
        },
        {**common, "row": "000000033471/1", "position": 1, "instruction": "Where?", "response": "In a street."},
    ]


@pytest.mark.parametrize(
    "text", ["<image>\nWhat?", "What?\n<image>", "<image>What?", " <image> What? ", "What?<image>"]
)
def test_a_lone_mark_at_either_end_of_the_first_question_goes(tmp_path, text):
    turns = read(tmp_path, row(text, "A.", "B?", "C."))
    assert turns["instruction"].to_list() == ["What?", "B?"]
    assert turns["problem"].null_count() == 2


def test_an_image_without_a_mark_leaves_its_place_to_the_recipe(tmp_path):
    turns = read(tmp_path, row("What? ", "A."))
    assert turns.select("instruction", "problem").rows() == [("What? ", None)]


def test_a_mark_in_the_middle_or_in_a_later_question_stays(tmp_path):
    middle = row("Is <image> odd?", "Yes.")
    later = row("Hello.", "Hi.", "<image>\nWhat?", "A bus.", id="later")
    turns = read(tmp_path, middle, later)
    assert turns["instruction"].to_list() == ["Is <image> odd?", "Hello.", "<image>\nWhat?"]
    assert turns["problem"].null_count() == 3


def test_the_marks_of_several_images_stay_and_are_counted(tmp_path):
    two = ["a.jpg", "b.jpg"]
    fits = row("<image>\n<image>\nCompare.", "Same.", image=two)
    spread = row("<image> One.", "Yes.", "Two: <image>", "Yes.", image=two, id="spread")
    short = row("<image>\nCompare.", "Same.", "Why?", "So.", image=two, id="short")
    turns = read(tmp_path, fits, spread, short)
    assert turns["problem"].to_list() == [None, None, None, "image_count_mismatch", "image_count_mismatch"]
    assert turns["detail"][3] == "1 <image> in the questions, 0 in answers, 2 images"
    assert turns["instruction"].to_list()[:3] == ["<image>\n<image>\nCompare.", "<image> One.", "Two: <image>"]
    assert turns["images"].to_list() == [two] * 5


@pytest.mark.parametrize(
    "texts",
    [("<image>\n<image>\nWhat?", "A."), ("<image>\nWhat?", "See <image>."), ("What?", "See <image>.")],
)
def test_a_mismatched_number_of_marks_is_refused(tmp_path, texts):
    assert read(tmp_path, row(*texts))["problem"].to_list() == ["image_count_mismatch"]


def test_a_mark_in_what_the_system_says_is_refused(tmp_path):
    turns = read(tmp_path, row("What?", "A.", system="Look at <image>."))
    assert turns["problem"].to_list() == ["image_count_mismatch"]


def test_a_text_with_a_mark_and_no_image_is_refused(tmp_path):
    turns = read(tmp_path, {"id": "t", "conversations": said("<image>\nWhat?", "A.")}, task="text_instruction")
    assert turns["problem"].to_list() == ["image_count_mismatch"]


def test_each_task_has_its_own_conversations_and_filters_the_others(tmp_path):
    rows = [row("<image>\nA?", "B."), {"id": "text", "conversations": said("C?", "D.", "E?", "F.")}]
    about = read(tmp_path, *rows)
    without = read(tmp_path, *rows, task="text_instruction")
    assert about["problem"].to_list() == [None, "not_for_task", "not_for_task"]
    assert without["problem"].to_list() == ["not_for_task", None, None]
    assert without["images"].to_list()[1:] == [[], []]


def test_the_misspelt_key_and_the_openai_form_are_read(tmp_path):
    misspelt = {"id": "a", "image": "a.jpg", "conversatons": said("<image>\nA?", "B.")}
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "A?"}]
    openai = {"id": 7, "images": ["a.jpg"], "messages": [*messages, {"role": "assistant", "content": "B."}]}
    first, second = read(tmp_path, misspelt, openai).to_dicts()
    assert (first["instruction"], first["response"]) == ("A?", "B.")
    assert (second["row"], second["system"], second["instruction"]) == ("7/0", "Be brief.", "A?")


@pytest.mark.parametrize(
    ("messages", "detail"),
    [
        (said("A?", "B.", "C?")[1:], "message 1: the assistant speaks first"),
        (said("A?", "B.", "C?"), "message 3: the last question has no answer"),
        ([*said("A?"), *said("B?")], "message 2: the user speaks twice in a row"),
        ([*said("A?", "B."), {"from": "gpt", "value": "C."}], "message 3: the assistant speaks twice in a row"),
        ([*said("A?"), {"from": "observation", "value": "{}"}], "message 2: unknown speaker 'observation'"),
        ([*said("A?"), {"from": "function_call", "value": "{}"}], "message 2: unknown speaker 'function_call'"),
        ([*said("A?"), {"value": "B."}], "message 2: unknown speaker None"),
        ([*said("A?"), {"from": ["gpt"], "value": "B."}], "message 2: unknown speaker ['gpt']"),
        ([*said("A?", "B."), {"from": "system", "value": "C."}], "message 3: the system speaks in the middle"),
        (said("A?", "   "), "message 2 is empty"),
        (said("", "B."), "message 1 is empty"),
        (said("A?", None), "message 2: its text is None"),
        (said("A?", True), "message 2: its text is True"),
        (said("A?", "half a pair \ud83d"), "message 2: its text is 'half a pair \\ud83d'"),
        (["A?", "B."], "message 1 is no object, but 'A?'"),
        (said("A?", ["B."]), "message 2: its text is ['B.']"),
        ([], "no messages"),
        ([{"from": "system", "value": "Be brief."}], "no messages"),
        (None, "no list of messages, but None"),
        ("A?", "no list of messages, but 'A?'"),
    ],
)
def test_a_conversation_in_disorder_is_refused_and_says_why(messages, detail):
    one = talk({"id": "a", "image": "a.jpg", "conversations": messages}, pictured=True)
    turns = exchanges([one])
    assert set(turns["problem"]) == {"unparsable_row"}
    assert turns["detail"][0] == detail


def test_a_refused_conversation_is_worth_one_row_for_each_of_its_questions(tmp_path):
    turns = read(tmp_path, row("A?", "B.", "C?", "", "E?", "F."), row("G?", "H.", id="sound"))
    assert turns.select("row", "problem").rows() == [
        ("000000033471/0", "unparsable_row"),
        ("000000033471/1", "unparsable_row"),
        ("000000033471/2", "unparsable_row"),
        ("sound/0", None),
    ]
    assert turns["instruction"].null_count() == 3


def test_a_system_text_that_is_none_is_refused(tmp_path):
    turns = read(tmp_path, row("A?", "B.", system=["Be brief."]))
    assert turns.select("problem", "detail").rows() == [("unparsable_row", "'system' is ['Be brief.'], not text")]


@pytest.mark.parametrize("image", [3, {"width": 3}, ["a.jpg", None], ["a.jpg", "", "b.jpg"], [["a.jpg"], [3]]])
def test_an_image_that_is_no_path_is_refused(tmp_path, image):
    assert read(tmp_path, row("A?", "B.", image=image), row("A?", "B."))["problem"].to_list() == [
        "unparsable_row",
        None,
    ]


def test_numbers_with_a_fraction_are_weights_and_ids(tmp_path):
    said_with_weight = [*said("A?"), {"from": "gpt", "value": "B.", "weight": 0.25}]
    turns = read(tmp_path, {"id": 1.50, "image": "a.jpg", "conversations": said_with_weight})
    assert turns.select("row", "weight", "problem").rows() == [("1.5/0", 0.25, None)]


@pytest.mark.parametrize("media", ["video", "videos", "audio", "audios"])
def test_sound_and_video_are_refused_for_either_task(tmp_path, media):
    rows = {"id": "v", "conversations": said("A?", "B."), media: ["clip.mp4"]}
    for task in Llava.tasks:
        assert read(tmp_path, rows, task=task)["problem"].to_list() == ["unparsable_row"]


def test_conversations_that_share_an_id_stay_apart_whatever_their_order(tmp_path):
    one, two = row("<image>\nA?", "B.", "C?", "D."), row("<image>\nE?", "F.")
    there, back = read(tmp_path, one, two), read(tmp_path, two, one)
    assert sorted(there["thread"].unique()) == ["000000033471", "000000033471~2"]
    assert there.select("row", "instruction").sort("row").equals(back.select("row", "instruction").sort("row"))
    assert there["row"].n_unique() == 3


def test_a_conversation_without_an_id_is_named_by_what_it_says(tmp_path):
    one, two = row("A?", "B."), row("C?", "D.")
    del one["id"], two["id"]
    threads = read(tmp_path, one, two)["thread"].to_list()
    assert len(set(threads)) == 2
    assert threads == read(tmp_path, two, one)["thread"].to_list()[::-1]


def test_json_lines_are_read_and_a_broken_one_is_a_row(tmp_path):
    write_json_lines(tmp_path / "mix.jsonl", [row("A?", "B."), "text"])
    with (tmp_path / "mix.jsonl").open("a") as file:
        file.write('{"id": \n{"id": "x"}\n')
    turns = Llava(path=str(tmp_path)).turns("instruction")
    assert turns["problem"].to_list() == [None, "unparsable_row", "unparsable_row", "unparsable_row"]
    assert turns["detail"][3] == "no conversation under a key that is known as one, but 'id'"


def test_a_file_of_another_format_is_refused(tmp_path):
    with pytest.raises(SourceError, match="no row has 'conversations'"):
        read(tmp_path, {"question": "A?", "label": "B."})
    write_json(tmp_path / "object.json", {"id": "a"})
    with pytest.raises(SourceError, match="not a list of rows"):
        Llava(path=str(tmp_path / "object.json")).turns("instruction")


@given(
    st.lists(
        st.tuples(st.sampled_from(["human", "gpt", "system", "observation"]), st.sampled_from(["", "text", "<image>"])),
        max_size=7,
    )
)
def test_no_conversation_is_lost_and_every_sound_one_alternates(messages):
    one = talk({"conversations": [{"from": who, "value": text} for who, text in messages]}, pictured=False)
    turns = exchanges([one])
    assert turns.height == max(1, sum(who == "human" for who, _ in messages))
    if one.problem is None:
        spoken = [(who, text) for who, text in messages if who != "system"]
        pairs = [("human", "gpt")] * turns.height
        assert [who for who, _ in spoken] == [who for pair in pairs for who in pair]
        assert turns.select("instruction", "response").rows() == list(
            zip([t for _, t in spoken[::2]], [t for _, t in spoken[1::2]], strict=True)
        )


def test_the_real_multi_image_demo_is_read_whole(shared_data):
    folder = shared_data / "llamafactory_demo"
    turns = Llava(path=str(folder / "mllm_demo.json"), image_root=str(folder)).turns("instruction")
    assert turns.height == 12
    assert turns["problem"].null_count() == 12
    assert turns["thread"].n_unique() == 6
    assert turns["instruction"].to_list()[:3] == ["<image>Who are they?", "What are they doing?<image>", "Who is he?"]
    assert turns["images"].list.len().to_list()[:3] == [2, 2, 1]
    assert all((folder / ref).is_file() for refs in turns["images"] for ref in refs)


def test_real_tool_use_is_refused(shared_data):
    path = str(shared_data / "llamafactory_demo" / "glaive_toolcall_en_demo.json")
    turns = Llava(path=path).turns("text_instruction")
    assert turns["thread"].n_unique() == 300
    assert set(turns["problem"]) == {"unparsable_row", "unknown_key", None}
    refused = dict(turns.drop_nulls("problem").group_by("problem").agg(pl.col("detail").first()).rows())
    assert "function_call" in refused["unparsable_row"]
    assert "'tools' is" in refused["unknown_key"] and "`ignore: [tools]`" in refused["unknown_key"]
