"""LLaVA-1.5's boxes: ``[0.27, 0.04, 0.46, 0.81]``.

https://github.com/haotian-liu/LLaVA/issues/606
Order x0, y0, x1, y1; range 0 to 1; two decimals, rounded to the nearest; a comma and a space between. Worst-case
error 0.005 of a side. LLaVA-1.5 takes fractions of the square that it pads an image to (recipe: ``reference:
padded_square``); the frame is the caller's business. The reference writes one box a turn; several stand one after
another here.
"""

from __future__ import annotations

from vldata.codecs.brackets import Decimals


class Llava(Decimals):
    """Two decimals in brackets, x before y, comma and space."""

    name = "llava"
    about = "[0.27, 0.04, 0.46, 0.81]: x0, y0, x1, y1, two decimals (LLaVA-1.5)"
    max_error = 0.005
    digits = 2
    comma = ", "
