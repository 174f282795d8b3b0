"""The image path against `cp -r` of the same files.

    python tests/bench/images.py --work /tmp/bench [--images 20000] [--pairs 5]

JPEGs of about 65 KB, all different; vldata checks, hashes and embeds them. Alternated pairs on fresh folders, neither
side flushing to the disk; the median of the pairs' ratios counts. The machine should do nothing else.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import sys
from pathlib import Path

import numpy as np
import yaml
from measure import Row, run, show
from PIL import Image

CLI = Path(__file__).parents[2] / "cli.py"


def corpus(folder: Path, images: int) -> None:
    """COCO captions over noisy photographs: 500 contents, each file different by a comment."""
    if (folder / "captions.json").exists():
        return
    pictures = folder / "images"
    pictures.mkdir(parents=True)
    rng = np.random.default_rng(0)
    contents = []
    for _ in range(min(500, images)):
        coarse = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
        noise = rng.normal(0, 16, (480, 640, 1))
        smooth = np.asarray(Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC), dtype=np.float64)
        data = io.BytesIO()
        Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8)).save(data, "JPEG", quality=55)
        contents.append(data.getvalue())
    for i in range(images):
        content = contents[i % len(contents)]
        comment = b"\xff\xfe" + (10).to_bytes(2) + f"{i:08d}".encode()
        (pictures / f"{i:012d}.jpg").write_bytes(content[:2] + comment + content[2:])
    document = {
        "images": [{"id": i, "file_name": f"{i:012d}.jpg", "width": 640, "height": 480} for i in range(images)],
        "annotations": [{"id": i, "image_id": i, "caption": f"picture number {i}"} for i in range(images)],
    }
    (folder / "captions.json").write_text(json.dumps(document))


def main() -> None:
    """Measure, print, and fail when the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    folder = options.work / f"pictures-{options.images}"
    corpus(folder, options.images)
    source = {"format": "coco_captions", "path": str(folder / "captions.json"), "image_root": str(folder / "images")}
    recipe = options.work / "pictures.yaml"
    recipe.write_text(yaml.safe_dump({"name": "pictures", "seed": 1, "sources": {"captions": source}}))
    num_bytes = sum(file.stat().st_size for file in (folder / "images").iterdir())
    ratios, ours, theirs = [], [], []
    for i in range(options.pairs):
        place = options.work / f"pair-{os.getpid()}-{i}"
        place.mkdir()
        copied = run(["cp", "-r", folder / "images", place / "copy"])
        command = [sys.executable, CLI, "build", recipe, "--out", place / "out", "--store", place / "store", "--json"]
        built = run(command, environment={**os.environ, "VLDATA_NO_SYNC": "1"})
        ours.append(built)
        theirs.append(copied.wall_s)
        ratios.append(copied.wall_s / built.wall_s)
    for i in range(options.pairs):
        shutil.rmtree(options.work / f"pair-{os.getpid()}-{i}")
    wall, ratio = statistics.median(one.wall_s for one in ours), statistics.median(ratios)
    copy = statistics.median(theirs)
    rows: list[Row] = [
        ("build", f"{wall:.2f} s, {num_bytes / wall / 1e6:,.0f} MB/s, {options.images / wall:,.0f} images/s", "", None),
        ("cp -r", f"{copy:.2f} s, {num_bytes / copy / 1e6:,.0f} MB/s", "", None),
        (
            "throughput against cp -r",
            f"{ratio:.2f} (pairs {min(ratios):.2f} to {max(ratios):.2f})",
            ">= 0.7",
            ratio >= 0.7,
        ),
        ("peak memory", f"{max(one.peak_mib for one in ours):,.0f} MiB", "", None),
    ]
    title = f"image path, {options.images:,} JPEGs, {num_bytes / 1e9:.2f} GB"
    raise SystemExit(0 if show(title, rows) else 1)


if __name__ == "__main__":
    main()
