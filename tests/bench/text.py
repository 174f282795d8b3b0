"""The text path against the same work written with Hugging Face `datasets` (`hf_peer.py`).

    python tests/bench/text.py --work /tmp/bench [--turns 1000000] [--rounds 3] [--skip-peer]

Four stand-in corpora without pictures, grouped, deduplicated, mixed and rendered with paths. Both sides run as fresh
processes, one after the other, `--rounds` times; medians are compared. The machine should do nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

import yaml
from measure import Run, run, show

from vldata.sources import source_class

HERE = Path(__file__).parent
CLI = HERE.parents[1] / "cli.py"
FORMATS = {"captions": "coco_captions", "vqav2": "vqav2", "gqa": "gqa", "aokvqa": "aokvqa"}
WEIGHTS = {"captions": 5, "vqav2": 5, "gqa": 5, "aokvqa": 4}


def corpora(folder: Path, turns: int) -> dict[str, dict[str, Any]]:
    """Write the stand-ins once; the recipe keys of each."""
    keys = {}
    for seed, (name, format_name) in enumerate(FORMATS.items()):
        note = folder / f"{name}.json"
        if not note.exists():
            (folder / name).mkdir(parents=True)
            made = source_class(format_name).standin(folder / name, rows=turns // 4, seed=seed, images=False)
            note.write_text(json.dumps(made))
        keys[name] = {"format": format_name, **json.loads(note.read_text())}
    return keys


def recipe(keys: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The mixture that both sides build."""
    talk = {
        "captions": {"max_turns": 1},
        "vqav2": {"max_turns": 10, "dedup": {"by": "answer"}},
        "gqa": {"max_turns": 10, "dedup": {"by": ["question", "answer"], "similarity": 0.8}},
        "aokvqa": {"max_turns": 10, "dedup": {"by": "answer"}},
    }
    return {
        "name": "text",
        "seed": 7,
        "defaults": {"images": {"missing": "keep"}},
        "sources": {name: {**source, "conversation": talk[name]} for name, source in keys.items()},
        "mixture": {"unit": "turns", "sources": WEIGHTS},
        "output": {"images": "path"},
    }


def build(work: Path, recipe_file: Path, *options: str) -> Run:
    """One build by the command line, in a process of its own."""
    command = [sys.executable, CLI, "build", recipe_file, "--out", work / "out", "--store", work / "store", "--json"]
    return run([*command, *options], environment={**os.environ, "VLDATA_NO_SYNC": "1"})


def main() -> None:
    """Measure, print, and fail when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip-peer", action="store_true")
    options = parser.parse_args()
    folder = options.work / f"corpora-{options.turns}"
    recipe_file = options.work / f"recipe-{options.turns}.yaml"
    tree = recipe(corpora(folder, options.turns))
    recipe_file.write_text(yaml.safe_dump(tree))
    ours, peers, again = [], [], []
    for _ in range(options.rounds):
        shutil.rmtree(options.work / "store", ignore_errors=True)
        shutil.rmtree(options.work / "out", ignore_errors=True)
        ours.append(build(options.work, recipe_file))
        again.append(build(options.work, recipe_file))
        if not options.skip_peer:
            weights = ",".join(f"{name}={weight}" for name, weight in WEIGHTS.items())
            peer = [sys.executable, HERE / "hf_peer.py", folder, options.work / "peer", "--weights", weights]
            peers.append(run(peer))
            shutil.rmtree(options.work / "peer")
    (options.work / "words").mkdir(exist_ok=True)
    words = "{% block user %}What is shown?{% endblock %}{% block assistant %}{{ caption }}{% endblock %}"
    (options.work / "words" / "caption.jinja").write_text(words)
    changed = json.loads(
        build(options.work, recipe_file, "--set", f"sources.captions.templates.path={options.work / 'words'}").stdout
    )
    manifest = json.loads((options.work / "out" / "manifest.json").read_text())
    of_captions = len({block["key"] for block in manifest["blocks"] if block["source"] == "captions"})
    wall = statistics.median(one.wall_s for one in ours)
    peak = max(one.peak_mib for one in ours)
    used = sum(source["rows_in"] for source in changed["sources"].values())
    rows: list[tuple[str, str, str, bool | None]] = [
        ("build", f"{wall:.1f} s, {wall / used * 1e6:.1f} µs a turn read", "", None),
        ("peak memory", f"{peak:,.0f} MiB", "< 2,048 MiB", peak < 2048),
        (
            "second identical build",
            f"{min(one.wall_s for one in again):.2f} s",
            "< 1 s",
            min(one.wall_s for one in again) < 1,
        ),
        ("new blocks after a changed template", f"{of_captions} of that source", "only that source's", None),
    ]
    if peers:
        peer_wall, peer_peak = statistics.median(p.wall_s for p in peers), max(p.peak_mib for p in peers)
        counts = json.loads(peers[-1].stdout.strip().splitlines()[-1])
        theirs = sum(one["turns"] for one in counts.values())
        mine = sum(source["achieved"]["turns"] for source in changed["sources"].values())
        rows += [
            (
                "the same with datasets",
                f"{peer_wall:.1f} s, {peer_peak:,.0f} MiB, {theirs:,} turns (ours {mine:,})",
                "",
                None,
            ),
            ("ratio", f"{peer_wall / wall:.1f} x", ">= 10 x", peer_wall / wall >= 10),
            ("memory against it", f"{peak / peer_peak:.2f}", "<= 1", peak <= peer_peak),
        ]
    raise SystemExit(0 if show(f"text path, {options.turns:,} turns", rows) else 1)


if __name__ == "__main__":
    main()
