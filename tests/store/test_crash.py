"""Processes killed at random moments: an object is whole or not there, and what is left over is cleaned up."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from blake3 import blake3

from tests.kills import KILLS
from vldata.store.store import open_store

WRITER = """
import itertools, os, sys
from pathlib import Path
from vldata.store.keys import key_of
from vldata.store.store import open_store

store = open_store(sys.argv[1])
for number in itertools.count(int(sys.argv[2])):
    data = os.urandom(1 << 18)
    from blake3 import blake3
    with store.write("blocks", blake3(data).hexdigest(length=16), ".bin", durable=number % 8 == 0) as path:
        with path.open("wb") as file:
            for at in range(0, len(data), 4096):
                file.write(data[at : at + 4096])
                file.flush()
    print(number, flush=True)
"""


def test_kills_leave_only_whole_objects_and_nothing_unfinished(tmp_path):
    root = tmp_path / "store"
    luck = random.Random(5)
    written = 0
    for kill in range(KILLS):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(root), str(kill * 1000)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(luck.uniform(0, 0.05))
        writer.send_signal(signal.SIGKILL)
        written += len(writer.stdout.read().split()) + 1
        writer.stdout.close()
        writer.wait()
        objects = [path for path in (root / "blocks").rglob("*") if path.is_file()]
        for path in objects:
            assert blake3(path.read_bytes()).hexdigest(length=16) == path.stem
        assert len(objects) >= written
        open_store(root)
        assert list((root / "tmp").iterdir()) == []
