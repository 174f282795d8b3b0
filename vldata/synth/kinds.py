"""A kind of synthetic conversation: a folder of words that turns what is known about a sample into one request.

    kind.yaml            what it needs, in which layout it is told, how the reply is parsed and checked
    system_message.txt   what the model is to do
    NNN_caps.txt         a few-shot: what the user's message says, in the kind's own layout
    NNN_conv.txt         and what the model replies to it
    questions.txt        one a line; where the model only writes the answer, the question is drawn from here
    asks.txt             one a line; drawn for each draw of each sample, it ends the user's message

The folder is LLaVA's (https://github.com/haotian-liu/LLaVA, ``playground/data/prompts``), and its own folders load as
they are: they have no ``kind.yaml``, so the recipe says which bundled kind they are, and that kind's is taken, with its
questions. A file that decides a request is in the request word by word, so a changed few-shot is another request, and
a changed parser, check or list of questions is not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import yaml
from blake3 import blake3
from pydantic import BeforeValidator, Field, ValidationError

from vldata import bundled
from vldata.errors import RecipeErrors, TemplateError, nearest
from vldata.spec import Spec
from vldata.store.keys import key_of
from vldata.synth.exchange import Exchange
from vldata.synth.inputs import PARTS, Inputs, Section, inputs_text, read_inputs
from vldata.synth.parse import PARSERS, Options, ParseError
from vldata.synth.request import Request
from vldata.synth.schema_check import unknown_words
from vldata.synth.validate import REASONS, VALIDATORS, Exchanges, Finding, Policy, Reply, Validator, text_of

MAX_FILE_BYTES = 1 << 20
"""Of one file of a kind: a quarter of a million tokens, more than a prompt may have."""

MAX_SETTINGS = 1 << 16
"""Characters of a ``kind.yaml``: forty times the longest bundled one."""

MAX_DEPTH = 32
"""Lists and maps inside one another in a ``kind.yaml``; the deepest bundled one has seven."""

_OPENING = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_SHOT = re.compile(r"(\d{3,})_(caps|conv)\.txt")


def _named_options(value: Any) -> Any:
    """``turns`` or ``{turns: {least: 3}}``, as (name, options)."""
    if isinstance(value, str):
        return value, {}
    if isinstance(value, Mapping) and len(value) == 1:
        name, options = next(iter(value.items()))
        return name, options if options is not None else {}
    return value


def _section(value: Any) -> Any:
    """``captions`` or ``{ocr: "Text in the image:"}``."""
    if isinstance(value, str):
        return Section(value)
    return Section(*next(iter(value.items()))) if isinstance(value, Mapping) and len(value) == 1 else value


class Choose(Spec):
    """How the best of several draws is found; see `vldata.synth.best`.

    Args:
        by: ``coverage`` of what is known about the image; ``agreement`` with the other draws; or a ``judge``.
        judge: The kind that judges, with ``by: judge``.
        least: A best one with a lower score is not kept either; null keeps it whatever its score.
    """

    by: Literal["coverage", "agreement", "judge"] = "coverage"
    judge: str = "judge"
    least: float | None = None


class Settings(Spec):
    """What ``kind.yaml`` says.

    Args:
        about: One line for `vldata formats`.
        idea: Where the recipe of the data comes from.
        needs: What a sample must have: ``captions``, ``boxes``, ``ocr``, ``image``, or the name of a text.
        layout: The sections of the user's message.
        question: ``generated`` by the model, ``drawn`` from ``questions.txt``, ``none``, or the name of a text of the
            sample.
        task: What the exchanges become; null when they are no turns.
        parser: A name in `vldata.synth.parse.PARSERS` and its options.
        reply_schema: The JSON schema that is asked for and held to; null for free text.
        parameters: Of the request, where the recipe does not say otherwise.
        draws: How many requests each sample gets.
        swap: Two texts that change places in every second draw, so that a judge's liking for the first one cancels
            out. The reply is about the first and the second one shown; what is read of it is about these two.
        choose: How the best draw is found; null keeps every draw.
        scope: What is lost by a finding about one exchange, with policy ``drop``: the whole ``reply`` or the
            ``exchange``.
        validators: Names in `vldata.synth.validate.VALIDATORS`, each with its options; they are run in this order.
    """

    about: str
    idea: str = ""
    needs: tuple[str, ...] = ()
    layout: tuple[Annotated[Section, BeforeValidator(_section)], ...] = ()
    question: str = "generated"
    task: str | None = "instruction"
    parser: Annotated[tuple[str, dict[str, Any]], BeforeValidator(_named_options)]
    reply_schema: dict[str, Any] | None = None
    parameters: dict[str, Any] = {}
    draws: Annotated[int, Field(ge=1, le=64)] = 1
    swap: tuple[str, str] | None = None
    choose: Choose | None = None
    scope: Literal["reply", "exchange"] = "reply"
    validators: tuple[Annotated[tuple[str, dict[str, Any]], BeforeValidator(_named_options)], ...] = ()


class FewShot(NamedTuple):
    """An example in the prompt.

    Args:
        name: Its number: ``000``.
        caps: What the user's message says.
        answer: What the model replies.
    """

    name: str
    caps: str
    answer: str


class Decision(NamedTuple):
    """What becomes of a reply.

    Args:
        action: ``keep``; ``reask``; ``drop``, also when a reply has been asked for again often enough.
        kept: The exchanges that become turns, as places in the reply; empty unless ``keep``.
        reasons: Why it is dropped or asked for again, or which marks the kept turns bear; sorted, each once.
    """

    action: Literal["keep", "reask", "drop"]
    kept: tuple[int, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """A kind, read and accepted.

    Args:
        name: What recipes call it.
        settings: From ``kind.yaml``.
        system_message: "" when there is none.
        few_shots: In the order of their numbers.
        questions: To draw from.
        asks: To draw from.
        digests: File name -> 32 hex characters of what it says, for every file that takes part.
        parser_options: Checked.
        validators: Made from the settings, in their order.
    """

    name: str
    settings: Settings
    system_message: str = field(repr=False)
    few_shots: tuple[FewShot, ...] = field(repr=False)
    questions: tuple[str, ...] = field(repr=False)
    asks: tuple[str, ...] = field(repr=False)
    digests: Mapping[str, str] = field(repr=False)
    parser_options: Options = field(repr=False)
    validators: tuple[Validator, ...] = field(repr=False)

    @cached_property
    def digest(self) -> str:
        """32 hex characters that change with any character of its files."""
        return key_of("kind", self.digests)

    @property
    def lineage(self) -> str:
        """What finished turns say they were made with: ``llava.conversation@1f2e3d4c``."""
        return f"{self.name}@{self.digest[:8]}"

    @property
    def needs_image(self) -> bool:
        """Whether the image itself is sent."""
        return "image" in self.settings.needs

    @cached_property
    def response_format(self) -> Mapping[str, Any] | None:
        """As the chat API takes it."""
        if self.settings.reply_schema is None:
            return None
        name = re.sub(r"\W", "_", self.name)
        schema = {"name": name, "strict": True, "schema": self.settings.reply_schema}
        return {"type": "json_schema", "json_schema": schema}

    def missing(self, inputs: Inputs) -> list[str]:
        """What the sample does not have and the kind needs: such a sample is rejected, and nothing is asked."""
        return [need for need in self.settings.needs if not inputs.has(need)]

    def write(
        self,
        inputs: Inputs,
        *,
        model: str,
        endpoint: str,
        parameters: Mapping[str, Any] | None = None,
        sample_index: int = 0,
    ) -> Request:
        """The request for one draw of one sample.

        Args:
            inputs: What is known; `missing` is empty.
            model: As the endpoint calls it.
            endpoint: Its name.
            parameters: The recipe's, which win over the kind's; null takes one of the kind's away.
            sample_index: Which draw, from 0.
        """
        shown = self._shown(inputs, sample_index)
        text = inputs_text(shown, self.settings.layout)
        if self.asks:
            ask = _drawn(self.asks, "ask", inputs.row, sample_index)
            text = f"{text}\n\n{ask}" if text else ask
        content: Any = text
        if self.needs_image:
            content = [dict(part) for part in inputs.images] + [{"type": "text", "text": text}] * bool(text)
        return Request(
            endpoint=endpoint,
            model=model,
            messages=(*self._prompt, {"role": "user", "content": content}),
            parameters={**self.settings.parameters, **(parameters or {})},
            response_format=self.response_format,
            sample_index=sample_index,
        )

    def reask(self, request: Request, reply: Reply, reasons: Sequence[str], *, sample_index: int) -> Request:
        """The same request once more, with the reply that will not do and what is wrong with it.

        Args:
            request: The one that was answered.
            reply: As received.
            reasons: Names in `vldata.synth.validate.REASONS`. Details are left out, so that the request is the same
                whenever the same is wrong.
            sample_index: Beyond every draw's, so that the request is a new one even when nothing else is.
        """
        problems = "\n".join(f"- {REASONS[reason]}" for reason in sorted(set(reasons)))
        ask = self._correction.replace("{problems}", problems)
        again = ({"role": "assistant", "content": text_of(reply) or "…"}, {"role": "user", "content": ask})
        return replace(request, messages=(*request.messages, *again), sample_index=sample_index)

    def read(self, text: str, inputs: Inputs, *, sample_index: int = 0) -> Exchanges:
        """The exchanges of a reply, with the question where the model does not write it.

        Args:
            text: What the model wrote (`vldata.synth.validate.text_of`).
            inputs: What it was told.
            sample_index: Of the request.

        Raises:
            ParseError: It does not have the form that the kind asks for.
        """
        exchanges = PARSERS[self.settings.parser[0]](text, self.parser_options)
        if self.settings.swap:
            # in an odd draw, what was shown first is the sample's second
            shown = self.settings.swap[:: -1 if sample_index % 2 else 1]
            named = dict(zip(shown, exchanges, strict=True))
            exchanges = [replace(named[name], answer=name) for name in self.settings.swap]
        question = self._question(inputs, sample_index)
        if question is not None:
            exchanges = [replace(exchange, question=question) for exchange in exchanges]
        return Exchanges(exchanges)

    def check(self, exchanges: Sequence[Exchange], inputs: Inputs, reply: Reply) -> list[Finding]:
        """What the kind's own checks find, in their order.

        Args:
            exchanges: As `read` gave them; empty when the reply could not be parsed, and then only the checks that look
                at the reply alone are made.
            inputs: What the model was told.
            reply: As received.
        """
        found = []
        # of their own, so that the words go when the checks are done
        said = Exchanges(exchanges)
        for validator in self.validators:
            if said or validator.before_parsing:
                for finding in validator.check(said, inputs, reply, self):
                    found.append(finding._replace(policy=validator.policy))
        return found

    def examine(
        self, reply: Reply, inputs: Inputs, *, sample_index: int = 0, unparsed: Policy = "reask"
    ) -> tuple[Exchanges, list[Finding]]:
        """Parse a reply and check it: the two steps above, with a reply that cannot be parsed as a finding.

        Args:
            reply: As received.
            inputs: What the model was told.
            sample_index: Of the request.
            unparsed: What is to be done with a reply that cannot be parsed; nothing of it is kept in any case.
        """
        try:
            exchanges = self.read(text_of(reply), inputs, sample_index=sample_index)
        except ParseError as error:
            # why it ended or what it refused says more than how it does not parse
            explained = self.check(Exchanges(), inputs, reply)
            return Exchanges(), explained or [Finding(error.reason, None, error.detail, unparsed)]
        return exchanges, self.check(exchanges, inputs, reply)

    def decide(self, exchanges: Sequence[Exchange], findings: Sequence[Finding], *, may_reask: bool) -> Decision:
        """What becomes of the reply: ``reask`` goes before ``drop``, and marks alone keep it.

        Args:
            exchanges: Of the reply.
            findings: All of them, also those of `vldata.synth.validate.SameAnswers`.
            may_reask: Whether it may still be asked for again; if not, ``reask`` counts as ``drop``.
        """
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

    def self_check(self) -> list[tuple[str, Finding]]:
        """What the kind's own checks find in its own few-shots: (few-shot, finding). A good kind has none.

        The checks for echoes are left out, as every few-shot is an echo of itself.
        """
        found = []
        for shot in self.few_shots:
            inputs = read_inputs(shot.caps, self.settings.layout, row=shot.name)
            reply = {"choices": [{"message": {"content": shot.answer}, "finish_reason": "stop"}]}
            _, findings = self.examine(reply, inputs)
            found += [(shot.name, finding) for finding in findings if finding.reason != "few_shot_echo"]
        return found

    @cached_property
    def _prompt(self) -> tuple[Mapping[str, Any], ...]:
        messages: list[Mapping[str, Any]] = []
        if self.system_message:
            messages.append({"role": "system", "content": self.system_message})
        for shot in self.few_shots:
            messages.append({"role": "user", "content": shot.caps})
            messages.append({"role": "assistant", "content": shot.answer})
        return tuple(messages)

    @cached_property
    def _correction(self) -> str:
        return _text(bundled("templates") / "synth" / "correction.txt")

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


def kind_names() -> list[str]:
    """Every bundled kind, sorted."""
    return sorted(path.parent.name for path in (bundled("templates") / "synth").glob("*/kind.yaml"))


def load_kind(name: str, folder: Path | str | None = None, *, where: str = "kind") -> Kind:
    """Read and check a kind.

    Args:
        name: A bundled kind; or, with a slash in it, the user's own folder with a ``kind.yaml``.
        folder: Take the words from here and what it lacks (``kind.yaml``, ``questions.txt``, ``asks.txt``) from the
            bundled kind ``name``: so LLaVA's own folders load as they are.
        where: The place in the recipe, for errors.

    Raises:
        RecipeErrors: No such kind, or its files cannot be used; one `TemplateError` for every problem.
    """
    own = None if folder is None else Path(folder).expanduser()
    if "/" in name or "\\" in name:
        base = Path(name).expanduser()
        name = base.name
    else:
        base = bundled("templates") / "synth" / name
        if not _NAME.fullmatch(name) or not (base / "kind.yaml").is_file():
            fix = f"{nearest(name, kind_names())} Or name a folder of your own, with a slash: './{name}'"
            raise RecipeErrors([TemplateError(where, f"no kind named {name!r}", fix)])
    for path in (base, own):
        if path is not None and not path.is_dir():
            fix = "name a folder that holds system_message.txt and kind.yaml"
            raise RecipeErrors([TemplateError(where, f"{str(path)!r} is not a folder", fix)])
    try:
        return _loaded(name, base, own)
    except TemplateError as error:
        raise RecipeErrors([error]) from None


def _loaded(name: str, base: Path, own: Path | None) -> Kind:
    folder = own or base
    found = {path.name: path for path in folder.iterdir() if path.suffix == ".txt"}
    for borrowed in ("kind.yaml", "questions.txt", "asks.txt"):
        path = next((place / borrowed for place in (folder, base) if (place / borrowed).is_file()), None)
        if path is not None:
            found[borrowed] = path
    if "kind.yaml" not in found:
        raise TemplateError(str(folder), "there is no kind.yaml", "write one, as in templates/synth/llava.conversation")
    used = {n: p for n, p in found.items() if _SHOT.fullmatch(n) or n in _FILES}
    texts = {file: _text(path) for file, path in sorted(used.items())}
    settings = _settings(texts["kind.yaml"], found["kind.yaml"])
    kind = Kind(
        name=name,
        settings=settings,
        system_message=texts.get("system_message.txt", "").strip(),
        few_shots=_few_shots(texts, folder),
        questions=_lines(texts.get("questions.txt", "")),
        asks=_lines(texts.get("asks.txt", "")),
        digests={file: blake3(text.encode()).hexdigest(length=16) for file, text in texts.items()},
        parser_options=_parser_options(settings, found["kind.yaml"]),
        validators=_validators(settings, found["kind.yaml"]),
    )
    _consistent(kind, folder)
    return kind


_FILES = frozenset({"kind.yaml", "system_message.txt", "questions.txt", "asks.txt"})


def _consistent(kind: Kind, folder: Path) -> None:
    """A kind whose parts do not fit would only be found out after it was paid for."""
    settings = kind.settings
    if settings.question == "drawn" and not kind.questions:
        raise TemplateError(str(folder), "its questions are drawn, and there are none", "write questions.txt")
    if not kind.system_message and not kind.asks and not settings.layout:
        raise TemplateError(str(folder), "it says nothing to the model", "write system_message.txt")
    for part, _ in settings.layout:
        needed = {"numbered_boxes": "boxes"}.get(part, part)
        known = needed in settings.needs or needed in PARTS
        if not known:
            fix = f"add {part!r} to `needs`, so that samples without it are rejected and not asked about"
            raise TemplateError(str(folder / "kind.yaml"), f"the layout has {part!r}, which is not needed", fix)
    for shot in kind.few_shots:
        inputs = read_inputs(shot.caps, settings.layout, row=shot.name)
        try:
            kind.read(shot.answer, inputs)
        except ParseError as error:
            problem = f"the reply of the few-shot does not parse: {error}"
            fix = f"write it in the form that {settings.parser[0]!r} reads"
            raise TemplateError(str(folder / f"{shot.name}_conv.txt"), problem, fix) from None


def _few_shots(texts: Mapping[str, str], folder: Path) -> tuple[FewShot, ...]:
    numbers = sorted({match[1] for file in texts if (match := _SHOT.fullmatch(file))})
    for number in numbers:
        for half in ("caps", "conv"):
            if f"{number}_{half}.txt" not in texts:
                fix = "write it, or take the other half away"
                raise TemplateError(str(folder / f"{number}_{half}.txt"), "this half of a few-shot is missing", fix)
    return tuple(FewShot(n, texts[f"{n}_caps.txt"].strip(), texts[f"{n}_conv.txt"].strip()) for n in numbers)


def _settings(text: str, path: Path) -> Settings:
    try:
        _refuse_bombs(text, path)
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise TemplateError(str(path), f"not YAML: {' '.join(str(error).split())}", "mend it") from None
    return _validated(Settings, value, str(path), "")


def _refuse_bombs(text: str, path: Path) -> None:
    """PyYAML composes by recursion, and in a time that grows with the square of the depth; aliases may multiply."""
    if len(text) > MAX_SETTINGS:
        raise TemplateError(str(path), f"it has {len(text):,} characters", f"at most {MAX_SETTINGS:,} are read")
    depth = 0
    for token in yaml.scan(text):
        if isinstance(token, yaml.AliasToken):
            raise TemplateError(str(path), "it has a YAML alias", "write the value out")
        if isinstance(token, _OPENING):
            depth += 1
        elif isinstance(token, _CLOSING):
            depth -= 1
        if depth > MAX_DEPTH:
            raise TemplateError(str(path), "nested too deeply", "write fewer lists and maps inside one another")


def _parser_options(settings: Settings, path: Path) -> Options:
    name, options = settings.parser
    if name not in PARSERS:
        raise TemplateError(f"{path}: parser", f"no parser named {name!r}", nearest(name, PARSERS))
    known = PARSERS[name].options
    if settings.reply_schema is not None:
        if "schema_" not in known.model_fields:
            raise TemplateError(f"{path}: reply_schema", f"{name!r} reads no JSON", "leave it out")
        unknown = list(unknown_words(settings.reply_schema))
        if unknown:
            problem = f"{', '.join(unknown)} is not checked by vldata"
            raise TemplateError(f"{path}: reply_schema", problem, "say it without")
        options = {**options, "schema_": settings.reply_schema}
    return _validated(known, options, str(path), f"parser.{name}")


def _validators(settings: Settings, path: Path) -> tuple[Validator, ...]:
    made = []
    for name, options in settings.validators:
        if name not in VALIDATORS:
            raise TemplateError(f"{path}: validators", f"no check named {name!r}", nearest(name, VALIDATORS))
        made.append(_validated(VALIDATORS[name], options, str(path), f"validators.{name}"))
    return tuple(made)


_Made = TypeVar("_Made", bound=Spec)


def _validated(spec: type[_Made], value: Any, path: str, inside: str) -> _Made:
    try:
        return spec.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(filter(None, [inside, *map(str, first["loc"])]))
        known = nearest(str(first["loc"][-1]), spec.model_fields) if first["type"] == "extra_forbidden" else None
        raise TemplateError(f"{path}: {place}", first["msg"], known or "see vldata.synth.kinds.Settings") from None


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise TemplateError(str(path), f"it has {size:,} bytes", f"at most {MAX_FILE_BYTES:,} are read")
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        problem = f"byte {error.object[error.start]:#04x} at offset {error.start} is not UTF-8"
        raise TemplateError(str(path), problem, "save the file as UTF-8") from None
    except OSError as error:
        raise TemplateError(str(path), f"it cannot be read: {error.strerror}", "mend its permissions") from None


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.split("\n") if line.strip())


def _drawn(wordings: Sequence[str], purpose: str, row: str, sample_index: int) -> str:
    """One of the wordings, by the row alone; further draws of the row take the next ones, so they differ."""
    first = int(key_of("synth", purpose, row), 16)
    return wordings[(first + sample_index) % len(wordings)]
