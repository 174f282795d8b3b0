"""Turns out to people and back, by the published forms of both tools."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import datasets
import polars as pl
import pytest
from typer.testing import CliRunner

from tests.generate.test_batch_commands import TEXT, Place, recipe, tree
from tests.llm.batch_server import BatchServer
from tests.llm.server import answer
from vldata import build
from vldata.cli.main import app
from vldata.errors import StoreError
from vldata.generate.review.book import add_reviews, read_reviews
from vldata.generate.review.job import export_review, import_review
from vldata.llm.answers import open_answers
from vldata.recipe.load import from_tree
from vldata.report.write import write_report
from vldata.synth.review import TurnReview

Document = list[dict[str, Any]]
Say = Callable[[dict[str, Any], dict[str, str]], None]
"""Puts a person's verdict and texts into a record of a tool."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with BatchServer() as server:
        server.script = lambda request: answer(TEXT)
        monkeypatch.setenv("VLDATA_CONFIG", str(tmp_path / "config.yaml"))
        monkeypatch.setenv("VLDATA_ANSWERS", str(tmp_path / "answers"))
        (tmp_path / "config.yaml").write_text("endpoints: {}\n")
        place = Place(tmp_path, server)
        place.session().run()
        yield place


def say_label_studio(record: dict[str, Any], said: dict[str, str]) -> None:
    result = [
        {"from_name": name, "to_name": "answer", "type": "choices", "value": {"choices": [text]}}
        if name == "verdict"
        else {"from_name": name, "to_name": "answer", "type": "textarea", "value": {"text": [text]}}
        for name, text in said.items()
    ]
    record["id"] = 7
    record.setdefault("annotations", []).append(
        {"result": result, "was_cancelled": False, "completed_by": 3, "updated_at": "2026-01-01T00:00:00Z"}
    )


def say_argilla(record: dict[str, Any], said: dict[str, str]) -> None:
    record["_server_id"] = "x"
    for name, text in said.items():
        record["responses"].setdefault(name, []).append({"value": text, "user_id": "u1"})


TOOLS: dict[str, tuple[str, Say]] = {
    "label-studio": ("tasks.json", say_label_studio),
    "argilla": ("records.json", say_argilla),
}


@pytest.fixture(params=list(TOOLS))
def tool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def out(place: Place, folder: Path, tool: str, **more: Any) -> Document:
    export_review(place.session(), folder, tool, **{"limit": None, "image_url": None, **more})
    document: Document = json.loads((folder / TOOLS[tool][0]).read_text())
    return document


def back(place: Place, tmp_path: Path, document: Any) -> dict[str, Any]:
    path = tmp_path / "back.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return import_review(place.session(), [path])


def texts_of(record: dict[str, Any]) -> tuple[str, str]:
    values = record.get("data") or record["fields"]
    return values.get("question", ""), values["answer"]


def built(place: Place, folder: Path) -> tuple[list[tuple[str, str]], pl.DataFrame]:
    """Answer and generator of every turn that a model wrote, and the ledger."""
    out = build(recipe(), folder, store=place.where["store"], workers=1).out
    turns = []
    for row in datasets.load_from_disk(str(out)):
        if row["source"] == "chat":
            said = [message["content"][-1]["text"] for message in row["messages"] if message["role"] == "assistant"]
            turns += [(text, turn["synthetic"]) for text, turn in zip(said, row["turns"], strict=True)]
    return turns, pl.read_parquet(out / "ledger.parquet").filter(source="chat")


def test_verdicts_and_edits_come_back_and_no_rerun_undoes_them(place: Place, tmp_path: Path, tool: str) -> None:
    document = out(place, tmp_path / "out", tool)
    assert len(document) == 12  # six draws of two turns
    question, _ = texts_of(document[0])
    TOOLS[tool][1](document[0], {"verdict": "accept", "edited_answer": "Three red disks.", "edited_question": question})
    TOOLS[tool][1](document[1], {"verdict": "accept", "edited_answer": texts_of(document[1])[1]})
    TOOLS[tool][1](document[2], {"verdict": "reject", "reason": "It is wrong."})
    TOOLS[tool][1](document[3], {"verdict": "reject"})
    TOOLS[tool][1](document[4], {"verdict": "accept", "edited_answer": "  "})
    row = back(place, tmp_path, document)
    counts = {name: row[name] for name in ("accepted", "edited", "rejected", "undecided", "unusable", "unknown")}
    assert counts == {"accepted": 3, "edited": 2, "rejected": 2, "undecided": 7, "unusable": 0, "unknown": 0}

    calls = len(place.server.received)
    place.session().run()
    assert len(place.server.received) == calls
    (state,) = place.session().status()
    assert (state["kept"], state["turns"], state["dropped"]) == (5, 9, {"rejected_by_person": 1})
    (shown,) = place.session().show(only="rejected_by_person", limit=1)
    assert shown["detail"] == "It is wrong."
    again = back(place, tmp_path, document)
    assert (again["accepted"], again["rejected"], again["already"]) == (0, 0, 5)
    assert (state,) == tuple(place.session().status())


