"""What a template may say: read before anything runs, every problem reported with its line.

The rule is a list of what is allowed, not of what is not: text, names of the task's columns, fields of their structs,
``if``, ``for``, ``set``, a few filters and tests, and calls of the task's helpers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import TemplateSyntaxError, meta, nodes

from vldata.errors import TemplateError, nearest
from vldata.prompts.models import Names
from vldata.prompts.sandbox import FILTERS, LOOP_FIELDS, TESTS, Sandbox

ENVIRONMENT = Sandbox()
"""Shared by all templates; it holds nothing of any of them."""

MAX_TEMPLATE_CHARS = 65_536
MAX_DEPTH = 40
"""Deepest nesting of a template's parts; Python's own compiler gives up at about 100."""
MAX_LOOP_DEPTH = 3

CONSTANTS = frozenset({"dataset", "task"})
"""Names that every template has besides its task's."""

_BLOCK = re.compile(r"(flip_)?(user|assistant|response_format|system)(_(?:[2-9]|[1-9]\d+))?|(flip_)?bare")
_PARTS = ("user", "assistant", "response_format", "system", "bare", "flip_user", "flip_assistant")
_ALLOWED = (
    *(nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.For, nodes.If, nodes.Assign, nodes.CondExpr),
    *(nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Concat, nodes.Add, nodes.Sub, nodes.Neg),
    *(nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Filter, nodes.Test, nodes.Call, nodes.List, nodes.Tuple),
)


@dataclass(frozen=True)
class Parsed:
    """A template's blocks, and what is wrong with it.

    Args:
        blocks: Block name to the nodes of its body, in the order of the file; only to be read.
        problems: Empty when the template can be used.
    """

    blocks: dict[str, list[nodes.Node]]
    problems: tuple[TemplateError, ...]


def parse(text: str, file: str, names: Names, *, wrapper: bool = False) -> Parsed:
    """Read a template and check all of it.

    Args:
        text: The template.
        file: What problems call it.
        names: What it may name, besides `CONSTANTS`.
        wrapper: It is a sentence around other templates' content: only ``user`` blocks, each with ``content``.
    """
    if len(text) > MAX_TEMPLATE_CHARS:
        problem = f"{len(text):,} characters; a template may have {MAX_TEMPLATE_CHARS:,}"
        return Parsed({}, (TemplateError(file, problem, "shorten it"),))
    try:
        tree = ENVIRONMENT.parse(text)
    except TemplateSyntaxError as error:
        message = error.message or "not a Jinja template"
        return Parsed({}, (TemplateError(f"{file}:{error.lineno}", f"syntax error: {message}", "fix this line"),))
    except (RecursionError, ValueError) as error:  # thousands of brackets, or of digits
        return Parsed({}, (TemplateError(file, f"cannot be parsed: {error}", "write it more simply"),))
    blocks: dict[str, list[nodes.Node]] = {}
    problems = list(_outside(tree, file, blocks))
    problems += _wrapper_blocks(blocks, file) if wrapper else _blocks(blocks, file)
    for body in blocks.values():
        problems += _Body(file, names).problems(body)
    return Parsed(blocks, tuple(sorted(problems, key=_line)))


def undeclared(body: list[nodes.Node]) -> set[str]:
    """The names that a block's body takes from outside."""
    tree = nodes.Template(body, lineno=1)
    tree.set_environment(ENVIRONMENT)
    return meta.find_undeclared_variables(tree)


def has_text(body: list[nodes.Node]) -> bool:
    """Whether a block's body writes a letter of its own, in any of its branches."""
    pieces = [piece for node in body for piece in (node, *node.find_all((nodes.TemplateData, nodes.Const)))]
    texts = (p.data if isinstance(p, nodes.TemplateData) else getattr(p, "value", None) for p in pieces)
    return any(isinstance(text, str) and any(map(str.isalpha, text)) for text in texts)


def _line(problem: TemplateError) -> int:
    number = problem.where.rpartition(":")[2]
    return int(number) if number.isdigit() else 0


def _outside(tree: nodes.Template, file: str, blocks: dict[str, list[nodes.Node]]) -> Iterator[TemplateError]:
    """Sort the top of the file into blocks; anything else there is never rendered, so it is a mistake."""
    for node in tree.body:
        if isinstance(node, nodes.Block):
            if node.name in blocks:
                yield TemplateError(
                    f"{file}:{node.lineno}", f"block {node.name!r} stands twice", "rename or remove one"
                )
            blocks.setdefault(node.name, node.body)
        elif not (isinstance(node, nodes.Output) and all(_is_blank(part) for part in node.nodes)):
            problem = f"{_what(node)} outside of a block"
            yield TemplateError(f"{file}:{_first_line(node)}", problem, "move it into {% block user %} or a comment")


