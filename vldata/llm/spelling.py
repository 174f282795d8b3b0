"""How one server wants a request written, where it differs from others in names alone; learnt from its refusals.

OpenAI's newer models take ``max_completion_tokens`` and refuse ``max_tokens``; older servers know only the second. Both
say the same, so the request and its key stay what they are, and the name is changed on the way. What would change the
answer, such as leaving out a ``temperature`` that a model does not take, is never done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from vldata.llm.faults import Fault

_SAME = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_UNKNOWN = re.compile(
    r"(?:unsupported|unknown|unrecognized|extra|unexpected)[ _](?:parameter|field|input|request|argument|keyword)"
    r"|not (?:supported|permitted|allowed)|extra_forbidden|does not support",
    re.IGNORECASE,
)
Renames = Mapping[str, str]


class Body:
    """The body of a request, whose parameters may be renamed for each attempt; images in it are encoded once.

    Args:
        body: As `vldata.llm.client.chat_body` makes it.
    """

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._head = orjson.dumps({name: body[name] for name in ("model", "messages")})[:-1]
        self._rest = {name: value for name, value in body.items() if name not in ("model", "messages")}

    def bytes(self, renames: Renames) -> bytes:
        """As JSON, with parameters renamed."""
        rest = {renames.get(name, name): value for name, value in self._rest.items()}
        return b"%b,%b" % (self._head, orjson.dumps(rest)[1:]) if rest else self._head + b"}"


def renames_after(fault: Fault, parameters: Mapping[str, Any], renames: Renames) -> Renames | None:
    """The names under which a server takes what it has just refused; None when it is not about names.

    Args:
        parameters: Of the request.
        renames: That were in force for the attempt.
    """
    sent = {renames.get(name, name): name for name in parameters}
    old = fault.parameter or next((name for name in _SAME if name in sent and _SAME[name] in fault.words), None)
    if fault.name not in ("unsupported_parameter", "bad_request") or old not in _SAME or old not in sent:
        return None
    new = _SAME[old]
    is_known = re.search(rf"\b{new}\b", fault.words) is not None
    if (
        sent[old] != old
        or new in sent
        or not (is_known or _UNKNOWN.search(fault.words))
        or re.search("too large|at most", fault.words)
    ):
        return None
    return {name: known for name, known in renames.items() if known != old} | {sent[old]: new}
