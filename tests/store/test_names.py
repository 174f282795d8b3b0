"""The table of a store's names is the only place that spells them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vldata.store.names import Folder, KeySubject

PACKAGE = Path(__file__).parents[2] / "vldata"
SPELLED = re.compile(
    r"""(?:key_of\(|key_of\(\s*\{\s*"what":|(?:store|opened)\.(?:path|has|write|remove)\(|store\.root /)\s*["'](\w+)"""
)


def spelled_out(file: Path) -> list[str]:
    """Names of folders and subjects of keys that a module writes as literals."""
    return [f"{file.name}: {name}" for name in SPELLED.findall(file.read_text())]


def test_no_module_spells_a_folder_or_a_subject_itself() -> None:
    assert [place for file in PACKAGE.rglob("*.py") for place in spelled_out(file)] == []


def test_a_spelled_name_would_be_seen(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    lines = ['store.has("plans", key)', 'self.store.root / "tmp"', "key_of('split', 1)", 'key_of(\n{\n"what": "plan"})']
    file.write_text("\n".join([*lines, "store.has(Folder.PLANS, key)", 'key_of({"seed": 1})', 'out / "tmp"']))
    assert spelled_out(file) == [f"module.py: {name}" for name in ("plans", "tmp", "split", "plan")]


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
