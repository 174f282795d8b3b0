"""Segments: files to which frames are appended, each with its length and checksums, so that damage costs one frame.

    <number>.answers   head:  "VLANSWR1", 16 random bytes, CRC-32
                       frame: header: mark, kind, key, subject, cost, length and CRC-32 of the payload, CRC-32 of it all
                              payload
                       frame: …

The payload is JSON in UTF-8, where the mark's first byte cannot stand: after a damaged header the next frame is found
by its mark. A header says all that the index needs. Numbers are little-endian. The functions here are pure or touch one
file; `vldata.llm.answers` decides what to do.
"""

from __future__ import annotations

import os
import secrets
import struct
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from vldata.store.store import flush

SEGMENT_BYTES = 64 << 20
"""A segment that would grow past this is closed and another begun. What a writer scans again after a crash."""

DAMAGE, ANSWER, FAILURE, SPARE = range(4)
"""Kinds. Damage is a stretch of bytes and never written; a spare is another reply to a request answered before."""

_MAGIC = b"VLANSWR1"
_HEAD = struct.Struct("<8s16sI")
_MARK = b"\xf7ans"
_HEADER = struct.Struct("<4sB3x16sQqIII")
_CRC = struct.Struct("<I")

HEAD_BYTES = _HEAD.size
HEADER_BYTES = _HEADER.size + _CRC.size
MAX_PAYLOAD_BYTES = 1 << 30


class StoredFrame(NamedTuple):
    """What a header says, and where the frame is.

    Args:
        kind: One of `ANSWER`, `FAILURE`, `SPARE`; `DAMAGE` for a stretch that cannot be read.
        key: 16 bytes.
        subject: 64 bits of the request's `Request.subject`.
        pico_usd: See `vldata.llm.records.Cost`.
        num_unknown: See `vldata.llm.records.Cost`.
        offset: Of the header, in its segment.
        length: Of the payload, in bytes; of the stretch, where the header is damaged.
    """

    kind: int
    key: bytes
    subject: int
    pico_usd: int
    num_unknown: int
    offset: int
    length: int


class SegmentScan(NamedTuple):
    """What a stretch of a segment holds.

    Args:
        frames: In order, with damage where there is some.
        end: Offset in the segment behind the last of them; what follows, if anything, is no whole frame.
    """

    frames: list[StoredFrame]
    end: int


def frame_bytes(kind: int, key: bytes, subject: int, pico_usd: int, num_unknown: int, payload: bytes) -> bytes:
    """A frame, ready to be appended."""
    header = _HEADER.pack(_MARK, kind, key, subject, pico_usd, num_unknown, len(payload), crc32(payload))
    return b"".join((header, _CRC.pack(crc32(header)), payload))


def scan(data: bytes, offset: int) -> SegmentScan:
    """Find the frames in ``data``, which stands at ``offset`` of its segment, checking every byte."""
    frames: list[StoredFrame] = []
    at, size, view = 0, len(data), memoryview(data)
    while at < size:
        header = _header(data, at)
        if header is None:
            following = _next_header(data, at + 1)
            if following is None:
                break
            frames.append(damage(offset + at, following - at))
            at = following
            continue
        kind, key, subject, pico_usd, num_unknown, length, checksum = header
        end = at + HEADER_BYTES + length
        if crc32(view[at + HEADER_BYTES : end]) != checksum:
            kind = DAMAGE  # its money was spent all the same
        frames.append(StoredFrame(kind, key, subject, pico_usd, num_unknown, offset + at, length))
        at = end
    return SegmentScan(frames, offset + at)


def is_torn(tail: bytes) -> bool:
    """Whether the bytes behind the last frame are what an interrupted append leaves, and not something else damaged.

    They are: the beginning of a frame, or zeros where the file grew and its data did not come before the power went.
    """
    if len(tail) < HEADER_BYTES:
        return True
    return not any(tail) or _checked(tail, 0) is not None


def damage(offset: int, size_bytes: int) -> StoredFrame:
    """A stretch that cannot be read."""
    return StoredFrame(DAMAGE, bytes(16), 0, 0, 0, offset, size_bytes)


def payload_of(handle: int, key: bytes, offset: int, length: int) -> bytes | None:
    """Read a frame's payload; None when it is damaged, or another's frame."""
    data = os.pread(handle, HEADER_BYTES + length, offset)
    header = _header(data, 0)
    if header is None or header[1] != key or header[5] != length:
        return None
    payload = data[HEADER_BYTES:]
    return payload if crc32(payload) == header[6] else None


def create_segment(path: Path) -> None:
    """Make an empty segment, durable before it gets its name, so that none without a head is ever found."""
    identity = secrets.token_bytes(16)
    temporary = path.with_name(".new")
    temporary.write_bytes(_HEAD.pack(_MAGIC, identity, crc32(_MAGIC + identity)))
    flush(temporary)
    temporary.replace(path)
    flush(path.parent)


def identity_of(handle: int) -> bytes | None:
    """The 16 random bytes of a segment's head, which an index of it repeats; None when the head is damaged."""
    head = os.pread(handle, HEAD_BYTES, 0)
    if len(head) < HEAD_BYTES:
        return None
    magic, identity, checksum = _HEAD.unpack(head)
    return bytes(identity) if magic == _MAGIC and checksum == crc32(head[: -_CRC.size]) else None


def read_all(handle: int, offset: int, end: int) -> bytes:
    """The bytes from ``offset`` to ``end``, or to the end of the file if that comes first."""
    pieces = []
    while offset < end:
        piece = os.pread(handle, end - offset, offset)
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
    return b"".join(pieces)


def write_all(handle: int, data: bytes, offset: int) -> None:
    """Write all of ``data`` at ``offset``; the system may take it in pieces."""
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written


_Header = tuple[int, bytes, int, int, int, int, int]


def _checked(data: bytes, at: int) -> _Header | None:
    """A header with the right checksum: kind, key, subject, cost (2), length, checksum of the payload."""
    end = at + HEADER_BYTES
    if data[at : at + len(_MARK)] != _MARK or end > len(data):
        return None
    if crc32(data[at : end - _CRC.size]) != _CRC.unpack_from(data, end - _CRC.size)[0]:
        return None
    header: _Header = _HEADER.unpack_from(data, at)[1:]
    return header


def _header(data: bytes, at: int) -> _Header | None:
    """A header whose payload is all there."""
    header = _checked(data, at)
    return header if header is not None and at + HEADER_BYTES + header[5] <= len(data) else None


def _next_header(data: bytes, at: int) -> int | None:
    while (at := data.find(_MARK, at)) >= 0:
        if _header(data, at) is not None:
            return at
        at += 1
    return None