def test_a_rejected_turn_takes_those_with_it_that_nobody_accepted(place: Place, tmp_path: Path, tool: str) -> None:
    document = out(place, tmp_path / "out", tool)
    TOOLS[tool][1](document[0], {"verdict": "reject"})  # of a kind whose replies are kept whole or not at all
    back(place, tmp_path, document)
    (state,) = place.session().status()
    assert (state["kept"], state["turns"]) == (5, 10)
    TOOLS[tool][1](document[1], {"verdict": "accept"})
    back(place, tmp_path, document)
    (state,) = place.session().status()
    assert (state["kept"], state["turns"]) == (6, 11)


def test_an_edited_turn_says_so_in_the_dataset_and_a_rejected_one_in_the_ledger(
    place: Place, tmp_path: Path, tool: str
) -> None:
    before, _ = built(place, tmp_path / "before")
    document = out(place, tmp_path / "out", tool)
    TOOLS[tool][1](document[0], {"verdict": "accept", "edited_answer": "Three red disks."})
    TOOLS[tool][1](document[1], {"verdict": "accept"})
    for record in document[2:4]:
        TOOLS[tool][1](record, {"verdict": "reject", "reason": "Blurred."})
    back(place, tmp_path, document)
    after, ledger = built(place, tmp_path / "after")
    (edited,) = [turn for turn in after if turn not in before]
    assert edited[0] == "Three red disks." and edited[1].endswith(" edited_by_person")
    assert len(after) == len(before) - 2
    assert ledger["reason"].to_list() == ["rejected_by_person"] and ledger["detail"].to_list() == ["Blurred."]


def test_what_was_edited_can_be_reviewed_again(place: Place, tmp_path: Path, tool: str) -> None:
    document = out(place, tmp_path / "one", tool)
    TOOLS[tool][1](document[0], {"verdict": "accept", "edited_answer": "Three red disks."})
    back(place, tmp_path, document)
    second = out(place, tmp_path / "two", tool)
    assert texts_of(second[0])[1] == "Three red disks."
    TOOLS[tool][1](second[0], {"verdict": "accept", "edited_answer": "Four red disks."})
    assert back(place, tmp_path, second)["edited"] == 1
    third = out(place, tmp_path / "three", tool)
    assert texts_of(third[0])[1] == "Four red disks."
    (state,) = place.session().status()
    assert state["marked"] == {} and state["turns"] == 12
    TOOLS[tool][1](third[0], {"verdict": "accept"})  # as it is now, which stays
    back(place, tmp_path, third)
    assert texts_of(out(place, tmp_path / "four", tool)[0])[1] == "Four red disks."


def test_a_turn_that_the_checks_dropped_is_kept_when_a_person_accepts_it(
    place: Place, tmp_path: Path, tool: str
) -> None:
    place.server.script = lambda request: answer("Question:\nWhat?\n===\nAnswer:\nI cannot see the image.")
    more = Place(tmp_path, place.server)
    of = recipe(total=7, max_reasks=0)
    more.session(of).run()
    (state,) = more.session(of).status()
    ((reason, count),) = state["dropped"].items()
    assert count == 1
    export_review(more.session(of), tmp_path / "out", tool, only=reason, limit=None, image_url=None)
    document = json.loads((tmp_path / "out" / TOOLS[tool][0]).read_text())
    TOOLS[tool][1](document[0], {"verdict": "accept", "edited_answer": "Nothing but shapes."})
    path = tmp_path / "back.json"
    path.write_text(json.dumps(document))
    assert import_review(more.session(of), [path])["edited"] == 1
    (state,) = more.session(of).status()
    assert state["dropped"] == {} and state["kept"] == 7
    calls = len(place.server.received)
    more.session(recipe(total=7, max_reasks=2)).run()  # what a person accepted is not requested again
    assert len(place.server.received) == calls


