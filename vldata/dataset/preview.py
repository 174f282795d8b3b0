"""`vldata preview`: the first finished samples of each source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from vldata.dataset.manifest import manifest_of
from vldata.dataset.open import block_table
from vldata.errors import BuildError

_SHOWN = ("id", "image_sizes", "messages", "source", "task", "split", "turns")


def samples(build: Path, *, source: str | None = None, rows: int = 2) -> Iterator[dict[str, Any]]:
    """The first samples of each source, in the order of the build, without their images' bytes.

    Raises:
        BuildError: Not a build, or it has no such source.
    """
    manifest = manifest_of(build)
    names = sorted(manifest["sources"])
    if source is not None and source not in names:
        raise BuildError(f"--source {source}", "the build has no such source", f"it has: {', '.join(names)}")
    wanted = dict.fromkeys([source] if source else names, rows)
    for block in manifest["blocks"]:
        if not any(n for name, n in wanted.items() if block["source"] in (None, name)):
            continue
        table = block_table(build, block, _SHOWN)
        for name, left in list(wanted.items()):
            first = table.filter(pc.equal(table["source"], name)).slice(0, left) if left else table.slice(0, 0)
            wanted[name] -= first.num_rows
            yield from first.to_pylist()
