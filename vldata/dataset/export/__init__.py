"""A build in another form, for tools that read no Arrow folder: Parquet, LLaVA JSON, ShareGPT JSON, WebDataset.

One form a file; `FORMS` is the one list of them. An export reads nothing but the build folder, one record batch at a
time, so its memory hardly grows with the build. It is written beside ``out`` and renamed: ``out`` is whole or not
there. Samples that a form cannot express are not written and stand, with the reason, in ``not_exported.jsonl``.
"""

from __future__ import annotations

import os
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

from vldata.base import Progress, Silent
from vldata.errors import BuildError, StoreError, VldataError, nearest

FORMS: dict[str, str] = {
    "llava": "vldata.dataset.export.llava:write",
    "parquet": "vldata.dataset.export.parquet:write",
    "sharegpt": "vldata.dataset.export.sharegpt:write",
    "webdataset": "vldata.dataset.export.webdataset:write",
}
"""Form -> ``module:function`` of (build, empty folder, advance); a module is imported when its form is first used."""


def export(build: Path, out: Path, *, to: str, progress: Progress | None = None) -> dict[str, Any]:
    """Write a build in another form.

    Args:
        build: A build folder.
        out: Folder to write: new or empty.
        to: A name of `FORMS`.

    Returns:
        ``rows`` written, ``files`` written, and rows ``not_exported``.

    Raises:
        VldataError: No such form.
        BuildError: ``build`` is no whole build, or ``out`` is in use or inside a build.
        StoreError: ``out`` cannot be written, or its disk is full.
    """
    from vldata.dataset.open import build_around, open_build

    if to not in FORMS:
        raise VldataError(f"--to {to}", "builds are not exported to this form", nearest(to, FORMS))
    opened = open_build(build)
    _refuse_used(out)
    if around := build_around(out):
        problem = f"it is inside the build {around}, whose next build would delete it"
        raise BuildError(f"--out {out}", problem, "name a folder beside it")
    module, _, function = FORMS[to].partition(":")
    write = getattr(import_module(module), function)
    advance = (progress or Silent()).stage(f"export to {to}", opened.num_rows)
    fresh = out.absolute().parent / f".{out.absolute().name}.{os.getpid()}.new"
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        written = write(opened, fresh, advance)
        files = sum(len(names) for _, _, names in os.walk(fresh))
        fresh.rename(out)  # an empty folder gives way, a folder that was filled meanwhile does not
    except OSError as error:
        problem = error.strerror or str(error)
        raise StoreError(f"--out {out}", problem, "free some space there, or name another place") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return {"rows": written.rows, "files": files, "not_exported": written.not_exported}


def _refuse_used(out: Path) -> None:
    if out.is_dir():
        if any(out.iterdir()):
            raise BuildError(f"--out {out}", "the folder is not empty", "name a new or empty folder")
    elif out.exists() or out.is_symlink():
        raise BuildError(f"--out {out}", "it is not a folder", "name a new or empty folder")
