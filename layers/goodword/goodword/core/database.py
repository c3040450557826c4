"""The two ways to use the database.

`once` runs a single statement in one trip; `transact` runs a use case in one transaction. Both try again after a
transient fault, for at most BUDGET_SECONDS: every input has a natural key and every id is made before the first
attempt, so a write repeated after a lost answer is the same write. The connection outlives what is only about a
statement, as a deadlock is; a dead one is replaced (`connection`).

`transact` works in libpq's pipeline mode: statements travel together until somebody reads a result, so BEGIN rides
with the first of them and COMMIT with the last. A read (`fetchone`) is one wait; a statement whose result nobody reads
costs none.
"""

import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import psycopg
from psycopg import Connection

from goodword.core import connection as connections
from goodword.core import query, statements
from goodword.core.connection import Budget, NotConnectedError
from goodword.core.errors import Unavailable

T = TypeVar("T")
P = ParamSpec("P")

BUDGET_SECONDS = 5.0
FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 0.5
RETRY_AFTER_SECONDS = 2

# The server went away, or will not serve this connection any more.
DEAD = frozenset({
    "08000", "08001", "08003", "08004", "08006", "08007", "08P01", "57P01", "57P02", "57P03", "57P05",
    "25006", "25P03", "40003", "53300",
})  # fmt: skip
# Two were in each other's way; the connection is as good as before.
CONTENDED = frozenset({"40001", "40P01", "55P03"})
# A statement prepared before a migration does not fit any more; a fresh connection has none, or it is another fault.
OUTDATED = frozenset({"0A000", "26000"})
# Nothing of these is about the statement itself.
TRANSIENT = DEAD | CONTENDED | OUTDATED
# The server gave up on a statement that took too long; a repetition would only add to its load.
TIMED_OUT = "57014"


def once(work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work(connection, …)`, a single statement, in autocommit: one trip.

    Raises Unavailable when the budget is spent.
    """
    return _attempt(lambda connection: work(connection, *args, **kwargs))


def transact(work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work(connection, …)` in one transaction; an exception rolls all of it back.

    The arguments are made once, before the first attempt. Raises Unavailable when the budget is spent.
    """

    def attempt(connection: Connection) -> T:
        def transaction() -> T:
            # psycopg's own transaction() would wait for BEGIN and for COMMIT; here they ride along
            query.do(connection, "BEGIN")
            result = work(connection, *args, **kwargs)
            query.do(connection, "COMMIT")
            return result

        try:
            return statements.together(connection, transaction)
        except BaseException:
            _roll_back(connection)
            raise

    return _attempt(attempt)


def forget_connection() -> None:
    """Close the kept connection; the next use makes a new one."""
    connections.forget()


def _roll_back(connection: Connection) -> None:
    """End a failed transaction; a connection that cannot even do that is of no more use."""
    try:
        if not connection.closed:
            connection.rollback()
    except psycopg.Error:
        forget_connection()


def _attempt(work: Callable[[Connection], T]) -> T:
    budget = Budget(time.monotonic() + BUDGET_SECONDS)
    pause, renewed = FIRST_PAUSE_SECONDS, False
    while True:
        try:
            return work(connections.kept(budget))
        except NotConnectedError as none:
            raise _unavailable() from none.__cause__
        except psycopg.Error as fault:
            if fault.sqlstate == TIMED_OUT:
                raise _unavailable() from fault
            outdated = not renewed and fault.sqlstate in OUTDATED
            renewed = renewed or outdated
            if outdated or _is_dead(fault):
                forget_connection()
            elif fault.sqlstate not in CONTENDED:
                raise
            if not budget.allows(pause) or (not budget.connects and fault.sqlstate not in CONTENDED):
                raise _unavailable() from fault
        connections.wait(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _is_dead(fault: psycopg.Error) -> bool:
    """Whether the connection is of no more use; one that is lost in the middle of its work has no SQLSTATE."""
    if fault.sqlstate is None:
        return isinstance(fault, psycopg.OperationalError)
    return fault.sqlstate in DEAD


def _unavailable() -> Unavailable:
    return Unavailable(
        "database_unavailable",
        "The database cannot be reached at the moment; the same request may be sent again.",
        retry_after=RETRY_AFTER_SECONDS,
    )
