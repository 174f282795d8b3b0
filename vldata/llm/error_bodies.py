"""What a server says when it says no: the codes and the words of an error body, and the class of fault they stand for.

Servers agree on no form: OpenAI's ``{"error": {…}}``, vLLM's with all at the top, Gemini's list of one, TGI's and
Ollama's bare text, FastAPI's ``detail``, LiteLLM's with another server's whole body inside a message. So a body is
searched for the names that all of these use, at any depth, and never for what it quotes of the request. A code decides
before words do; words decide only where they are those of one class.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

MAX_DETAIL_CHARS = 300
"""Of what a server says: enough for its sentence, too little for a page of HTML."""

_MAX_DEPTH = 6
_MAX_WORDS_CHARS = 4_000  # a page of HTML or a quoted prompt is not searched to its end
_CODE_NAMES = ("code", "type", "error_type", "error_code", "errorCode", "status", "reason", "__type")
_STATUS_NAMES = ("code", "status", "status_code", "error_code")
_WORD_NAMES = ("message", "msg", "error", "detail", "details", "errors", "raw", "reasons", "Message", "error_message")
_INNER_NAMES = ("innererror", "metadata", "error", "detail", "details", "errors", "message", "provider_specific_fields")

_CODES: Mapping[str, tuple[str, ...]] = {
    "out_of_credit": (
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_error",
        "insufficient_balance",
        "insufficient_credits",
        "payment_required",
        "arrearage",
    ),
    "too_long": (
        "context_length_exceeded",
        "exceed_context_size_error",
        "string_above_max_length",
        "request_too_large",
        "context_window_exceeded",
        "model_context_window_exceeded",
        "ContextWindowExceededError",
        "input_too_long",
    ),
    "policy": (
        "content_policy_violation",
        "content_filter",
        "content_filtered",
        "moderation_blocked",
        "ResponsibleAIPolicyViolation",
        "ContentPolicyViolationError",
        "DataInspectionFailed",
        "content_moderation",
        "content_blocked",
        "sensitive",
        "safety",
        "PROHIBITED_CONTENT",
    ),
    "barred": ("unsupported_country_region_territory", "account_deactivated", "access_terminated"),
    "unauthorized": ("invalid_api_key", "authentication_error", "API_KEY_INVALID", "unauthenticated"),
    "unknown_model": (
        "model_not_found",
        "invalid_model",
        "unknown_model",
        "model_not_exist",
        "model_decommissioned",
        "DeploymentNotFound",
        "unsupported_model",
    ),
    "unsupported_parameter": (
        "unsupported_parameter",
        "unsupported_value",
        "unknown_parameter",
        "extra_forbidden",
        "UnsupportedParamsError",
        "unrecognized_request_argument",
    ),
    "rate_limited": (
        "rate_limit_exceeded",
        "rate_limit_error",
        "rate_limited",
        "RateLimitError",
        "too_many_requests",
        "RESOURCE_EXHAUSTED",
        "ThrottlingException",
        "Throttling",
    ),
    "overloaded": ("overloaded_error", "service_unavailable", "UNAVAILABLE", "server_busy", "engine_overloaded"),
}

_CONTEXT = r"(?:context[ _-]?(?:length|window|size|limit)|n_ctx)"
_LENGTH = (
    r"max(?:imum)? (?:context|prompt|model|sequence|input) length|maximum model length|max_model_len",
    rf"(?:exceed\w*|(?:long|larg|great)er than|over|beyond|too (?:long|large|big)|fit)\b[^.]{{0,80}}{_CONTEXT}",
    rf"{_CONTEXT}[^.]{{0,60}}(?:exceed|reached|overflow)|context (?:the )?overflows",
    r"(?:prompt|input|inputs|request|text) (?:is|are)? ?too long|prompt too long|prompt \(.{0,40}\) is too long",
    r"\b(?:input|prompt|messages?|request)\b[^.]{0,60}\bexceed\w*[^.]{0,60}\b(?:tokens?|maximum allowed length)\b",
    r"too many tokens[^.]{0,80}(?:prompt|cannot exceed)|exceed\w* (?:the )?model token limit",
    r"`?inputs`? tokens \+ `?max_new_tokens`? must be|`?inputs`? must have less than",
    r"reduce (?:the length of )?(?:the|your) (?:messages|prompt|input)\b",
    r"max_tokens must be at least 1, got -",
    r"range of input length should be",
    r"prompt ?超长|(?:输入|上下文)[^。]{0,20}(?:过长|超)",
)
_WORDS: Mapping[str, re.Pattern[str]] = {
    name: re.compile("|".join(patterns), re.IGNORECASE | re.DOTALL)
    for name, patterns in {
        "larger_than_tpm": (r"request too large.{0,250}(?:tokens per (?:min|day)|\bTP[MD]\b)",),
        "out_of_credit": (
            r"credit balance is too low|insufficient[ _](?:balance|credits?|funds|quota)|out of credits?\b",
            r"\bno credits?\b|requires more credits|used all (?:available|of your) credits|spending limit",
            r"exceeded your (?:monthly|current) (?:included )?(?:credits|spend)|payment required|余额不足|欠费",
        ),
        "too_long": _LENGTH,
        "unauthorized": (
            r"(?:incorrect|invalid|missing|no|wrong|expired|revoked) (?:\w+ ){0,2}api[ _-]?key",
            r"api[ _-]?key[^.]{0,30}(?:not valid|invalid|incorrect|expired|missing|required)",
            r"invalid authentication|authentication (?:failed|error)",
        ),
        "barred": (
            r"\baccount\b[^.]{0,60}(?:deactivated|suspended|disabled|terminated|banned|locked|blocked)",
            r"access (?:was|has been|is) terminated|(?:country|region|territory|location)[^.]{0,60}not supported",
            r"not (?:supported|available) in your (?:country|region|territory|location)",
        ),
        "policy": (
            r"content (?:management )?polic|content[ _-]?filter|content[ _-]?(?:is |was )?blocked|moderat(?:ion|ed)",
            r"safety (?:system|polic|filter|guideline|setting|reason|check)|responsible ?ai|guardrail|usage polic",
            r"\bflagged\b|inappropriate content|content exists risk|data_?inspection|unsafe content|\bnsfw\b",
            r"violat\w*\b[^.]{0,60}(?:polic|terms|guideline)|prohibited (?:content|use)|sensitive (?:content|words?)",
            r"prompt (?:was|is|has been) blocked|blocked by (?:our |the )?(?:safety|content)|敏感|违规|不安全",
        ),
        "takes_no_images": (
            r"image input is not supported|support(?:s)? image input|not a multimodal model|no multimodal",
            r"does(?: not|n't) support (?:image|vision)(?: input)?s?\b(?! of| larger| format| type)",
            r"image_url is only supported|unknown variant .?image_url|mmproj",
        ),
        "unknown_model": (
            r"\bmodel\b[^.]{0,80}(?:does not exist|not exist|not found|is not available|decommissioned|not loaded)",
            r"no such model|invalid model|unknown model|no (?:allowed providers|endpoints found|available channel)",
        ),
        "unsupported_parameter": (
            r"unsupported (?:parameter|value)|unknown (?:parameter|field)|unrecognized (?:request )?argument",
            r"unexpected keyword|extra (?:inputs|fields)(?: are)? not permitted|is not supported with this model",
            r"does not support parameters?|parameters?\b[^.]{0,60}(?:not supported|unsupported)",
            r"max_(?:completion_|new_|output_)?tokens\b.{0,40}too large|maximum allowed number of output tokens",
            r"supports at most \d+ (?:completion|output) tokens",
        ),
        "rate_limited": (
            r"rate[ _-]?limit|too many (?:requests|tokens)|throttl|resource.?exhausted|quota exceeded",
            r"requests per (?:minute|second|day)|tokens per (?:minute|day)",
        ),
        "overloaded": (
            r"overloaded|no (?:healthy )?upstream|currently loading|loading model|model is loading",
            r"temporarily (?:unavailable|rate)|(?:no|at|insufficient) capacity|try again later|server (?:is )?busy",
        ),
    }.items()
}

_OF_REFUSALS = tuple(_WORDS)
_OF_SERVER_ERRORS = ("out_of_credit", "too_long", "takes_no_images", "rate_limited", "overloaded")
_OF_RATE_LIMITS = ("larger_than_tpm", "out_of_credit", "barred")
_BY_STATUS = {
    401: "unauthorized",
    402: "out_of_credit",
    403: "forbidden",
    404: "unknown_model",
    405: "unknown_model",
    408: "timed_out",
    409: "overloaded",  # OpenAI's client takes it for a lock that time frees
    413: "too_long",
    423: "overloaded",
    424: "server_error",  # TGI: the generation failed
    425: "overloaded",
    429: "rate_limited",
    451: "policy",
    499: "timed_out",
    503: "overloaded",
    504: "timed_out",
    522: "timed_out",
    524: "timed_out",
    529: "overloaded",
}
_CERTAIN = (401, 402, 408, 409, 425, 451)  # whatever is said beside them

_PARAMETER = re.compile(
    r"(?:parameters?|argument|value|field)\b:? *\[?[`'\"]+([a-z_]+)[`'\"]+"
    r"|[`'\"]+([a-z_]+)[`'\"]+ (?:is|does) not support"
    r"|(?:parameter|argument|field)s?(?: supplied)?: ([a-z_]+)"
)
_RETRY_DELAY = re.compile(r"(\d+(?:\.\d+)?)s")


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What an error body says.

    Args:
        codes: Its codes and types, in lower case and without punctuation.
        status: An HTTP status that it names; None when it names none.
        words: All that it says to people.
        parameter: Of the request, that it complains about.
        retry_after_s: Seconds for which it requests a pause; None when it does not say.
        is_error: It has the form of an error.
    """

    codes: frozenset[str]
    status: int | None
    words: str
    parameter: str | None = None
    retry_after_s: float | None = None
    is_error: bool = False

    @property
    def detail(self) -> str:
        """Its words, for a terminal: one short line."""
        return one_line(self.words)


