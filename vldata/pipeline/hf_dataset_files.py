"""The files that Hugging Face `datasets` opens a build by: state.json, dataset_info.json, dataset_dict.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from blake3 import blake3

from vldata.recipe.models import Recipe
from vldata.schema.rows import features


def write_hf_dataset_files(fresh: Path, recipe: Recipe, blocks: Sequence[Mapping[str, Any]]) -> None:
    """Write them into an unfinished build folder.

    `datasets` trusts the fingerprint: it must change whenever a row may have.
    """
    splits = [split for split in recipe.split_shares if any(block["split"] == split for block in blocks)]
    many = len(recipe.split_shares) > 1
    for split in splits:
        folder = fresh / split if many else fresh
        folder.mkdir(exist_ok=True)
        of_split = [block for block in blocks if block["split"] == split]
        digests = "\n".join(block["digest"] for block in of_split)
        state: dict[str, Any] = {
            "_data_files": [{"filename": Path(block["file"]).name} for block in of_split],
            "_fingerprint": blake3(digests.encode()).hexdigest(length=8),
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": split,
        }
        (folder / "state.json").write_text(json.dumps(state, indent=1))
        kinds = features(meta=recipe.has_meta)
        info = {"description": recipe.head.about, "citation": "", "homepage": "", "license": "", "features": kinds}
        (folder / "dataset_info.json").write_text(json.dumps(info, indent=1))
    if many:
        (fresh / "dataset_dict.json").write_text(json.dumps({"splits": splits}))
