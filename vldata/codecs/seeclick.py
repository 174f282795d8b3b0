"""SeeClick's boxes: ``(0.12,0.54,0.30,0.60)``.

https://github.com/njucckevin/SeeClick (``pretrain/process_utils.py``, ``bbox_2_bbox``)
Order x0, y0, x1, y1; range 0 to 1; two decimals, rounded to the nearest; round brackets, no spaces. Worst-case error
0.005 of a side. SeeClick's click points ``(x,y)`` are a box's centre and cannot be turned back into the box, so they
are not a codec: a template writes them.
"""

from __future__ import annotations

from vldata.codecs.brackets import Decimals


class SeeClick(Decimals):
    """Two decimals in round brackets, x before y, no spaces."""

    name = "seeclick"
    about = "(0.12,0.54,0.30,0.60): x0,y0,x1,y1, two decimals, round brackets (SeeClick)"
    max_error = 0.005
    digits = 2
    brackets = ("(", ")")
