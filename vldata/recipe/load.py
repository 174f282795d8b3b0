"""Plain data -> `Recipe`: typed, frozen, every problem found at once and named as the user typed it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vldata.codecs import codec
from vldata.errors import RecipeError, RecipeErrors, VldataError, nearest
from vldata.mixture.models import Mixture, check
from vldata.recipe.merge import environment, has_variable, merged, read_recipe
from vldata.recipe.models import Across, Entry, Head, Recipe, Settings
from vldata.schema.translate import validated
from vldata.schema.turns import COMMON
from vldata.sources import source_class
from vldata.sources.base import Source
from vldata.sources.generated import GeneratedTurns
from vldata.synth.models import Synth
from vldata.tasks import task_class, task_names
from vldata.tasks.base import Task

_TOP = (*Head.model_fields, "defaults", "sources", "mixture", "extends")
_SHORT_KEYS = {"max_turns": "conversation", "group_by": "conversation", "dedup": "conversation"}


def load(path: Path | str, sets: Sequence[str] = ()) -> Recipe:
    """Load a recipe file.

    Args:
        path: A file, or the name of a bundled recipe (``quickstart``).
        sets: ``key.path=value`` overrides, which win over all.

    Raises:
        RecipeErrors: All that is wrong with it.
        RecipeError: It cannot be read at all.
    """
    return from_tree(read_recipe(Path(path), sets))


def from_tree(tree: Mapping[str, Any]) -> Recipe:
    """Load a recipe from merged plain data (`vldata.recipe.merge.read_recipe`).

    Raises:
        RecipeErrors: All that is wrong with it.
    """
    problems: list[VldataError] = []
    for key in tree:
        if key not in _TOP:
            problems.append(_unknown(key, key, _TOP))
    head = validated(Head, {k: tree[k] for k in Head.model_fields if k in tree}, "", problems)
    defaults = _section(tree, "defaults", problems)
    if validated(Settings, defaults, "defaults", problems) is None:
        defaults = {}  # reported above, once; the sources are still checked
    entries: dict[str, Entry] = {}
    sources = _section(tree, "sources", problems)
    if not sources and "sources" not in {e.where for e in problems}:
        problems.append(RecipeError("sources", "there is none", "name at least one, such as shapes: {format: shapes}"))
    for name, section in sources.items():
        entry = _entry(name, section, defaults, problems)
        if entry is not None:
            entries[name] = entry
    mixture = _mixture(tree, sources, problems)
    if head is not None:
        problems.extend(_conflicts(head, entries, list(sources)))
    if problems or head is None or mixture is None:
        raise RecipeErrors(_once(problems))
    return Recipe(head=head, entries=entries, mixture=mixture, raw=dict(tree))


def _once(problems: Iterable[VldataError]) -> list[VldataError]:
    return list({str(problem): problem for problem in problems}.values())


def _section(tree: Mapping[str, Any], key: str, problems: list[VldataError]) -> dict[str, Any]:
    section = tree.get(key, {})
    if isinstance(section, dict):
        return section
    problems.append(RecipeError(key, f"{section!r} is not a mapping", f"write {key}: {{name: {{...}}}}"))
    return {}


def _entry(name: str, section: Any, defaults: Mapping[str, Any], problems: list[VldataError]) -> Entry | None:
    where = f"sources.{name}"
    if not isinstance(section, dict):
        problems.append(RecipeError(where, f"{section!r} is not a mapping", "write {format: …, path: …}"))
        return None
    num_before = len(problems)
    if fault := _name_fault(name):
        problems.append(RecipeError(where, f"the name {name!r} {fault}", "use letters, digits, _ - ."))
    if "synth" in section:
        return _generated(name, section, defaults, problems)
    format_name = section.get("format")
    if not isinstance(format_name, str):
        problems.append(RecipeError(f"{where}.format", "missing", "name a format; `vldata formats` lists them"))
        return None
    try:
        cls = source_class(format_name, f"{where}.format")
    except RecipeError as error:
        problems.append(error)
        return None
    own = {k: v for k, v in section.items() if k in Settings.model_fields}
    rest = {k: v for k, v in section.items() if k not in own and k not in ("format", "task")}
    if "language" in cls.model_fields and (language := section.get("language", defaults.get("language"))) is not None:
        rest["language"] = language  # which of its files are read, and what their texts are in
    for key in [k for k in rest if k not in cls.model_fields]:
        del rest[key]
        problems.append(_misplaced(key, where, cls))
    settings = validated(Settings, merged(dict(defaults), own), where, problems)
    source = validated(cls, _expanded(rest, cls, where, problems), where, problems)
    task = _task(section.get("task"), cls, settings, where, problems)
    if settings is not None:
        _check_codec(settings, where, problems)
        problems.extend(_unknown_columns(settings, where))
    if len(problems) > num_before or settings is None or source is None or task is None:
        return None
    return Entry(name=name, source=source, task=task, settings=settings)


def _generated(
    name: str, section: dict[str, Any], defaults: Mapping[str, Any], problems: list[VldataError]
) -> Entry | None:
    """A source that a model writes: its task is its kind's."""
    from vldata.synth.generate import load_kinds  # not for recipes that need none of it

    where, num_before = f"sources.{name}", len(problems)
    for key in [key for key in section if key not in (*Settings.model_fields, "synth")]:
        fix = "leave it out: the turns are made from the sources in `synth.from`"
        problems.append(RecipeError(f"{where}.{key}", "is not for a synthetic source", fix))
    spec = validated(Synth, section["synth"], f"{where}.synth", problems)
    own = {k: v for k, v in section.items() if k in Settings.model_fields}
    settings = validated(Settings, merged(dict(defaults), own), where, problems)
    task_name = None
    if spec is not None:
        try:
            kind, _ = load_kinds(spec, f"{where}.synth")
            task_name = kind.settings.task
            if task_name is None:
                fix = "name a kind whose replies become turns"
                problems.append(RecipeError(f"{where}.synth.kind", f"{spec.kind!r} makes no turns", fix))
        except RecipeErrors as errors:
            problems += errors.errors
    task = _task(task_name, GeneratedTurns, settings, where, problems) if task_name else None
    if settings is not None:
        _check_codec(settings, where, problems)
        problems.extend(_unknown_columns(settings, where))
    if len(problems) > num_before or settings is None or spec is None or task is None:
        return None
    return Entry(name=name, source=GeneratedTurns(), task=task, settings=settings, synth=spec)