def test_records_carry_images_suggestions_and_marks(place: Place, tmp_path: Path) -> None:
    (task, *_) = out(place, tmp_path / "ls", "label-studio")
    assert task["data"]["images"][0].startswith("data:image/jpeg;base64,")
    predicted = {r["from_name"]: r["value"]["text"] for r in task["predictions"][0]["result"]}
    assert predicted == {"edited_question": [task["data"]["question"]], "edited_answer": [task["data"]["answer"]]}
    config = ElementTree.parse(tmp_path / "ls" / "config.xml").getroot()
    names = {element.get("name") for element in config.iter()}
    assert {"verdict", *predicted} <= names
    assert {element.get("toName") for element in config.iter()} - {None} <= names
    values = {(element.get("value") or element.get("valueList") or "") for element in config.iter()}
    assert {value[1:] for value in values if value.startswith("$")} <= task["data"].keys()

    (record, *_) = out(place, tmp_path / "ar", "argilla")
    settings = json.loads((tmp_path / "ar" / ".argilla" / "settings.json").read_text())
    assert record["fields"].keys() <= {field["name"] for field in settings["fields"]}
    required = {each["name"] for each in settings["fields"] + settings["questions"] if each["required"]}
    assert required == {"answer", "verdict"}
    names = [each["name"] for part in ("fields", "questions", "metadata") for each in settings[part]]
    assert len(set(names)) == len(names)
    assert record["suggestions"].keys() <= {question["name"] for question in settings["questions"]}
    assert record["metadata"].keys() == {each["name"] for each in settings["metadata"]}
    linked = out(place, tmp_path / "url", "argilla", image_url="http://here/images/", limit=1)
    assert linked[0]["fields"]["image_1"].startswith("http://here/images/") and len(linked) == 2


def test_the_latest_of_several_verdicts_counts_and_drafts_and_skips_do_not(place: Place, tmp_path: Path) -> None:
    document = out(place, tmp_path / "ls", "label-studio")
    say_label_studio(document[0], {"verdict": "reject"})
    say_label_studio(document[0], {"verdict": "accept"})
    document[0]["annotations"][1]["updated_at"] = "2025-01-01T00:00:00Z"  # the reject is later
    say_label_studio(document[1], {"verdict": "reject"})
    document[1]["annotations"][0]["was_cancelled"] = True
    row = back(place, tmp_path, document)
    assert (row["rejected"], row["accepted"], row["contested"], row["undecided"]) == (1, 0, 1, 11)
    records = out(place, tmp_path / "ar", "argilla")
    say_argilla(records[4], {"verdict": "reject"})
    records[4]["responses"]["verdict"][0]["status"] = "draft"
    assert back(place, tmp_path, records)["undecided"] == len(records)


def test_label_studios_short_export_and_argillas_lines_are_read_too(place: Place, tmp_path: Path) -> None:
    task, other, *_ = out(place, tmp_path / "ls", "label-studio")
    short = [
        {**task["data"], "verdict": "accept", "edited_answer": "Four disks.", "annotator": 1, "id": 1},
        {**other["data"], "verdict": "accept", "edited_answer": {"text": ["x", "Five."]}, "annotator": 1, "id": 2},
    ]
    assert back(place, tmp_path, short)["edited"] == 2
    records = out(place, tmp_path / "ar", "argilla")
    say_argilla(records[5], {"verdict": "reject"})
    lines = "".join(json.dumps(record) + "\n" for record in records)
    assert back(place, tmp_path, "\ufeff" + lines)["rejected"] == 1
    flat = {**records[6]["fields"], **records[6]["metadata"], "id": "x", "verdict.suggestion": None}
    flat |= {"verdict.responses": ["accept", "reject"], "verdict.responses.users": ["u1", "u2"]}
    flat |= {"verdict.responses.status": [None, "draft"], "edited_answer.responses": ["Six disks."]}
    flat |= {"edited_answer.responses.users": ["u1"], "edited_answer.responses.status": ["submitted"]}
    row = back(place, tmp_path, [flat])
    assert (row["accepted"], row["edited"], row["contested"]) == (1, 1, 0)
    folder = tmp_path / "ar"
    (folder / "records.json").write_text(json.dumps(records))
    assert import_review(place.session(), [folder])["already"] == 1


def test_damaged_files_and_files_of_others_are_refused_with_their_place(
    place: Place, tmp_path: Path, tool: str
) -> None:
    text = json.dumps(out(place, tmp_path / "out", tool), indent=1)
    for damaged, where in (
        (text[:-200], "back.json:"),
        ('{"a": 1}\n{"b"', "back.json:1"),
        ("[1, 2]", r"back.json\[0\]"),
        ("[]", "back.json"),
        ("", "back.json"),
        ('[{"text": "another project"}]', r"back.json\[0\]"),
    ):
        with pytest.raises(StoreError, match=where) as caught:
            back(place, tmp_path, damaged)
        assert caught.value.fix
    (tmp_path / "back.json").write_bytes(b"[\xff]")
    with pytest.raises(StoreError, match="byte 1"):
        import_review(place.session(), [tmp_path / "back.json"])
    assert not read_reviews(place.answers)


