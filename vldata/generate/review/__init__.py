"""Turns that models wrote, out to people and back: `job.py` is the job, the others are its forms on disk."""
