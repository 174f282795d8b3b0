"""A folder for tables on their way to workers; what a killed build left there is removed by the next one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vldata.errors import StoreError
from vldata.store.lock import exclusive
from vldata.store.store import Store


@contextmanager
def scratch(store: Store) -> Iterator[Path]:
    """A new folder in the store, removed at the end."""
    base = store.root / "scratch"
    base.mkdir(exist_ok=True)
    _remove_abandoned(base)
    with tempfile.TemporaryDirectory(dir=base, prefix=f"{os.getpid()}-") as name, exclusive(Path(name) / "lock"):
        yield Path(name)


def _remove_abandoned(base: Path) -> None:
    for folder in base.iterdir():
        if not (folder / "lock").exists():
            continue  # just being made
        try:
            with exclusive(folder / "lock", wait=False):
                shutil.rmtree(folder, ignore_errors=True)
        except StoreError:
            continue  # its build is running
