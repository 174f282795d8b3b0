"""Where images stand in a text, kept apart from words that only look like it.

A conversation says ``<image>`` where an image belongs, and so may a template; in a question about a program, an option
or an answer the same letters are words. So a place travels through a template as a lone surrogate, which no text has:
UTF-8 cannot write it, and so no file and no column can hold it.
"""

from __future__ import annotations

MARK = "<image>"
PLACE = "\udcff"

BOX_MARK = "<bbox>"
"""Where ms-swift puts a box in a text. Only in turns that have boxes is it a place; nowhere else is it looked at."""


def places(text: str) -> str:
    """The text with its marks as places."""
    return text.replace(MARK, PLACE)


def marks(text: str) -> str:
    """The text with its places as marks again."""
    return text.replace(PLACE, MARK)
