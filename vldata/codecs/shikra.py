"""Shikra's boxes: ``[0.100,0.200,0.300,0.400;0.500,0.500,0.900,0.950]``.

https://github.com/shikras/shikra (``PlainBoxFormatter``)
Order x0, y0, x1, y1; range 0 to 1; three decimals, rounded to the nearest (the paper's word "truncated" is not what
the code does: 0.4996 is written 0.500); no spaces; all boxes of a phrase in one pair of brackets with ``;`` between.
Worst-case error 0.0005 of a side. Shikra takes fractions of the padded square (recipe: ``reference: padded_square``).
"""

from __future__ import annotations

from vldata.codecs.brackets import Decimals


class Shikra(Decimals):
    """Three decimals, x before y, several boxes in one pair of brackets."""

    name = "shikra"
    about = "[0.100,0.200,0.300,0.400;0.500,...]: x0,y0,x1,y1, three decimals, boxes joined by ; (Shikra)"
    max_error = 0.0005
    digits = 3
    between = ";"
