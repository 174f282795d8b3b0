"""Keys: a hash of nested plain values that is the same on every machine, for ever.

`tests/store/test_keys.py` pins it with literals, as every block ever built is found by such a key.
"""

from __future__ import annotations

from collections.abc import Mapping

from blake3 import blake3

Part = object
"""None, bool, int, float, str, bytes, or a list, tuple or mapping (with string keys) of these."""


def key_of(*parts: Part) -> str:
    """BLAKE3 of the parts' canonical encoding, 128 bits as 32 hex characters.

    The type counts (1, 1.0, True and "1" differ), the order of a mapping's keys is not. A tuple is a list. Floats
    differ by their shortest decimal form, so 0.1 + 0.2 is not 0.3.

    Raises:
        TypeError: A value of another type: convert it, so that its form is chosen and not accidental.
    """
    pieces: list[bytes] = []
    _encode(parts, pieces)
    return blake3(b"".join(pieces)).hexdigest(length=16)


def _encode(value: Part, out: list[bytes]) -> None:
    """Append a tag, and a length wherever one is needed to know the end: no two values share an encoding."""
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        out += (b"s%d:" % len(text), text)
    elif value is None:
        out.append(b"n")
    elif isinstance(value, bool):
        out.append(b"t" if value else b"f")
    elif isinstance(value, int):
        out.append(b"i%d;" % value)
    elif isinstance(value, float):
        out.append(f"r{float.__repr__(value)};".encode())
    elif isinstance(value, bytes | bytearray | memoryview):
        out += (b"b%d:" % memoryview(value).nbytes, bytes(value))
    elif isinstance(value, list | tuple):
        out.append(b"l%d:" % len(value))
        for member in value:
            _encode(member, out)
    elif isinstance(value, Mapping):
        out.append(b"d%d:" % len(value))
        for name in value:
            if not isinstance(name, str):
                raise TypeError(f"a key cannot be made of a mapping with the key {name!r}: use strings")
        for name in sorted(value):
            _encode(name, out)
            _encode(value[name], out)
    else:
        raise TypeError(f"a key cannot be made of {type(value).__name__} {value!r}: convert it to a plain value")
