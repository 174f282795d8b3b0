"""Honeybee's shorter boxes: ``[0.12,0.46,0.79,0.90]``.

https://github.com/kakaobrain/honeybee (``preprocess_bbox``, coordinate style 2)
Order x0, y0, x1, y1; range 0 to 1 of the image's own width and height (no padding); two decimals, rounded to the
nearest; no spaces. Worst-case error 0.005 of a side.
"""

from __future__ import annotations

from vldata.codecs.brackets import Decimals


class Honeybee2(Decimals):
    """Two decimals in brackets, x before y, no spaces."""

    name = "honeybee2"
    about = "[0.12,0.46,0.79,0.90]: x0,y0,x1,y1, two decimals (Honeybee, coordinate style 2)"
    max_error = 0.005
    digits = 2
