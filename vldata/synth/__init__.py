"""Synthetic conversations: requests written from turns, sent once, their answers kept for ever and parsed for free."""
