"""Who listens on a port: named where the system tells it, so that one knows what to stop."""

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
SOCKETS = ("net/tcp", "net/tcp6")
LISTENING = "0A"
LSOF_SECONDS = 5
_SAID = re.compile(r"p(?P<pid>\d+)\nc(?P<name>[^\n]*)")


def listener(port: int) -> str | None:
    """The process that listens on a TCP port of this machine, as `1234 (python3)`; None where nobody tells."""
    found = next(_by_proc(port), None) if (PROC / SOCKETS[0]).exists() else _by_lsof(port)
    return "{} ({})".format(*found) if found else None


def _by_proc(port: int) -> Iterator[tuple[str, str]]:
    """As Linux tells of one's own processes: a socket has a number, and a process a file that is named after it."""
    with contextlib.suppress(OSError):
        files = {f"socket:[{number}]" for number in _sockets(port)}
        for file in PROC.glob("[0-9]*/fd/*"):
            with contextlib.suppress(OSError):  # it was closed by now
                if str(file.readlink()) in files:
                    process = file.parents[1]
                    yield process.name, (process / "comm").read_text(encoding="utf-8", errors="replace").strip()


def _sockets(port: int) -> Iterator[str]:
    """The numbers of the sockets that listen on a port. A row: its place, here, there, state, …, number at tenth."""
    for table in SOCKETS:
        for row in (PROC / table).read_text(encoding="ascii").splitlines()[1:]:
            _, here, _, state, *rest = row.split()
            if state == LISTENING and int(here.rpartition(":")[2], 16) == port:
                yield rest[5]


def _by_lsof(port: int) -> tuple[str, str] | None:
    lsof = shutil.which("lsof")
    if lsof is None:
        return None
    command = [lsof, "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        listed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LSOF_SECONDS).stdout
        if said := _SAID.search(listed):
            return said["pid"], said["name"]
    return None
