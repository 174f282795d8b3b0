"""Images that stand as text in the files of any format: read where a path would be."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.contract.native import FORMATS, JSON, is_sound, opened, standin
from vldata.images.facts import facts
from vldata.sources import source_class

OF_OBJECTS = [name for name in FORMATS if source_class(name).tasks[0] != "text_instruction"]


def with_texts(part: Any, root: Path) -> Any:
    """A document in which images stand where their paths stood."""
    if isinstance(part, dict):
        return {key: with_texts(value, root) for key, value in part.items()}
    if isinstance(part, list):
        return [with_texts(value, root) for value in part]
    if not isinstance(part, str) or not part.endswith((".jpg", ".png")) or "://" in part:
        return part
    found = sorted(root.rglob(Path(part).name))
    return f"data:image/jpeg;base64,{base64.b64encode(found[0].read_bytes()).decode()}" if found else part


@pytest.mark.parametrize("name", OF_OBJECTS)
def test_an_image_in_place_of_its_path_is_read(name: str, tmp_path: Path) -> None:
    source = standin(name, tmp_path, rows=4, images=True)
    changed = 0
    for path in source.files():
        if path.suffix in JSON:
            native = opened(path)
            before = native.document
            native.document = with_texts(before, tmp_path)
            native.write()
            changed += native.document != before
    if not changed:
        pytest.skip("this format names its images by number, or is no JSON")
    turns = source.model_copy(update={"image_root": str(tmp_path)}).read(source.tasks[0])
    references = turns.filter(is_sound(turns))["images"].explode().drop_nulls().unique().to_list()
    assert references
    found = facts(references, tmp_path)
    assert found["problem"].null_count() == found.height, found["detail"].to_list()
    assert all(len(reference) < 200 for reference in references)
