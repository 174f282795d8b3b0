"""Looking at finished builds: `vldata preview`, `vldata diff`, `vldata why`. They need nothing but the build folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blake3 import blake3

from vldata.dataset.manifest import manifest_of
from vldata.dataset.open import block_table


def differences(a: Path, b: Path) -> dict[str, Any]:
    """Two builds compared, by blocks and then by samples of the blocks that they do not share.

    A sample is the same when its id, messages, sizes, boxes and images are.
    """
    one, two = manifest_of(a), manifest_of(b)
    keys = [[block["key"] for block in manifest["blocks"]] for manifest in (one, two)]
    names = sorted({*one["sources"], *two["sources"]})
    shared = set(keys[0]) & set(keys[1])
    rows = []
    if keys[0] != keys[1]:
        hashes = [_sample_hashes(folder, manifest, shared) for folder, manifest in ((a, one), (b, two))]
        for name in names:
            in_a, in_b = ({k for k, bl in _distinct(m).items() if bl["source"] in (None, name)} for m in (one, two))
            of_a, of_b = (h.get(name, {}) for h in hashes)
            same = sum(1 for i, h in of_a.items() if of_b.get(i) == h)
            both = of_a.keys() & of_b.keys()
            shared_rows = (
                sum(_distinct(one)[k]["rows"] for k in in_a & in_b) if None not in {one["blocks"][0]["source"]} else 0
            )
            rows.append(
                {
                    "source": name,
                    "shared_blocks": len(in_a & in_b),
                    "only_a_blocks": len(in_a - in_b),
                    "only_b_blocks": len(in_b - in_a),
                    "same_samples": same + shared_rows,
                    "changed_samples": len(both) - same,
                    "only_a_samples": len(of_a.keys() - of_b.keys()),
                    "only_b_samples": len(of_b.keys() - of_a.keys()),
                }
            )
    recipe = sorted(_recipe_differences(one["recipe"], two["recipe"], ""), key=lambda d: d["key"])
    return {"same": keys[0] == keys[1], "sources": rows, "recipe": recipe}


def _distinct(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {block["key"]: block for block in manifest["blocks"]}


def _sample_hashes(build: Path, manifest: dict[str, Any], skip: set[str]) -> dict[str, dict[str, str]]:
    """Source to sample id to a hash of the sample, over the blocks that are not skipped."""
    hashes: dict[str, dict[str, str]] = {}
    for key, block in _distinct(manifest).items():
        if key in skip:
            continue
        for row in block_table(build, block).to_pylist():
            for image in row["images"]:
                image["bytes"] = blake3(image["bytes"]).hexdigest(length=16) if image["bytes"] else None
            hashes.setdefault(row["source"], {})[row["id"]] = blake3(repr(row).encode()).hexdigest(length=16)
    return hashes


def _recipe_differences(a: Any, b: Any, key: str) -> Iterator[dict[str, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        for name in sorted({*a, *b}):
            yield from _recipe_differences(a.get(name), b.get(name), f"{key}.{name}" if key else name)
    elif a != b:
        yield {"key": key, "a": a, "b": b}
