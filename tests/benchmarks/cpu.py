"""CPU time of all processes below this one: the server, its workers and PostgreSQL, but not the load made in here.

It is what a call takes from the machine, whoever else is on it: time waited, for the disk or for a turn, is none.
"""

from collections.abc import Callable
from contextlib import suppress

import psutil


def spent(work: Callable[[], object]) -> float:
    """Seconds of it that some work takes. What ends meanwhile, as autovacuum's workers do, is not counted."""
    before = _below()
    work()
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in _below().items())


def _below() -> dict[int, float]:
    seconds: dict[int, float] = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds[process.pid] = times.user + times.system
    return seconds
