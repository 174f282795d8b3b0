"""What eight leave-one-out variants cost beside their base: eight sources, 20,000 images, builds only.

    python tests/bench/ablation.py --work /tmp/bench [--images 20000] [--rounds 3] [--workers 1]

The images are drawn before the clock starts, as if they had come from a download. Each side is a fresh process of the
command line and starts from an empty store; every round alternates the base alone with the whole ablation, once with
the other sources' counts held and once with the total held; medians are compared. Disk is what the store, the builds
and everything beside them occupy; a file that is linked several times counts once, the images not at all.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from measure import Row, run, show

CLI = Path(__file__).parents[2] / "cli.py"
TASKS = ("caption", "vqa_open", "vqa_mc", "true_false", "rec", "reg", "grounded_caption", "instruction")
SPARE = 1.16
"""Scenes of a source in parts of what the base takes: with the total held, seven sources give what eight gave."""


class Cost(NamedTuple):
    """What one side took: on the wall, of all cores, and on the disk."""

    wall_s: float
    cpu_s: float
    size_bytes: int


def recipe(images: int) -> dict[str, Any]:
    """One source a task, each of a world of its own; every image is one conversation."""
    scenes = round(images / len(TASKS) * SPARE)
    sources = {
        f"{task}s": {"format": "shapes", "task": task, "scenes": scenes, "world_seed": 100 + number}
        for number, task in enumerate(TASKS)
    }
    return {
        "name": "eight",
        "seed": 7,
        "defaults": {"conversation": {"max_turns": "all"}},
        "sources": sources,
        "mixture": {"total": images, "sources": dict.fromkeys(sources, 1)},
        "splits": {"val": 0.05},
    }


class Bench:
    """The recipe and its two ablations below a folder, with the images drawn."""

    def __init__(self, work: Path, images: int, workers: int) -> None:
        self.work, self.workers = work, workers
        (work / "eight.yaml").write_text(yaml.safe_dump(recipe(images)))
        for held in ("counts", "total"):
            tree = {"name": held, "base": "eight.yaml", "held": held, "axes": {"drop": "sources"}}
            (work / f"{held}.yaml").write_text(yaml.safe_dump(tree))
        self.image_folder = work / f"pictures-{images}"
        if not self.image_folder.is_dir():
            self._clear()
            self._cli("plan", "eight.yaml")
            (work / "store" / "pictures").rename(self.image_folder)

    def base(self) -> Cost:
        self._clear()
        return self._cost("build", "eight.yaml", "--out", self.work / "out", "--no-report")

    def ablation(self, held: str) -> Cost:
        self._clear()
        return self._cost("ablate", f"{held}.yaml", "--out", self.work / "out", "--builds-only")

    def _cost(self, *words: str | Path) -> Cost:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall_s = self._cli(*words)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Cost(
            wall_s, cpu_s, occupied(self.work / "out") + occupied(self.work / "store") - occupied(self.image_folder)
        )

    def _cli(self, command: str, file: str, *words: str | Path) -> float:
        store = ("--store", self.work / "store", "--workers", self.workers, "--json")
        return run([sys.executable, CLI, command, self.work / file, *words, *store]).wall_s

    def _clear(self) -> None:
        for name in ("store", "out"):
            shutil.rmtree(self.work / name, ignore_errors=True)
        if self.image_folder.is_dir():
            (self.work / "store").mkdir()
            (self.work / "store" / "VERSION").write_text("vldata store 1\n")
            shutil.copytree(self.image_folder, self.work / "store" / "pictures", copy_function=os.link)


def text(costs: list[Cost]) -> str:
    """Medians of the times, and the disk."""
    wall, cpu = (statistics.median(one[place] for one in costs) for place in (0, 1))
    return f"{wall:.1f} s ({cpu:.1f} s of processor), {costs[0].size_bytes / 1e6:,.0f} MB"


def occupied(folder: Path) -> int:
    """Bytes on the disk, each file once."""
    result = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        result[status.st_ino] = status.st_blocks * 512
    return sum(result.values())


def main() -> None:
    """Measure, print, and fail when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="scratch folder, about 2 GB for 20,000 images")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.work, options.images, options.workers)
    bases, counts, totals = [], [], []
    for _ in range(options.rounds):
        bases.append(bench.base())
        counts.append(bench.ablation("counts"))
        totals.append(bench.ablation("total"))
    rows: list[Row] = [("the base alone", text(bases), "", None)]
    for what, result, most in (("counts held", counts, (1.3, 1.1)), ("total held", totals, None)):
        pairs = list(zip(result, bases, strict=True))
        wall = statistics.median(one.wall_s / base.wall_s for one, base in pairs)
        cpu = statistics.median(one.cpu_s / base.cpu_s for one, base in pairs)
        size = result[0].size_bytes / bases[0].size_bytes
        rows.append((f"base and 8 variants, {what}", text(result), "", None))
        targets = ("", "") if most is None else (f"<= {most[0]} x", f"<= {most[1]} x")
        rows.append(
            ("  time of the base alone", f"{wall:.2f} x", targets[0], None if most is None else wall <= most[0])
        )
        rows.append(("  processor time of it", f"{cpu:.2f} x", "", None))
        rows.append(
            ("  disk of the base alone", f"{size:.3f} x", targets[1], None if most is None else size <= most[1])
        )
    bench._clear()
    raise SystemExit(0 if show(f"leave one out, {options.images:,} images", rows) else 1)


if __name__ == "__main__":
    main()
