"""Kinds: folders of words that make requests."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.synth.writing import longest_shared_run
from vldata import bundled
from vldata.errors import RecipeErrors
from vldata.llm.request import Request, image_part
from vldata.synth.best import agreement, best, coverage, judged, leads, pairs_to_judge
from vldata.synth.exchange import Exchange
from vldata.synth.inputs import Inputs, Reading, Region, read_inputs
from vldata.synth.kind import SynthKind
from vldata.synth.kinds import kind_names, load_kind
from vldata.synth.validate import Finding
from vldata.synth.validate.base import words_of
from vldata.tasks import task_names

NAMES = [
    "answer.expansion",
    "caption.filter",
    "grounded.chat",
    "judge",
    "llava.conversation",
    "llava.detail",
    "llava.reasoning",
    "llavar",
    "multilevel.description",
    "qa.judge",
    "recaption",
    "screen.navigation",
    "screen.qa",
    "screen.summary",
    "shikra.rd",
    "text.evolution",
]
FULL = Inputs(
    "row",
    ("A dog on a beach.",),
    (Region("dog", 0.1, 0.2, 0.3, 0.4),),
    (Reading("EXIT"),),
    (image_part("0" * 32),),
    {"question": "What?", "answer": "a dog", "text": "Sum up.", "answer_a": "One.", "answer_b": "Two."},
)


def written(kind: SynthKind, inputs: Inputs, *, sample_index: int = 0, **parameters: Any) -> Request:
    """Its request."""
    return kind.write(inputs, kind.prompt(model="m", endpoint="e", **parameters), sample_index=sample_index)


SCORES = {"correctness": 5, "relevance": 5, "detail": 5, "clarity": 5}


def reply(text: str, finish: str = "stop") -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}, "finish_reason": finish}]}


def copied(kind: str, folder: Path) -> Path:
    own = folder / "own"
    shutil.copytree(bundled("templates") / "synth" / kind, own)
    return own


def problem(name: str, folder: Path | None = None) -> str:
    with pytest.raises(RecipeErrors) as caught:
        load_kind(name, folder)
    return str(caught.value)


def test_all_kinds_are_here() -> None:
    assert kind_names() == sorted(NAMES)


def found_in_few_shots(kind: SynthKind) -> list[tuple[str, str]]:
    """What the kind's own checks find in its few-shots, but for echoes, as each is an echo of itself."""
    found = []
    for shot in kind.few_shots:
        inputs = read_inputs(shot.caps, kind.settings.layout, row=shot.name)
        reply = {"choices": [{"message": {"content": shot.answer}, "finish_reason": "stop"}]}
        found += [(shot.name, finding.reason) for finding in kind.examine(reply, inputs)[1]]
    return [(name, reason) for name, reason in found if reason != "few_shot_echo"]


