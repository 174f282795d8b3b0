"""What a recipe says about a synthetic source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from vldata.schema.spec import Spec


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Diversity(Spec):
    """Limits on how alike the turns of a source may be; by default there is none.

    Args:
        max_share_of_an_opening: Of the turns that are kept, at most this share may begin with the same words; where so
            few openings exist that this cannot hold, of the turns that there were.
        opening_words: How many first words are an opening.
        max_images_of_a_question: For at most N images may nearly the same question be kept; null: for any number.
        similarity: From which share of common runs of three words on two questions are nearly the same.
    """

    max_share_of_an_opening: Annotated[float, Field(gt=0, le=1)] | None = None
    opening_words: Annotated[int, Field(ge=1, le=8)] = 2
    max_images_of_a_question: Annotated[int, Field(ge=1)] | None = None
    similarity: Annotated[float, Field(gt=0, le=1)] = 0.9


class Synth(Spec):
    """A source that is made from others: each sample of theirs is one request, or several, to a model.

    Args:
        from_: Sources of the same recipe (``from``); what several say about one image is put together.
        kind: A bundled kind (`vldata formats` lists them), or a folder of the user's own, with a slash in it.
        prompts: Folder whose words are used in place of the kind's own, such as LLaVA's.
        model: As the endpoint calls it.
        endpoint: Its name in the user's own configuration; never a URL.
        parameters: Of every request (``temperature``, ``max_tokens`` …), where they differ from the kind's.
        alias: The name under which the answers were stored when ``endpoint`` has been renamed since; null: the same.
        total: Usable samples to ask about, the first in keyed order; null asks about all.
        until: ``kept`` asks about further samples until ``total`` of them are kept, each by itself; null asks about
            ``total`` and no more.
        at_most: With ``until``: ask about at most N samples; null: three times ``total``.
        retry_max_tokens: A reply that was cut off at its largest number of tokens is requested once more with this
            one; it may stand under ``parameters``, beside ``max_tokens``. null: it is not.
        max_reasks: How often ``--re-ask`` requests a reply again that has a finding of policy ``reask``.
        detail: How closely the model is to look at an image, where the kind shows it.
        max_side_px: Images are sent with at most this longer side; null sends them as they are.
        max_usd: What all runs for this source may cost.
        max_requests: How many attempts all runs may send.
        max_tokens: How many tokens all runs may take.
        judge_model: Of a kind that chooses by a judge; null: ``model``.
        same_answers: What is done with one answer over many images; null: nothing.
        diversity: Limits on how alike its turns may be; null: none.
        strict: Refuse replies that could only be read with a repair: another form of labels, a preface, a fence …;
            reasoning is left out in any case. The same as ``strict`` of the kind's parser.
    """

    from_: Annotated[list[str], BeforeValidator(_as_list), Field(alias="from", min_length=1)]
    kind: str
    prompts: str | None = None
    model: Annotated[str, Field(min_length=1)]
    endpoint: str = "openai"
    parameters: dict[str, Any] = {}
    alias: str | None = None
    total: Annotated[int, Field(ge=1)] | None = None
    until: Literal["kept"] | None = None
    at_most: Annotated[int, Field(ge=1)] | None = None
    retry_max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_reasks: Annotated[int, Field(ge=0, le=8)] = 1
    detail: Literal["auto", "low", "high"] = "auto"
    max_side_px: Annotated[int, Field(ge=16)] | None = None
    max_usd: Annotated[float, Field(gt=0)] | None = None
    max_requests: Annotated[int, Field(ge=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    judge_model: str | None = None
    same_answers: Literal["drop", "mark"] | None = "drop"
    diversity: Diversity | None = None
    strict: bool = False

    @model_validator(mode="before")
    @classmethod
    def _with_retry_beside_its_limit(cls, given: Any) -> Any:
        parameters = given.get("parameters") if isinstance(given, Mapping) else None
        if not isinstance(parameters, Mapping) or "retry_max_tokens" not in parameters:
            return given
        rest = {name: value for name, value in parameters.items() if name != "retry_max_tokens"}
        return {"retry_max_tokens": parameters["retry_max_tokens"], **given, "parameters": rest}

    @model_validator(mode="after")
    def _with_a_number_to_reach(self) -> Synth:
        if self.until is not None and self.total is None:
            raise ValueError("`until: kept` needs `total`: how many are to be kept")
        if self.at_most is not None and self.until is None:
            raise ValueError("`at_most` is for `until: kept`; without it, `total` says how many")
        if self.at_most is not None and self.total is not None and self.at_most < self.total:
            raise ValueError(f"`at_most` {self.at_most} is less than `total` {self.total}")
        return self

    @property
    def key_endpoint(self) -> str:
        """The name of the endpoint in the keys of requests."""
        return self.alias or self.endpoint

    @property
    def samples_at_most(self) -> int | None:
        """How many samples requests may be about; None: all."""
        return self.total if self.until is None else self.at_most or 3 * (self.total or 0)