def _is_blank(node: nodes.Node) -> bool:
    return isinstance(node, nodes.TemplateData) and not node.data.strip()


def _first_line(node: nodes.Node) -> int:
    """Where the visible part of a piece of text begins; Jinja gives the line where its white space does."""
    data = node.nodes[0] if isinstance(node, nodes.Output) else node
    blank = data.data[: len(data.data) - len(data.data.lstrip())] if isinstance(data, nodes.TemplateData) else ""
    return node.lineno + blank.count("\n")


def _blocks(blocks: dict[str, list[nodes.Node]], file: str) -> Iterator[TemplateError]:
    for name in blocks:
        if not _BLOCK.fullmatch(name):
            numbered = "further wordings are called user_2, user_3 …; "
            yield TemplateError(file, f"no block is called {name!r}", numbered + nearest(name, _PARTS))
    for name in ("user", "assistant"):
        if name not in blocks:
            yield TemplateError(file, f"block {name!r} is missing", f"add {{% block {name} %}}…{{% endblock %}}")
    for one, other in (("flip_user", "flip_assistant"), ("flip_assistant", "flip_user")):
        if one in blocks and other not in blocks:
            yield TemplateError(file, f"block {one!r} has no {other!r}", f"add {{% block {other} %}}…{{% endblock %}}")
    for name in blocks:
        match = _BLOCK.fullmatch(name)
        if match and match[3] and (user := f"{match[1] or ''}user{match[3]}") not in blocks:
            yield TemplateError(file, f"block {name!r} goes with {user!r}, which is missing", f"add {user!r}")


def _wrapper_blocks(blocks: dict[str, list[nodes.Node]], file: str) -> Iterator[TemplateError]:
    for name, body in blocks.items():
        if not re.fullmatch(r"user(_(?:[2-9]|[1-9]\d+))?", name):
            yield TemplateError(file, f"block {name!r} has no use here", "a file in per/ has user, user_2, user_3 …")
        elif all(name.name != "content" for node in body for name in node.find_all(nodes.Name)):
            yield TemplateError(file, f"block {name!r} leaves out the content", "print {{ content }} in it")
    if "user" not in blocks:
        yield TemplateError(file, "block 'user' is missing", "add {% block user %}…{{ content }}{% endblock %}")


