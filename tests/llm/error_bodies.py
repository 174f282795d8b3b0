"""Error bodies as servers write them, each with its status and the class of fault that it is."""

# ruff: noqa: E501 - sentences of others

from __future__ import annotations

from typing import Any, NamedTuple


class Said(NamedTuple):
    """What one server says.

    Args:
        server: Which, and of what.
        status: HTTP's.
        body: As JSON, or as the text that it is.
        name: The class of fault.
    """

    server: str
    status: int
    body: Any
    name: str


def openai(message: str, kind: str | None, param: str | None = None, code: Any = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def vllm(message: str, kind: str = "BadRequestError", code: int = 400) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": kind, "param": None, "code": code}


def gemini(code: int, message: str, status: str, **more: Any) -> list[Any]:
    return [{"error": {"code": code, "message": message, "status": status, **more}}]


def openrouter(code: int, message: str, **metadata: Any) -> dict[str, Any]:
    return {"error": {"message": message, "code": code, "metadata": metadata}, "user_id": "user_1"}


INVALID = "invalid_request_error"
FILTERED = (
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify "
    "your prompt and retry."
)
MAX_TOKENS = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
)
CONTEXT = (
    "This model's maximum context length is 4096 tokens. However, you requested 4472 tokens (376 in the messages, "
)
DETAIL_MESSAGE = "Provider returned error"

