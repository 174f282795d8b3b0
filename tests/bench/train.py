"""The trainer's speed, and against a padded Hugging Face `Trainer` of the same model, in one table.

    python tests/bench/train.py [--case tiny s222 m1500 llava15_7b] [--pairs 3] [--json]

Needs `pip install accelerate` besides the development extra. The data is made here (`train_data.py`); weights are
random, nothing is downloaded. Both sides pass over the same rows in alternated turns, a process each
(`train_turns.py`); the median of the pairs' ratios counts. The peer gets the micro-batch that it is fastest with, found
first on a part of the rows; a batch that does not fit the device is none. MFU is useful operations over the device's
dense bf16 peak: nothing that is recomputed or padded counts. On a CPU there is no such peak.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import train_data
from measure import run
from rich.console import Console
from rich.table import Table
from train_turns import Turn

TURNS = Path(__file__).with_name("train_turns.py")

PEAK_TFLOPS = {"H100 PCIe": 756.0, "H100": 989.0, "H200": 989.0, "A100": 312.0, "L40S": 362.0, "B200": 2250.0}
"""Dense bf16, from the vendor's data sheets; the first name that the device's holds."""


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Args:
        preset: Of the trainer.
        stage: Its stage, by place.
        data: Kind of the rows.
        rows: How many.
        width_px: Of the images.
        samples_per_s: To be reached on one H200; None is no target.
        ratio: To the padded trainer.
    """

    preset: str
    stage: int
    data: train_data.Kind
    rows: int
    width_px: int = 640
    samples_per_s: float | None = None
    ratio: float | None = None


CASES = {
    "tiny": Case("tiny", 0, "instruct", 1200, width_px=128),
    "s222": Case("s222", 0, "instruct", 24_000, samples_per_s=600, ratio=1.8),
    "m1500/pretrain": Case("m1500", 0, "captions", 4000),
    "m1500/finetune": Case("m1500", 1, "instruct", 3000, samples_per_s=60),
    "llava15_7b/pretrain": Case("llava15_7b", 0, "captions", 1200, samples_per_s=19, ratio=1.2),
    "llava15_7b/lora": Case("llava15_7b", 1, "instruct", 800, samples_per_s=12, ratio=1.2),
}
"""Rows enough for over fifty packs each, so that the last, half-empty one counts little."""