class _Body:
    """Checks the nodes of one block."""

    def __init__(self, file: str, names: Names) -> None:
        self.file = file
        self.names = names
        self.usable = names.columns | names.helpers.keys() | CONSTANTS
        self.errors: list[TemplateError] = []

    def problems(self, body: list[nodes.Node]) -> list[TemplateError]:
        """Everything wrong with a block's body."""
        for node in body:
            self.visit(node, depth=0, loops=0)
        self.unknown_names(body)
        return self.errors

    def report(self, node: nodes.Node, problem: str, fix: str) -> None:
        where = f"{self.file}:{node.lineno}" if node.lineno else self.file
        self.errors.append(TemplateError(where, problem, fix))

    def visit(self, node: nodes.Node, *, depth: int, loops: int) -> None:
        if depth > MAX_DEPTH:
            return self.report(node, f"nested more than {MAX_DEPTH} deep", "write it more simply")
        if not isinstance(node, _ALLOWED):
            return self.report(node, f"{_what(node)} is not allowed in a template", "use text, names, if, for and set")
        check = getattr(self, f"check_{type(node).__name__.lower()}", None)
        if check:
            check(node)
        if isinstance(node, nodes.For):
            loops += 1
            if loops > MAX_LOOP_DEPTH:
                self.report(node, f"more than {MAX_LOOP_DEPTH} loops inside each other", "write it more simply")
        for child in node.iter_child_nodes():
            self.visit(child, depth=depth + 1, loops=loops)

    def unknown_names(self, body: list[nodes.Node]) -> None:
        """Names that nothing defines where they stand: the task's columns are all that a template has."""
        named = list(nodes.Template(body, lineno=1).find_all(nodes.Name))
        loads = [name for name in named if name.ctx == "load" and not getattr(name, "called", False)]
        strange = (
            {name.name for name in loads}
            - self.usable
            - {name.name for name in named if name.ctx == "store"}
            - {"loop"}
        )
        if (
            not strange and not self.errors
        ):  # Jinja's own analysis knows where a name ends, but takes sound templates only
            strange = undeclared(body) - self.usable
        first = {name.name: name for name in reversed(loads)}
        for name in sorted(strange):
            self.report(first[name], f"unknown name {name!r}", nearest(name, self.usable))

    def check_name(self, node: nodes.Name) -> None:
        if node.ctx == "store" and (node.name in self.usable - self.names.columns or node.name == "loop"):
            self.report(node, f"{node.name!r} cannot be given another value", "choose another name")
        if node.name.startswith("_"):
            self.report(node, f"name {node.name!r} begins with an underscore", "use a column's or a helper's name")
        if node.ctx == "load" and node.name in self.names.helpers and not getattr(node, "called", False):
            self.report(node, f"{node.name!r} is a helper, not a value", f"call it: {node.name}(…)")

    def check_call(self, node: nodes.Call) -> None:
        if not isinstance(node.node, nodes.Name) or node.node.name not in self.names.helpers:
            called = repr(node.node.name) if isinstance(node.node, nodes.Name) else "this"
            helpers = nearest(called.strip("'"), self.names.helpers) if self.names.helpers else "this task has none"
            self.report(node, f"{called} cannot be called, only the task's helpers can", helpers)
        elif node.kwargs or node.dyn_args or node.dyn_kwargs:
            self.report(node, f"{node.node.name!r} takes its values in order", "leave out names and stars")
        node.node.called = True  # type: ignore[attr-defined]  # Jinja's nodes take marks

    def check_getattr(self, node: nodes.Getattr) -> None:
        of_loop = isinstance(node.node, nodes.Name) and node.node.name == "loop"
        self.check_field(node, node.attr, LOOP_FIELDS if of_loop else self.names.fields)

    def check_getitem(self, node: nodes.Getitem) -> None:
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            self.check_field(node, node.arg.value, self.names.fields)

    def check_field(self, node: nodes.Node, field: str, fields: frozenset[str]) -> None:
        if field not in fields:
            fix = nearest(field, fields) if fields else "this task's columns have no fields"
            self.report(node, f"no field is called {field!r}", fix)

    def check_filter(self, node: nodes.Filter) -> None:
        if node.name not in FILTERS:
            self.report(node, f"no filter is called {node.name!r}", nearest(node.name, FILTERS))
        elif node.kwargs or node.dyn_args or node.dyn_kwargs:
            self.report(node, f"filter {node.name!r} takes its values in order", "leave out names and stars")

    def check_test(self, node: nodes.Test) -> None:
        if node.name not in TESTS:
            self.report(node, f"no test is called {node.name!r}", nearest(node.name, TESTS))
        elif node.args or node.kwargs or node.dyn_args or node.dyn_kwargs:
            self.report(node, f"test {node.name!r} takes no values", "leave them out")

    def check_for(self, node: nodes.For) -> None:
        if node.recursive:
            self.report(node, "a recursive loop is not allowed", "use loops inside each other")

    def check_const(self, node: nodes.Const) -> None:
        if isinstance(node.value, str):
            self.check_unicode(node, node.value)

    def check_templatedata(self, node: nodes.TemplateData) -> None:
        self.check_unicode(node, node.data)

    def check_unicode(self, node: nodes.Node, text: str) -> None:
        if any("\ud800" <= char <= "\udfff" for char in text):
            self.report(node, "half of a surrogate pair, which UTF-8 cannot write", "write the character itself")


def _what(node: nodes.Node) -> str:
    names = {
        nodes.Output: "text",
        nodes.Assign: "'set'",
        nodes.For: "'for'",
        nodes.If: "'if'",
        nodes.Extends: "'extends'",
        nodes.Include: "'include'",
        nodes.Import: "'import'",
        nodes.FromImport: "'from … import'",
        nodes.Macro: "'macro'",
        nodes.CallBlock: "'call'",
        nodes.FilterBlock: "'filter' as a block",
        nodes.AssignBlock: "'set' as a block",
        nodes.With: "'with'",
        nodes.Block: "a block inside a block",
        nodes.Scope: "'autoescape'",
        nodes.Mul: "'*'",
        nodes.Pow: "'**'",
        nodes.Div: "'/'",
        nodes.FloorDiv: "'//'",
        nodes.Mod: "'%' between values",
        nodes.NSRef: "setting a field",
        nodes.Dict: "a dict",
    }
    return names.get(type(node), f"'{type(node).__name__.lower()}'")
