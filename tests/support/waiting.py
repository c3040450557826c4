"""Waiting for something to become true, without guessing how long it takes.

Whatever waits fails in the end. GOODWORD_PATIENCE makes it wait that many times as long, for a machine that is busy.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from psycopg import Connection

T = TypeVar("T")

PATIENCE = float(os.environ.get("GOODWORD_PATIENCE") or 1)
LONGEST_SECONDS = 20 * PATIENCE
_PAUSE_SECONDS = 0.002


def wait_until(holds: Callable[[], T], what: str, *, seconds: float = LONGEST_SECONDS) -> T:
    """The first true answer of `holds`, asked again and again. Fails when there is none in time."""
    pause = threading.Event()
    for _ in range(int(seconds / _PAUSE_SECONDS)):
        answer = holds()
        if answer:
            return answer
        pause.wait(_PAUSE_SECONDS)
    raise AssertionError(f"it did not happen within {seconds} s: {what}")


@contextmanager
def again_and_again(deed: Callable[[], object], *, pause_seconds: float) -> Iterator[Counter[str]]:
    """Do something over and over in a thread while the block runs; at least once. Counts `done`."""
    over, counted = threading.Event(), Counter[str]()

    def repeat() -> None:
        while True:
            deed()
            counted["done"] += 1
            if over.wait(pause_seconds):
                return

    with ThreadPoolExecutor(1) as thread:
        repeating = thread.submit(repeat)
        try:
            yield counted
        finally:
            over.set()
            repeating.result()


def wait_until_blocked(superuser: Connection, *, clients: int = 1) -> None:
    """Return once so many of the deployment's connections wait for a lock that somebody else holds."""
    statement = """
        SELECT count(*) = %(clients)s FROM pg_stat_activity
        WHERE usename LIKE 'goodword\\_%%' AND datname = current_database() AND wait_event_type = 'Lock'
    """

    def blocked() -> bool:
        row = superuser.execute(statement, {"clients": clients}).fetchone()
        return row == (True,)

    wait_until(blocked, f"{clients} clients wait for a lock")
