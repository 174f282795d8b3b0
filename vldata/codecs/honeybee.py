"""Honeybee's boxes: ``[0.123,0.456,0.789,0.900]``.

https://github.com/kakaobrain/honeybee (``preprocess_bbox``, coordinate style 3)
Order x0, y0, x1, y1; range 0 to 1 of the image's own width and height (no padding); three decimals, rounded to the
nearest; no spaces. Worst-case error 0.0005 of a side. The reference writes one box a turn; several stand one after
another here.
"""

from __future__ import annotations

from vldata.codecs.brackets import Decimals


class Honeybee(Decimals):
    """Three decimals in brackets, x before y, no spaces."""

    name = "honeybee"
    about = "[0.123,0.456,0.789,0.900]: x0,y0,x1,y1, three decimals (Honeybee)"
    max_error = 0.0005
    digits = 3
