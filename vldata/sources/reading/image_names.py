"""Names of image files that a pattern makes of a row's values: ``COCO_{split}2014_{id:012d}.jpg``."""

from __future__ import annotations

import string
from collections.abc import Callable, Collection
from functools import partial

import polars as pl


def name_parts(pattern: str, *, fields: Collection[str]) -> list[tuple[str, str | None, int]]:
    """An image name's pattern, such as ``COCO_{split}2014_{id:012d}.jpg``, as (text, field after it, least digits).

    Only plain names and zero padding are known: a recipe may come from a stranger, and ``str.format`` reads attributes.

    Raises:
        ValueError: The pattern is broken, or names something else than ``fields``.
    """
    parts = []
    for text, field, spec, conversion in string.Formatter().parse(pattern):
        if field is not None and field not in fields:
            raise ValueError(
                f"{{{field}}} is not known here; use {', '.join(f'{{{name}}}' for name in sorted(fields))}"
            )
        digits = (spec or "").removeprefix("0").removesuffix("d")
        if conversion or (spec and not (spec == f"0{digits}d" and digits.isdecimal() and int(digits) <= 32)):
            raise ValueError(f"{{{field}:{spec}}}: only zero padding such as {{{field}:012d}} is known")
        parts.append((text, field, int(digits or 0)))
    return parts


def checked_pattern(*fields: str) -> Callable[[str], str]:
    """A validator of a recipe's image name pattern, which may name these fields."""
    return partial(_check_pattern, fields)


def image_name(pattern: str, **fields: pl.Expr) -> pl.Expr:
    """The name that a pattern gives each row; null where a field that it uses is."""
    written = []
    for text, field, digits in name_parts(pattern, fields=fields):
        if text:
            written.append(pl.lit(text))
        if field is not None:
            written.append(fields[field].str.zfill(digits) if digits else fields[field])
    return pl.concat_str(written) if written else pl.lit(None, pl.String)


def _check_pattern(fields: Collection[str], pattern: str) -> str:
    name_parts(pattern, fields=fields)
    return pattern
