"""Connections to the tests' database that one test after the other is lent.

A new connection is a new process of the server, which learns the catalogue, compiles every function and plans every
statement anew: more work than most tests are.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import Connection
from psycopg.pq import TransactionStatus

KEPT = 4
"""Connections of a role that are kept; a test that was lent more needed them for many at once."""
PREPARED_AT = 2
"""At which further use a statement is prepared: what a single test says need not be."""

AsRole = Callable[[str], Connection]
"""A connection of a role, for as long as the test lasts."""


class Connections:
    """The connections that nobody is lent at present, by role."""

    def __init__(self, connect: AsRole) -> None:
        self._connect = connect
        self._idle: defaultdict[str, list[Connection]] = defaultdict(list)

    @contextmanager
    def lending(self) -> Iterator[AsRole]:
        """Lend any number of connections until the end of the block."""
        lent: list[tuple[str, Connection]] = []

        def lend(role: str) -> Connection:
            connection = self._take(role)
            lent.append((role, connection))
            return connection

        yield lend
        for role, connection in lent:
            self._give_back(role, connection)

    def close(self) -> None:
        """End all that are idle."""
        for idle in self._idle.values():
            for connection in idle:
                connection.close()

    def _take(self, role: str) -> Connection:
        while self._idle[role]:
            connection = self._idle[role].pop()
            if _is_as_new(connection):
                return connection
            connection.close()
        connection = self._connect(role)
        connection.prepare_threshold = PREPARED_AT
        return connection

    def _give_back(self, role: str, connection: Connection) -> None:
        if len(self._idle[role]) < KEPT and connection.info.transaction_status is TransactionStatus.IDLE:
            self._idle[role].append(connection)
        else:
            connection.close()


def _is_as_new(connection: Connection) -> bool:
    """Undo what the last test has set; whether the server is still there to do so."""
    try:
        connection.execute("RESET ALL")
        connection.execute("SELECT pg_advisory_unlock_all()")
    except psycopg.OperationalError:
        return False
    return True
