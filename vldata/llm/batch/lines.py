"""Lines of batches: how many a file may hold, and what a line of results says, whichever API it came from.

Lines come back in any order, in one file or two, and not always all of them: the key is all that joins them to
requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vldata.llm.faults import Fault
from vldata.store.keys import key_of
from vldata.store.names import KeySubject

MAX_LINES = 50_000
"""Requests in one file, by OpenAI's API reference."""

MAX_BYTES = 200 * 10**6
"""Bytes of one file, by the same; it says MB, of which the smaller reading is meant here."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How large batches may be.

    Args:
        max_open: Most batches that are open at once, for an account that limits the tokens in its queue; None: any
            number.
    """

    max_lines: int = MAX_LINES
    max_bytes: int = MAX_BYTES
    max_open: int | None = None


LARGER_THAN_FILE = "larger_than_file"


@dataclass(frozen=True, slots=True)
class ResultLine:
    """One line of results that can be read.

    Args:
        key: Of the request that it is about.
        reply: The raw chat completion; None: there is none.
        fault: Why there is none; None when there is one, and when the server never processed the request.
        request_id: The name of the request or the line, else a hash of it, by which the line is recognised when it is
            read again.
        is_free: Whether the provider says that lines which failed like this are not billed.
    """

    key: str
    reply: Mapping[str, Any] | None
    fault: Fault | None
    request_id: str
    is_free: bool = False

    @property
    def is_unfinished(self) -> bool:
        """Whether the server never processed the request."""
        return self.reply is None and self.fault is None


@dataclass(frozen=True, slots=True)
class UnreadableLine:
    """One line that cannot be read.

    Args:
        number: From 1.
        problem: ``torn`` (the last one, cut off), ``not_json`` or ``no_custom_id``.
    """

    number: int
    problem: str


Line = ResultLine | UnreadableLine


def request_id_of(names: Iterable[Any], line: bytes) -> str:
    """The first of these that is a name, else a hash of the line."""
    named = [name for name in names if isinstance(name, str) and name]
    return named[0][:200] if named else f"line-{key_of(KeySubject.BATCH_LINE, line.strip())}"
