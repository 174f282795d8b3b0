"""Reads files of results, of whichever API they are: a line tells by its form."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from vldata.llm.batch.api import BatchApi
from vldata.llm.batch.apis.anthropic import AnthropicBatches
from vldata.llm.batch.apis.gemini import GeminiBatches
from vldata.llm.batch.apis.mistral import MistralBatches
from vldata.llm.batch.apis.openai import OpenAIBatches
from vldata.llm.batch.lines import Line, UnreadableLine
from vldata.store.trouble import as_store_errors

APIS: Final[Mapping[str, type[BatchApi]]] = {
    api.name: api for api in (OpenAIBatches, AnthropicBatches, GeminiBatches, MistralBatches)
}
"""Every Batch API by the name that ``batch_api`` of an endpoint gives."""


def results_of(path: Path, scrub: Callable[[bytes], bytes] = lambda line: line) -> Iterator[Line]:
    """Read every line of an output file or an error file; empty ones do not count.

    Args:
        scrub: Takes a key out of a line, should a server have quoted it.

    Raises:
        StoreError: It cannot be read.
    """
    with as_store_errors(path), path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _result(number, scrub(line))


def _result(number: int, line: bytes) -> Line:
    try:
        document = _loads(line)
    except ValueError:
        return UnreadableLine(number, "not_json" if line.endswith(b"\n") else "torn")
    if isinstance(document, dict):
        for api in APIS.values():
            result = api.result(document, line)
            if result is not None:
                return result
    return UnreadableLine(number, "no_custom_id")


def _loads(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:  # NaN, half a surrogate pair, more than 1,024 levels
        try:
            return json.loads(line)
        except RecursionError:
            raise ValueError("nested too deeply") from None
