"""Endpoints come from the user's own configuration, and their keys are never shown."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path

import pytest

from vldata.llm.endpoint import (
    KEY_REMOVED,
    NO_KEY,
    Endpoint,
    EndpointError,
    config_path,
    find_endpoint,
    is_loopback,
    load_endpoints,
)

SENTINEL = "sk-sentinel/0123456789abcdef"


def configured(folder: Path, text: str, **environ: str) -> dict[str, str]:
    path = folder / "config.yaml"
    path.write_text(text)
    return {"VLDATA_CONFIG": str(path), **environ}


def test_openai_is_known_without_a_configuration(tmp_path: Path) -> None:
    endpoint = find_endpoint("openai", environ={"XDG_CONFIG_HOME": str(tmp_path), "OPENAI_API_KEY": SENTINEL})
    assert endpoint.url == "https://api.openai.com/v1"
    assert endpoint.reveal_key() == SENTINEL


def test_a_missing_key_matters_only_when_it_is_used(tmp_path: Path) -> None:
    endpoint = find_endpoint("openai", environ={"XDG_CONFIG_HOME": str(tmp_path)})
    with pytest.raises(EndpointError, match="OPENAI_API_KEY, which is not set"):
        endpoint.reveal_key()


def test_the_configuration_adds_to_what_is_known_of_openai(tmp_path: Path) -> None:
    text = "endpoints: {openai: {rpm: 60, prices: {m: {input_usd_per_mtok: 1, output_usd_per_mtok: 2}}}}"
    endpoint = find_endpoint("openai", environ=configured(tmp_path, text, OPENAI_API_KEY=SENTINEL))
    assert (endpoint.url, endpoint.rpm, endpoint.prices["m"].output_usd_per_mtok) == (
        "https://api.openai.com/v1",
        60,
        2.0,
    )


def test_an_endpoint_without_key_env_needs_no_key(tmp_path: Path) -> None:
    environ = configured(tmp_path, "endpoints: {local: {url: 'http://127.0.0.1:8000/v1/'}}", OPENAI_API_KEY=SENTINEL)
    endpoint = find_endpoint("local", environ=environ)
    assert (endpoint.url, endpoint.reveal_key()) == ("http://127.0.0.1:8000/v1", NO_KEY)


def test_an_unknown_endpoint_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match="did you mean 'openai'"):
        find_endpoint("opnai", environ={"XDG_CONFIG_HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("url", "environ", "key"),
    [
        ("https://api.example.org/v1", {"VLDATA_API_KEY": "mine-0123456", "OPENAI_API_KEY": SENTINEL}, "mine-0123456"),
        ("https://api.example.org/v1", {"OPENAI_API_KEY": SENTINEL}, SENTINEL),
        ("http://127.0.0.1:8000/v1", {"OPENAI_API_KEY": SENTINEL}, SENTINEL),
        ("http://10.0.0.5:8000/v1", {"OPENAI_API_KEY": SENTINEL}, NO_KEY),  # it would cross a network in the clear
        ("http://127.0.0.1:8000/v1", {}, NO_KEY),
    ],
)
def test_a_url_given_by_hand_takes_the_place_of_the_configured_one(
    tmp_path: Path, url: str, environ: dict[str, str], key: str
) -> None:
    environ = configured(tmp_path, "endpoints: {openai: {rpm: 7}}", **environ)
    endpoint = find_endpoint("openai", url=url, environ=environ)
    assert (endpoint.url, endpoint.reveal_key(), endpoint.rpm) == (url, key, 7)
    assert find_endpoint("unheard-of", url=url, environ=environ).reveal_key() == key


def test_the_configuration_is_looked_for_where_the_environment_says(tmp_path: Path) -> None:
    assert config_path({"VLDATA_CONFIG": "/a/b.yaml"}) == Path("/a/b.yaml")
    assert config_path({"XDG_CONFIG_HOME": "/x"}) == Path("/x/vldata/config.yaml")
    assert config_path({}) == Path.home() / ".config/vldata/config.yaml"
    with pytest.raises(EndpointError, match="not there"):
        load_endpoints({"VLDATA_CONFIG": str(tmp_path / "none.yaml")})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"endpoints: {{a: {{url: 'https://x.org/v1', key: {SENTINEL}}}}}", "holds a key"),
        (f"endpoints: {{a: {{url: 'https://x.org/v1', api_key: {SENTINEL}}}}}", "holds a key"),
        (f"endpoints: {{a: {{url: 'https://x.org/v1', key_env: {SENTINEL}}}}}", "not the name of an environment var"),
        (f"endpoints: {{a: {{url: 'https://{SENTINEL.replace('/', '-')}@x.org/v1'}}}}", "more than an address"),
        (f"endpoints: {{a: {{url: 'https://x.org/v1?key={SENTINEL}'}}}}", "more than an address"),
        (f"endpoints: {{a: {{url: '{SENTINEL}'}}}}", "is not a URL"),
        (f"endpoints: {{a: {{url: 'https://x.org/v1', rpm: {SENTINEL}}}}}", "rpm: input should be a valid integer"),
        (f"endpoints: {{a: {{url: 'https://x.org/v1', rpms: {SENTINEL}}}}}", "rpms: extra inputs are not permitted"),
        (f"endpoints: {{a: {SENTINEL}}}", "a valid dictionary"),
        (f"endpoints: {SENTINEL}", "is not a mapping"),
        (f"{SENTINEL}", "is not a mapping"),
        (f"endpoints: [{SENTINEL}: {{", "is not YAML"),
        (
            "endpoints: {a: {prices: {m: {input_usd_per_mtok: -1, output_usd_per_mtok: 1}}, url: 'http://x/v1'}}",
            "-mtok|0",
        ),
    ],
)
def test_a_faulty_configuration_is_reported_without_quoting_it(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(EndpointError, match=message) as caught:
        load_endpoints(configured(tmp_path, text))
    assert "sentinel" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("key", ["two words 01234", "lineone1234\nlinetwo5678", "schlüssel-012345"])
def test_a_key_that_no_header_can_hold_is_refused_without_quoting_it(tmp_path: Path, key: str) -> None:
    with pytest.raises(EndpointError, match="holds no API key") as caught:
        find_endpoint("openai", environ={"XDG_CONFIG_HOME": str(tmp_path), "OPENAI_API_KEY": key})
    assert key[:6] not in str(caught.value)


def test_no_way_of_looking_at_an_endpoint_shows_its_key() -> None:
    endpoint = find_endpoint("openai", url="https://x.org/v1", environ={"VLDATA_API_KEY": SENTINEL})
    shown = [repr(endpoint), str(endpoint), f"{endpoint}", repr(vars(endpoint)), repr(dataclasses.astuple(endpoint))]
    assert not [text for text in shown if "sentinel" in text]
    with pytest.raises(TypeError, match="stays in its process"):
        pickle.dumps(endpoint)
    with pytest.raises(TypeError, match="stays in its process"):
        copy.deepcopy(endpoint)


def test_a_key_that_a_server_quotes_is_taken_out_plain_or_escaped() -> None:
    endpoint = find_endpoint("openai", url="https://x.org/v1", environ={"VLDATA_API_KEY": SENTINEL})
    escaped = SENTINEL.replace("/", "\\/")
    assert endpoint.scrub(f"bad key {SENTINEL} and {escaped}") == f"bad key {KEY_REMOVED} and {KEY_REMOVED}"
    assert endpoint.scrub_bytes(f"é {SENTINEL}".encode()) == f"é {KEY_REMOVED}".encode()
    for cut in range(8, len(SENTINEL)):  # a reply that breaks off
        assert endpoint.scrub(f"you sent {SENTINEL[:cut]}") == f"you sent {KEY_REMOVED}"


def test_a_word_in_the_place_of_a_key_is_no_secret() -> None:
    assert Endpoint("local", "http://127.0.0.1/v1", None).scrub("none at all") == "none at all"
    endpoint = find_endpoint("local", url="http://127.0.0.1/v1", environ={})
    assert endpoint.scrub("none at all") == "none at all"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:80/v1", True),
        ("http://[::1]/v1", True),
        ("http://localhost/v1", True),
        ("http://localhost.example.org/v1", False),
        ("http://127.0.0.1.example.org/v1", False),
        ("http://10.0.0.1/v1", False),
    ],
)
def test_loopback_is_recognised_by_the_name_alone(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected
