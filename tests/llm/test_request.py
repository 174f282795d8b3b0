from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.errors import RecipeError
from vldata.llm.differences import differences
from vldata.llm.request import Prompt, Request, image_part, images_of

HASH = "0123456789abcdef0123456789abcdef"
OTHER_HASH = "f" * 32


def user(text: str, *images: str, **options: object) -> dict:
    if not images:
        return {"role": "user", "content": text}
    parts = [image_part(image, **options) for image in images]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def request(**changes: object) -> Request:
    given = {
        "endpoint": "openai",
        "model": "model-1",
        "messages": (
            {"role": "system", "content": "Look."},
            user("caps 0"),
            {"role": "assistant", "content": "talk 0"},
            user("caps 1"),
            {"role": "assistant", "content": "talk 1"},
            user("Zwei Hünde 🐕", HASH),
        ),
        "parameters": {"temperature": 0.7, "max_tokens": 1024, "stop": ["===", "\n"]},
    }
    return Request(**given | changes)


texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def reversed_names(value: object) -> object:
    if isinstance(value, dict):
        return {name: reversed_names(value[name]) for name in reversed(value)}
    return [reversed_names(member) for member in value] if isinstance(value, list) else value


def test_a_key_is_what_it_was():
    assert request().key == "186e6a74833d7e697446e3fbde03194e"
    assert (
        request(response_format={"type": "json_schema", "minimum": 1e-7}, sample_index=3).key
        == "7e05294e206e957028ae3a15d8cb1749"
    )


@given(st.dictionaries(texts.map("x_".__add__), plain), st.none() | st.dictionaries(texts, plain))
def test_the_order_of_names_does_not_count(parameters, response_format):
    one = request(parameters=parameters, response_format=response_format)
    other = request(parameters=reversed_names(parameters), response_format=reversed_names(response_format))
    assert one.key == other.key
    assert one == other
    assert differences(one, other) == []


@given(st.dictionaries(texts.map("x_".__add__), plain), texts)
def test_a_request_is_the_same_after_a_journey_as_json_in_either_way_of_writing_it(parameters, text):
    one = request(parameters=parameters, messages=(user(text, HASH),))
    for ascii_only in (True, False):
        saved = json.loads(json.dumps(one.to_json(), ensure_ascii=ascii_only))
        back = Request.from_json(saved)
        assert back == one
        assert back.to_json() == one.to_json()
        assert Request(**saved).key == one.key


@given(
    st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": texts}), max_size=3),
    st.dictionaries(texts.map("x_".__add__), plain, max_size=3),
    st.none() | st.dictionaries(texts, plain, max_size=3),
    st.lists(st.tuples(texts, st.booleans(), st.integers(0, 3)), min_size=1, max_size=3),
)
def test_requests_of_a_prompt_are_those_made_one_by_one(messages, parameters, response_format, inputs):
    shared = {"endpoint": "openai", "model": "m", "parameters": parameters, "response_format": response_format}
    prompt = Prompt(messages=messages, **shared)
    for text, with_image, sample_index in inputs:
        last = user(text, HASH) if with_image else user(text)
        prompted = prompt.request(last["content"], sample_index=sample_index)
        alone = Request(messages=(*messages, last), sample_index=sample_index, **shared)
        again = Request.from_json(json.loads(json.dumps(prompted.to_json())))
        assert prompted.key == alone.key == again.key
        assert prompted.subject == alone.subject
        assert prompted.to_json() == alone.to_json()


def test_a_prompt_refuses_what_a_request_refuses():
    with pytest.raises(RecipeError, match="is not the name of an endpoint"):
        Prompt(endpoint="https://x", model="m")
    with pytest.raises(ValueError, match="a part of a message"):
        Prompt(endpoint="x", model="m").request([{"type": "video"}])
    with pytest.raises(ValueError, match="surrogates not allowed"):
        Prompt(endpoint="x", model="m").request("\ud800")


@given(plain, plain)
def test_two_values_have_one_key_only_when_json_writes_them_alike(one, other):
    def written(value: object) -> str:
        return json.dumps(request(parameters={"x": value}).to_json(), sort_keys=True)

    same = written(one) == written(other)
    assert (request(parameters={"x": one}).key == request(parameters={"x": other}).key) is same


@given(st.integers(-(2**53), 2**53))
def test_a_whole_number_is_one_number_however_it_is_written(number):
    assert request(parameters={"seed": number}).key == request(parameters={"seed": float(number)}).key


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_different_numbers_have_different_keys(one, other):
    same = request(parameters={"x": one}).key == request(parameters={"x": other}).key
    assert same is (one == other)


def test_true_is_not_one_and_a_text_is_compared_without_normalising_it():
    assert request(parameters={"logprobs": True}) != request(parameters={"logprobs": 1})
    assert differences(request(parameters={"x": True}), request(parameters={"x": 1})) == ["parameters.x"]
    composed, decomposed = "\u00e9", "e\u0301"
    assert request(messages=(user(composed),)).key != request(messages=(user(decomposed),)).key


def test_a_null_parameter_and_a_detail_left_out_change_nothing():
    assert request(parameters={"temperature": 1, "seed": None}) == request(parameters={"temperature": 1})
    bare = {"role": "user", "content": [{"type": "image", "hash": HASH}, {"type": "text", "text": "?"}]}
    assert request(messages=(bare,)) == request(messages=(user("?", HASH),))


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": "local"},
        {"model": "model-2"},
        {"messages": (user("x"),)},
        {"parameters": {"temperature": 0.8}},
        {"response_format": {"type": "json_object"}},
        {"sample_index": 1},
    ],
)
def test_everything_that_decides_the_answer_is_in_the_key(changes):
    assert request(**changes).key != request().key


