"""Nothing more is sent when none of the first replies of a kind and model is kept."""

from __future__ import annotations

from typing import Any

import pytest

from tests.generate.places import REPLY, Place, bad, good, tree
from tests.llm.server import ReceivedRequest, answer, failure
from vldata import bundled

pytestmark = pytest.mark.usefixtures("shapes_place")
LONG = "Several plain coloured shapes of different sizes lie beside one another on a light ground, and no two touch. "


@pytest.fixture
def place(shapes_place: Place) -> Place:
    return shapes_place


@pytest.mark.parametrize("concurrency", [1, 7, 64, 300])
def test_a_run_of_which_nothing_is_kept_stops_after_the_first_replies(place: Place, concurrency: int) -> None:
    place.server.script = bad
    ran = place.run(tree(), concurrency=concurrency)
    assert place.num_paid == 20
    assert ran["stopped"]["reason"] == "canary"
    assert "20 replies of llava.conversation by tiny" in ran["stopped"]["problem"]
    assert ran["example"]["reply"].startswith("I would rather not") and ran["example"]["findings"]


def test_it_stops_the_next_run_too_at_no_cost(place: Place) -> None:
    place.server.script = bad
    place.run(tree())
    for _ in range(2):
        assert place.run(tree())["stopped"]["reason"] == "canary"
    assert place.run(tree(), reask=True)["stopped"]["reason"] == "canary"
    place.server.script = good
    assert place.run(tree(), retry=True)["stopped"]["reason"] == "canary"
    assert place.num_paid == 20


def test_a_check_that_keeps_some_of_what_is_there_lets_it_go_on(place: Place) -> None:
    place.server.script = lambda request: answer(REPLY.partition("\n===\nQuestion")[0].format(n=request.digest[:8]))
    assert "too_few_turns 20" in place.run(tree(max_reasks=0))["stopped"]["problem"]
    bundled_kind, mine = bundled("templates") / "synth" / "llava.conversation", place.folder / "mine"
    mine.mkdir()
    for file in bundled_kind.iterdir():
        (mine / file.name).write_text(file.read_text().replace("turns: {least: 2", "turns: {least: 1"))
    ran = place.run(tree(kind=str(mine)))
    assert (ran["stopped"], ran["answered"], ran["kept"], place.num_paid) == (None, 40, 60, 60)


def test_who_wants_to_goes_on(place: Place) -> None:
    place.server.script = bad
    ran = place.run(tree(), canary=False)
    assert (ran["stopped"], ran["answered"], ran["kept"]) == (None, 60, 0)


def test_one_reply_that_is_kept_is_enough(place: Place) -> None:
    place.server.script = lambda request: good(request) if request.number == 20 else bad(request)
    ran = place.run(tree(), concurrency=1)
    assert (ran["stopped"], ran["answered"], ran["kept"]) == (None, 60, 1)


def test_fewer_replies_than_that_end_by_themselves(place: Place) -> None:
    place.server.script = bad
    ran = place.run(tree(total=19))
    assert (ran["stopped"], ran["answered"]) == (None, 19)


def test_one_answer_to_everything_is_none(place: Place) -> None:
    text = REPLY.replace("{n}", "").replace("Several plain shapes, as  tells.", LONG).replace("No, there are", LONG)
    place.server.script = lambda request: answer(text)
    ran = place.run(tree())
    assert (ran["stopped"] or {}).get("reason") == "canary"
    assert place.num_paid == 20
    assert "same_answer_over_images 20" in ran["stopped"]["problem"]


def test_draws_of_which_the_best_is_kept_are_counted_each(place: Place) -> None:
    place.server.script = lambda request: answer("I'm sorry, I cannot see the image.")
    ran = place.run(tree(kind="caption.filter"))
    assert (ran["stopped"]["reason"], place.num_paid) == ("canary", 20)
    place.server.script = lambda request: answer(f"A drawing of several plain shapes {request.digest}.")
    other = tree(kind="caption.filter", model="other")
    ran = place.run(other)
    assert (ran["stopped"], ran["kept"]) == (None, 60)


def test_a_judge_of_which_nothing_can_be_read_stops_the_run(place: Place) -> None:
    kind = place.folder / "judged"
    kind.mkdir()
    (kind / "kind.yaml").write_text(
        "about: any\nneeds: [captions]\nlayout: [captions]\nparser: answer_only\nquestion: drawn\ndraws: 2\n"
        "choose: {by: judge}\n"
    )
    (kind / "system_message.txt").write_text("Describe it.")
    (kind / "questions.txt").write_text("What is there?\n")

    def said(request: ReceivedRequest) -> Any:
        is_judge = request.body["model"] == "sage"
        text = '{"reasons": "none"}' if is_judge else f"A drawing of several plain shapes {request.digest}."
        return answer(text)

    place.server.script = said
    ran = place.run(tree(kind=str(kind), judge_model="sage"))
    assert ran["stopped"]["reason"] == "canary"
    assert "replies of judge by sage" in ran["stopped"]["problem"]
    assert place.num_paid == 2 * 60 + 20
    assert ran["pending"] == {"awaits_judge": ran["wanting"]}
    assert ran["wanting"] == 2 * 60 - 20, "ten samples have both judgements, of which none says anything"
    assert place.run(tree(kind=str(kind), judge_model="sage"))["stopped"]["reason"] == "canary"
    assert place.num_paid == 2 * 60 + 20


def test_rows_that_the_endpoint_gives_up_count_as_not_kept(place: Place) -> None:
    place.server.script = lambda request: failure(400, "context_length_exceeded", "too long")
    ran = place.run(tree())
    assert (ran["stopped"]["reason"], ran["failed"], place.num_paid) == ("canary", {"too_long": 20}, 20)
    assert place.run(tree())["stopped"]["reason"] == "canary"
    assert place.num_paid == 20
    place.server.script = good
    assert place.run(tree(), retry=True)["kept"] == 60


def test_the_command_shows_one_reply_with_its_findings_and_ends_with_2(place: Place) -> None:
    place.server.script = bad
    said = place.command("run", tree())
    assert said.exit_code == 2
    assert "I would rather not use that form" in said.output and "finding: reply: reply_unparsable" in said.output
    assert "none of the first 20 replies" in said.output and "--no-canary" in said.output
    assert place.command("run", tree(), "--no-canary").exit_code == 0
    assert place.num_paid == 60


def test_a_batch_is_not_submitted_when_nothing_was_kept(place: Place) -> None:
    place.server.script = bad
    place.run(tree())
    (row,) = place.session(tree()).submit()
    assert (row["stopped"]["reason"], row["requests"]) == ("canary", 0)
