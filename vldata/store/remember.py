"""Digests of files and facts of pictures, remembered by what the system says about a file, so that reading is not repeated."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import polars as pl
from blake3 import blake3

from vldata.errors import StoreError
from vldata.store.keys import DIGITS, key_of
from vldata.store.lock import exclusive
from vldata.store.store import Store

RACY_NS = 2_000_000_000
"""A file changed so shortly before it was read may change again without a new time stamp: do not remember it."""


def file_digest(store: Store, path: Path) -> str:
    """BLAKE3 of the file's contents, 32 hexadecimal digits; read only when size, time or inode are new.

    Raises:
        StoreError: The file cannot be read.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise StoreError(str(path), error.strerror or str(error), "check the path and its permissions") from None
    now = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
    key = key_of(str(path.absolute()))
    note = store.path("digests", key, ".json")
    try:
        known = json.loads(note.read_text())
        if known["stat"] == now:
            return str(known["digest"])
    except (FileNotFoundError, ValueError, KeyError):
        pass  # never seen, or a note that another version wrote
    digest = contents_digest(path)
    if time.time_ns() - stat.st_mtime_ns > RACY_NS:
        with store.write("digests", key, ".json") as fresh:
            fresh.write_text(json.dumps({"stat": now, "digest": digest}))
    return digest


def contents_digest(path: Path) -> str:
    """BLAKE3 of the file's contents, 32 hexadecimal digits, on all cores."""
    hasher = blake3(max_threads=blake3.AUTO)
    if path.stat().st_size:
        hasher.update_mmap(os.fspath(path))
    return hasher.hexdigest(length=DIGITS // 2)


def load_facts(store: Store, place: str) -> pl.DataFrame | None:
    """What is known of the pictures of a place; None when nothing is."""
    path = store.path("facts", key_of(place), ".parquet")
    return pl.read_parquet(path) if path.is_file() else None


def save_facts(store: Store, place: str, facts: pl.DataFrame) -> None:
    """Add facts to what is known of a place; the newer fact about a ``ref`` wins."""
    key = key_of(place)
    with exclusive(store.root / "facts" / f"{key}.lock"):
        known = load_facts(store, place)
        if known is not None and known.columns == facts.columns:
            facts = pl.concat([facts, known.join(facts, on="ref", how="anti")])
        with store.write("facts", key, ".parquet") as path:
            facts.write_parquet(path)
