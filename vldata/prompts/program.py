"""One block of a template, compiled into one loop over rows.

Rendering a template row by row costs Jinja a new context each time (about 0.1 million rows a second). Here the
block's body stands inside a loop over the rows, in the same generated function, whose pieces of text are gathered until
the loop asks for its next row. So no mark separates the rows, and no text in the data can imitate one.

Most blocks only put texts between words. Where a column holds nothing but text, such a block needs no Jinja.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import NamedTuple

from jinja2 import Template as JinjaTemplate
from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from vldata.errors import TemplateError
from vldata.prompts.lint import ENVIRONMENT, undeclared
from vldata.prompts.places import places
from vldata.prompts.sandbox import MAX_STEPS, MAX_TEXT_CHARS, Steps, joined

_ROWS, _TAKE, _JOINED = "_rows", "_take", "_joined"


@dataclass(frozen=True)
class Program:
    """A compiled block.

    Args:
        columns: The columns that it reads, in the order of each row's values.
        compiled: The loop.
        plain: The same of a block that only writes columns between its words.
    """

    columns: tuple[str, ...]
    compiled: JinjaTemplate
    plain: _Plain | None

    def texts(
        self, columns: Mapping[str, Sequence[object]], *, num_rows: int, constants: Mapping[str, object]
    ) -> tuple[list[str | None], dict[int, str]]:
        """Render every row, stripped of white space at both ends.

        Args:
            columns: At least those that the block reads, each with ``num_rows`` values.
            num_rows: How many texts are wanted.
            constants: Helpers, and names that have the same value in every row.

        Returns:
            The texts, null where a row failed, and why each of these failed.
        """
        if not self.columns and num_rows > 1:
            once, why = self.texts(columns, num_rows=1, constants=constants)
            return once * num_rows, dict.fromkeys(range(num_rows), why[0]) if why else {}
        values = [columns[name] for name in self.columns]
        if any(len(column) != num_rows for column in values):
            raise ValueError(f"columns of {[len(column) for column in values]} values for {num_rows} rows")
        if self.plain and self.plain.fits(columns):
            return self.plain.texts(columns), {}
        rows = values[0] if len(values) == 1 else zip(*values, strict=True) if values else range(num_rows)

        gathered = _Gathered()
        names = {**constants, _ROWS: gathered.feed(rows), _TAKE: gathered.steps.take, _JOINED: joined}
        failed: dict[int, str] = {}
        while True:
            # A row that fails ends the generated function; the feed has moved on, so calling it again resumes behind.
            try:
                gathered.gather(self.compiled.root_render_func(self.compiled.new_context(names)))
                break
            except MemoryError:
                raise
            except Exception as error:  # whatever a template does wrong is its own row's trouble, not the build's
                row = len(gathered.texts)
                if row in failed:  # it failed outside of the loop, and would for ever
                    raise
                failed[row] = self._why(error, {name: columns[name][row] for name in self.columns})
                gathered.parts.clear()
        texts: list[str | None] = [*gathered.texts]
        for row in failed:
            texts[row] = None
        return texts, failed

    def _why(self, error: Exception, row: Mapping[str, object]) -> str:
        line = self._line(error.__traceback__)
        nulls = ", ".join(name for name, value in row.items() if value is None)
        place = f"{self.compiled.name}:{line}" if line else self.compiled.name
        return f"{place}: {error}" + (f" (null here: {nulls})" if nulls else "")

    def _line(self, trace: TracebackType | None) -> int | None:
        while trace is not None:
            if trace.tb_frame.f_code is self.compiled.root_render_func.__code__:
                return self.compiled.get_corresponding_lineno(trace.tb_lineno)
            trace = trace.tb_next
        return None


class _Plain(NamedTuple):
    """Columns with words around them.

    Args:
        words: Before the first column, between them, and behind the last; one more than there are columns.
        columns: Those that are written, in order.
    """

    words: tuple[str, ...]
    columns: tuple[str, ...]

    def fits(self, columns: Mapping[str, Sequence[object]]) -> bool:
        """Whether each value is a text, and none of the rows can become too long."""
        longest = sum(map(len, self.words))
        for name in self.columns:
            column = columns[name]
            if not {str}.issuperset(map(type, column)):
                return False
            longest += max(map(len, column), default=0) + 2  # type: ignore[arg-type]
        return longest < MAX_TEXT_CHARS

    def texts(self, columns: Mapping[str, Sequence[object]]) -> list[str | None]:
        """What the compiled loop would write."""
        if len(self.columns) == 1:
            before, after = self.words
            return [f"{before}{text}{after}".strip() for text in columns[self.columns[0]]]
        form = "%s".join(part.replace("%", "%%") for part in self.words)
        rows = zip(*(columns[name] for name in self.columns), strict=True)
        return [(form % row).strip() for row in rows]


def _plain(body: Sequence[nodes.Node], columns: Collection[str]) -> _Plain | None:
    words, written = [""], []
    for node in body:
        for part in node.nodes if isinstance(node, nodes.Output) else [node]:
            if isinstance(part, nodes.TemplateData):
                words[-1] += part.data
            elif isinstance(part, nodes.Name) and part.name in columns:
                words.append("")
                written.append(part.name)
            else:
                return None
    return _Plain(tuple(words), tuple(written)) if written else None


class _Gathered:
    """Texts, put together from pieces while the generated loop walks over the rows."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.parts: list[str] = []
        self.steps = Steps()

    def feed(self, rows: Iterable[object]) -> Iterator[object]:
        """The rows; when the next one is wanted, the last one's pieces are all there."""
        parts, done, clear, together = self.parts, self.texts.append, self.parts.clear, "".join
        for row in rows:
            self.steps.left = MAX_STEPS
            yield row
            done(together(parts).strip())
            clear()

    def gather(self, pieces: Iterable[str]) -> None:
        """Take the pieces of all rows that are left."""
        parts = self.parts
        add = parts.append
        size = 0
        for piece in pieces:
            size = size + len(piece) + 1 if parts else len(piece)  # + 1: a piece costs memory even when it is empty
            if size > MAX_TEXT_CHARS:
                raise ValueError(f"the text is longer than {MAX_TEXT_CHARS:,} characters")
            add(piece)


