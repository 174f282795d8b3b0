"""Which template a source's turns use, and everything about it that decides their words.

    <task>.jinja             the words of a task
    <task>.<dataset>.jinja   of one dataset in particular, taken when ``per: dataset``
    per/<name>.jinja         the sentence around the bare content of any task, for the other values of ``per``
    <language>/…             any of these in another language than English: de/caption.jinja, fr/per/instruction.jinja

A template has the blocks ``user`` and ``assistant``, and may have ``system``; ``response_format`` (what form the answer
has); ``bare`` (the row's content without instructions; where it is missing, ``user``); more wordings ``user_2``,
``user_3`` …, each with its own ``assistant_2``, ``response_format_2`` or ``system_2`` where these differ; and the same
with ``flip_`` in front for the question turned round. White space at both ends of a block's text does not count, lines
that hold only a tag leave no empty line, and a line break behind a tag is not part of the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from vldata import bundled
from vldata.errors import RecipeErrors, TemplateError
from vldata.paths import home
from vldata.prompts.lint import has_text, parse, undeclared
from vldata.prompts.models import Names, Templates
from vldata.prompts.places import MARK

_THREE_LETTERS = {"deu": "de", "ger": "de", "eng": "en", "fra": "fr", "fre": "fr", "zho": "zh", "chi": "zh"}
"""Languages that have bundled templates, by their longer names."""
_TRADITIONAL = frozenset({"hant", "tw", "hk", "mo"})

WRAPPERS = ("instruction", "dataset_name", "task_name")
"""The values of ``templates.per`` that put one sentence around the bare content of every task."""


@dataclass(frozen=True)
class File:
    r"""A template file, read and accepted.

    Args:
        name: Its path inside its folder: ``vqa_open.jinja``, ``per/instruction.jinja``.
        text: What it says, with ``\n`` line ends.
        blocks: Its blocks' names, in the order of the file.
        reads: The columns that it reads, in whatever block.
        has_words: Whether it says anything of its own, which is in some language.
    """

    name: str
    text: str = field(repr=False)
    blocks: tuple[str, ...]
    reads: frozenset[str]
    has_words: bool = True

    def wordings(self, first: str) -> list[str]:
        """The block ``first`` and its further wordings, in the order of their numbers; empty where there is none."""
        numbered = [name for name in self.blocks if re.fullmatch(rf"{first}_\d+", name)]
        return [first] * (first in self.blocks) + sorted(numbered, key=lambda name: int(name.rpartition("_")[2]))


@dataclass(frozen=True)
class Template:
    """The words of one source's turns; can be pickled.

    Args:
        task: The task's name.
        names: What the file may name.
        file: The task's file.
        wrapper: The file around its bare content, for the values of ``per`` in `WRAPPERS`.
    """

    task: str
    names: Names = field(repr=False)
    file: File
    wrapper: File | None = None

    @property
    def name(self) -> str:
        """The files that take part: ``vqa_open.jinja``, ``per/instruction.jinja+vqa_open.jinja``."""
        return f"{self.wrapper.name}+{self.file.name}" if self.wrapper else self.file.name

    @property
    def texts(self) -> list[str]:
        """What the files say."""
        return [self.file.text, *([self.wrapper.text] if self.wrapper else [])]

    @property
    def digest(self) -> str:
        """16 hex digits that change with any character of the files."""
        return blake3("\0".join(self.texts).encode()).hexdigest(length=8)

    @property
    def has_places(self) -> bool:
        """Whether an image's place may stand in the files themselves."""
        return any(MARK in text for text in self.texts)

    @property
    def lineage(self) -> str:
        """What finished turns say they were made with: ``vqa_open.jinja@1f2e3d4c``."""
        return f"{self.name}@{self.digest[:8]}"

    def words_in_other_than(self, language: str) -> list[str]:
        """The files that take part and speak, but in another language; what lies in no language's folder is English."""
        folders = language_folders(language)
        spoken = [file.name for file in (self.file, self.wrapper) if file is not None and file.has_words]
        return (
            [] if "en" in folders else [name for name in spoken if not name.startswith(tuple(f"{f}/" for f in folders))]
        )