@pytest.mark.parametrize("name", ["api_key", "extra_headers", "base_url", "timeout", "max_retries", "stream", "n"])
def test_what_does_not_belong_to_a_request_cannot_be_put_in_one(name):
    with pytest.raises(RecipeError, match=rf"parameters\.{name}"):
        request(parameters={name: "secret-of-mine"})


def test_an_error_about_a_key_in_the_parameters_does_not_show_it():
    with pytest.raises(RecipeError) as caught:
        request(parameters={"api_key": "secret-of-mine"})
    assert "secret-of-mine" not in str(caught.value)


@pytest.mark.parametrize("name", ["http://host/v1", "https://user:pw@host", "host:80", "a/b", "", "a b"])
def test_a_url_is_not_the_name_of_an_endpoint(name):
    with pytest.raises(RecipeError, match="endpoint"):
        request(endpoint=name)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user"},
        {"role": "user", "content": None},
        {"role": "user", "content": 3},
        {"role": 1, "content": "x"},
        {"role": "user", "content": "x", "headers": {}},
        {"role": "user", "content": ["x"]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
        {"role": "user", "content": [{"type": "text", "text": "x", "more": 1}]},
        {"role": "user", "content": [{"type": "text", "text": 7}]},
        {"role": "user", "content": [{"type": "image", "hash": "not a hash"}]},
        {"role": "user", "content": [{"type": "image", "hash": HASH, "detail": "huge"}]},
        {"role": "user", "content": [{"type": "image", "hash": HASH, "max_side_px": 0}]},
        {"role": "user", "content": [{"type": "image", "hash": HASH, "max_side_px": True}]},
        {"role": "user", "content": [{"type": "image", "hash": HASH, "path": "/home/me/a.jpg"}]},
    ],
)
def test_a_message_of_another_shape_is_refused(message):
    with pytest.raises(ValueError):
        request(messages=(message,))


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**64, -(2**63) - 1, b"x", {1: 2}, {3}, "\ud800"])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(ValueError):
        request(parameters={"x": value})


@pytest.mark.parametrize("index", [-1, True, 1.0, "1"])
def test_a_sample_index_is_a_whole_number_from_0(index):
    with pytest.raises(ValueError, match="sample_index"):
        request(sample_index=index)


def test_a_request_keeps_its_key_when_what_it_was_made_of_changes():
    messages, parameters = [user("before")], {"stop": ["a"]}
    one = request(messages=messages, parameters=parameters)
    messages[0]["content"] = "after"
    parameters["stop"].append("b")
    assert one == request(messages=(user("before"),), parameters={"stop": ["a"]})


def test_a_subject_is_the_last_message_alone():
    one, other = request(), request(model="model-2", messages=request().messages[-1:])
    assert one.subject == other.subject
    assert one.subject != request(messages=(user("something else"),)).subject


def test_the_images_of_a_request_are_found_in_order():
    one = request(messages=(user("a", HASH, OTHER_HASH), {"role": "assistant", "content": "x"}, user("b", HASH)))
    assert [image["hash"] for image in one.image_parts] == [HASH, OTHER_HASH, HASH]
    assert list(images_of(user("no image"))) == []


def changed(at: int, message: dict) -> tuple:
    messages = list(request().messages)
    messages[at] = message
    return tuple(messages)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, []),
        ({"endpoint": "local", "model": "model-2"}, ["endpoint", "model"]),
        ({"messages": changed(0, {"role": "system", "content": "Listen."})}, ["system message"]),
        ({"messages": changed(1, user("caps 0!"))}, ["few-shot 1"]),
        ({"messages": changed(4, {"role": "assistant", "content": "talk 1!"})}, ["few-shot 2"]),
        ({"messages": request().messages[:3] + request().messages[-1:]}, ["few-shot 2 removed"]),
        ({"messages": changed(5, user("Zwei Hunde", HASH))}, ["input"]),
        ({"messages": changed(5, user("Zwei Hünde 🐕", OTHER_HASH))}, ["image"]),
        ({"messages": changed(5, user("Zwei Hünde 🐕", HASH, detail="low"))}, ["image detail"]),
        ({"messages": changed(5, user("Zwei Hünde 🐕", HASH, max_side_px=512))}, ["image max_side_px"]),
        ({"messages": ()}, ["system message", "few-shot 1 removed", "few-shot 2 removed", "input", "image"]),
        (
            {"parameters": {"temperature": 0.8, "max_tokens": 1024, "top_p": 1}},
            ["parameters.stop", "parameters.temperature", "parameters.top_p"],
        ),
        ({"response_format": {"type": "json_object"}, "sample_index": 2}, ["response_format", "sample_index"]),
    ],
)
def test_differences_are_named(changes, names):
    assert differences(request(), request(**changes)) == names


def test_a_few_shot_that_only_the_new_request_has_is_said_to_be_added():
    assert differences(request(messages=request().messages[:3] + request().messages[-1:]), request()) == [
        "few-shot 2 added"
    ]


@given(st.sampled_from([{}, {"model": "b"}, {"sample_index": 1}, {"parameters": {"x": 1}}, {"messages": ()}]))
def test_there_are_differences_exactly_when_the_keys_differ(changes):
    assert bool(differences(request(), request(**changes))) is (request().key != request(**changes).key)


def test_requests_are_distinct_in_a_set():
    assert len({request(), request(), request(sample_index=1)}) == 2
