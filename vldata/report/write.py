"""Which page a folder gets, and where it goes."""

from __future__ import annotations

from pathlib import Path

from vldata.dataset.manifest import MANIFEST
from vldata.errors import BuildError
from vldata.report.build_page import PAGE, write_build_page
from vldata.report.render import write

RESULTS = "results.json"
"""What an ablation leaves in its folder."""

TUNE = "tune.json"
"""What a tuning leaves."""

STARTED = {"ablation.json": ("ablation", "ablate"), "asked.json": ("tuning", "tune")}
"""File that marks a folder without results yet -> what it is, and the command that resumes it."""


def write_report(folder: Path, other: Path | None = None, out: Path | None = None) -> Path:
    """Write the page of a build, of an ablation, of a tuning, or of two builds side by side.

    Args:
        folder: The folder of a build, of an ablation or of a tuning.
        other: A build folder to compare it with.
        out: The file; None is ``report.html`` in ``folder``. A page of two builds needs one.

    Returns:
        The file.

    Raises:
        BuildError: ``folder`` or ``other`` is neither, cannot be read, or ``out`` is needed.
        StoreError: The page cannot be written.
    """
    if out is not None and out.is_dir():
        raise BuildError(f"--out {out}", "it is a folder", f"name a file: --out {out / PAGE}")
    if out is not None and not out.parent.is_dir():
        raise BuildError(f"--out {out}", f"there is no folder {out.parent}", "make it, or name another place")
    if other is not None:
        from vldata.report.compare_page import compare_page

        if out is None:
            problem = "a page that compares two builds belongs to neither"
            raise BuildError("--out", problem, "name a file: --out compare.html")
        return write(compare_page(folder, other), out)
    if (folder / RESULTS).is_file() and not (folder / MANIFEST).is_file():
        from vldata.report.ablation_page import ablation_page

        return write(ablation_page(folder / RESULTS), out or folder / PAGE)
    if (folder / TUNE).is_file() and not (folder / MANIFEST).is_file():
        from vldata.report.tuning_page import tuning_page

        return write(tuning_page(folder / TUNE), out or folder / PAGE)
    if not (folder / MANIFEST).is_file():
        for name, (what, command) in STARTED.items():
            if (folder / name).is_file():
                problem = f"this {what} has no results yet: it is running, was stopped, or only made its builds"
                fix = f"let it end, or resume it: vldata {command} FILE --out {folder}"
                raise BuildError(str(folder), problem, fix)
        problem = f"no build, ablation or tuning (it has no {MANIFEST}, no {RESULTS} and no {TUNE})"
        raise BuildError(str(folder), problem, "name the --out of `vldata build`, `vldata ablate` or `vldata tune`")
    return write_build_page(folder, out)