@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_kind_passes_its_own_checks(name: str) -> None:
    assert found_in_few_shots(load_kind(name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_kind_makes_turns_of_a_known_task(name: str) -> None:
    task = load_kind(name).settings.task
    assert task in task_names() or (task is None and name == "judge")


@pytest.mark.parametrize("name", NAMES)
def test_a_request_tells_what_the_layout_says_and_nothing_of_a_missing_part(name: str) -> None:
    kind = load_kind(name)
    assert kind.missing(FULL) == []
    assert set(kind.missing(Inputs("row"))) == set(kind.settings.needs)
    request = written(kind, FULL)
    assert request.messages[0] == {"role": "system", "content": kind.system_message}
    assert [m["role"] for m in request.messages[1:]] == ["user", "assistant"] * len(kind.few_shots) + ["user"]
    assert bool(list(request.image_parts)) == ("image" in kind.settings.needs)
    assert request.parameters["max_tokens"] > 0
    assert written(kind, FULL).key == request.key


@pytest.mark.parametrize("name", NAMES)
def test_the_few_shots_of_a_kind_are_its_own_and_share_nothing_long(name: str) -> None:
    kind = load_kind(name)
    for place, shot in enumerate(kind.few_shots):
        others = [other.answer for other in kind.few_shots[:place]]
        assert longest_shared_run(words_of(shot.answer).all, others) < 8


def test_no_bundled_few_shot_holds_words_of_llavas(shared_data: Path) -> None:
    folder = shared_data / "llava/playground/data/prompts"
    theirs = [file.read_text() for file in folder.glob("*/*.txt")]
    for name in NAMES:
        kind = load_kind(name)
        for text in [kind.system_message, *(shot.answer for shot in kind.few_shots), *kind.questions]:
            # seven words in a row are chance, in a field with few words for what everybody does in it
            assert longest_shared_run(words_of(text).all, theirs) <= 7, name


@pytest.mark.parametrize(
    ("name", "folder", "num_shots"),
    [
        ("llava.conversation", "conversation", 2),
        ("llava.detail", "detail_description", 3),
        ("llava.reasoning", "complex_reasoning", 3),
    ],
)
def test_llavas_own_folders_load_unchanged(name: str, folder: str, num_shots: int, shared_data: Path) -> None:
    path = shared_data / "llava/playground/data/prompts" / folder
    kind = load_kind(name, path)
    assert len(kind.few_shots) == num_shots
    assert found_in_few_shots(kind) == []
    messages = written(kind, FULL).messages
    assert messages[0]["content"] == (path / "system_message.txt").read_text().strip()
    assert messages[1]["content"] == (path / "000_caps.txt").read_text().strip()
    assert messages[2]["content"] == (path / "000_conv.txt").read_text().strip()
    boxes = "" if folder == "conversation" else "\n\ndog: [0.1, 0.2, 0.3, 0.4]"
    assert messages[-1]["content"] == f"A dog on a beach.{boxes}"


def test_a_changed_few_shot_is_another_request_and_a_changed_check_is_not(tmp_path: Path) -> None:
    own = copied("llava.detail", tmp_path)
    before = load_kind(f"{own}/")
    (own / "kind.yaml").write_text((own / "kind.yaml").read_text().replace("  - objects\n", ""))
    (own / "questions.txt").write_text("What is there?")
    checks = load_kind(f"{own}/")
    assert len(checks.validators) == len(before.validators) - 1
    assert written(checks, FULL).key == written(before, FULL).key
    (own / "001_conv.txt").write_text("Something else.")
    after = load_kind(f"{own}/")
    assert written(after, FULL).key != written(before, FULL).key
    changed = {file for file in after.digests if after.digests[file] != before.digests[file]}
    assert changed == {"kind.yaml", "questions.txt", "001_conv.txt"}
    assert after.digest != checks.digest != before.digest


def test_a_folder_without_its_own_settings_borrows_them(tmp_path: Path) -> None:
    (tmp_path / "system_message.txt").write_bytes(b"\xef\xbb\xbfDescribe it.\r\n")
    kind = load_kind("llava.detail", tmp_path)
    assert (kind.system_message, kind.few_shots) == ("Describe it.", ())
    assert kind.questions == load_kind("llava.detail").questions


def test_the_drawn_question_depends_on_the_row_alone() -> None:
    kind = load_kind("llava.detail")
    drawn = {row: kind.read("It is.", Inputs(row))[0].question for row in map(str, range(200))}
    assert set(drawn.values()) == set(kind.questions)
    assert kind.read("It is.", Inputs("7", ("more",)))[0].question == drawn["7"]
    assert drawn["1"] == "I cannot see the picture well. What is in it?"


def test_draws_of_a_sample_are_requested_in_different_words() -> None:
    kind = load_kind("caption.filter")
    requests = [written(kind, FULL, sample_index=n) for n in range(kind.settings.draws)]
    assert len({request.key for request in requests}) == 4
    assert {request.messages[-1]["content"][-1]["text"] for request in requests} == set(kind.asks)


def test_the_recipes_parameters_win() -> None:
    kind = load_kind("llava.detail")
    request = written(kind, FULL, parameters={"temperature": 0, "max_tokens": None, "seed": 3})
    assert request.parameters == {"temperature": 0, "seed": 3}


def test_a_schema_is_requested_and_checked() -> None:
    kind = load_kind("screen.qa")
    form = written(kind, FULL).response_format
    assert form is not None
    assert form["json_schema"]["strict"] is True
    assert form["json_schema"]["schema"] == kind.settings.reply_schema
    _, findings = kind.examine(reply("The departure is at nine."), FULL)
    assert [finding.reason for finding in findings] == ["reply_not_json"]


def test_navigation_answers_with_a_box() -> None:
    kind = load_kind("screen.navigation")
    exchanges, findings = kind.examine(reply('{"steps": [{"instruction": "stroke the dog", "element": 1}]}'), FULL)
    assert findings == []
    assert exchanges[0].answer_links[0].numbers == (1,)
    _, findings = kind.examine(reply('{"steps": [{"instruction": "stroke the cat", "element": 2}]}'), FULL)
    assert [finding.reason for finding in findings] == ["box_reference_unknown"]


def test_what_explains_an_unparsable_reply_is_reported_first() -> None:
    kind = load_kind("llava.conversation")
    for text, finish, reason in [
        ("Question:\nWhat", "length", "reply_truncated"),
        ("I'm sorry, but I can't see any image.", "stop", "refusal"),
        ("Here you are.", "stop", "reply_unparsable"),
    ]:
        exchanges, findings = kind.examine(reply(text, finish), FULL)
        assert (len(exchanges), findings[0].reason) == (0, reason)
        assert kind.decide(exchanges, findings, may_reask=False).action == "drop"


def exchanges(num: int) -> list[Exchange]:
    return [Exchange(f"{n}?", f"{n}.") for n in range(num)]


def test_a_mark_keeps_a_drop_loses_and_a_reask_goes_before_both() -> None:
    kind = load_kind("llava.conversation")
    mark, drop, again = (Finding(policy, 0, "", policy) for policy in ("mark", "drop", "reask"))
    assert kind.decide(exchanges(2), [mark], may_reask=True) == ("keep", (0, 1), ("mark",))
    assert kind.decide(exchanges(2), [mark, drop], may_reask=True) == ("drop", (), ("drop",))
    assert kind.decide(exchanges(2), [drop, again], may_reask=True) == ("reask", (), ("reask",))
    assert kind.decide(exchanges(2), [again], may_reask=False) == ("drop", (), ("reask",))


def test_where_exchanges_stand_alone_only_the_faulty_one_is_lost() -> None:
    kind = load_kind("screen.qa")
    assert kind.decide(exchanges(3), [Finding("x", 1)], may_reask=False) == ("keep", (0, 2), ())
    assert kind.decide(exchanges(3), [Finding("x", None)], may_reask=False) == ("drop", (), ("x",))
    assert kind.decide(exchanges(1), [Finding("x", 0)], may_reask=False) == ("drop", (), ("x",))


def test_a_repeated_request_shows_the_reply_and_what_is_wrong_with_it() -> None:
    kind = load_kind("llava.conversation")
    first = written(kind, FULL)
    again = kind.reask(first, reply("The caption {problems} says."), ["source_leaked", "source_leaked"], sample_index=1)
    assert again.messages[:-2] == first.messages
    assert again.messages[-2] == {"role": "assistant", "content": "The caption {problems} says."}
    assert again.messages[-1]["content"].count("- the reply speaks of captions") == 1
    assert (again.sample_index, again.key == first.key) == (1, False)


def test_a_reply_with_markup_stays_text() -> None:
    kind = load_kind("llava.detail")
    hostile = "<script>{{ 7 * 7 }}</script> ../../etc/passwd ${HOME} " * 4
    assert kind.read(hostile, FULL)[0].answer == hostile.strip()


def test_inputs_with_markup_stay_text() -> None:
    kind = load_kind("llava.conversation")
    request = written(kind, Inputs("1", ("{{ x }} <image> ===",)))
    assert request.messages[-1]["content"] == "{{ x }} <image> ==="


def test_a_kind_travels_between_processes() -> None:
    kind = load_kind("grounded.chat")
    again: SynthKind = pickle.loads(pickle.dumps(kind))
    assert again.digest == kind.digest
    assert pickle.loads(pickle.dumps(FULL)) == FULL
    assert written(again, FULL).key == written(kind, FULL).key


@pytest.mark.parametrize("name", ["llava.convers", "../llavar", "", "LLaVA", "llava.conversation.."])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    assert "fix:" in problem(name)


def test_the_nearest_name_is_offered() -> None:
    assert "did you mean 'llava.conversation'?" in problem("llava.convers")


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("kind.yaml", "about: x\nparser: llava_blocks\nneed: [captions]", "did you mean 'needs'?"),
        ("kind.yaml", "about: x\nparser: llava_block", "did you mean 'llava_blocks'?"),
        ("kind.yaml", "about: x\nparser: answer_only\nvalidators: [refusals]", "did you mean 'refusal'?"),
        ("kind.yaml", "about: x\nparser: answer_only\nvalidators: [{turns: {lest: 1}}]", "did you mean 'least'?"),
        ("kind.yaml", "about: x\nparser: {answer_only: {link: true}}", "did you mean 'links'?"),
        ("kind.yaml", "about: &a x\nidea: *a", "alias"),
        ("kind.yaml", "a: [", "not YAML"),
        ("kind.yaml", "[" * 50_000, "nested too deeply"),
        ("kind.yaml", "#" * 70_000, "at most 65,536 are read"),
        ("kind.yaml", "!!python/object/apply:os.getcwd []", "not YAML"),
        ("kind.yaml", "- 1", "kind.yaml"),
        ("kind.yaml", "about: x\nparser: answer_only\nlayout: [text]", "add 'text' to `needs`"),
        ("kind.yaml", "about: x\nparser: answer_only\nreply_schema: {type: object}", "reads no JSON"),
        ("kind.yaml", "about: x\nparser: json_schema\nreply_schema: {anyOf: []}", "schema.anyOf"),
        ("kind.yaml", "about: x\nparser: answer_only\nquestion: drawn", "write questions.txt"),
        ("000_conv.txt", "no blocks", "000_conv.txt: the reply of the few-shot does not parse"),
        ("002_caps.txt", "alone", "002_conv.txt: this half of a few-shot is missing"),
        ("system_message.txt", "x" * (1 << 20) + "x", "at most 1,048,576 are read"),
    ],
)
def test_what_is_wrong_with_a_kind_is_reported_before_anything_is_paid_for(
    file: str, text: str, expected: str, tmp_path: Path
) -> None:
    own = copied("llava.conversation", tmp_path)
    (own / file).write_text(text)
    assert expected in problem(f"{own}/")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    own = copied("llava.conversation", tmp_path)
    (own / "000_caps.txt").write_bytes(b"ab\xff")
    assert "byte 0xff at offset 2 is not UTF-8" in problem(f"{own}/")


