"""The one kept connection of this process, and the two ways to use it.

A Lambda environment serves one request at a time, so one connection is all it needs; a pool would freeze with it.
`once` runs a single statement in one trip; `transact` runs a use case in one transaction. Both try again on a fresh
connection after a transient fault, for at most BUDGET_SECONDS: every input has a natural key and every id is made
before the first attempt, so a write repeated after a lost answer is the same write.

`transact` works in libpq's pipeline mode: statements travel together until somebody reads a result, so BEGIN rides
with the first of them and COMMIT with the last. A read (`fetchone`) is one wait; a statement whose result nobody reads
costs none.
"""

import random
import select
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg
from psycopg import Connection

from goodword.core import iam_token
from goodword.core.errors import Unavailable
from goodword.core.settings import settings

T = TypeVar("T")

BUDGET_SECONDS = 5.0
CONNECT_TIMEOUT_SECONDS = 3
PREPARED_AT = 0
"""At which use a statement is prepared: at the first, so that no later one waits for it."""
RETRY_AFTER_SECONDS = 2

# The server went away, moved or refused the connection, or asks for a repetition; nothing of these is about the
# statement itself. A connection that could not be made has no SQLSTATE at all.
TRANSIENT = frozenset({
    "08000", "08001", "08003", "08004", "08006", "08007", "08P01",
    "57P01", "57P02", "57P03", "57P05",
    "25006", "25P03", "40001", "40P01", "40003", "53300", "55P03",
    "0A000", "26000",  # a statement prepared before a migration does not fit any more; a fresh connection has none
})  # fmt: skip
# The server gave up on a statement that took too long; a repetition would only add to its load.
TIMED_OUT = "57014"

_kept: Connection | None = None


def once(work: Callable[[Connection], T]) -> T:
    """Run `work`, a single statement, in autocommit: one trip. Raises Unavailable when the budget is spent."""
    return _attempt(work)


def transact(work: Callable[[Connection], T]) -> T:
    """Run `work` in one transaction; an exception rolls all of it back. Raises Unavailable when the budget is spent."""

    def attempt(connection: Connection) -> T:
        try:
            # psycopg's own transaction() would wait for BEGIN and for COMMIT; here they ride along
            with connection.pipeline():
                connection.execute("BEGIN")
                result = work(connection)
                connection.execute("COMMIT")
        except BaseException:
            _roll_back(connection)
            raise
        return result

    return _attempt(attempt)


def _roll_back(connection: Connection) -> None:
    """End a failed transaction; a connection that cannot even do that is of no more use."""
    try:
        if not connection.closed:
            connection.rollback()
    except psycopg.Error:
        forget_connection()


def _attempt(work: Callable[[Connection], T]) -> T:
    deadline = time.monotonic() + BUDGET_SECONDS
    pause = 0.02
    while True:
        try:
            return work(_connection())
        except (psycopg.OperationalError, psycopg.InternalError) as fault:
            if fault.sqlstate == TIMED_OUT:
                raise _unavailable() from fault
            if fault.sqlstate is not None and fault.sqlstate not in TRANSIENT:
                raise
            forget_connection()
            if time.monotonic() + pause > deadline:
                raise _unavailable() from fault
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter keeps repetitions apart, no secret
        pause = min(pause * 2, 0.5)


def _unavailable() -> Unavailable:
    return Unavailable(
        "database_unavailable",
        "The database cannot be reached at the moment; the same request may be sent again.",
        retry_after=RETRY_AFTER_SECONDS,
    )


def _connection() -> Connection:
    global _kept  # noqa: PLW0603 - the one kept connection of the process; nobody else touches it
    if _kept is not None and _hung_up(_kept):
        forget_connection()
    if _kept is None:
        _kept = _connect()
    return _kept


def _hung_up(connection: Connection) -> bool:
    """Whether the server closed an idle connection: its socket then has something to read. psycopg cannot tell."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))


def _connect() -> Connection:
    configured = settings()
    return psycopg.connect(
        host=configured.database_host,
        port=configured.database_port,
        dbname=configured.database_name,
        user=configured.database_user,
        password=iam_token.for_database(configured) if configured.database_iam_authentication else None,
        sslmode="verify-full" if configured.database_ca_file else None,
        sslrootcert=configured.database_ca_file or None,
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        keepalives_idle=30,
        tcp_user_timeout=5000,
        target_session_attrs="read-write",
        gssencmode="disable",
        prepare_threshold=PREPARED_AT if configured.database_prepared_statements else None,
        autocommit=True,
    )


def forget_connection() -> None:
    """Close the kept connection; the next use makes a new one."""
    global _kept  # noqa: PLW0603 - see _connection
    if _kept is not None:
        _kept.close()
    _kept = None
