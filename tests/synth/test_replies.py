"""What holds for whatever is read: clean text is left alone, reading again changes nothing, nothing takes long."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.synth.messy_answers import ANSWERS, BUS
from tests.synth.messy_json import OTHERS
from tests.synth.messy_pairs import CLEAN, CUT, PAIRS
from tests.synth.writing import write_blocks
from vldata.synth.inputs import Inputs, Region
from vldata.synth.kinds import kind_names, load_kind
from vldata.synth.replies import PARSERS, ParseError
from vldata.synth.validate import ALWAYS, text_of

FULL = Inputs(
    "1",
    ("A dog beside two parked cars.",),
    (Region("dog", 0.1, 0.2, 0.374, 0.4),),
    fields={"question": "When?", "answer": "At nine.", "text": "Say it.", "answer_a": "One.", "answer_b": "Two."},
)


def reply(text: Any, finish: str | None = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}]}


def captions(folder: Path) -> Iterator[str]:
    with gzip.open(folder / "coco_captions/annotations/captions_val2017.json.gz", "rt") as file:
        yield from (row["caption"] for row in json.load(file)["annotations"])
    with gzip.open(folder / "flickr8k/Flickr8k.token.txt.gz", "rt") as file:
        yield from (line.partition("\t")[2] for line in file)
    for language in ("en", "de"):
        with gzip.open(folder / f"multi30k/data/task1/raw/train.{language}.gz", "rt") as file:
            yield from file


def test_captions_that_people_wrote_are_left_alone(shared_data: Path) -> None:
    texts = {text for caption in captions(shared_data) if (text := caption.strip())}
    assert len(texts) > 100_000
    read = PARSERS["answer_only"].reading
    changed = [text for text in texts if read(text) != ([("", text, (), (), {})], ())]
    assert [text for text in changed if not (text[0] == text[-1] == '"')] == []
    assert len(changed) < 20, changed


def test_llavas_published_answers_are_kept_byte_for_byte(shared_data: Path) -> None:
    folder = shared_data / "llava/playground/data"
    rows = [json.loads(line) for line in (folder / "coco2014_val_gpt4_qa_30x3.jsonl").read_text().splitlines()]
    known = (shared_data / "llava/caps_boxes_coco2014_val_80.jsonl").read_text().splitlines()
    inputs = {
        row["id"]: Inputs(
            row["id"], tuple(row["captions"]), tuple(Region(b["category"], *b["bbox"]) for b in row["instances"])
        )
        for row in map(json.loads, known)
    }
    kinds = {"detail": load_kind("llava.detail"), "complex": load_kind("llava.reasoning")}
    kept = 0
    for row in rows:
        if row["type"] not in kinds:
            continue
        block = f"Question:\n{row['instruction']}\n===\nAnswer:\n{row['output']}"
        said = reply(row["output"] if row["type"] == "detail" else block)
        exchanges, findings = kinds[row["type"]].examine(said, inputs[row["id"]])
        assert (exchanges[0].answer, exchanges.repairs, findings) == (row["output"].strip(), (), [])
        kept += 1
    assert kept == 60


@pytest.mark.parametrize("text", [row[0] for row in ANSWERS])
def test_an_answer_that_was_repaired_needs_no_repair(text: str) -> None:
    with contextlib.suppress(ParseError):
        answer = PARSERS["answer_only"](text)[0].answer
        assert PARSERS["answer_only"].reading(answer) == ([("", answer, (), (), {})], ())


@pytest.mark.parametrize(("text", "is_cut"), [(row[0], rows is CUT) for rows in (PAIRS, CUT) for row in rows])
def test_pairs_that_were_repaired_need_no_repair(text: str, is_cut: bool) -> None:
    with contextlib.suppress(ParseError):
        exchanges, _ = PARSERS["llava_blocks"].reading(text, is_cut=is_cut)
        assert PARSERS["llava_blocks"].reading(write_blocks(exchanges)) == (exchanges, ())


LAYERS = (
    "<think>x</think>",
    "</think>",
    "Sure! Here is the caption:\n",
    "```\n",
    "\n```",
    '"',
    "“",
    "”",
    "**",
    "> ",
    "#",
)
MORE = (
    "\n\nLet me know if you need more.",
    "Description: ",
    "<answer>",
    "</answer>",
    "\n---\n",
    '{"a": "',
    '"}',
    "A bus.",
)
pieces = st.lists(st.sampled_from([*LAYERS, *MORE, "A bus.", " ", "\n", "a", "<|im_end|>", "\ufeff"]), max_size=12).map(
    "".join
)


@given(pieces)
def test_whatever_is_put_around_reading_again_changes_nothing(text: str) -> None:
    with contextlib.suppress(ParseError):
        answer = PARSERS["answer_only"](text)[0].answer
        assert PARSERS["answer_only"].reading(answer) == ([("", answer, (), (), {})], ())


LABELS = (
    "Question:",
    "Answer:",
    "**Question:**",
    "**Answer:**",
    "Q:",
    "A:",
    "User:",
    "Assistant:",
    "===",
    "---",
    "```",
)
labelled = st.lists(st.sampled_from([*LABELS, "\n", " x", "1. ", "### ", "Let me know if so"]), max_size=20)


@given(labelled.map("".join), st.booleans())
def test_whatever_is_labelled_reading_again_changes_nothing(text: str, is_cut: bool) -> None:
    with contextlib.suppress(ParseError):
        exchanges, _ = PARSERS["llava_blocks"].reading(text, is_cut=is_cut)
        for exchange in exchanges:
            assert exchange.question and exchange.answer
            assert exchange.question in text and exchange.answer in text


HOSTILE = {
    "opening marks": "<think>" * 28_000,
    "closing marks": "</think>" * 25_000,
    "pairs of marks": "<think></think>" * 13_000,
    "tags": "<think " * 28_000,
    "white space": "Question:" + " " * 200_000,
    "blank lines": "Question:" + "\n" * 200_000 + "Answer:",
    "labels": "Question: q\nAnswer: a\n" * 9_000,
    "questions": "Question:\n" * 20_000,
    "words that may be answers": "Question: q\n" + "A: x\nAI: y\n" * 20_000,
    "separators": "Question: q\n" + "===\n" * 50_000 + "Answer: a",
    "fences": "```\n" * 50_000,
    "fences and labels": "```\nQuestion:\n" * 14_000,
    "quotation marks": "“" * 70_000 + "”" * 70_000,
    "bold": "**" * 100_000,
    "headings": "#" * 200_000,
    "opening remarks": "Sure! " * 33_000,
    "a long opening": "Here is " + "a " * 100_000,
    "closing remarks": "A bus. " + "Let me know if you need more. " * 6_000,
    "braces": "{" * 200_000,
    "brackets": "[" * 200_000,
    "commas": '{"a": ' + "," * 200_000,
    "quoted": '{"a": "' + '\\"' * 100_000,
    "list marks": "\n- 1. " * 33_000 + "Question: x",
    "template marks": "<|im_end|>" * 20_000,
    "channels": "<|channel|>final<|message|>" * 7_500,
    "lines of JSON": '{"question": "a", "answer": "b"}\n' * 6_000 + "{",
    "brackets around": "[Question" * 22_000,
    "plain": BUS * 2_000,
}


@pytest.mark.parametrize("name", sorted(PARSERS))
@pytest.mark.parametrize("what", HOSTILE)
def test_two_hundred_kilobytes_of_anything_are_done_with_soon(what: str, name: str) -> None:
    began = time.process_time()
    for is_cut in (False, True):
        with contextlib.suppress(ParseError):
            PARSERS[name].reading(HOSTILE[what], is_cut=is_cut)
    assert time.process_time() - began < 2


def test_reasoning_beside_or_among_the_content_is_no_text_of_it() -> None:
    assert text_of(reply("", reasoning_content="A bus.", reasoning="A bus.")) == ""
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "A bus."}]
    assert text_of(reply(parts)) == "A bus."
    assert text_of(reply([{"type": "reasoning", "text": "hm"}, {"type": "output_text", "text": "A bus."}])) == "A bus."
    _, findings = load_kind("recaption").examine(reply(None, reasoning_content=BUS), FULL)
    assert [finding.reason for finding in findings] == ["reply_empty"] or findings[0].reason == "reply_unfinished"


def test_what_parsers_make_of_replies_is_in_no_request() -> None:
    """The literal changes when a prompt does, and with nothing that reads replies."""
    keys = []
    for name in kind_names():
        for kind in (load_kind(name), load_kind(name).read_strictly()):
            request = kind.write(FULL, kind.prompt(model="m", endpoint="e"))
            quoted = {
                kind.reask(request, reply("<think>x</think>Sure!"), [reason], sample_index=1).key
                for reason in ("reply_unparsable", "reply_ambiguous", "reply_needs_repair", "reasoning_unclosed")
            }
            assert len(quoted) == 1
        keys += [request.key, *quoted]
    assert hashlib.sha256("".join(keys).encode()).hexdigest()[:32] == "a2836eb568161205dd3aa2caca5eb2cb"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (f"{BUS} <think>Is that all?</think>", "reasoning_in_text"),
        (f"A plan. <answer>{BUS}</answer>", "reasoning_in_text"),
        (f"As an AI, I see a bus. {BUS}", "assistant_speaks"),
        (f"In the image you provided, one sees this. {BUS}", "assistant_speaks"),
        (f"The user wants a caption, so: {BUS}", "assistant_speaks"),
        (f"```python\n{BUS}\n```", "reply_wrapped"),
        (f'{{"a": "{BUS}", "b": 1}}', "reply_wrapped"),
        (f"{BUS}\x00", "control_character"),
        (f"{BUS} \x1b[31mred", "control_character"),
        (f"{BUS} \u202egnp.exe", "control_character"),
        (f"{BUS} \u2067x", "control_character"),
        (f"caf\xe9 \x9b31m {BUS}", "control_character"),
    ],
)
def test_what_no_parser_can_take_away_is_dropped_and_never_requested_again(answer: str, reason: str) -> None:
    kind = load_kind("recaption")
    exchanges, findings = kind.examine(reply(answer), FULL)
    found = [finding for finding in findings if finding.reason == reason]
    assert [finding.policy for finding in found] == ["drop"]
    assert kind.decide(exchanges, findings, may_reask=False).action == "drop"


@pytest.mark.parametrize(
    "answer",
    [
        BUS,
        f"{BUS} A sign in Hebrew reads \u200fשלום\u200e.",
        f"{BUS}\n\tand a tab",
        "The user taps 'Send' in the app, as one does.",
    ],
)
def test_what_is_fine_is_left_to_the_other_checks(answer: str) -> None:
    exchanges = load_kind("recaption").read(answer, FULL)
    kind = load_kind("recaption")
    assert [f for check in ALWAYS for f in check().check(exchanges, FULL, reply(answer), kind)] == []


def test_a_kind_sets_the_options_of_checks_that_are_always_made(tmp_path: Path) -> None:
    text = "about: x\nparser: answer_only\nvalidators: [{control_characters: {policy: mark}}]"
    (tmp_path / "kind.yaml").write_text(text)
    (tmp_path / "system_message.txt").write_text("Describe it.")
    kind = load_kind(f"{tmp_path}/")
    exchanges, findings = kind.examine(reply(f"{BUS}\x00"), FULL)
    assert kind.decide(exchanges, findings, may_reask=True) == ("keep", (0,), ("control_character",))
    assert sorted(check.name for check in kind.validators) == sorted(check.name for check in ALWAYS)


def test_letters_in_answers_that_are_made_from_a_text_are_fine() -> None:
    letter = "Dear Ann,\n\nI hope this helps. Let me know if you need it.\n\nBest, Bob"
    text = f"Question:\nWrite a short letter to a customer, please.\n===\nAnswer:\n{letter}"
    exchanges, findings = load_kind("text.evolution").examine(reply(text), FULL)
    assert (findings, exchanges.repairs) == ([], ())


def test_of_a_reply_that_was_cut_off_the_rest_is_kept_and_marked() -> None:
    kind = load_kind("llava.conversation")
    exchanges, findings = kind.examine(reply(CLEAN, "length"), FULL)
    assert (len(exchanges), exchanges.repairs) == (2, ("cut_pair",))
    assert [(finding.reason, finding.policy) for finding in findings] == [("reply_truncated", "mark")]
    _, findings = kind.examine(reply(CLEAN[:60], "length"), FULL)
    assert [(finding.reason, finding.policy) for finding in findings] == [("reply_truncated", "reask")]
    _, findings = kind.read_strictly().examine(reply(CLEAN, "length"), FULL)
    assert [(finding.reason, finding.policy) for finding in findings] == [("reply_truncated", "reask")]


def test_every_messy_reply_is_read_alike_by_strict_and_by_tolerant_parsers_or_refused() -> None:
    for parser, options, text, _, _ in OTHERS:
        given_ = {name: value for name, value in options.items() if name != "is_cut"}
        with contextlib.suppress(ParseError):
            strict = PARSERS[parser].reading(text, {**given_, "strict": True})
            assert strict == PARSERS[parser].reading(text, given_)
            assert set(strict.repairs) <= {"reasoning", "byte_order_mark"}
