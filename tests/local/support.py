"""Watching processes: which ones a process has started, and that they end."""

import os
import threading
import time
from pathlib import Path

from local import processes
from local.postgres import parents
from tests.support.waiting import LONGEST_SECONDS


def family(pid: int) -> set[int]:
    """A process and all that it started, and those started, and so on."""
    found, started_by = {pid}, parents()
    while more := {child for child, parent in started_by.items() if parent in found} - found:
        found |= more
    return found


def workers(server: int) -> set[int]:
    """The processes that run the functions of a server on a PostgreSQL of somebody else."""
    started_by = parents()
    own = {pid for pid, parent in started_by.items() if parent == server}
    return {pid for pid, parent in started_by.items() if parent in own} if processes.FORKS else own


def wait_until_gone(pids: set[int], seconds: float = LONGEST_SECONDS) -> set[int]:
    """Those of the processes that still run after so many seconds: none, if all is well."""
    patience, deadline = threading.Event(), time.monotonic() + seconds
    while (left := {pid for pid in pids if _runs(pid)}) and time.monotonic() < deadline:
        patience.wait(0.02)
    return left


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        # an ended process whose parent has not looked yet is gone as well
        return not Path("/proc/self").exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
