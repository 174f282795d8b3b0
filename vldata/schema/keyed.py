"""Keyed randomness: every choice is a hash of (seed, purpose, row), never a draw from a stream.

So adding a source, reordering a recipe or changing the number of workers changes no other row's choices.
The functions here are stable for ever; ``tests/schema/test_keyed.py`` pins them with literals. XXH3 (64 bits, seed 0)
turns strings into keys; two rounds of SplitMix64's finaliser (Steele et al. 2014, constants from its reference
implementation) turn keys into choices.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import polars as pl
import xxhash

Keys = npt.NDArray[np.uint64]

_FIELD, _VALUE = "\x1f", "\x1e"


def string_keys(strings: Iterable[str]) -> Keys:
    """One 64-bit key a string; shape (n,)."""
    return np.fromiter(map(xxhash.xxh3_64_intdigest, map(str.encode, strings)), dtype=np.uint64)


def keyed(keys: Keys, seed: int, purpose: str, salt: str = "") -> Keys:
    """The choice of each key for one purpose: uniform 64-bit numbers, shape as ``keys``.

    Args:
        keys: From `string_keys`.
        purpose: What is decided ("rank", "variant", "choices" …): two purposes are independent.
        salt: Whose rows they are, usually the source's name.
    """
    salted = np.uint64(xxhash.xxh3_64_intdigest(f"{seed}{_FIELD}{purpose}{_FIELD}{salt}".encode()))
    with np.errstate(over="ignore"):
        return _mix(_mix(keys.astype(np.uint64) + salted) ^ salted)


def keyed_one(text: str, seed: int, purpose: str, salt: str = "") -> int:
    """`keyed` for a single string."""
    return int(keyed(string_keys([text]), seed, purpose, salt)[0])


def fractions(choices: Keys) -> npt.NDArray[np.float64]:
    """Choices as numbers in [0, 1), 53 bits each."""
    return (choices >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def below(choices: Keys, n: int) -> npt.NDArray[np.int64]:
    """Choices as integers in [0, n)."""
    return np.minimum((fractions(choices) * n).astype(np.int64), n - 1)


def canonical_text(columns: dict[str, pl.DataType]) -> pl.Expr:
    """An expression that writes columns as one string, the same for the same values on every machine.

    Args:
        columns: Name to type, written in the order of their sorted names.
    """
    written = [_as_text(pl.col(name), dtype, name) for name, dtype in sorted(columns.items())]
    return pl.concat_str(written, separator=_FIELD) if written else pl.lit("")


def _mix(x: Keys) -> Keys:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _as_text(value: pl.Expr, dtype: pl.DataType, name: str) -> pl.Expr:
    if isinstance(dtype, pl.List):
        text = value.list.eval(_as_text(pl.element(), dtype.inner, ""))  # type: ignore[arg-type]
        return (pl.lit(name + "=[") + text.list.join(_VALUE) + pl.lit("]")).fill_null(name + "~")
    if isinstance(dtype, pl.Struct):
        fields = [_as_text(value.struct.field(f.name), f.dtype, f.name) for f in dtype.fields]  # type: ignore[arg-type]
        return pl.concat_str(fields, separator=",")
    return (pl.lit(name + "=") + value.cast(pl.String)).fill_null(name + "~")
