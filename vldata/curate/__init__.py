"""Curation: a table of turns in, a smaller table and the ledger rows of what left out. Nothing is lost silently.

Every function gives the same answer whatever the order of the rows it gets: keyed ranks decide, never places.
"""