def judge_reply(first: int | None, second: int | None) -> str:
    marks = {"first": first, "second": second}
    return json.dumps({"reasons": "r"} | {k: dict.fromkeys(SCORES, v) for k, v in marks.items()})


def draws(*replies: str | None) -> list[Sequence[Exchange] | None]:
    kind = load_kind("judge")
    return [None if text is None else kind.read(text, FULL, sample_index=n) for n, text in enumerate(replies)]


def test_the_judge_sees_both_orders_and_its_scores_are_put_back_in_order() -> None:
    kind = load_kind("judge")
    straight, swapped = (written(kind, FULL, sample_index=n).messages[-1]["content"] for n in (0, 1))
    assert "The first answer:\nOne.\n\nThe second answer:\nTwo." in straight
    assert "The first answer:\nTwo.\n\nThe second answer:\nOne." in swapped
    read = kind.read(judge_reply(9, 3), FULL, sample_index=1)
    assert [(e.question, e.answer, e.scores["detail"]) for e in read] == [
        ("What?", "answer_a", 3),
        ("What?", "answer_b", 9),
    ]


def test_a_liking_for_the_first_place_cancels_out() -> None:
    assert judged(draws(judge_reply(9, 3), judge_reply(9, 3))).lead("answer_a", "answer_b") == 0
    assert judged(draws(judge_reply(9, 3), judge_reply(3, 9))).lead("answer_a", "answer_b") == 6


