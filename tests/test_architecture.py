"""Who may import whom, read from the code itself."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from vldata.sources import SOURCES

PACKAGE = Path(__file__).parents[1] / "vldata"

GROUND = {"errors", "base", "paths", "__init__"}
LOWER = {"codecs", "images", "prompts", "mixture", "store", "shapes"}
MIDDLE = {"llm", "dataset", "sources", "tasks", "curate"}
STEPS: list[set[str]] = [
    GROUND,
    {"schema"},
    LOWER,
    MIDDLE,
    {"synth"},
    {"recipe"},
    {"pipeline"},
    {"generate"},
    {"ablation"},
]
"""From the ground up: a part sees the steps below its own, and nothing of its own step."""

ALLOWED: dict[str, set[str]] = {
    **{part: set().union(*STEPS[:step]) for step, parts in enumerate(STEPS) for part in parts},
    "errors": set(),
    "__init__": set().union(*STEPS),
    "report": GROUND | {"schema"} | LOWER | {"dataset"},
    "train": GROUND | {"schema", "codecs", "images"},
}


def imported(file: Path) -> set[str]:
    """Dotted names of vldata that a module imports: at its top, anywhere inside, or for types only."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "vldata"}


def imports(file: Path) -> set[str]:
    """Parts of vldata that a module imports."""
    found = {[*name.split("."), "__init__"][1] for name in imported(file)}
    return {name if (PACKAGE / name).exists() or (PACKAGE / f"{name}.py").exists() else "__init__" for name in found}


def cycles(imports_of: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, also by way of others: each sorted, and all of them."""

    def reached(start: str) -> set[str]:
        seen, todo = set[str](), [start]
        while todo:
            new = imports_of[todo.pop()] - seen
            seen |= new
            todo += new
        return seen

    within = {module: reached(module) for module in imports_of}
    groups = {tuple(sorted(n for n in within[m] if m in within[n])) for m in within if m in within[m]}
    return [list(group) for group in sorted(groups)]


def test_no_module_imports_itself_by_way_of_others() -> None:
    files = {".".join(f.relative_to(PACKAGE.parent).with_suffix("").parts): f for f in PACKAGE.rglob("*.py")}
    files = {name.removesuffix(".__init__"): file for name, file in files.items()}
    graph = {}
    for name, file in files.items():
        targets = {target if target in files else target.rpartition(".")[0] for target in imported(file)}
        graph[name] = targets & files.keys() - {"vldata", name}  # the package itself hands out the public functions
    assert cycles(graph) == []


def test_a_cycle_is_seen_whichever_module_it_is_entered_by() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"f"}, "f": {"g"}, "g": {"e"}}
    assert cycles(graph) == [["b", "c"], ["e", "f", "g"]]
    assert cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_each_part_imports_only_what_lies_below_it(part: str) -> None:
    files = list((PACKAGE / part).rglob("*.py")) or [PACKAGE / f"{part}.py"]
    for file in files:
        above = imports(file) - ALLOWED[part] - {part}
        assert not above, f"{file.relative_to(PACKAGE)} imports {sorted(above)}"


def test_no_part_but_the_commands_calls_the_public_functions() -> None:
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "vldata" and file.parent.name != "cli":
                assert {alias.name for alias in node.names} <= {"__version__", "bundled"}, file


def test_every_part_has_a_rule() -> None:
    parts = {path.name for path in PACKAGE.iterdir() if path.is_dir() and list(path.glob("*.py"))}
    assert parts - {"cli"} <= ALLOWED.keys()


@pytest.mark.parametrize("heavy", ["torch", "polars", "pyarrow", "datasets", "openai", "pydantic"])
def test_importing_vldata_loads_nothing_heavy(heavy: str) -> None:
    code = f"import sys, vldata, vldata.cli.main; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent).returncode == 0


def test_at_most_ten_class_names_stand_for_more_than_one_class() -> None:
    places: dict[str, list[str]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(file.relative_to(PACKAGE)))
    twice = {name: files for name, files in places.items() if len(files) > 1}
    assert len(twice) <= 10, twice


def test_no_function_takes_ten_parameters() -> None:
    long = [
        f"{file.name}: {node.name}"
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if len([*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]) >= 10
    ]
    assert long == []


def lines_of_code(file: Path) -> int:
    """Lines without docstrings, imports and blank ones."""
    text = file.read_text()
    nodes = list(ast.walk(ast.parse(text)))
    texts = [node for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    left_out = {line for node in [*texts, *imports] for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    return sum(bool(line.strip()) and number not in left_out for number, line in enumerate(text.splitlines(), 1))


def test_a_native_format_is_a_short_declaration_and_a_stand_in() -> None:
    modules = {path.partition(":")[0] for name, path in SOURCES.items() if name not in ("table", "shapes")}
    files = {module: PACKAGE.parent / f"{module.replace('.', '/')}.py" for module in modules}
    sizes = {module: lines_of_code(file) for module, file in files.items()}
    assert statistics.median(sizes.values()) < 60
    assert {module: size for module, size in sizes.items() if size > 120} == {}
