"""The table of a store's names is the only place that spells them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from vldata.store.names import Folder, KeySubject

PACKAGE = Path(__file__).parents[2] / "vldata"
METHODS = {"path", "has", "write", "remove", "touch"}


def spelled_out(file: Path) -> list[str]:
    """Names of folders and subjects of keys that a module writes as literals."""
    found = []
    source = file.read_text()
    for node in ast.walk(ast.parse(source)) if "key_of" in source or "store" in source else ():
        text: ast.expr | None = None
        if isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
            if name == "key_of" or (name in METHODS and owner.endswith(("store", "opened"))):
                text = node.args[0]
                if isinstance(text, ast.Dict):
                    text = dict(zip([ast.unparse(k) for k in text.keys if k], text.values, strict=False)).get("'what'")
        elif (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.Div)
            and ast.unparse(node.left).endswith("store.root")
        ):
            text = node.right
        if isinstance(text, ast.Constant):
            found.append(f"{file.name}:{text.lineno}: {text.value!r}")
    return found


def test_no_module_spells_a_folder_or_a_subject_itself() -> None:
    assert [place for file in PACKAGE.rglob("*.py") for place in spelled_out(file)] == []


def test_a_spelled_name_would_be_seen(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    lines = ['store.has("plans", key)', 'self.store.root / "tmp"', 'key_of("split", 1)', 'key_of({"what": "plan"})']
    file.write_text("\n".join([*lines, "store.has(Folder.PLANS, key)", 'key_of({"seed": 1})', 'out / "tmp"']))
    assert spelled_out(file) == [
        "module.py:1: 'plans'",
        "module.py:2: 'tmp'",
        "module.py:3: 'split'",
        "module.py:4: 'plan'",
    ]


@pytest.mark.parametrize("table", [Folder, KeySubject])
def test_no_name_stands_twice(table: type[Folder | KeySubject]) -> None:
    assert len(table.__members__) == len(set(table))  # a second one of the same text would be an alias


def test_names_are_what_stores_on_disk_have() -> None:
    assert " ".join(sorted(Folder)) == (
        "blocks digests facts generated locks pictures pieces plans rendered roots scratch screened spool standins "
        "tmp turns"
    )
    assert " ".join(sorted(KeySubject)) == (
        "asked block cell chosen facts file_digest generated kind line plan rendered request root screened shard split "
        "standin subject synth trainer turns url variant"
    )
