"""What a recipe says about a synthetic source."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from vldata.schema.spec import Spec


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Synth(Spec):
    """A source that is made from others: each sample of theirs is one request, or several, to a model.

    Args:
        from_: Sources of the same recipe (``from``); what several say about one image is put together.
        kind: A bundled kind (`vldata formats` lists them), or a folder of the user's own, with a slash in it.
        prompts: Folder whose words are used in place of the kind's own, such as LLaVA's.
        model: As the endpoint calls it.
        endpoint: Its name in the user's own configuration; never a URL.
        parameters: Of every request (``temperature``, ``max_tokens`` …), where they differ from the kind's.
        total: Samples to ask about, the first in keyed order; null asks about all.
        max_reasks: How often a reply with a finding of policy ``reask`` is requested again.
        detail: How closely the model is to look at an image, where the kind shows it.
        max_side_px: Images are sent with at most this longer side; null sends them as they are.
        max_usd: What all runs for this source may cost.
        max_requests: How many attempts all runs may send.
        max_tokens: How many tokens all runs may take.
        judge_model: Of a kind that chooses by a judge; null: ``model``.
        same_answers: What is done with one answer over many images; null: nothing.
        strict: Refuse replies that could only be read with a repair: another form of labels, a preface, a fence …;
            reasoning is left out in any case. The same as ``strict`` of the kind's parser.
    """

    from_: Annotated[list[str], BeforeValidator(_as_list), Field(alias="from", min_length=1)]
    kind: str
    prompts: str | None = None
    model: Annotated[str, Field(min_length=1)]
    endpoint: str = "openai"
    parameters: dict[str, Any] = {}
    total: Annotated[int, Field(ge=1)] | None = None
    max_reasks: Annotated[int, Field(ge=0, le=8)] = 1
    detail: Literal["auto", "low", "high"] = "auto"
    max_side_px: Annotated[int, Field(ge=16)] | None = None
    max_usd: Annotated[float, Field(gt=0)] | None = None
    max_requests: Annotated[int, Field(ge=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    judge_model: str | None = None
    same_answers: Literal["drop", "mark"] | None = "drop"
    strict: bool = False
