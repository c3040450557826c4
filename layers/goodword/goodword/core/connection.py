"""The one kept connection of this process, and the making of a new one.

A Lambda environment serves one request at a time, so one connection is all it needs; a pool would freeze with it.

A database that is away must not be asked by every request of every process again and again, least of all when it comes
back: who could not connect asks nobody for REST_SECONDS, and then once. A connection that is made ends that.
"""

import random
import select
import time
from dataclasses import dataclass

import psycopg
from psycopg import Connection

from goodword.core import iam_token
from goodword.core.settings import settings

CONNECT_TIMEOUT_SECONDS = 3
LEAST_TIMEOUT_SECONDS = 2  # libpq makes more of less
MOST_CONNECTS = 3
PAUSES_SECONDS = (0.2, 1.0)
"""About how long is waited after an attempt to connect that failed, before the next one."""
REST_SECONDS = 1.0
PREPARED_AT = 0
"""At which use a statement is prepared: at the first, so that no later one waits for it."""


class NotConnectedError(Exception):
    """No connection can be made; the cause is the latest failure."""


@dataclass(slots=True)
class Budget:
    """What one use of the database may still cost: until when, in the monotonic clock, and how many connections."""

    deadline: float
    connects: int = MOST_CONNECTS

    def allows(self, pause: float) -> bool:
        """Whether there is time for so many seconds of waiting, and for what comes after them."""
        return time.monotonic() + pause < self.deadline


@dataclass(slots=True)
class _Kept:
    """The connection, or the failure of the latest attempt to make one, and until when nobody makes another."""

    connection: Connection | None = None
    failure: psycopg.Error | None = None
    rests_until: float = float("-inf")


_kept = _Kept()


def kept(budget: Budget) -> Connection:
    """The connection of this process, made anew if there is none or the server has closed it.

    Raises NotConnectedError.
    """
    if _kept.connection is not None and _hung_up(_kept.connection):
        forget()
    if _kept.connection is None:
        _kept.connection = _made(budget)
    return _kept.connection


def forget() -> None:
    """Close the kept connection; the next use makes a new one."""
    if _kept.connection is not None:
        _kept.connection.close()
    _kept.connection = None


def _made(budget: Budget) -> Connection:
    if time.monotonic() < _kept.rests_until:
        raise NotConnectedError from _kept.failure
    if _kept.failure is not None:
        budget.connects = min(budget.connects, 1)
    pauses = iter(PAUSES_SECONDS)
    while budget.connects > 0:
        budget.connects -= 1
        try:
            connection = _connect(budget)
        except psycopg.Error as failure:
            _kept.failure = failure
            pause = next(pauses, 0.0)
            if not budget.allows(pause):
                break
            if budget.connects > 0:
                wait(pause)
        else:
            _kept.failure = None
            return connection
    _kept.rests_until = time.monotonic() + REST_SECONDS
    raise NotConnectedError from _kept.failure


def wait(seconds: float) -> None:
    """Wait at most so long, and at least half of it, so that those who failed together do not come back together."""
    time.sleep(seconds * random.uniform(0.5, 1.0))  # noqa: S311 - no secret


def _connect(budget: Budget) -> Connection:
    configured = settings()
    remaining = max(LEAST_TIMEOUT_SECONDS, round(budget.deadline - time.monotonic()))
    return psycopg.connect(
        host=configured.database_host,
        port=configured.database_port,
        dbname=configured.database_name,
        user=configured.database_user,
        password=iam_token.for_database(configured) if configured.database_iam_authentication else None,
        sslmode="verify-full" if configured.database_ca_file else None,
        sslrootcert=configured.database_ca_file or None,
        connect_timeout=min(CONNECT_TIMEOUT_SECONDS, remaining),
        keepalives_idle=30,
        tcp_user_timeout=5000,
        target_session_attrs="read-write",
        gssencmode="disable",
        prepare_threshold=PREPARED_AT if configured.database_prepared_statements else None,
        autocommit=True,
    )


def _hung_up(connection: Connection) -> bool:
    """Whether the server closed an idle connection: its socket then has something to read. psycopg cannot tell."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))
