"""Jobs run in processes whatever script asks for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from vldata.pipeline.workers import Engine

CHECKOUT = Path(__file__).parents[2]


def test_a_script_without_a_main_guard_may_build_with_processes(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import sys
sys.path.insert(0, {str(CHECKOUT)!r})
from pathlib import Path
from vldata import build
from vldata.recipe.load import from_tree
print("here once")
tree = {{"name": "x", "sources": {{"a": {{"format": "shapes", "scenes": 60}}}}, "output": {{"block_rows": 16}}}}
built = build(from_tree(tree), Path("out"), store=Path("store"), workers=2)
print(built.made, "blocks")
"""
    )
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("here once") == 1
    assert done.stdout.strip().endswith("blocks")


def test_results_come_with_their_jobs_and_none_is_lost() -> None:
    with Engine(2) as engine:
        found = dict(engine.run(abs, list(range(-50, 0))))
    assert found == {n: -n for n in range(-50, 0)}
