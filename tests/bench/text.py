"""The text path against the same work written with Hugging Face `datasets` (`hf_peer.py`).

    python tests/bench/text.py --work /tmp/bench [--turns 1000000] [--rounds 3] [--scale 3] [--skip-peer] [--tuned]

Four stand-in corpora without pictures, grouped, deduplicated, mixed and rendered with paths. Every build is a fresh
process of the command line, every round alternates the sides and starts from an empty store; medians are compared.
Neither side flushes to the disk. The machine should do nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from measure import Row, Run, run, show

HERE = Path(__file__).parent
CLI = HERE.parents[1] / "cli.py"
FORMATS = {"captions": "coco_captions", "vqav2": "vqav2", "gqa": "gqa", "aokvqa": "aokvqa"}
WEIGHTS = {"captions": 4, "vqav2": 4, "gqa": 4, "aokvqa": 2}
MAX_MIB = 2048
OUTPUT_TOLERANCE = 0.01
"""How much the sides may differ in samples and turns: which of two like questions stays is up to each."""


class Build(NamedTuple):
    """A build of the command line: how it ran, and what it says of itself."""

    run: Run
    manifest: dict[str, Any]

    @property
    def turns_read(self) -> int:
        return sum(source["rows_in"] for source in self.manifest["sources"].values())

    @property
    def us_per_turn(self) -> float:
        return self.run.wall_s / self.turns_read * 1e6

    def keys_of(self, source: str) -> set[str]:
        return {block["key"] for block in self.manifest["blocks"] if block["source"] == source}


class Bench:
    """A recipe over stand-ins of so many turns, below a folder."""

    def __init__(self, work: Path, turns: int) -> None:
        self.work, self.turns = work, turns
        self.corpora = work / f"corpora-{turns}"
        self.recipe = work / f"recipe-{turns}.yaml"
        self.words = work / "words"
        sources = {name: self._corpus(name, seed) for seed, name in enumerate(FORMATS)}
        sources["captions"] |= {"conversation": {"max_turns": 1}, "templates": {"path": str(self.words)}}
        sources["vqav2"]["conversation"] = {"dedup": {"by": "answer"}}
        sources["gqa"]["conversation"] = {"dedup": {"by": "answer", "similarity": 0.8}}
        sources["aokvqa"]["conversation"] = {"dedup": {"by": ["question", "answer"]}}
        tree = {
            "name": "text",
            "seed": 7,
            "defaults": {
                "conversation": {"max_turns": 10, "image_position": "random"},
                "images": {"missing": "keep"},
            },
            "sources": sources,
            "mixture": {"unit": "turns", "sources": WEIGHTS},
            "output": {"images": "path"},
        }
        self.recipe.write_text(yaml.safe_dump(tree))

    def _corpus(self, name: str, seed: int) -> dict[str, Any]:
        """The recipe keys of a stand-in, which is written once."""
        folder, note = self.corpora / name, self.corpora / f"{name}.recipe.json"
        if not note.exists():
            shutil.rmtree(folder, ignore_errors=True)
            wanted = [FORMATS[name], folder, "--rows", self.turns // len(FORMATS), "--seed", seed, "--no-images"]
            told = run([sys.executable, CLI, "standin", *wanted])
            note.write_text(told.stdout.partition(f"{FORMATS[name]}: ")[2])
        return {"format": FORMATS[name], **json.loads(note.read_text())}

    def say(self, words: str) -> None:
        """How the captions are asked for."""
        self.words.mkdir(exist_ok=True)
        text = "{% block user %}" + words + "{% endblock %}{% block assistant %}{{ caption }}{% endblock %}"
        (self.words / "caption.jinja").write_text(text)

    def clear(self) -> None:
        for name in ("store", "out", "peer", "cache"):
            shutil.rmtree(self.work / name, ignore_errors=True)

    def build(self) -> Build:
        command = [
            sys.executable,
            CLI,
            "build",
            self.recipe,
            "--out",
            self.work / "out",
            "--store",
            self.work / "store",
        ]
        ran = run([*command, "--json"], environment={**os.environ, "VLDATA_NO_SYNC": "1"})
        return Build(ran, json.loads((self.work / "out" / "manifest.json").read_text()))

    def peer(self, *, tuned: bool) -> tuple[Run, dict[str, dict[str, int]]]:
        weights = ",".join(f"{name}={weight}" for name, weight in WEIGHTS.items())
        command = [sys.executable, HERE / "hf_peer.py", self.corpora, self.work / "peer", "--weights", weights]
        cache = {"HF_HOME": str(self.work / "cache"), "HF_HUB_OFFLINE": "1"}
        ran = run([*command, *(["--tuned"] if tuned else [])], environment={**os.environ, **cache})
        shutil.rmtree(self.work / "peer")
        return ran, json.loads(ran.stdout.strip().splitlines()[-1])


def same_amounts(mine: Build, theirs: dict[str, dict[str, int]]) -> None:
    """Both sides must have done the same work."""
    for name, counts in theirs.items():
        for unit, count in counts.items():
            ours = mine.manifest["sources"][name]["achieved"][unit]
            if abs(ours - count) > OUTPUT_TOLERANCE * count:
                raise SystemExit(f"{name}: {ours:,} {unit} here, {count:,} there: not the same work")


def median_s(runs: list[Run]) -> float:
    return statistics.median(one.wall_s for one in runs)


def against_peer(what: str, ours: list[Run], peers: list[Run], *, is_target: bool) -> list[Row]:
    ratio = median_s(peers) / median_s(ours)
    peak, peer_peak = (max(one.peak_mib for one in runs) for runs in (ours, peers))
    return [
        (what, f"{median_s(peers):.1f} s, {peer_peak:,.0f} MiB", "", None),
        (
            "  times as long as vldata",
            f"{ratio:.1f} x",
            ">= 10 x" if is_target else "",
            ratio >= 10 if is_target else None,
        ),
        (
            "  memory of vldata against it",
            f"{peak / peer_peak:.2f} x",
            "<= 1 x" if is_target else "",
            peak <= peer_peak if is_target else None,
        ),
    ]


def scaling(bench: Bench, large: Bench, rounds: int) -> list[Row]:
    """Time per turn of the large build against that of the small one, in alternated pairs."""
    pairs = []
    for _ in range(rounds):
        bench.clear()
        small = bench.build()
        bench.clear()
        pairs.append((small, large.build()))
    ratio = statistics.median(big.us_per_turn / small.us_per_turn for small, big in pairs)
    wall, peak = median_s([big.run for _, big in pairs]), max(big.run.peak_mib for _, big in pairs)
    return [
        (f"build of {pairs[0][1].turns_read:,} turns", f"{wall:.1f} s, {peak:,.0f} MiB", "", None),
        ("  time per turn against the smaller one", f"{ratio:.2f} x", "<= 1.2 x", ratio <= 1.2),
    ]


def main() -> None:
    """Measure, print, and fail when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="scratch folder, about 2 GB for a million turns")
    parser.add_argument("--turns", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=int, default=3, help="also build so many times as many turns; 1: do not")
    parser.add_argument("--skip-peer", action="store_true")
    parser.add_argument("--tuned", action="store_true", help="also run the peer in batches and in processes")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.work, options.turns)
    ours, again, peers, tuned = [], [], [], []
    for _ in range(options.rounds):
        bench.say("What is shown?")
        bench.clear()
        first = bench.build()
        ours.append(first.run)
        again.append(bench.build().run)
        if not options.skip_peer:
            peer, counts = bench.peer(tuned=False)
            peers.append(peer)
            same_amounts(first, counts)
        if options.tuned:
            tuned.append(bench.peer(tuned=True)[0])
    bench.say("What can be seen here?")
    changed = bench.build()
    fresh = {name: len(changed.keys_of(name) - first.keys_of(name)) for name in FORMATS}
    only_captions = fresh == {**dict.fromkeys(FORMATS, 0), "captions": len(changed.keys_of("captions"))}

    peak, noop = max(one.peak_mib for one in ours), median_s(again)
    rows: list[Row] = [
        ("build", f"{median_s(ours):.1f} s, {median_s(ours) / first.turns_read * 1e6:.2f} µs a turn read", "", None),
        ("  peak memory", f"{peak:,.0f} MiB", f"<= {MAX_MIB:,} MiB", peak <= MAX_MIB),
        ("second identical build", f"{noop:.2f} s", "< 1 s", noop < 1),
        (
            "changed template of captions",
            f"{changed.run.wall_s:.1f} s, new blocks {fresh}",
            "only captions",
            only_captions,
        ),
    ]
    if peers:
        rows += against_peer("the usual way with datasets", ours, peers, is_target=True)
    if tuned:
        rows += against_peer("the same, batched and in processes", ours, tuned, is_target=False)
    if options.scale > 1:
        rows += scaling(bench, Bench(options.work, options.turns * options.scale), options.rounds)
    bench.clear()
    raise SystemExit(0 if show(f"text path, {first.turns_read:,} turns", rows) else 1)


if __name__ == "__main__":
    main()
