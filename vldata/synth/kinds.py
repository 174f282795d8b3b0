"""A kind of synthetic conversation: a folder of words that turns what is known about a sample into one request.

    kind.yaml            what it needs, in which layout it is shown, how the reply is parsed and checked
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
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from blake3 import blake3
from pydantic import ValidationError

from vldata import bundled
from vldata.errors import RecipeErrors, TemplateError, nearest
from vldata.schema.spec import Spec
from vldata.synth.inputs import PARTS, read_inputs
from vldata.synth.kind import SynthKind
from vldata.synth.kind_files import FewShot, SynthKindSettings
from vldata.synth.replies import PARSERS, Options, ParseError
from vldata.synth.schema_check import unknown_words
from vldata.synth.validate import ALWAYS, VALIDATORS, Validator

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


def kind_names() -> list[str]:
    """Every bundled kind, sorted."""
    return sorted(path.parent.name for path in (bundled("templates") / "synth").glob("*/kind.yaml"))


def load_kind(name: str, folder: Path | str | None = None, *, where: str = "kind") -> SynthKind:
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


def _loaded(name: str, base: Path, own: Path | None) -> SynthKind:
    folder = own or base
    paths = {path.name: path for path in folder.iterdir() if path.suffix == ".txt"}
    for borrowed in ("kind.yaml", "questions.txt", "asks.txt"):
        path = next((place / borrowed for place in (folder, base) if (place / borrowed).is_file()), None)
        if path is not None:
            paths[borrowed] = path
    if "kind.yaml" not in paths:
        raise TemplateError(str(folder), "there is no kind.yaml", "write one, as in templates/synth/llava.conversation")
    used = {n: p for n, p in paths.items() if _SHOT.fullmatch(n) or n in _FILES}
    texts = {file: _text(path) for file, path in sorted(used.items())}
    settings = _settings(texts["kind.yaml"], paths["kind.yaml"])
    kind = SynthKind(
        name=name,
        settings=settings,
        system_message=texts.get("system_message.txt", "").strip(),
        few_shots=_few_shots(texts, folder),
        questions=_lines(texts.get("questions.txt", "")),
        asks=_lines(texts.get("asks.txt", "")),
        digests={file: blake3(text.encode()).hexdigest(length=16) for file, text in texts.items()},
        parser_options=_parser_options(settings, paths["kind.yaml"]),
        validators=_validators(settings, paths["kind.yaml"]),
        correction=_text(bundled("templates") / "synth" / "correction.txt"),
    )
    _consistent(kind, folder)
    return kind


_FILES = frozenset({"kind.yaml", "system_message.txt", "questions.txt", "asks.txt"})


def _consistent(kind: SynthKind, folder: Path) -> None:
    """A kind whose parts do not fit would only be found out after it was paid for."""
    settings = kind.settings
    if settings.question == "drawn" and not kind.questions:
        raise TemplateError(str(folder), "its questions are drawn, and there are none", "write questions.txt")
    if not kind.system_message and not kind.asks and not settings.layout:
        raise TemplateError(str(folder), "it says nothing to the model", "write system_message.txt")
    if settings.answer != "generated" and len(getattr(kind.parser_options, "candidates", ())) != 1:
        fix = "use the parser `scores` with one candidate, or let the answer be generated"
        raise TemplateError(str(folder / "kind.yaml"), "its reply scores no single answer", fix)
    for part, _ in settings.layout:
        needed = {"numbered_boxes": "boxes"}.get(part, part)
        is_needed = needed in settings.needs or needed in PARTS
        if not is_needed:
            fix = f"add {part!r} to `needs`, so that samples without it are rejected and not sent"
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


def _settings(text: str, path: Path) -> SynthKindSettings:
    try:
        _refuse_bombs(text, path)
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise TemplateError(str(path), f"not YAML: {' '.join(str(error).split())}", "fix the syntax") from None
    return _validated(SynthKindSettings, value, str(path), "")


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


def _parser_options(settings: SynthKindSettings, path: Path) -> Options:
    name, options = settings.parser
    if name not in PARSERS:
        raise TemplateError(f"{path}: parser", f"no parser named {name!r}", nearest(name, PARSERS))
    spec = PARSERS[name].options
    if settings.reply_schema is not None:
        if "schema_" not in spec.model_fields:
            raise TemplateError(f"{path}: reply_schema", f"{name!r} reads no JSON", "leave it out")
        unknown = list(unknown_words(settings.reply_schema))
        if unknown:
            problem = f"{', '.join(unknown)} is not checked by vldata"
            raise TemplateError(f"{path}: reply_schema", problem, "say it without")
        options = {**options, "schema_": settings.reply_schema}
    return _validated(spec, options, str(path), f"parser.{name}")


def _validators(settings: SynthKindSettings, path: Path) -> tuple[Validator, ...]:
    validators = []
    for name, options in settings.validators:
        if name not in VALIDATORS:
            raise TemplateError(f"{path}: validators", f"no check named {name!r}", nearest(name, VALIDATORS))
        validators.append(_validated(VALIDATORS[name], options, str(path), f"validators.{name}"))
    return (*validators, *(check() for check in ALWAYS if check.name not in dict(settings.validators)))


_Spec = TypeVar("_Spec", bound=Spec)


def _validated(spec: type[_Spec], value: Any, path: str, inside: str) -> _Spec:
    try:
        return spec.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(filter(None, [inside, *map(str, first["loc"])]))
        fix = nearest(str(first["loc"][-1]), spec.model_fields) if first["type"] == "extra_forbidden" else None
        raise TemplateError(f"{path}: {place}", first["msg"], fix or f"see {spec.__module__}.{spec.__name__}") from None


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
        raise TemplateError(str(path), f"it cannot be read: {error.strerror}", "fix its permissions") from None


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.split("\n") if line.strip())
