from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vldata.errors import StoreError
from vldata.store.lock import exclusive, shared

HOLDER = """
import sys, time
from pathlib import Path
from vldata.store.lock import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(path: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_a_held_lock_names_its_holder_and_is_free_when_that_is_killed(tmp_path):
    path = tmp_path / "deep" / "lock"
    process = holder(path)
    try:
        with pytest.raises(StoreError, match=f"process {process.pid} is using it"), exclusive(path, wait=False):
            raise AssertionError("two hold it")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with exclusive(path, wait=False):
        pass


def test_threads_take_turns(tmp_path):
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(20):
            with exclusive(tmp_path / "lock"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) == 80


def test_sharers_get_on_with_each_other_and_not_with_an_exclusive_holder(tmp_path):
    path = tmp_path / "lock"
    busy = pytest.raises(StoreError, match=f"process {os.getpid()} is using it")
    with shared(path), shared(path, wait=False), busy, exclusive(path, wait=False):
        pass
    with exclusive(path), pytest.raises(StoreError), shared(path, wait=False):
        pass


def test_a_holder_that_is_gone_is_not_named(tmp_path):
    path = tmp_path / "lock"
    with shared(path):
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        path.write_text(f"{gone.pid}\n")
        with pytest.raises(StoreError, match="another process is using it"), exclusive(path, wait=False):
            pass


def test_a_lock_is_given_back_when_its_block_raises(tmp_path):
    with pytest.raises(RuntimeError), exclusive(tmp_path / "lock"):
        raise RuntimeError
    with exclusive(tmp_path / "lock", wait=False):
        pass


def test_a_lock_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"), exclusive(tmp_path / "file" / "lock"):
        pass