def _name_fault(name: str) -> str | None:
    """Why a source cannot have this name: it is a folder's in the output, and is printed and written everywhere."""
    if not name.strip():
        return "is empty"
    if name in (".", ".."):
        return "means a folder"
    if "/" in name or "\\" in name:
        return "holds a slash"
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in name):
        return "holds a character that cannot be seen"
    return None


def _expanded(
    rest: dict[str, Any], cls: type[Source], where: str, problems: list[VldataError], above: str = ""
) -> dict[str, Any]:
    expanded, paths = dict(rest), (*cls.paths, *cls.inner_paths)
    for key, value in rest.items():
        name = above + key
        if any(path.startswith(f"{name}.") for path in paths):  # a section with paths, or a list of such
            parts = value if isinstance(value, list) else [value]
            found = [
                _expanded(part, cls, f"{where}.{key}", problems, f"{name}.") if isinstance(part, dict) else part
                for part in parts
            ]
            expanded[key] = found if isinstance(value, list) else found[0]
            continue
        if not has_variable(value):
            continue
        if name not in paths:
            problem, fix = f"{value!r} names an environment variable", f"only local paths may: {', '.join(paths)}"
            problems.append(RecipeError(f"{where}.{key}", problem, fix))
            continue
        try:
            expanded[key] = environment(value, f"{where}.{key}")
        except RecipeError as error:
            problems.append(error)
    return expanded


def _task(
    name: Any, cls: type[Source], settings: Settings | None, where: str, problems: list[VldataError]
) -> Task | None:
    chosen = cls.tasks[0] if name is None else name
    if not isinstance(chosen, str):
        problems.append(RecipeError(f"{where}.task", f"{chosen!r} is not a task", nearest(str(chosen), cls.tasks)))
        return None
    try:
        task = task_class(chosen, f"{where}.task")
    except RecipeError as error:
        problems.append(error)
        return None
    if chosen not in cls.tasks:
        fix = f"this format gives: {', '.join(cls.tasks)}"
        problems.append(RecipeError(f"{where}.task", f"the format {cls.format!r} has no {chosen!r} turns", fix))
        return None
    options = settings.task_options if settings else {}
    return validated(task, options, f"{where}.task_options", problems)


def _check_codec(settings: Settings, where: str, problems: list[VldataError]) -> None:
    try:
        codec(settings.box_format, f"{where}.box_format")
    except RecipeError as error:
        problems.append(error)


def _unknown_columns(settings: Settings, where: str) -> list[RecipeError]:
    """Columns to deduplicate by that no task has: a misspelt one would compare nothing."""
    dedup = settings.conversation.dedup
    if dedup is None:
        return []
    columns = {"all", "answer", *_columns()}
    named = [("by", name) for name in dedup.by] + ([("near", dedup.near)] if dedup.near else [])
    path = f"{where}.conversation.dedup"
    return [
        RecipeError(f"{path}.{k}", f"no task has a column {n!r}", nearest(n, columns))
        for k, n in named
        if n not in columns
    ]


