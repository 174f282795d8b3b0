"""How much of a source's samples, in rank order, makes up a number of units."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Taken(NamedTuple):
    """The first ``prefix_len`` samples in rank order, after all of them ``full_passes`` times."""

    full_passes: int
    prefix_len: int


def take(units_of_samples: npt.NDArray[np.integer], units: int) -> Taken:
    """The samples whose units come nearest to ``units``.

    Always whole passes and then a prefix, so what is taken for a smaller number is a part of what is taken for a larger
    one. Exact where every sample is one unit; otherwise off by half the units of one sample at most. Of two prefixes
    that are equally near, the shorter.

    Args:
        units_of_samples: Units of each sample in rank order, at least 0; shape (n,).
        units: To take, at least 0.

    Raises:
        ValueError: Units to take from samples that have none.
    """
    reached = np.concatenate([[0], np.cumsum(units_of_samples, dtype=np.int64)])
    one_pass = int(reached[-1])
    if units == 0:
        return Taken(0, 0)
    if one_pass == 0:
        raise ValueError(f"{units} units to take from {len(units_of_samples)} samples that have none")
    passes, rest = divmod(units, one_pass)
    over = int(np.searchsorted(reached, rest))
    under = int(np.searchsorted(reached, reached[over - 1])) if over else 0
    prefix = over if over == 0 or reached[over] - rest < rest - reached[over - 1] else under
    return Taken(passes + 1, 0) if prefix == len(units_of_samples) else Taken(passes, prefix)