def main() -> None:
    """Measure and print; fail when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", help=f"{', '.join(CASES)}; a preset's name is all its stages")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--rows", type=int, help="in place of the case's own")
    parser.add_argument("--set", action="append", default=[], help="a change of the preset, key=value")
    parser.add_argument("--batch", type=int, nargs="+", help="the peer's micro-batches to choose from")
    parser.add_argument("--warmup", type=int, help="steps before the clock; 5 on a CPU, 20 on a GPU")
    parser.add_argument("--peak-tflops", type=float, help="of the device, where it is not known")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--work", type=Path, help="where the data is kept")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not options.no_peer and find_spec("accelerate") is None:
        raise SystemExit("transformers' Trainer needs accelerate: pip install accelerate, or give --no-peer")
    on_gpu = torch.cuda.is_available()
    wanted = options.case or ["s222", "m1500", "llava15_7b"] if on_gpu else options.case or ["tiny"]
    names = [name for name in CASES if name in wanted or name.partition("/")[0] in wanted]
    if not names:
        raise SystemExit(f"no case of {', '.join(wanted)}; there are {', '.join(CASES)}")
    with tempfile.TemporaryDirectory() as own:
        work = options.work or Path(own)
        cases = [_measured(name, options, work, on_gpu) for name in names]
    result = {
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "date": date.today().isoformat(),
        **{name: version(name) for name in ("torch", "transformers")},
        "threads": torch.get_num_threads(),
        "cases": cases,
    }
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        _show(result)
    sys.exit(any(case["met"] is False for case in cases))


def _measured(name: str, options: argparse.Namespace, work: Path, on_gpu: bool) -> dict[str, Any]:
    case = CASES[name]
    rows, device = options.rows or case.rows, "cuda" if on_gpu else "cpu"
    # the longest conversations are those of LLaVA's own limit, or of a pack
    most_words = 1400 if case.preset != "tiny" else 800
    build = train_data.make(work, case.data, rows, most_words, case.width_px)
    turn = Turn(
        case.preset,
        case.stage,
        options.set,
        str(build),
        device,
        warmup=options.warmup or (20 if on_gpu else 5),
        workers=8 if on_gpu else 0,
    )
    first = _turn("ours", turn)
    ours, theirs, tried = [first], [], {}
    if not options.no_peer:
        turn, tried = _fastest(turn, first, options.batch, rows)
        ours = []
        for pair in range(options.pairs):
            sides = ("ours", "peer") if pair % 2 == 0 else ("peer", "ours")
            both = {side: _turn(side, turn) for side in sides}
            ours.append(both["ours"])
            theirs.append(both["peer"])
    ratios = [one["samples_per_s"] / other["samples_per_s"] for one, other in zip(ours, theirs, strict=True)]
    # of processor time, where other work on the machine would show in seconds
    by_cpu = [other["cpu_seconds"] / one["cpu_seconds"] for one, other in zip(ours, theirs, strict=True)]
    middle = sorted(ours, key=lambda one: one["samples_per_s"])[len(ours) // 2]
    peak = options.peak_tflops or next((p for key, p in PEAK_TFLOPS.items() if on_gpu and key in _gpu()), None)
    ratio = statistics.median(ratios) if ratios else None
    reached = [
        value >= target
        for value, target in ((middle["samples_per_s"], on_gpu and case.samples_per_s), (ratio, case.ratio))
        if value is not None and target
    ]
    return {
        "case": name,
        **middle,
        "mfu": middle["tflops"] / peak if peak else None,
        "peer": sorted(theirs, key=lambda one: one["samples_per_s"])[len(theirs) // 2] if theirs else None,
        "peer_tried": tried,
        "ratio": ratio,
        "ratios": ratios,
        "ratio_cpu": None if on_gpu or not by_cpu else statistics.median(by_cpu),
        "targets": {"samples_per_s": case.samples_per_s, "ratio": case.ratio},
        "met": all(reached) if reached else None,
    }


def _fastest(turn: Turn, first: dict[str, Any], given: list[int] | None, rows: int) -> tuple[Turn, dict[int, float]]:
    """The turn with the peer's best micro-batch, its steps as large as this trainer's; samples/s of each one tried."""
    per_pack, per_step = first["rows_per_pack"], first["rows_per_pack"] * first["packs_per_step"]
    around = [max(1, round(per_pack * share)) for share in (0.25, 0.5, 1, 2)]
    tried = []
    for batch in given or sorted(set(around)):
        candidate = replace(turn, batch=batch, accumulate=max(1, round(per_step / batch)), most_rows=max(64, rows // 4))
        tried.append((_turn("peer", candidate).get("samples_per_s", 0.0), candidate))
    speed, best = max(tried, key=lambda pair: pair[0])
    if not speed:
        raise SystemExit(f"no micro-batch of {', '.join(str(one.batch) for _, one in tried)} rows fits the device")
    return replace(best, most_rows=0), {one.batch: speed for speed, one in tried}


def _turn(side: str, turn: Turn) -> dict[str, Any]:
    done = run([sys.executable, TURNS, side, json.dumps(asdict(turn))])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _gpu() -> str:
    return torch.cuda.get_device_name()


def _show(result: dict[str, Any]) -> None:
    title = f"{result['device']}, {result['date']}, torch {result['torch']}, transformers {result['transformers']}"
    table = Table(title=title, box=None, title_justify="left")
    heads = ("samples/s", "learnt tok/s", "MFU", "packs full", "data wait", "peak GiB", "HF samples/s", "HF full")
    table.add_column("case")
    for head in (*heads, "ratio", "targets"):
        table.add_column(head, justify="right")
    for case in result["cases"]:
        peer, targets = case["peer"], case["targets"]
        aims = [f"{targets['samples_per_s']:g}/s"] if case["mfu"] and targets["samples_per_s"] else []
        aims += [f"{targets['ratio']:g}x"] if targets["ratio"] else []
        table.add_row(
            case["case"],
            f"{case['samples_per_s']:,.1f}",
            f"{case['supervised_per_s']:,.0f}",
            f"{case['mfu']:.1%}" if case["mfu"] else "",
            f"{case['full']:.1%}",
            f"{case['data_wait']:.1%}",
            f"{case['peak_gib']:.1f}",
            f"{peer['samples_per_s']:,.1f} ({peer['batch']} rows)" if peer else "",
            f"{peer['full']:.1%}" if peer else "",
            _ratio(case) if peer else "",
            f"{' '.join(aims)}{' MISSED' if case['met'] is False else ''}",
        )
    Console(width=150).print(table)


def _ratio(case: dict[str, Any]) -> str:
    return f"{case['ratio']:.2f}x" + (f" ({case['ratio_cpu']:.2f}x cpu)" if case["ratio_cpu"] else "")


if __name__ == "__main__":
    main()