def test_records_that_cannot_be_used_are_reported_and_the_others_are_taken(
    place: Place, tmp_path: Path, tool: str
) -> None:
    document = out(place, tmp_path / "out", tool)
    say = TOOLS[tool][1]
    for number, verdict in enumerate(("accept", "perhaps", "accept", "accept")):
        say(document[number], {"verdict": verdict})
    unmarked = document[2].get("data") or document[2]["metadata"]
    unmarked.pop("vldata", None)
    unmarked.pop("vldata_key", None)
    stranger = copy.deepcopy(document[3])
    mark = stranger["data"]["vldata"] if "data" in stranger else stranger["metadata"]
    mark["key" if "key" in mark else "vldata_key"] = "0" * 32
    document[3] = stranger
    row = back(place, tmp_path, document)
    assert (row["accepted"], row["unusable"], row["unknown"]) == (1, 2, 1)
    assert "'perhaps'" in row["problems"][0] and "mark" in row["problems"][1] and "[3]" in row["problems"][2]


def test_a_review_of_a_turn_that_is_read_otherwise_now_is_marked_and_changes_nothing(
    place: Place, tmp_path: Path
) -> None:
    (task, *_) = out(place, tmp_path / "ls", "label-studio")
    mark = task["data"]["vldata"]
    add_reviews(place.answers, [TurnReview(mark["key"], 0, 2, "Another question?", "Another answer.", "rejected")])
    (state,) = place.session().status()
    assert (state["turns"], state["marked"]) == (12, {"review_outdated": 1})


def test_a_torn_line_of_reviews_is_no_damage_and_a_damaged_one_is_reported(tmp_path: Path) -> None:
    one = TurnReview("a" * 32, 0, 1, "q", "a", "accepted")
    add_reviews(tmp_path, [one])
    path = tmp_path / "reviews.jsonl"
    path.write_bytes(path.read_bytes() + b'{"key": "torn')
    assert read_reviews(tmp_path) == {one.key: [one]}
    two = one._replace(verdict="rejected")
    add_reviews(tmp_path, [two])
    assert read_reviews(tmp_path) == {one.key: [two]}
    path.write_bytes(b"no JSON\n" + path.read_bytes())
    with pytest.raises(StoreError, match=r"reviews\.jsonl:1"):
        read_reviews(tmp_path)


def test_an_answer_store_is_locked_while_reviews_are_taken(place: Place, tmp_path: Path) -> None:
    document = out(place, tmp_path / "ls", "label-studio")
    with open_answers(place.answers), pytest.raises(StoreError):
        back(place, tmp_path, document)


def test_the_commands_say_what_to_do_next(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(tree()))
    assert from_tree(tree())
    where = ["--store", str(place.where["store"]), "--answers", str(place.answers)]
    ran = CliRunner().invoke(
        app, ["synth", "export-review", str(path), str(tmp_path / "o"), "--to", "label-studio", *where]
    )
    assert ran.exit_code == 0 and "chat: 12 turns" in ran.output and "import-review" in ran.output
    tasks = json.loads((tmp_path / "o" / "tasks.json").read_text())
    say_label_studio(tasks[0], {"verdict": "reject"})
    (tmp_path / "b.json").write_text(json.dumps(tasks))
    ran = CliRunner().invoke(app, ["synth", "import-review", str(path), str(tmp_path / "b.json"), *where])
    assert ran.exit_code == 0 and "1 rejected" in ran.output and "11 not decided yet" in ran.output
    ran = CliRunner().invoke(app, ["synth", "export-review", str(path), str(tmp_path / "o"), "--to", "argilla", *where])
    assert ran.exit_code != 0


def test_a_limit_on_openings_stands_in_the_ledger_and_its_numbers_on_the_page(place: Place, tmp_path: Path) -> None:
    of = recipe(diversity={"max_share_of_an_opening": 0.25})
    (state,) = place.session(of).status()
    assert (state["kept"], state["turns"], state["dropped"]) == (3, 6, {"opening_too_frequent": 3})
    assert state["diversity"]["top_openings"] == {"is there": 3, "what is": 3}
    calls = len(place.server.received)
    place.session(of).run()
    assert len(place.server.received) == calls
    out = build(of, tmp_path / "built", store=place.where["store"], workers=1).out
    ledger = pl.read_parquet(out / "ledger.parquet").filter(source="chat")
    assert ledger["reason"].to_list() == ["opening_too_frequent"] * 3
    page = write_report(out).read_text()
    assert "Diversity of synthesis" in page and "is there</bdi> <small>50.0 %" in page
