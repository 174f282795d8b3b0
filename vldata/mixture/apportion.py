"""Handing out whole units in proportion to shares: largest remainders, exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction


def apportion(shares: Mapping[str, Fraction], total: int) -> dict[str, int]:
    """Split ``total`` units among names in proportion to ``shares``.

    Largest-remainder rounding: the counts sum to ``total`` exactly and each is within one of its ideal share. Of equal
    remainders the name that sorts first gets the unit, so the order in which names are listed decides nothing.

    Args:
        shares: Name to relative share, at least 0, need not sum to 1.
        total: Units to hand out, at least 0.

    Raises:
        ValueError: Units to hand out and nobody with a share, or a negative number.
    """
    whole = sum(shares.values(), Fraction(0))
    if total < 0 or any(share < 0 for share in shares.values()):
        raise ValueError("shares and total must be at least 0")
    if whole == 0:
        if total:
            raise ValueError(f"{total} units to hand out and every share is 0")
        return dict.fromkeys(shares, 0)
    ideal = {name: share * total / whole for name, share in shares.items()}
    counts = {name: math.floor(units) for name, units in ideal.items()}
    short = total - sum(counts.values())
    by_remainder = sorted(ideal, key=lambda name: (counts[name] - ideal[name], name))
    for name in by_remainder[:short]:
        counts[name] += 1
    return counts
