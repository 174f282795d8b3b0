"""Mixtures to try: keyed draws around the base's, within a bound on every source.

The draws are ours, by scipy's inverse gamma function: its own Dirichlet draws are one stream, which another source
changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv

from vldata.schema.keyed import fractions, keyed, string_keys

Floats = npt.NDArray[np.float64]


def drawn(
    base: Mapping[str, float],
    caps: Mapping[str, float],
    count: int,
    *,
    concentration: tuple[float, float],
    seed: int,
    purpose: str,
) -> Floats:
    """Shares around the base's: Dirichlet draws, then within the caps.

    A draw is a function of (seed, purpose, its number, source): more draws leave the first ones as they are, and a
    source's part of a draw does not depend on the others before the whole is made one.

    Args:
        base: Source to share, above 0; they sum to 1.
        caps: Source to the most that it may have; they sum to at least 1.
        concentration: Sum of the distribution's parameters, above 0: the larger, the nearer to the base. Every draw has
            its own, log-uniform between the two.
        seed: Which draws.
        purpose: What they are for: draws for two purposes are independent.

    Returns:
        (count, sources), each row sums to 1.
    """
    keys = string_keys(map(str, range(count)))
    low, high = map(math.log, concentration)
    strength = np.exp(low + (high - low) * fractions(keyed(keys, seed, f"{purpose} concentration")))
    gamma = np.empty((count, len(base)))
    for column, (name, share) in enumerate(base.items()):
        gamma[:, column] = gammaincinv(strength * share, fractions(keyed(keys, seed, purpose, name)))
    whole = gamma.sum(axis=1, keepdims=True)
    shares = np.where(whole > 0, gamma / np.where(whole > 0, whole, 1.0), np.array(list(base.values())))
    return within(shares, np.array([caps[name] for name in base]))


def within(shares: Floats, caps: Floats) -> Floats:
    """Shares cut to the caps; what is cut goes to the others in proportion to what they have.

    Args:
        shares: (n, sources), each row sums to 1.
        caps: (sources,), they sum to at least 1.

    Raises:
        ValueError: The caps leave a part of the whole to nobody.
    """
    if caps.sum() < 1 - 1e-12:
        raise ValueError(f"caps sum to {caps.sum():.3f}")
    shares = np.minimum(shares, caps)
    for _ in caps:  # each round fills at least one more source up, or is the last
        missing = np.maximum(1 - shares.sum(axis=1, keepdims=True), 0.0)
        room = shares < caps
        free = np.where(room, shares, 0.0)
        free = np.where(free.sum(axis=1, keepdims=True) > 0, free, np.where(room, caps - shares, 0.0))
        whole = free.sum(axis=1, keepdims=True)
        part = free / np.where(whole > 0, whole, 1.0)  # before the product, which is 0 where free is as small as can be
        shares = np.minimum(shares + missing * part, caps)
    return shares
