"""A kind, read: what is known about a sample -> a request, and its reply -> exchanges, and what becomes of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

from vldata.llm.limits import was_cut
from vldata.llm.request import Prompt, Request
from vldata.schema.reasons import GENERATED
from vldata.store.keys import key_of
from vldata.store.names import KeySubject
from vldata.synth.exchange import Exchange
from vldata.synth.inputs import Inputs, inputs_text
from vldata.synth.kind_files import KindFiles
from vldata.synth.replies import PARSERS, Options, ParseError
from vldata.synth.validate import Exchanges, Finding, Policy, Reply, Validator, text_of

QUOTED = dict.fromkeys(("reply_ambiguous", "reply_needs_repair", "reasoning_unclosed"), "reply_unparsable")
"""Reasons that a second request does not tell apart: it stays the same, and paid for, when a parser says more."""


class Decision(NamedTuple):
    """What becomes of a reply.

    Args:
        action: ``keep``; ``reask``; ``drop``, also when a reply has been requested again often enough.
        kept: The exchanges that become turns, as places in the reply; empty unless ``keep``.
        reasons: Why it is dropped or requested again, or which marks the kept turns bear; sorted, each once.
    """

    action: Literal["keep", "reask", "drop"]
    kept: tuple[int, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class SynthKind(KindFiles):
    """A kind, read and accepted.

    Args:
        parser_options: Checked.
        validators: Made from the settings, in their order.
        correction: What asks again for a reply that will not do, with ``{problems}`` where these are to stand.
    """

    parser_options: Options = field(repr=False)
    validators: tuple[Validator, ...] = field(repr=False)
    correction: str = field(repr=False)

    @cached_property
    def digest(self) -> str:
        """32 hex characters that change with any character of its files."""
        return key_of(KeySubject.SYNTH_KIND, self.digests)

    @property
    def lineage(self) -> str:
        """What finished turns say they were made with: ``llava.conversation@1f2e3d4c``."""
        return f"{self.name}@{self.digest[:8]}"

    @property
    def needs_image(self) -> bool:
        """Whether the image itself is sent."""
        return "image" in self.settings.needs

    @property
    def scores(self) -> tuple[str, ...]:
        """Columns of scores that its turns have."""
        criteria = getattr(self.parser_options, "criteria", ()) if self.settings.answer != "generated" else ()
        return ("score", *(f"score_{name}" for name in criteria)) if criteria else ()

    @cached_property
    def response_format(self) -> Mapping[str, Any] | None:
        """As the chat API takes it."""
        if self.settings.reply_schema is None:
            return None
        name = re.sub(r"\W", "_", self.name)
        schema = {"name": name, "strict": True, "schema": self.settings.reply_schema}
        return {"type": "json_schema", "json_schema": schema}

    def read_strictly(self, strict: bool = True) -> SynthKind:
        """The kind that refuses replies which could only be read with a repair; itself when that is not wished."""
        if not strict or self.parser_options.strict:
            return self
        return replace(self, parser_options=self.parser_options.model_copy(update={"strict": True}))

    def missing(self, inputs: Inputs) -> list[str]:
        """What the kind needs and the sample does not have: such a sample is rejected, and nothing is sent."""
        return [need for need in self.settings.needs if not inputs.has(need)]

    def why_unusable(self, inputs: Inputs) -> tuple[str, str] | None:
        """Reason and detail why nothing is sent about a sample; None: it is usable."""
        if inputs.unusable is not None:
            return inputs.unusable
        if not (lacks := ", ".join(self.missing(inputs))):
            return None
        if inputs.rejected:
            return inputs.rejected[0][0], f"{inputs.rejected[0][1]}; it lacks {lacks}"
        return "missing_input", lacks

    def prompt(self, *, model: str, endpoint: str, parameters: Mapping[str, Any] | None = None) -> Prompt:
        """What all requests of a source share.

        Args:
            model: As the endpoint calls it.
            endpoint: Its name.
            parameters: The recipe's, which win over the kind's; null takes one of the kind's away.
        """
        messages: list[Mapping[str, Any]] = []
        if self.system_message:
            messages.append({"role": "system", "content": self.system_message})
        for shot in self.few_shots:
            messages.append({"role": "user", "content": shot.caps})
            messages.append({"role": "assistant", "content": shot.answer})
        return Prompt(
            endpoint=endpoint,
            model=model,
            messages=messages,
            parameters={**self.settings.parameters, **(parameters or {})},
            response_format=self.response_format,
        )

    def write(self, inputs: Inputs, prompt: Prompt, *, sample_index: int = 0) -> Request:
        """The request for one draw of one sample.

        Args:
            inputs: What is known; `missing` is empty.
            prompt: Of `prompt`.
            sample_index: Which draw, from 0.
        """
        text = inputs_text(self._shown(inputs, sample_index), self.settings.layout)
        if self.asks:
            ask = _drawn(self.asks, "ask", inputs.row, sample_index)
            text = f"{text}\n\n{ask}" if text else ask
        if not self.needs_image:
            return prompt.request(text, sample_index=sample_index)
        parts = [*inputs.images, {"type": "text", "text": text}] if text else inputs.images
        return prompt.request(parts, sample_index=sample_index)

    def reask(self, request: Request, reply: Reply, reasons: Sequence[str], *, sample_index: int) -> Request:
        """The same request once more, with the reply that will not do and what is wrong with it.

        Args:
            request: The one that was answered.
            reply: As received.
            reasons: Names in `vldata.schema.reasons.GENERATED`. Details are left out, so that the request is the same
                whenever the same is wrong.
            sample_index: Beyond every draw's, so that the request is a new one even when nothing else is.
        """
        quoted = sorted({QUOTED.get(reason, reason) for reason in reasons})
        problems = "\n".join(f"- {GENERATED[reason]}" for reason in quoted)
        ask = self.correction.replace("{problems}", problems)
        again = ({"role": "assistant", "content": text_of(reply) or "…"}, {"role": "user", "content": ask})
        return replace(request, messages=(*request.messages, *again), sample_index=sample_index)

    def read(self, text: str, inputs: Inputs, *, sample_index: int = 0, is_cut: bool = False) -> Exchanges:
        """The exchanges of a reply, with the question where the model does not write it.

        Args:
            text: What the model wrote (`vldata.synth.validate.text_of`).
            inputs: What it was shown.
            sample_index: Of the request.
            is_cut: It was cut off at the largest number of tokens.

        Raises:
            ParseError: It does not have the form that the kind asks for.
        """
        exchanges, repairs = PARSERS[self.settings.parser[0]].reading(text, self.parser_options, is_cut=is_cut)
        if self.settings.swap:
            # in an odd draw, what was shown first is the sample's second
            shown = self.settings.swap[:: -1 if sample_index % 2 else 1]
            named = dict(zip(shown, exchanges, strict=True))
            exchanges = [named[name]._replace(answer=name) for name in self.settings.swap]
        question = self._question(inputs, sample_index)
        if question is not None:
            exchanges = [exchange._replace(question=question) for exchange in exchanges]
        if self.settings.answer != "generated":
            answer = inputs.fields.get(self.settings.answer, "").strip()
            exchanges = [exchange._replace(answer=answer) for exchange in exchanges]
        read = Exchanges(exchanges)
        if repairs:
            read.repairs = repairs
        return read

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply) -> list[Finding]:
        """What the kind's own checks find, in their order.

        Args:
            exchanges: As `read` gave them; empty when the reply could not be parsed, and then only the checks that look
                at the reply alone are made.
            inputs: What the model was shown.
            reply: As received.
        """
        findings = []
        # of their own, so that the words go when the checks are done
        said = Exchanges(exchanges)
        for validator in self.validators:
            if said or validator.before_parsing:
                for finding in validator.check(said, inputs, reply, self):
                    findings.append(finding._replace(policy=validator.policy))
        return findings

    def examine(
        self, reply: Reply, inputs: Inputs, *, sample_index: int = 0, unparsed: Policy = "reask"
    ) -> tuple[Exchanges, list[Finding]]:
        """Parse a reply and check it: the two steps above, with a reply that cannot be parsed as a finding.

        Args:
            reply: As received.
            inputs: What the model was shown.
            sample_index: Of the request.
            unparsed: What is to be done with a reply that cannot be parsed; nothing of it is kept in any case.
        """
        try:
            exchanges = self.read(text_of(reply), inputs, sample_index=sample_index, is_cut=was_cut(reply))
        except ParseError as error:
            # why it ended or what it refused says more than how it does not parse
            explained = self.check(Exchanges(), inputs, reply)
            return Exchanges(), explained or [Finding(error.reason, None, error.detail, unparsed)]
        findings = self.check(exchanges, inputs, reply)
        if "cut_pair" in exchanges.repairs:  # what was cut off is left out, so it is no fault of the rest
            findings = [f._replace(policy="mark") if f.reason == "reply_truncated" else f for f in findings]
        return exchanges, findings

    def decide(self, exchanges: Sequence[Exchange], findings: Sequence[Finding], *, may_reask: bool) -> Decision:
        """What becomes of the reply: ``reask`` goes before ``drop``, and marks alone keep it.

        Args:
            exchanges: Of the reply.
            findings: All of them, also those of `vldata.synth.validate.SameAnswers`.
            may_reask: Whether it may still be requested again; if not, ``reask`` counts as ``drop``.
        """
        if exchanges and not findings:
            return Decision("keep", tuple(range(len(exchanges))), ())
        marks = tuple(sorted({f.reason for f in findings if f.policy == "mark"}))
        again = tuple(sorted({f.reason for f in findings if f.policy == "reask"}))
        fatal = [finding for finding in findings if finding.policy != "mark"]
        if again and may_reask:
            return Decision("reask", (), again)
        whole = self.settings.scope == "reply" or any(finding.exchange is None for finding in fatal)
        lost = {finding.exchange for finding in fatal}
        kept = tuple(place for place in range(len(exchanges)) if place not in lost)
        if (fatal and whole) or not kept:
            return Decision("drop", (), tuple(sorted({finding.reason for finding in fatal})))
        return Decision("keep", kept, marks)

    def _shown(self, inputs: Inputs, sample_index: int) -> Inputs:
        if not self.settings.swap or sample_index % 2 == 0:
            return inputs
        one, other = self.settings.swap
        fields = {**inputs.fields, one: inputs.fields.get(other, ""), other: inputs.fields.get(one, "")}
        return replace(inputs, fields=fields)

    def _question(self, inputs: Inputs, sample_index: int) -> str | None:
        if self.settings.question in ("generated", "none"):
            return None
        if self.settings.question == "drawn":
            return _drawn(self.questions, "question", inputs.row, sample_index)
        return inputs.fields.get(self.settings.question, "").strip()


def _drawn(wordings: Sequence[str], purpose: str, row: str, sample_index: int) -> str:
    """One of the wordings, by the row alone; further draws of the row take the next ones, so they differ."""
    first = int(key_of(KeySubject.WORDING, purpose, row), 16)
    return wordings[(first + sample_index) % len(wordings)]
