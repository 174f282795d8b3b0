"""Weights -> shares -> exact counts: pure functions that see numbers and names, never rows."""