def read_error(body: bytes | Any) -> ErrorBody:
    """Read an error body, or one that is decoded already."""
    document = body
    if isinstance(body, bytes):
        try:
            document = orjson.loads(body.removeprefix(b"\xef\xbb\xbf"))
        except orjson.JSONDecodeError:
            return ErrorBody(frozenset(), None, body[:_MAX_WORDS_CHARS].decode(errors="replace"))
    parts = list(_parts(document, 0))
    words = " ".join(dict.fromkeys(text for part in parts for text in _texts(part)))[:_MAX_WORDS_CHARS]
    if isinstance(document, str):
        words = document[:_MAX_WORDS_CHARS]
    statuses = [status for part in parts for name in _STATUS_NAMES if (status := _status(part.get(name)))]
    named = [part[name] for part in parts for name in ("param", "loc") if part.get(name)]
    codes = (part[name] for part in parts for name in _CODE_NAMES if isinstance(part.get(name), str))
    return ErrorBody(
        codes=frozenset(_plain(code) for code in codes),
        status=statuses[0] if statuses else None,
        words=words or ("" if parts else one_line(str(document))),
        parameter=_parameter(named, words),
        retry_after_s=next((wait for part in parts if (wait := _delay(part)) is not None), None),
        is_error=any(part.get("error") or part.get("object") == "error" for part in parts[:2]),
    )


