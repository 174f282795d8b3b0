"""The finished row: the one Arrow schema that every block of every build has."""

from __future__ import annotations

import json

import pyarrow as pa

SCHEMA_VERSION = 1
"""Raised when a finished row changes its columns or their meaning."""

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
CONTENT = pa.struct([("type", pa.string()), ("text", pa.string())])
MESSAGE = pa.struct([("role", pa.string()), ("content", pa.list_(CONTENT))])
ROW_BOX = pa.struct(
    [
        ("x0", pa.float64()),
        ("y0", pa.float64()),
        ("x1", pa.float64()),
        ("y1", pa.float64()),
        ("image", pa.int32()),
        ("phrase", pa.string()),
    ]
)
TURN = pa.struct(
    [
        ("row", pa.string()),  # the native row it was made from
        ("template", pa.string()),  # template file and hash: "vqa_open.jinja@1f2e3d4c"
        ("variant", pa.string()),  # the blocks used: "user", "user_2", "flip_user"
        ("boxes", pa.list_(ROW_BOX)),  # absolute pixels of the stored image, upright
        ("synthetic", pa.string()),  # generator that wrote it, null for annotated data
        ("weight", pa.float32()),  # loss weight
    ]
)
SIZE_TYPE = pa.struct([("width", pa.int32()), ("height", pa.int32())])

_FIELDS = [
    ("id", pa.string()),
    ("images", pa.list_(IMAGE)),
    ("image_sizes", pa.list_(SIZE_TYPE)),  # pixels of the stored image, upright; null entries when unknown
    ("messages", pa.list_(MESSAGE)),
    ("source", pa.string()),
    ("task", pa.string()),
    ("split", pa.string()),
    ("turns", pa.list_(TURN)),
    ("num_text_chars", pa.int32()),  # characters of all text content; visual tokens follow from image_sizes
]


META = "meta"
"""Column of the rows of a build with a source that asks for it: native columns as one JSON object, null of the others;
of a conversation whose turns have different ones, a list with the object of each turn."""


def features(*, meta: bool = False) -> dict[str, object]:
    """The row in the notation of Hugging Face ``datasets``' ``dataset_info.json``."""
    return {name: _feature(kind) for name, kind in _fields(meta)}


def _fields(meta: bool) -> list[tuple[str, pa.DataType]]:
    return [*_FIELDS, (META, pa.string())] if meta else _FIELDS


def _feature(kind: pa.DataType) -> dict[str, object]:
    if kind == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    return {"dtype": {"double": "float64", "float": "float32"}.get(str(kind), str(kind)), "_type": "Value"}


def arrow_schema(*, meta: bool = False) -> pa.Schema:
    """The literal schema, with the metadata from which ``datasets`` restores the image feature.

    Args:
        meta: Whether the rows have the column `META`.
    """
    metadata = json.dumps({"info": {"features": features(meta=meta)}}, separators=(",", ":"))
    return pa.schema(_fields(meta), metadata={"huggingface": metadata})