def _columns() -> set[str]:
    return {*COMMON, *(column for name in task_names() for column in task_class(name).columns)}


def _mixture(tree: Mapping[str, Any], sources: Mapping[str, Any], problems: list[VldataError]) -> Mixture | None:
    mixture = validated(Mixture, tree.get("mixture", {}), "mixture", problems)
    if mixture is not None:
        problems.extend(check(mixture, list(sources)))
    return mixture


def _conflicts(head: Head, entries: Mapping[str, Entry], names: Sequence[str]) -> list[RecipeError]:
    """What no single section can know is wrong."""
    faults = []
    if sum(head.splits.values()) >= 1:
        faults.append(RecipeError("splits", f"they add up to {sum(head.splits.values()):g}", "leave a share for train"))
    if "train" in head.splits:
        faults.append(RecipeError("splits.train", "train is what the other splits leave", "name the others only"))
    for entry in entries.values():
        where = f"{entry.where}.images"
        if entry.settings.images.missing == "keep" and head.output.images == "embed":
            problem, fix = "'keep' cannot embed an image that is not there", "images.missing: reject"
            faults.append(RecipeError(f"{where}.missing", problem, f"set output.images: path, or {fix}"))
        if entry.settings.images.max_side_px and head.output.images == "path":
            problem, fix = "scaling makes new pixels, which a path cannot hold", "leave max_side_px out"
            faults.append(RecipeError(f"{where}.max_side_px", problem, f"set output.images: embed, or {fix}"))
    for entry in entries.values():
        faults.extend(_from_faults(entry, entries, names))
    for i, across in enumerate(head.dedup_across):
        faults.extend(_across_faults(across, f"dedup_across[{i}]", entries, names))
    return faults


def _from_faults(entry: Entry, entries: Mapping[str, Entry], names: Sequence[str]) -> Iterator[RecipeError]:
    where = f"{entry.where}.synth.from"
    roots = set()
    for name in entry.synth.from_ if entry.synth else ():
        if name not in names:
            yield RecipeError(where, f"no source named {name!r}", nearest(name, names))
        elif name in entries and entry.name in _made_from(name, entries):
            problem = f"{name!r} is synthetic itself, and made from {entry.name!r}"
            yield RecipeError(where, problem, "let a chain begin at sources that are read from files")
        elif name in entries:
            made_from = [entries[other] for other in _made_from(name, entries) if other in entries]
            roots |= {one.source.image_root or "." for one in made_from if one.synth is None}
    if len(roots) > 1:
        problem = f"its sources have their images in different places: {', '.join(sorted(roots))}"
        yield RecipeError(where, problem, "name sources with one image_root, so that their images can be matched")


def _made_from(name: str, entries: Mapping[str, Entry]) -> set[str]:
    """A source, and all that it is made from."""
    found, todo = set[str](), [name]
    while todo:
        if (name := todo.pop()) not in found:
            found.add(name)
            synth = entries[name].synth if name in entries else None
            todo += synth.from_ if synth is not None else []
    return found


def _across_faults(
    across: Across, where: str, entries: Mapping[str, Entry], names: Sequence[str]
) -> Iterator[RecipeError]:
    for name in dict.fromkeys(across.sources):
        if name not in names:
            yield RecipeError(f"{where}.sources", f"no source named {name!r}", nearest(name, names))
        elif across.sources.count(name) > 1:
            problem = f"{name!r} stands there {across.sources.count(name)} times"
            yield RecipeError(f"{where}.sources", problem, "name it once: a source is never compared with itself")
    compared = [entries[name] for name in dict.fromkeys(across.sources) if name in entries]
    for column in across.by:
        if column not in (columns := _columns()):
            yield RecipeError(f"{where}.by", f"no task has a column {column!r}", nearest(column, columns))
            continue
        for entry in compared:
            if column not in (columns := {*COMMON, *entry.task.columns}):
                problem = f"the source {entry.name!r} ({entry.task.name}) has no column {column!r}"
                yield RecipeError(f"{where}.by", problem, nearest(column, columns))


def _misplaced(key: str, where: str, cls: type[Source]) -> RecipeError:
    if key in _SHORT_KEYS:
        return RecipeError(f"{where}.{key}", "unknown key", f"it belongs into a section: {_SHORT_KEYS[key]}.{key}")
    keys = [*cls.model_fields, *Settings.model_fields, "format", "task"]
    return _unknown(key, f"{where}.{key}", keys)


def _unknown(key: str, where: str, keys: Iterable[str]) -> RecipeError:
    return RecipeError(where, "unknown key", nearest(key, keys))
