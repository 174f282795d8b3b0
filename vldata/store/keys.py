"""Names of pieces of work: a hash of everything that decides them."""

from __future__ import annotations

from typing import Any

from blake3 import blake3

DIGITS = 32


def key_of(*parts: Any) -> str:
    """32 hexadecimal digits of BLAKE3 over plain data; the order of a dict's keys does not count, types do.

    Args:
        parts: Dicts with string keys, lists, tuples (as lists), strings, bytes, integers, floats, booleans, None.

    Raises:
        TypeError: Anything else, which has no one spelling.
    """
    return blake3(b"".join(_spelt(part) for part in parts)).hexdigest(length=DIGITS // 2)


def _spelt(value: Any) -> bytes:
    """One spelling for a value, which no other value shares: a type letter, a length, the content."""
    if value is None:
        return b"n"
    if isinstance(value, bool):
        return b"t" if value else b"f"
    if isinstance(value, int | float):
        letter = b"i" if isinstance(value, int) else b"d"
        return _framed(letter, repr(value).encode())
    if isinstance(value, str):
        return _framed(b"s", value.encode("utf-8", "surrogatepass"))
    if isinstance(value, bytes):
        return _framed(b"b", value)
    if isinstance(value, list | tuple):
        return _framed(b"l", b"".join(_spelt(item) for item in value))
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a dict in a key has keys that are no strings")
        return _framed(b"m", b"".join(_spelt(key) + _spelt(value[key]) for key in sorted(value)))
    raise TypeError(f"{type(value).__name__} has no one spelling: {value!r}")


def _framed(letter: bytes, content: bytes) -> bytes:
    return letter + str(len(content)).encode() + b":" + content