@lru_cache(maxsize=1024)
def compile_block(text: str, file: str, block: str, columns: frozenset[str]) -> Program:
    """The program of one block of a template that `vldata.prompts.lint` has accepted.

    Args:
        text: The whole template.
        file: What errors call it.
        block: A block that it has.
        columns: The names whose values differ from row to row.

    Raises:
        TemplateError: Python cannot compile what Jinja makes of it.
    """
    block_node = next(node for node in ENVIRONMENT.parse(text).find_all(nodes.Block) if node.name == block)
    used = tuple(sorted(undeclared(block_node.body) & columns))
    body = [_Bounded().visit(node) for node in block_node.body]
    targets: list[nodes.Expr] = [nodes.Name(name, "store") for name in used or ("_row",)]
    target = targets[0] if len(targets) == 1 else nodes.Tuple(targets, "store")
    loop = nodes.For(target, nodes.Name(_ROWS, "load"), body, [], None, False)
    # A name that is read outside of the loop is looked up once, not once a row.
    constants = [nodes.ExprStmt(nodes.Name(name, "load")) for name in sorted(undeclared(body) - columns)]
    tree = nodes.Template([*constants, loop], lineno=1)
    tree.set_environment(ENVIRONMENT)
    try:
        code = ENVIRONMENT.compile(tree, name=file, filename=file)
    except (RecursionError, SyntaxError) as error:
        raise TemplateError(file, f"block {block!r} cannot be compiled: {error}", "write it more simply") from None
    return Program(used, JinjaTemplate.from_code(ENVIRONMENT, code, {}), _plain(body, columns))


class _Bounded(NodeTransformer):
    """Puts the counter into every loop, and the length check into every ``~``; the template's own marks are places."""

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.TemplateData:
        node.data = places(node.data)
        return node

    def visit_For(self, node: nodes.For) -> nodes.For:
        cost = sum(1 for part in node.body for _ in part.find_all(nodes.Node)) + 1
        self.generic_visit(node)
        node.iter = _call(_TAKE, [node.iter, nodes.Const(cost)], node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Call:
        self.generic_visit(node)
        return _call(_JOINED, node.nodes, node.lineno)


def _call(name: str, arguments: Sequence[nodes.Node], line: int) -> nodes.Call:
    return nodes.Call(nodes.Name(name, "load", lineno=line), list(arguments), [], None, None, lineno=line)
