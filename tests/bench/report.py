"""What the page costs a build of 100,000 rows, and how large it is.

    python tests/bench/report.py --work /tmp/bench [--rows 100000] [--times 3]

Two captions of each small photograph (12 kB, each file of its own length), a question of each second one, and texts: a
cheap build, so that the page stands out. CPU seconds of the page are set against those of all else, workers and all,
of the same build; the median counts. The machine may be busy: both suffer alike.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from measure import Row, show
from PIL import Image

from vldata import build
from vldata.recipe.load import from_tree


def corpus(folder: Path, rows: int) -> None:
    """Photographs of noise with captions, questions and texts, three tenths of ``rows`` photographs."""
    if (folder / "texts.jsonl").exists():
        return
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    contents = []
    for i in range(300):
        width, height = ((320, 240), (240, 320), (400, 300), (300, 300))[i % 4]
        coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)
        data = io.BytesIO()
        noisy = np.clip(smooth + rng.normal(0, 8, (height, width, 1)), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(data, "JPEG", quality=60)
        contents.append((data.getvalue(), width, height))
    words = np.array(
        [
            "a",
            "the",
            "red",
            "blue",
            "small",
            "dog",
            "cat",
            "runs",
            "over",
            "under",
            "near",
            "table",
            "green",
            "hill",
            "with",
            "two",
            "people",
        ]
    )
    num_images = 3 * rows // 10
    images, captions = [], []
    for i in range(num_images):
        content, width, height = contents[i % len(contents)]
        comment = f"{i:08d}".encode() + b"x" * int(rng.integers(3000))
        marked = content[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2) + comment + content[2:]
        (folder / "images" / f"{i:08d}.jpg").write_bytes(marked)
        images.append({"id": i, "file_name": f"{i:08d}.jpg", "width": width, "height": height})
        said = (" ".join(rng.choice(words, rng.integers(5, 18))) for _ in range(2))
        captions += [{"id": 2 * i + n, "image_id": i, "caption": text} for n, text in enumerate(said)]
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": captions}))
    with (folder / "questions.jsonl").open("w") as file:
        for i in range(4 * rows // 10):
            question = f"what is {' '.join(rng.choice(words, 5))} {i}?"
            row = {"img": f"{i % num_images:08d}.jpg", "q": question, "a": str(rng.choice(words))}
            file.write(json.dumps(row) + "\n")
    with (folder / "texts.jsonl").open("w") as file:
        for _ in range(2 * rows // 10):
            text, reply = (" ".join(rng.choice(words, n)) for n in (20, 100))
            file.write(json.dumps({"instruction": text, "input": "", "output": reply}) + "\n")


def once(work: Path, folder: Path, rows: int) -> tuple[float, float, int]:
    """CPU seconds of the page, of all else in its build, and the page's bytes."""
    at = {name: str(folder / name) for name in ("captions.json", "questions.jsonl", "texts.jsonl", "images")}
    fields = {"images": "img", "question": "q", "answer": "a"}
    sources = {
        "captions": {"format": "coco_captions", "path": at["captions.json"], "image_root": at["images"]},
        "questions": {
            "format": "table",
            "path": at["questions.jsonl"],
            "image_root": at["images"],
            "task": "vqa_open",
            "fields": fields,
        },
        "texts": {"format": "alpaca", "path": at["texts.jsonl"]},
    }
    mixture = {"total": rows, "sources": {"captions": 4, "questions": 4, "texts": 2}}
    tree = {"name": "page", "sources": sources, "mixture": mixture, "splits": {"val": 0.01}}
    tree["defaults"] = {"conversation": {"max_turns": 1}}
    text: list[tuple[float, int]] = []

    def finish(build_folder: Path) -> None:
        started = time.process_time()
        from vldata.report.build_page import write_build_page

        page = write_build_page(build_folder)
        text.append((time.process_time() - started, page.stat().st_size))

    place = work / "report-place"
    shutil.rmtree(place, ignore_errors=True)
    before = _cpu_s()
    build(from_tree(tree), place / "out", store=place / "store", workers=2, finish=finish)
    ((page_s, num_bytes),) = text
    shutil.rmtree(place)
    return page_s, _cpu_s() - before - page_s, num_bytes


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Measure, print, and fail when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--once", action="store_true", help="One build in this process, as JSON.")
    options = parser.parse_args()
    folder = options.work / f"report-{options.rows}"
    corpus(folder, options.rows)
    if options.once:
        print(json.dumps(once(options.work, folder, options.rows)))
        return
    command = [sys.executable, __file__, "--work", str(options.work), "--rows", str(options.rows), "--once"]
    runs = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(options.times)]
    page_s, rest_s = (statistics.median(run[i] for run in runs) for i in (0, 1))
    share = statistics.median(run[0] / run[1] for run in runs)
    num_bytes = runs[0][2]
    rows: list[Row] = [
        ("page, CPU", f"{page_s:.2f} s", "", None),
        ("build without it, CPU", f"{rest_s:.2f} s", "", None),
        ("page to build", f"{share:.1%}", "5 %", share < 0.05),
        ("size of the page", f"{num_bytes / 1e6:.2f} MB", "3 MB", num_bytes < 3e6),
    ]
    raise SystemExit(0 if show(f"the page of {options.rows:,} rows", rows) else 1)


if __name__ == "__main__":
    main()
