"""What each Batch API is sent and what its replies become, by the published forms of both."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.llm.batch_api_servers import AnthropicServer, GeminiServer
from tests.llm.batch_server import BatchServer, Fate, Refusal
from tests.llm.test_batch import PRICE, ask, asks, come, endpoint, go, later, ledger
from vldata.errors import VldataError
from vldata.llm.answers import Answers, open_answers
from vldata.llm.batch.api import UntranslatableError
from vldata.llm.batch.apis.anthropic import AnthropicBatches
from vldata.llm.batch.apis.gemini import GeminiBatches
from vldata.llm.batch.apis.mistral import MistralBatches
from vldata.llm.batch.collect import poll
from vldata.llm.batch.files import export, import_
from vldata.llm.batch.lines import BatchLimits, ResultLine
from vldata.llm.batch.results import APIS, results_of
from vldata.llm.budget import BudgetLimits, read_ledger
from vldata.llm.endpoint_specs import load_endpoints
from vldata.llm.prices import usage_of
from vldata.llm.request import Request, image_part

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Answers]:
    with open_answers(tmp_path / "answers") as opened:
        yield opened


def asked(parameters: Mapping[str, Any], schema: Any = None, detail: str = "auto") -> Request:
    shown = [image_part("0" * 32, detail=detail), {"type": "text", "text": "What is it?"}]
    messages = (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": shown},
    )
    return Request("test", "m-1", messages, parameters, schema)


def sent(api: str, request: Request, data: bytes = PNG) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(APIS[api].line(request, lambda part: data))
    return line


def test_anthropic_is_sent_system_images_stops_and_a_schema_where_it_has_them() -> None:
    line = sent("anthropic", asked({"max_completion_tokens": 9, "temperature": 0.5, "stop": "\n\n"}, JSON_SCHEMA))
    assert line == {
        "custom_id": asked({"max_completion_tokens": 9, "temperature": 0.5, "stop": "\n\n"}, JSON_SCHEMA).key,
        "params": {
            "model": "m-1",
            "max_tokens": 9,
            "temperature": 0.5,
            "stop_sequences": ["\n\n"],
            "system": "Be brief.",
            "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Hello."}]},
                {"role": "assistant", "content": [{"type": "text", "text": "Yes?"}]},
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image",
                            "source": {
                                "type": "base64",
                                "media_type": "image/png",
                                "data": base64.b64encode(PNG).decode(),
                            },
                        },
                        {"type": "text", "text": "What is it?"},
                    ],
                },
            ],
        },
    }


def test_gemini_is_sent_contents_inline_data_and_a_generation_config() -> None:
    parameters = {"max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "seed": 3, "stop": ["a", "b"]}
    line = sent("gemini", asked(parameters, JSON_SCHEMA, detail="low"))
    assert line["request"] == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Hello."}]},
            {"role": "model", "parts": [{"text": "Yes?"}]},
            {
                "role": "user",
                "parts": [
                    {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(PNG).decode()}},
                    {"text": "What is it?"},
                ],
            },
        ],
        "generationConfig": {
            "maxOutputTokens": 9,
            "temperature": 0.5,
            "topP": 0.9,
            "seed": 3,
            "stopSequences": ["a", "b"],
            "responseMimeType": "application/json",
            "responseJsonSchema": SCHEMA,
            "mediaResolution": "MEDIA_RESOLUTION_LOW",
        },
    }


def test_mistral_is_sent_a_chat_body_with_its_own_names() -> None:
    line = sent("mistral", asked({"max_completion_tokens": 9, "seed": 3}, JSON_SCHEMA))
    assert line.keys() == {"custom_id", "body"}
    body = line["body"]
    assert body.keys() == {"model", "messages", "max_tokens", "random_seed", "response_format"}
    assert (body["max_tokens"], body["random_seed"]) == (9, 3)
    assert body["messages"][-1]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("api", "request_", "where"),
    [
        ("anthropic", asked({"max_tokens": 9, "seed": 1}), "parameters.seed"),
        ("anthropic", asked({"temperature": 0}), "parameters.max_tokens"),
        ("anthropic", asked({"max_tokens": 9, "temperature": 1.5}), "parameters.temperature"),
        ("anthropic", asked({"max_tokens": 9}, {"type": "json_object"}), "response_format"),
        ("anthropic", asked({"max_tokens": 9}, detail="high"), "messages"),
        ("gemini", asked({"logprobs": True}), "parameters.logprobs"),
        ("gemini", asked({"stop": list("abcdef")}), "parameters.stop"),
        ("gemini", asked({}, {"type": "grammar"}), "response_format"),
        ("mistral", asked({"top_logprobs": 2}), "parameters.top_logprobs"),
        ("mistral", Request("t", "m", ({"role": "user", "name": "x", "content": "y"},)), "messages"),
        ("gemini", Request("t", "m", ({"role": "tool", "content": "y"},)), "messages"),
        (
            "anthropic",
            Request("t", "m", ({"role": "system", "content": [image_part("0" * 32)]},), {"max_tokens": 1}),
            "messages.system",
        ),
    ],
)
def test_what_an_api_has_no_place_for_is_an_error_that_says_so(api: str, request_: Request, where: str) -> None:
    with pytest.raises(UntranslatableError) as caught:
        sent(api, request_)
    assert caught.value.where == where and APIS[api].title in caught.value.problem and caught.value.fix


def test_a_kind_of_image_that_an_api_does_not_take_fails_its_row_alone() -> None:
    with pytest.raises(VldataError, match="Gemini") as caught:
        sent("gemini", asked({}), b"GIF89a" + bytes(20))
    assert not isinstance(caught.value, UntranslatableError)
    assert sent("anthropic", asked({"max_tokens": 1}), b"GIF89a" + bytes(20))


def read(tmp_path: Path, *documents: Any) -> list[Any]:
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return list(results_of(path))


def anthropic_row(result: Mapping[str, Any], custom_id: str = "k" * 32) -> dict[str, Any]:
    return {"custom_id": custom_id, "result": result}


def anthropic_message(**more: Any) -> dict[str, Any]:
    content = [
        {"type": "thinking", "thinking": "Hm."},
        {"type": "text", "text": "A "},
        {"type": "text", "text": "cat."},
    ]
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 2,
        "output_tokens": 4,
    }
    return {"id": "msg_1", "content": content, "stop_reason": "end_turn", "usage": usage, "model": "m", **more}


def test_anthropics_replies_become_chat_completions(tmp_path: Path) -> None:
    row = anthropic_row({"type": "succeeded", "message": anthropic_message()}, "p" * 32 + "k" * 32)
    (line,) = read(tmp_path, row)
    assert line.key == "k" * 32 and line.request_id == "msg_1"
    choice = line.reply["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": "A cat.", "reasoning_content": "Hm."}
    assert choice["finish_reason"] == "stop" and line.reply["native"]["id"] == "msg_1"
    usage = usage_of(line.reply)
    assert usage is not None and (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (17, 5, 4)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("pause_turn", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("something_new", "content_filter"),
    ],
)
def test_only_an_end_of_the_models_own_is_an_end(tmp_path: Path, reason: str, finish: str) -> None:
    (line,) = read(tmp_path, anthropic_row({"type": "succeeded", "message": anthropic_message(stop_reason=reason)}))
    assert line.reply["choices"][0]["finish_reason"] == finish


@pytest.mark.parametrize(
    ("kind", "message", "fault"),
    [
        ("invalid_request_error", "messages: bad", "bad_request"),
        ("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", "too_long"),
        ("request_too_large", "", "too_long"),
        ("rate_limit_error", "", "rate_limited"),
        ("overloaded_error", "", "overloaded"),
        ("api_error", "", "server_error"),
        ("brand_new_error", "", "server_error"),
    ],
)
def test_a_row_that_anthropic_could_not_do_is_a_fault_and_free(
    tmp_path: Path, kind: str, message: str, fault: str
) -> None:
    error = {"type": "error", "error": {"type": kind, "message": message}}
    (line,) = read(tmp_path, anthropic_row({"type": "errored", "error": error}))
    assert line.fault.name == fault and line.is_free


def test_rows_that_were_never_processed_are_unfinished(tmp_path: Path) -> None:
    rows = [
        anthropic_row({"type": "expired"}),
        anthropic_row({"type": "canceled"}),
        {"key": "k", "error": {"code": 1, "message": "The operation was cancelled."}},
        {"id": "1", "custom_id": "k", "response": None, "error": {"code": "batch_expired"}},
    ]
    assert [line.is_unfinished for line in read(tmp_path, *rows)] == [True] * 4


def test_rows_that_are_no_results_are_told_and_never_answers(tmp_path: Path) -> None:
    rows: list[Any] = [
        anthropic_row({"type": "succeeded"}),
        anthropic_row({"type": "succeeded", "message": {"content": "text"}}),
        anthropic_row({"type": "errored", "error": "odd"}),
        {"key": "k", "response": {}},
        {"key": "k", "response": {"candidates": [None]}},
        {"key": "k"},
        {"custom_id": 7, "result": {}},
        [],
    ]
    lines = read(tmp_path, *rows)
    faults = [line.fault.name if isinstance(line, ResultLine) and line.fault else line.problem for line in lines]
    assert faults == [*["not_a_completion"] * 2, "server_error", *["not_a_completion"] * 2, *["no_custom_id"] * 3]


def gemini_row(parts: Any, reason: str = "STOP", **usage: int) -> dict[str, Any]:
    content = {} if parts is None else {"content": {"role": "model", "parts": parts}}
    response = {"candidates": [{**content, "finishReason": reason, "index": 0}], "modelVersion": "m"}
    return {"key": "k", "response": response | ({"usageMetadata": usage} if usage else {})}


def test_geminis_replies_become_chat_completions(tmp_path: Path) -> None:
    parts = [{"text": "Hm.", "thought": True}, {"text": "A "}, {"inlineData": {"data": "x"}}, {"text": "cat."}]
    counts = {"promptTokenCount": 10, "candidatesTokenCount": 4, "thoughtsTokenCount": 6, "cachedContentTokenCount": 3}
    (line,) = read(tmp_path, gemini_row(parts, **counts))
    assert line.reply["choices"][0]["message"] == {
        "role": "assistant",
        "content": "A cat.",
        "reasoning_content": "Hm.",
    }
    usage = usage_of(line.reply)
    assert usage is not None and (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (10, 3, 10)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("OTHER", "content_filter")],
)
def test_geminis_reasons_to_finish_are_told_apart_even_without_a_word(tmp_path: Path, reason: str, finish: str) -> None:
    (line,) = read(tmp_path, gemini_row(None, reason, promptTokenCount=3))
    assert (line.reply["choices"][0]["message"]["content"], line.reply["choices"][0]["finish_reason"]) == ("", finish)


def test_a_call_of_a_tool_is_no_end(tmp_path: Path) -> None:
    (line,) = read(tmp_path, gemini_row([{"functionCall": {"name": "f"}}]))
    assert line.reply["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("code", "fault"),
    [(3, "bad_request"), (4, "timed_out"), (8, "rate_limited"), (13, "server_error"), (429, "rate_limited")],
)
def test_geminis_codes_are_those_of_rpc_or_of_http(tmp_path: Path, code: int, fault: str) -> None:
    (line,) = read(tmp_path, {"key": "k", "error": {"code": code, "message": "x"}})
    assert line.fault.name == fault and line.is_free


def test_chunks_of_mistrals_reasoning_models_become_one_text(tmp_path: Path) -> None:
    content = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
        {"type": "text", "text": "A cat."},
    ]
    body = {"choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]}
    (line,) = read(
        tmp_path, {"id": "1", "custom_id": "k", "response": {"status_code": 200, "body": body}, "error": None}
    )
    assert line.reply["choices"][0]["message"] == {
        "role": "assistant",
        "content": "A cat.",
        "reasoning_content": "Hm.",
    }


@pytest.mark.parametrize("server_class", [AnthropicServer, GeminiServer])
def test_rows_that_failed_free_of_charge_give_their_charge_back(
    server_class: type[BatchServer], answers: Answers
) -> None:
    with server_class() as server:
        server.batch_script = lambda number: Fate(failing=lambda key: (500, "server_error"))
        go(asks(3), server, answers)
        assert read_ledger(ledger(answers)).pico > 0
        assert come(server, answers).failed == {"server_error": 3}
        assert read_ledger(ledger(answers)).pico == 0


def test_a_batch_of_anthropics_that_may_be_ours_is_waited_for_and_one_of_another_is_not_taken(
    answers: Answers,
) -> None:
    with AnthropicServer() as server:
        server.batch_script = lambda number: Fate(polls=4)
        server.refuse["create"].append(Refusal(0, after=True))
        go(asks(3), server, answers)
        mine = server.batches["batch_1"]
        stranger = [
            {**line, "custom_id": f"{number:064x}", "key": f"other {number}"} for number, line in enumerate(mine.lines)
        ]
        server.batches["batch_2"] = type(mine)(2, stranger, Fate(), dict(mine.body))
        for _ in range(2):  # long after it was to be created, and yet it is not given up: it has not ended
            assert go(asks(3), server, answers, now=later()).under_way == 3
        for _ in range(3):
            go(asks(3), server, answers, now=later())
        assert come(server, answers).answered == 3
        assert len(server.batches) == 2 and [server.batch_bill[request.key] for request in asks(3)] == [1] * 3


def test_a_request_that_cannot_be_said_stops_before_anything_is_sent(answers: Answers) -> None:
    with AnthropicServer() as server:
        request = Request("test", "m", ({"role": "user", "content": "x"},), {"max_tokens": 5, "logprobs": True})
        done = go([request, ask(1)], server, answers, limits=BudgetLimits(max_usd=1.0))
        assert done.stopped is not None and done.stopped.reason == "unsupported_parameter"
        assert "parameters.logprobs" in str(done.stopped.error) and not server.batches
        assert read_ledger(ledger(answers)).pico == 0


def test_a_file_is_not_uploaded_to_another_host(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vldata.llm.pace.BACKOFF_S", 0.001)
    with GeminiServer() as server:
        real, server.url = server.url, server.url.replace("127.0.0.1", "localhost")
        at = endpoint(server)
        server.url = real  # the upload URL names 127.0.0.1, which is not what the user said
        done = go(asks(1), server, answers, endpoint=at)
        assert done.stopped is not None and not server.files


def test_a_batch_of_another_url_of_geminis_lies_beside_its_chat_api() -> None:
    url = load_endpoints({})["gemini"].url
    assert url.endswith("/v1beta/openai") and GeminiBatches.base_of(url).endswith("/v1beta")
    assert {name: spec.batch_api for name, spec in load_endpoints({}).items()} == dict(zip(APIS, APIS, strict=True))


def test_batches_stay_within_what_an_api_takes() -> None:
    wide = BatchLimits(10**9, 10**12, 3)
    assert AnthropicBatches.within(wide) == BatchLimits(100_000, 250 * 10**6, 3)
    assert MistralBatches.within(wide).max_lines == 1_000_000
    assert AnthropicBatches.within(BatchLimits(5)).max_lines == 5


@pytest.mark.parametrize("api", ["anthropic", "gemini", "mistral"])
def test_files_for_every_api_can_be_sent_by_hand(api: str, tmp_path: Path, answers: Answers) -> None:
    exported = export(asks(3), tmp_path / "out", lambda part: PNG, batch_api=api)
    (path,) = exported.files
    keys = [line.get("custom_id", line.get("key")) for line in map(json.loads, path.read_text().splitlines())]
    assert keys == [request.key for request in asks(3)]
    rows = {
        "anthropic": lambda key: anthropic_row({"type": "succeeded", "message": anthropic_message()}, key),
        "gemini": lambda key: gemini_row([{"text": "A cat."}], promptTokenCount=1) | {"key": key},
        "mistral": lambda key: {
            "custom_id": key,
            "response": {"status_code": 200, "body": {"choices": [{"message": {"content": "A cat."}}]}},
        },
    }
    back = tmp_path / "back"
    back.write_text("".join(json.dumps(rows[api](key)) + "\n" for key in reversed(keys)))
    imported = import_([back], answers, {request.key: request for request in asks(3)}, prices={"m": PRICE})
    assert imported.answered == 3
    kept = answers.get(ask(1))
    assert kept is not None and kept.reply["choices"][0]["message"]["content"] == "A cat."
    assert import_([back], answers, {request.key: request for request in asks(3)}).already == 3


def test_states_are_the_same_words_whoever_reports_them(answers: Answers) -> None:
    with AnthropicServer() as server:
        server.batch_script = lambda number: Fate(polls=3)
        go(asks(1), server, answers)
        (state,) = poll(endpoint=endpoint(server), answers=answers.folder)
        assert (state.status, state.counts["total"]) == ("in_progress", 1)