ERROR_BODIES = [
    # longer than the context
    Said(
        "OpenAI: context",
        400,
        openai(CONTEXT + "4096 in the completion).", INVALID, "messages", "context_length_exceeded"),
        "too_long",
    ),
    Said(
        "OpenAI: string",
        400,
        openai("Invalid 'x': string too long.", INVALID, "x", "string_above_max_length"),
        "too_long",
    ),
    Said("vLLM: context", 400, vllm(CONTEXT + "4096 in the completion). Please reduce the length."), "too_long"),
    Said(
        "vLLM: nested",
        400,
        openai(
            "'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's maximum context length is 4096 "
            "tokens and your request has 376 input tokens (4096 > 4096 - 376). None",
            "BadRequestError",
            None,
            400,
        ),
        "too_long",
    ),
    Said(
        "vLLM: images",
        400,
        vllm(
            "The decoder prompt (length 10127) is longer than the maximum model length of 8192. Make sure that "
            "`max_model_len` is no smaller than the number of text tokens plus multimodal tokens."
        ),
        "too_long",
    ),
    Said("vLLM: negative", 400, vllm("max_tokens must be at least 1, got -186."), "too_long"),
    Said(
        "SGLang",
        400,
        vllm("The input (61709 tokens) is longer than the model's context length (40960 tokens)."),
        "too_long",
    ),
    Said(
        "SGLang: pool",
        400,
        vllm("Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens)."),
        "too_long",
    ),
    Said(
        "llama.cpp",
        400,
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size, try increasing it",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 14429,
                "n_ctx": 8192,
            }
        },
        "too_long",
    ),
    Said(
        "llama.cpp: older",
        500,
        {"error": {"code": 500, "message": "the request exceeds the available context size", "type": "server_error"}},
        "too_long",
    ),
    Said(
        "llama-cpp-python",
        500,
        openai("Requested tokens (2285) exceed context window of 2048", "internal_server_error"),
        "too_long",
    ),
    Said(
        "TGI: sum",
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 1244 `inputs` "
            "tokens and 1000 `max_new_tokens`",
            "error_type": "validation",
        },
        "too_long",
    ),
    Said(
        "TGI: inputs",
        422,
        {
            "error": "Input validation error: `inputs` must have less than 1024 tokens. Given: 1872",
            "error_type": "validation",
        },
        "too_long",
    ),
    Said("Ollama", 400, {"error": "the input length exceeds the context length"}, "too_long"),
    Said("Ollama: compatible", 500, openai("input length exceeds maximum context length", "api_error"), "too_long"),
    Said(
        "LM Studio",
        400,
        {
            "error": "Trying to keep the first 5318 tokens when context the overflows. However, the model is loaded with "
            "context length of only 4096 tokens, which is not enough. Try to load the model with a larger context length"
        },
        "too_long",
    ),
    Said(
        "LiteLLM: Anthropic",
        400,
        openai(
            'litellm.ContextWindowExceededError: litellm.BadRequestError: AnthropicError - b\'{"type":"error","error":'
            '{"type":"invalid_request_error","message":"prompt is too long: 205668 tokens > 200000 maximum"}}\'',
            None,
            None,
            "400",
        ),
        "too_long",
    ),
    Said(
        "Anthropic",
        400,
        {
            "type": "error",
            "error": {"type": INVALID, "message": "prompt is too long: 207889 tokens > 200000 maximum"},
            "request_id": "req_1",
        },
        "too_long",
    ),
    Said(
        "Anthropic: sum",
        400,
        {
            "type": "error",
            "error": {
                "type": INVALID,
                "message": "input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000, decrease input "
                "length or `max_tokens` and try again",
            },
        },
        "too_long",
    ),
    Said(
        "Anthropic: bytes",
        413,
        {"type": "error", "error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}},
        "too_long",
    ),
    Said(
        "Gemini",
        400,
        gemini(
            400,
            "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).",
            "INVALID_ARGUMENT",
        ),
        "too_long",
    ),
    Said(
        "a proxy that quotes Gemini",
        400,
        {
            "error": {
                "message": '{\n  "error": {\n    "code": 400,\n    "message": "The input token count (3475108) exceeds the '
                'maximum number of tokens allowed (1048576).",\n    "status": "INVALID_ARGUMENT"\n  }\n}\n',
                "code": 400,
                "status": "Bad Request",
            }
        },
        "too_long",
    ),
    Said(
        "Mistral",
        400,
        {
            "object": "error",
            "message": "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
            "type": INVALID,
            "param": None,
            "code": "3051",
        },
        "too_long",
    ),
    Said(
        "Groq",
        400,
        openai("Please reduce the length of the messages or completion.", INVALID, "messages", None),
        "too_long",
    ),
    Said("Bedrock", 400, {"message": "Input is too long for requested model."}, "too_long"),
    Said(
        "Moonshot", 400, openai("Invalid request: Your request exceeded model token limit: 8192", INVALID), "too_long"
    ),
    Said(
        "DashScope",
        400,
        {"code": "InvalidParameter", "message": "Range of input length should be [1, 30720]", "request_id": "1"},
        "too_long",
    ),
    Said(
        "xAI",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
        },
        "too_long",
    ),
    Said("nginx", 413, "<html><head><title>413 Request Entity Too Large</title></head></html>", "too_long"),
    # the content policy
    Said(
        "OpenAI: policy",
        400,
        openai("Your request was rejected by the safety system.", INVALID, None, "content_policy_violation"),
        "policy",
    ),
    Said(
        "OpenAI: words alone",
        400,
        openai("Your request was rejected as a result of our safety system.", INVALID),
        "policy",
    ),
    Said(
        "Azure",
        400,
        {
            "error": {
                "message": FILTERED,
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            }
        },
        "policy",
    ),
    Said(
        "LiteLLM: Azure",
        400,
        {
            "error": {
                "message": f"litellm.BadRequestError: litellm.ContentPolicyViolationError: AzureException - {FILTERED}",
                "type": None,
                "param": None,
                "code": "400",
                "provider_specific_fields": {"innererror": {"code": "ResponsibleAIPolicyViolation"}},
            }
        },
        "policy",
    ),
    Said(
        "OpenRouter: moderation",
        403,
        openrouter(
            403,
            "m requires moderation on Azure. Your input was flagged.",
            reasons=["violence"],
            flagged_input="He...",
            provider_name="Azure",
        ),
        "policy",
    ),
    Said(
        "OpenRouter: raw",
        400,
        openrouter(400, DETAIL_MESSAGE, raw='{"message":"Output blocked by content filtering"}'),
        "policy",
    ),
    Said(
        "a gateway's moderation", 403, {"detail": "Request blocked: the prompt violates the usage guidelines"}, "policy"
    ),
    Said("DeepSeek", 400, openai("Content Exists Risk", INVALID, None, INVALID), "policy"),
    Said("DeepSeek: older", 400, {"detail": "Content Exists Risk"}, "policy"),
    Said(
        "DashScope: inspection",
        400,
        {"code": "DataInspectionFailed", "message": "Input data may contain inappropriate content.", "request_id": "1"},
        "policy",
    ),
    Said(
        "DashScope: compatible",
        400,
        openai(
            "<400> InternalError.Algo.DataInspectionFailed: Input text data may contain inappropriate content.",
            INVALID,
            None,
            "data_inspection_failed",
        ),
        "policy",
    ),
    Said(
        "Zhipu",
        400,
        {"error": {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"}},
        "policy",
    ),
    Said("Bedrock: guardrail", 400, {"message": "Violation: blocked by a guardrail"}, "policy"),
    # forbidden, and nobody says why
    Said("a firewall", 403, "<html><title>Attention Required! | Cloudflare</title></html>", "forbidden"),
    Said("Google", 403, gemini(403, "The caller does not have permission", "PERMISSION_DENIED"), "forbidden"),
    Said(
        "OpenAI: region",
        403,
        openai(
            "Country, region, or territory not supported",
            "request_forbidden",
            None,
            "unsupported_country_region_territory",
        ),
        "barred",
    ),
    Said(
        "a suspended account",
        403,
        openai("Your account has been suspended for violating our usage policies", "forbidden"),
        "barred",
    ),
    # the key
    Said(
        "OpenAI: key",
        401,
        openai("Incorrect API key provided: sk-x.", INVALID, None, "invalid_api_key"),
        "unauthorized",
    ),
    Said(
        "Gemini: key",
        400,
        gemini(400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT"),
        "unauthorized",
    ),
    Said(
        "xAI: key",
        400,
        {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xx***yy."},
        "unauthorized",
    ),
    Said("vLLM: key", 401, {"error": "Unauthorized"}, "unauthorized"),
    # money
    Said(
        "OpenAI: quota",
        429,
        openai("You exceeded your current quota", "insufficient_quota", None, "insufficient_quota"),
        "out_of_credit",
    ),
    Said(
        "Anthropic: credit",
        400,
        {
            "type": "error",
            "error": {"type": INVALID, "message": "Your credit balance is too low to access the Anthropic API."},
        },
        "out_of_credit",
    ),
    Said(
        "OpenRouter: credit",
        402,
        openrouter(402, "This request requires more credits, or fewer max_tokens."),
        "out_of_credit",
    ),
    Said("DeepSeek: credit", 402, openai("Insufficient Balance", "unknown_error", None, INVALID), "out_of_credit"),
    Said(
        "DashScope: credit",
        400,
        {"code": "Arrearage", "message": "Access denied, account is not in good standing."},
        "out_of_credit",
    ),
    # the rate
    Said(
        "Gemini: rate",
        429,
        gemini(
            429,
            "You exceeded your current quota, please check your plan and billing details.",
            "RESOURCE_EXHAUSTED",
            details=[{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}],
        ),
        "rate_limited",
    ),
    Said(
        "OpenRouter: rate",
        429,
        openrouter(429, DETAIL_MESSAGE, raw="m is temporarily rate-limited upstream."),
        "rate_limited",
    ),
    Said(
        "Bedrock: rate",
        400,
        {"__type": "ThrottlingException", "message": "Too many tokens, please wait"},
        "rate_limited",
    ),
    Said("a gateway's rate", 403, {"message": "API rate limit exceeded for this consumer"}, "rate_limited"),
    Said(
        "LiteLLM: rate",
        500,
        openai("litellm.RateLimitError: RateLimitError: OpenAIException", None, None, "500"),
        "rate_limited",
    ),
    Said(
        "Groq: larger than a minute",
        413,
        openai(
            "Request too large for model `m` in organization `o` service tier `on_demand` on tokens per minute (TPM): "
            "Limit 6000, Requested 14810, please reduce your message size and try again.",
            "tokens",
            None,
            "rate_limit_exceeded",
        ),
        "larger_than_tpm",
    ),
    Said(
        "OpenAI: larger than a minute",
        429,
        openai(
            "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 52000.",
            "tokens",
            None,
            "rate_limit_exceeded",
        ),
        "larger_than_tpm",
    ),
    # parameters
    Said(
        "OpenAI: max_tokens",
        400,
        openai(MAX_TOKENS, INVALID, "max_tokens", "unsupported_parameter"),
        "unsupported_parameter",
    ),
    Said(
        "a proxy: max_tokens",
        400,
        {"error": {"message": MAX_TOKENS, "code": "invalid_request_body"}},
        "unsupported_parameter",
    ),
    Said(
        "OpenAI: temperature",
        400,
        openai(
            "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported.",
            INVALID,
            "temperature",
            "unsupported_value",
        ),
        "unsupported_parameter",
    ),
    Said(
        "OpenAI: too many",
        400,
        openai(
            "max_tokens is too large: 200000. This model supports at most 16384 completion tokens, whereas you provided "
            "200000.",
            INVALID,
            "max_tokens",
            "invalid_value",
        ),
        "unsupported_parameter",
    ),
    Said(
        "Mistral: extra",
        422,
        {
            "detail": [
                {
                    "type": "extra_forbidden",
                    "loc": ["body", "max_completion_tokens"],
                    "msg": "Extra inputs are not permitted",
                    "input": 5,
                }
            ]
        },
        "unsupported_parameter",
    ),
    Said(
        "LiteLLM: parameter",
        400,
        openai(
            "litellm.UnsupportedParamsError: openai does not support parameters: ['temperature'], for model=m.",
            None,
            None,
            "400",
        ),
        "unsupported_parameter",
    ),
    # the model
    Said("vLLM: model", 404, vllm("The model `m` does not exist.", "NotFoundError", 404), "unknown_model"),
    Said("DeepSeek: model", 400, openai("Model Not Exist", INVALID, None, INVALID), "unknown_model"),
    Said(
        "Groq: model",
        400,
        openai(
            "The model `m` has been decommissioned and is no longer supported.", INVALID, None, "model_decommissioned"
        ),
        "unknown_model",
    ),
    Said(
        "Azure: deployment",
        404,
        openai("The API deployment for this resource does not exist.", None, None, "DeploymentNotFound"),
        "unknown_model",
    ),
    Said("OpenRouter: images", 404, openrouter(404, "No endpoints found that support image input"), "takes_no_images"),
    Said(
        "llama.cpp: images",
        500,
        {
            "error": {
                "code": 500,
                "message": "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
                "type": "server_error",
            }
        },
        "takes_no_images",
    ),
    Said("vLLM: images in a text model", 400, vllm("m is not a multimodal model"), "takes_no_images"),
    Said(
        "DeepSeek: images",
        400,
        openai(
            "Failed to deserialize the JSON body: messages[0]: unknown variant `image_url`, expected `text`", INVALID
        ),
        "takes_no_images",
    ),
    # servers in trouble
    Said(
        "Anthropic: overloaded",
        529,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        "overloaded",
    ),
    Said("Hugging Face: loading", 503, {"error": "Model m is currently loading", "estimated_time": 20.0}, "overloaded"),
    Said(
        "llama.cpp: loading",
        503,
        {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
        "overloaded",
    ),
    Said("TGI: overloaded", 429, {"error": "Model is overloaded", "error_type": "overloaded"}, "rate_limited"),
    Said(
        "TGI: generation",
        424,
        {"error": "Request failed during generation: CUDA out of memory", "error_type": "generation"},
        "server_error",
    ),
    Said(
        "OpenAI: server",
        500,
        openai("The server had an error while processing your request.", "server_error"),
        "server_error",
    ),
    Said("nginx: upstream", 502, "<html><head><title>502 Bad Gateway</title></head></html>", "server_error"),
    Said("Cloudflare: timeout", 524, "error code: 524", "timed_out"),
    Said(
        "LiteLLM: nobody left",
        500,
        openai("litellm.APIConnectionError: try again later", None, None, "500"),
        "overloaded",
    ),
    # nothing that is known
    Said(
        "DashScope: a small image",
        400,
        {"code": "InvalidParameter", "message": "The image length and width do not meet the model restrictions."},
        "bad_request",
    ),
    Said("vLLM: images in one prompt", 400, vllm("At most 1 image(s) may be provided in one prompt."), "bad_request"),
    Said(
        "FastAPI",
        422,
        {"detail": [{"loc": ["body", "messages"], "msg": "field required", "type": "value_error.missing"}]},
        "bad_request",
    ),
    Said("text", 400, "Bad Request", "bad_request"),
    Said(
        "a prompt that is quoted",
        422,
        {
            "detail": [
                {
                    "loc": ["body", "messages"],
                    "msg": "field required",
                    "type": "missing",
                    "input": {"message": "content policy, context length exceeded"},
                }
            ]
        },
        "bad_request",
    ),
]
"""What servers answer with a status other than 2xx."""
