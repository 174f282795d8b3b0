"""The README's two set-up commands, as the README has them: `python tests/readme_commands.py first|second`."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def commands() -> list[str]:
    """The shell blocks of the README, in order."""
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    return [block.strip() for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)]


if __name__ == "__main__":
    print(commands()[["first", "second"].index(sys.argv[1])])
