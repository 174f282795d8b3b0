"""A small world of coloured shapes whose every image is known exactly: the ground truth of stand-ins and tests.

    (seed, number) ──scene──▶ Scene ──draw──────▶ image bytes
                                    └─language──▶ captions, questions, statements, phrases with boxes: all true of it

Only `scene` makes choices about the image; `draw` and `language` are functions of the scene alone.
"""
