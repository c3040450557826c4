"""local/listeners.py: which process has a port."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from local import listeners
from local.listeners import listener
from local.server import listen


@pytest.fixture
def port() -> int:
    """A port that nobody has."""
    with listen(0) as taken:
        return taken.getsockname()[1]


@pytest.fixture(params=["proc", "lsof"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """How the system tells: Linux in its own files, others by a command."""
    if request.param == "lsof":
        monkeypatch.setattr(listeners, "PROC", tmp_path)
        if shutil.which("lsof") is None:
            pytest.skip("lsof is not installed")
    elif not (listeners.PROC / listeners.SOCKETS[0]).exists():
        pytest.skip("only Linux tells so")
    return request.param


@pytest.mark.usefixtures("way")
def test_who_has_a_port_is_named(port: int) -> None:
    assert listener(port) is None
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as taken:
            taken.bind((address, port))
            assert listener(port) is None, "it is not listened to yet"
            taken.listen()
            named = listener(port)
            assert named is not None
            assert named.startswith(f"{os.getpid()} (")


def test_where_nobody_tells_nobody_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(listeners, "PROC", tmp_path)
    monkeypatch.setenv("PATH", "")
    with listen(0) as taken:
        assert listener(taken.getsockname()[1]) is None
