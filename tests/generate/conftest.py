from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.generate.places import Place, place_in


@pytest.fixture
def shapes_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with place_in(tmp_path, monkeypatch) as place:
        yield place
