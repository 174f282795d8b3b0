"""Hints by which a provider finds the beginning of a prompt in its cache, where it is read at a lower price.

All requests of a kind share their system message and few-shots. Some providers notice that by themselves, and more
often with a hint. It changes what a prompt costs and never what is answered, so it is no part of a request's key. Hints
that make a provider charge for writing to its cache are not given: a price list has no such price, and a budget holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import orjson

CacheHint = Literal["prompt_cache_key"]


def with_hint(body: Mapping[str, Any], hint: CacheHint | None) -> Mapping[str, Any]:
    """A chat body with the hint that an endpoint takes.

    Args:
        body: As `vldata.llm.client.chat_body` makes it.
        hint: ``prompt_cache_key`` is OpenAI's, equal for requests that begin alike.
    """
    shared = body["messages"][:-1]
    if hint is None or not shared:
        return body
    digest = hashlib.blake2b(orjson.dumps([body["model"], shared]), digest_size=16).hexdigest()
    return {**body, hint: digest}
