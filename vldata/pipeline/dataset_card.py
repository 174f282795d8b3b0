"""The dataset card: what is in a build, where it comes from, and under which licences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from vldata.recipe.models import Recipe


def card(recipe: Recipe, manifest: Mapping[str, Any]) -> str:
    """README.md of a build: YAML front matter as the Hugging Face hub reads it, and tables for people."""
    many = len(manifest["splits"]) > 1
    filled = [split for split, rows in manifest["splits"].items() if rows]
    files = [{"split": split, "path": f"{split}/*.arrow" if many else "*.arrow"} for split in filled]
    front = {
        "pretty_name": recipe.head.name,
        "task_categories": ["image-text-to-text"],
        "configs": [{"config_name": "default", "data_files": files}],
    }
    totals = manifest["totals"]
    lines = [
        "---",
        yaml.safe_dump({**front, **_languages(manifest)}, sort_keys=False).strip(),
        "---",
        "",
        f"# {recipe.head.name}",
        "",
        recipe.head.about or "A vision-language dataset built with vldata.",
        "",
        f"{totals['samples']:,} samples, {totals['images']:,} images, {totals['turns']:,} turns; "
        f"seed {manifest['seed']}.",
        "",
        "| source | format | task | samples | share | epochs | licence |",
        "|---|---|---|---:|---:|---:|---|",
    ]
    for name, source in manifest["sources"].items():
        share = source["achieved_share"]["samples"]
        counts = f"{source['achieved']['samples']:,} | {share:.1%} | {source['epochs']:.2f}"
        lines.append(
            f"| {_cell(name)} | {source['format']} | {source['task']} | {counts} | {_cell(source['licence'])} |"
        )
    lines += [
        "",
        "The licence of every source binds its own rows. `ledger.parquet` lists every turn that is not in the dataset,",
        "with the reason; `recipe.lock.yaml` rebuilds it.",
        "",
        "```python",
        "from datasets import load_from_disk",
        "",
        'dataset = load_from_disk("this folder")',
        "```",
        "",
    ]
    return "\n".join(lines)


def _languages(manifest: Mapping[str, Any]) -> dict[str, list[str]]:
    """The languages that the recipe names, as the hub reads them."""
    named = sorted({source["language"] for source in manifest["sources"].values() if source.get("language")})
    return {"language": named} if named else {}


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
