"""Reading the blocks of a build folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from vldata.errors import BuildError


def block_table(build: Path, block: dict[str, Any], columns: tuple[str, ...] | None = None) -> pa.Table:
    """The rows of one block, mapped into memory.

    Raises:
        BuildError: The file is missing or no Arrow stream.
    """
    try:
        with pa.memory_map(str(build / block["file"])) as source:
            table = pa.ipc.open_stream(source).read_all()
    except (OSError, pa.ArrowInvalid) as error:
        raise BuildError(
            str(build / block["file"]), f"cannot be read ({error})", "run `vldata verify`, then build again"
        ) from None
    return table.select(list(columns)) if columns else table


def items(lists: pa.ChunkedArray) -> pa.ChunkedArray:
    """What stands in the lists, one after another; `pyarrow`'s own ``flatten`` copies it, pictures and all."""
    chunks = []
    for chunk in lists.chunks:
        ends = chunk.offsets
        low, high = ends[0].as_py(), ends[len(chunk)].as_py()
        chunks.append(chunk.values.slice(low, high - low))
    return pa.chunked_array(chunks, lists.type.value_type)
