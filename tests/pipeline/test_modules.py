"""Every step of a build has tests of its own."""

from __future__ import annotations

from pathlib import Path

import vldata.pipeline

MODULES = sorted(path.stem for path in Path(vldata.pipeline.__path__[0]).glob("*.py") if path.stem != "__init__")


def test_every_module_has_a_test_file() -> None:
    assert len(MODULES) > 15
    missing = [name for name in MODULES if not (Path(__file__).parent / f"test_{name}.py").is_file()]
    assert not missing
