"""What every test may count on: no network beyond loopback, no deadline, real data only where it is at hand."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import settings

# a machine under load makes any example slow once, which says nothing about the code
settings.register_profile("vldata", deadline=None)
settings.load_profile("vldata")

_connect = socket.socket.connect


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what is there now into tests/golden")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first, which say so by a time limit of their own: begun last, one would keep a single core busy."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that leaves this machine."""

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else ""
        if self.family == socket.AF_UNIX or host in ("127.0.0.1", "::1", "localhost"):
            return _connect(self, address)
        raise AssertionError(f"a test tried to reach {address!r}")

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real public datasets, when it stands beside the checkout."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real datasets (../shared/data) is not here")
    return folder
