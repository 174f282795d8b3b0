"""One example of a server's own words for each class of fault: what to show to people, at the end of a run and later.

    <answers>/examples.json    {"<endpoint>": {"<class>": {"said": "HTTP 403: …", "at": 1700000000.0}}}

Words are cut, on one line, and without the key. They may quote a prompt, as the answers beside them do.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from vldata.llm.faults import Fault
from vldata.store.trouble import as_store_errors

_FILE = "examples.json"


class Examples:
    """The first words of each class in a run."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}

    def add(self, fault: Fault) -> None:
        """See a fault; one without words is no example."""
        words = ": ".join(part for part in (f"HTTP {fault.status}" if fault.status else "", fault.detail) if part)
        if words and fault.name not in self.said:
            self.said[fault.name] = words


def keep_examples(folder: Path, endpoint: str, said: Mapping[str, str]) -> None:
    """Put what was said beside the answers, in the place of what the same class said before.

    Raises:
        StoreError: It cannot be written.
    """
    if not said:
        return
    path = folder / _FILE
    with as_store_errors(path):
        known = _read(path)
        now = time.time()
        known[endpoint] = {
            **known.get(endpoint, {}),
            **{name: {"said": text, "at": now} for name, text in said.items()},
        }
        fresh = path.with_name(f".{_FILE}")
        fresh.write_bytes(orjson.dumps(known))
        fresh.replace(path)


def examples_of(folder: Path, endpoint: str) -> Mapping[str, str]:
    """What an endpoint said last of each class of fault."""
    kept = _read(folder / _FILE).get(endpoint, {})
    return {name: example["said"] for name, example in kept.items()}


def _read(path: Path) -> dict[str, Any]:
    """Examples only explain: a damaged file is as good as none."""
    try:
        document = orjson.loads(path.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}
    return document if isinstance(document, dict) else {}