def language_folders(language: str) -> list[str]:
    """Where templates of a language may lie, best first: ``pt-BR``, ``pt``; ``zh`` is in simplified characters."""
    tag = language.replace("_", "-")
    plain, *rest = tag.lower().split("-")
    plain = _THREE_LETTERS.get(plain, plain)
    is_traditional = plain == "zh" and not _TRADITIONAL.isdisjoint(rest)
    return list(dict.fromkeys([tag, "zh-Hant" if is_traditional else plain]))


def load(
    task: str, names: Names, options: Templates, *, datasets: Sequence[str] = (), language: str | None = None
) -> Template:
    """Find, read and check the template of a source.

    The user's folder wins over the bundled one; inside a folder, a file in ``language`` wins over one that lies in no
    language's folder, and then, only when ``per: dataset``, a file for one of ``datasets`` wins over the task's.

    Args:
        task: The task's name.
        names: What its templates may name (`Task.template_names`).
        datasets: What the dataset may be called in file names, best first: the source's name, its format.
        language: In which the words should be, as a tag; None is English.

    Raises:
        RecipeErrors: No such file, or the template cannot be used; one `TemplateError` for every problem.
    """
    folders = [bundled("templates")]
    if options.path is not None:
        own = home(options.path)
        if not own.is_dir():
            fix = "name a folder that holds <task>.jinja files, or leave `path` out"
            raise RecipeErrors([TemplateError("templates.path", f"{options.path!r} is not a folder", fix)])
        folders.insert(0, own)
    candidates = [f"{task}.jinja"]
    if options.per == "dataset":
        candidates = [f"{task}.{name}.jinja" for name in datasets if re.fullmatch(r"[\w+-]+", name)] + candidates
    spoken = language_folders(language) if language else []
    file = _read(folders, _in_languages(spoken, candidates), names, wrapper=False)
    wrapper = None
    if options.per in WRAPPERS:
        around = _in_languages(spoken, [f"per/{options.per}.jinja"])
        wrapper = _read(folders, around, Names(frozenset({"content"})), wrapper=True)
    return Template(task, names, file, wrapper)


def _in_languages(folders: Sequence[str], candidates: Sequence[str]) -> list[str]:
    return [*(f"{folder}/{name}" for folder in folders for name in candidates), *candidates]


def _read(folders: Sequence[Path], candidates: Sequence[str], names: Names, *, wrapper: bool) -> File:
    for folder in folders:
        for name in candidates:
            path = folder / name
            try:
                if path.is_file():
                    return _accepted(path, name, names, wrapper=wrapper)
            except OSError as error:
                problem = (error.strerror or str(error)).lower()
                raise RecipeErrors([TemplateError(str(path), problem, "check its permissions")]) from None
    fix = f"write {candidates[-1]} and name its folder in `templates.path`"
    raise RecipeErrors([TemplateError(candidates[-1], f"no such template in {', '.join(map(str, folders))}", fix)])


def _accepted(path: Path, name: str, names: Names, *, wrapper: bool) -> File:
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        problem = f"byte {error.object[error.start]:#04x} at offset {error.start} is not UTF-8"
        raise RecipeErrors([TemplateError(str(path), problem, "save the file as UTF-8")]) from None
    parsed = parse(text, str(path), names, wrapper=wrapper)
    if parsed.problems:
        raise RecipeErrors(parsed.problems)
    reads = frozenset[str]().union(*map(undeclared, parsed.blocks.values())) & names.columns
    has_words = any(has_text(body) for body in parsed.blocks.values())
    return File(name, text, tuple(parsed.blocks), reads, has_words)
