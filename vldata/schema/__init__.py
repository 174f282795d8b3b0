"""What flows: turns, boxes, messages and finished rows, with their column names, types and units."""