def test_what_could_not_be_read_is_missing_and_never_a_number() -> None:
    for found in (judged(draws(judge_reply(9, 3), None)), judged(draws(judge_reply(9, 3), judge_reply(3, None)))):
        assert found.lead("answer_a", "answer_b") is None
        assert found.scores == {}
    assert judged(draws(judge_reply(9, 3), None)).num_missing == 1
    assert judged([]).lead("answer_a", "answer_b") is None


def test_the_best_of_several_captions_is_found_with_a_judge() -> None:
    pairs = pairs_to_judge(FULL, "Describe it.", ["one", "two", "three"])
    assert [(p.fields["answer_a"], p.fields["answer_b"]) for p in pairs] == [("one", "two"), ("one", "three")]
    assert len({pair.row for pair in pairs}) == 2
    better = judged(draws(judge_reply(4, 8), judge_reply(8, 4)))
    missing = judged(draws(None, None))
    assert leads([missing, better]) == [0.0, None, 4.0]
    assert best(leads([missing, better])) == 2
    assert best(leads([missing, missing])) == 0


def test_the_best_by_score_is_the_first_of_equals_and_none_when_all_is_missing() -> None:
    assert best([0.2, 0.7, 0.7, None]) == 1
    assert best([None, None]) is None
    assert best([0.2], least=0.3) is None


def test_scores_without_a_judge() -> None:
    assert coverage("A dog runs.", Inputs("1", ("A brown horse.",))) == 0
    assert coverage("A brown horse runs.", Inputs("1", ("A brown horse.",))) == 1
    assert coverage("A horse.", Inputs("1")) is None
    scores = agreement(["a red car on a road", "a red car on a street", "two cats"])
    assert best(scores) == 0
    assert scores[2] == 0
    assert agreement(["alone"]) == [None]
