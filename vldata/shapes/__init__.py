"""A small world of coloured shapes whose every picture is known exactly: the ground truth of stand-ins and tests.

    (seed, number) ──scene──▶ Scene ──draw──────▶ picture bytes
                                    └─language──▶ captions, questions, statements, phrases with boxes: all true of it

Only `scene` makes choices about the picture; `draw` and `language` are functions of the scene alone.
"""
