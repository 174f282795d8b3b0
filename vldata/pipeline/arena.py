"""The pictures of a block, one behind the other, in memory that the next block uses again.

Pages that a process has never touched cost as much as the copying itself, so they are asked for once.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa


class Arena:
    """A column of bytes that grows at its end."""

    def __init__(self) -> None:
        self._memory = np.empty(0, dtype=np.uint8)
        self._ends = [0]

    def clear(self) -> None:
        """Begin again; what `column` gave before must not be used any more."""
        self._ends = [0]

    def room(self, num_bytes: int) -> memoryview:
        """A place behind all that was kept; it is lost unless it is kept, and asking again gives it again."""
        used = self._ends[-1]
        if used + num_bytes > len(self._memory):
            larger = np.empty(max(2 * len(self._memory), used + num_bytes), dtype=np.uint8)
            larger[:used] = self._memory[:used]
            self._memory = larger
        return self._memory.data[used : used + num_bytes]

    def keep(self, num_bytes: int) -> None:
        """Make the first bytes of the last room the next value."""
        self._ends.append(self._ends[-1] + num_bytes)

    def column(self) -> pa.BinaryArray:
        """The values, without a copy: at most 2 GiB, which a block never has."""
        offsets = np.array(self._ends, dtype=np.int32)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(self._memory[: self._ends[-1]])]
        return pa.BinaryArray.from_buffers(pa.binary(), len(offsets) - 1, buffers)
