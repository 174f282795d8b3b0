"""The field's words, in everything that a user reads: messages, help, docstrings, README."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

SAY_INSTEAD = {
    r"pictures?": "image",
    r"mend(s|ed|ing)?": "fix, repair",
    r"anew": "again, rebuilt",
    r"so many": "N",
    r"wanting": "pending",
    r"asked": "requested",
    r"told": "reported",
    r"laws?": "invariant",
    r"go(es)? on where (it|they) (was|were|stopped)": "resume",
    r"as it came": "unchanged",
    r"whose\.": "what it holds",
    r"who watches": "nothing: the parameter's name says it",
}
FORBIDDEN = re.compile(r"\b(" + "|".join(SAY_INSTEAD) + r")(?!\w)", re.IGNORECASE)

DATA = {
    ("vldata/ablation/experiment.py", "asked.json"),  # files on disk, keys of JSON and of stores
    ("vldata/report/write.py", "asked.json"),
    ("vldata/cli/synth_words.py", "wanting"),
    ("vldata/cli/synth_batch.py", "wanting"),
    ("vldata/generate/batch.py", "wanting"),
    ("vldata/generate/plan.py", "never asked"),
    ("vldata/generate/session.py", "wanting"),
    ("vldata/generate/status.py", "wanting"),
    ("vldata/llm/batch/collect.py", "wanting"),
    ("vldata/pipeline/plan_record.py", "pictures"),
    ("vldata/store/names.py", "pictures"),
    ("vldata/store/names.py", "asked"),
    ("vldata/ablation/tune/fit.py", "data mixing\nlaws"),  # a paper's title, and its two models
    ("vldata/ablation/tune/fit.py", "law, floor"),
    ("vldata/schema/reasons.py", "asked for"),  # told to a model that is to try again, so part of a paid key
    ("vldata/shapes/language.py", "icture"),  # sentences of the shapes world
    ("vldata/synth/validate/foreign.py", "asked"),  # what assistants say of their users
    ("vldata/sources/textvqa.py", "in the picture say?"),
    ("vldata/sources/url_table.py", "pictures under the terms"),  # a licence, which datasets hold
    ("vldata/sources/flickr8k.py", "8k-pictures.html"),
    ("vldata/sources/reading/conversations.py", " picture"),  # named in the hash of a conversation without an id
}
"""Texts that are data: (file, text around the word)."""


def _strings(path: Path) -> list[tuple[int, str]]:
    """Every string constant of a module, docstrings too, with its line."""
    return [
        (node.lineno, node.value)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def _offences(path: Path) -> list[str]:
    name = path.relative_to(ROOT).as_posix()
    lines = enumerate(path.read_text(encoding="utf-8").split("\n"), 1)
    strings = _strings(path) if path.suffix == ".py" else list(lines)
    return [
        f"{name}:{line}: '{match.group()}' in …{text[max(0, match.start() - 30) : match.end() + 30]!r}…"
        for line, text in strings
        for match in FORBIDDEN.finditer(text)
        if not any(name == file and allowed in text for file, allowed in DATA)
    ]


FILES = sorted(
    [*(ROOT / "vldata").rglob("*.py"), ROOT / "cli.py", ROOT / "README.md", ROOT / ".github" / "CONTRIBUTING.md"]
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_strings_use_the_words_of_the_field(path: Path) -> None:
    assert not (offences := _offences(path)), "\n".join(offences)