def class_of(status: int | None, said: ErrorBody) -> str:
    """The class of fault that a status other than 2xx tells of, with what is said beside it.

    Args:
        status: None when only what is said tells: an error that came with a 200.
    """
    if status is not None and status < 400:
        return "redirected"
    by_status = _BY_STATUS.get(status or 500, "server_error" if status is None or status >= 500 else "bad_request")
    if status in _CERTAIN:
        return by_status
    if _WORDS["larger_than_tpm"].search(said.words):
        return "larger_than_tpm"
    candidates = _OF_SERVER_ERRORS if status is not None and status >= 500 else _OF_REFUSALS
    if status == 429:
        candidates = _OF_RATE_LIMITS
    for name in candidates:
        if not said.codes.isdisjoint(_PLAIN_CODES.get(name, ())):
            return name
    if by_status in ("overloaded", "timed_out"):  # what passes says much else, such as that a limit is reached
        return by_status
    for name in candidates:
        if _WORDS[name].search(said.words):
            return name
    return by_status


def one_line(text: str) -> str:
    """A stranger's words for a terminal: one line, without control characters."""
    return "".join(char if char.isprintable() else " " for char in text[:MAX_DETAIL_CHARS]).strip()


def _parts(value: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    """The mappings that an error is made of, outermost first."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, dict):
        yield value
        for name in _INNER_NAMES:
            yield from _parts(value.get(name), depth + 1)
    elif isinstance(value, list):
        for inner in value[:8]:
            yield from _parts(inner, depth + 1)


def _texts(part: Mapping[str, Any]) -> Iterator[str]:
    for name in _WORD_NAMES:
        value = part.get(name)
        yield from [value] if isinstance(value, str) else []
        yield from (text for text in value if isinstance(text, str)) if isinstance(value, list) else ()


def _plain(code: str) -> str:
    return re.sub(r"[^a-z0-9]", "", code.lower())


_PLAIN_CODES = {name: frozenset(map(_plain, codes)) for name, codes in _CODES.items()}


def _status(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    return value if type(value) is int and 400 <= value < 600 else None


def _delay(part: Mapping[str, Any]) -> float | None:
    """Google's ``RetryInfo``, which stands beside the message."""
    delay = part.get("retryDelay")
    match = _RETRY_DELAY.fullmatch(delay) if isinstance(delay, str) else None
    return float(match[1]) if match else None


def _parameter(named: list[Any], words: str) -> str | None:
    for name in named:
        last = name[-1] if isinstance(name, list) else name
        if isinstance(last, str):
            return last
    match = _PARAMETER.search(words)
    return next(filter(None, match.groups()), None) if match else None
