"""A connection outlives whatever is only about a statement; one that is dead is replaced."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from goodword.core import database
from goodword.core.errors import Unavailable
from local.setup import Prepared
from tests.functions.conftest import as_role

Use = Callable[[Callable[[Connection], Any]], Any]
USES: dict[str, Use] = {"a statement": database.once, "a transaction": database.transact}
each_use = pytest.mark.parametrize("use", USES.values(), ids=USES)


@pytest.fixture(autouse=True)
def _as_app(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with as_role("app", prepared, monkeypatch):
        yield


def backend() -> int:
    """The process of the server behind the kept connection."""
    return database.once(lambda connection: connection.info.backend_pid)


def failing_once(fail: Callable[[Connection], object]) -> Callable[[Connection], int]:
    """Work that fails like that in its first attempt, and answers its backend in the second."""
    left = [fail]

    def work(connection: Connection) -> int:
        if left:
            left.pop()(connection)
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        return row[0]

    return work


def raising(sqlstate: str) -> Callable[[Connection], object]:
    statement = f"DO $$ BEGIN RAISE SQLSTATE '{sqlstate}'; END $$"
    return lambda connection: connection.execute(statement.encode()).statusmessage


@each_use
@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "55P03"])
def test_a_deadlock_a_lock_timeout_or_a_serialization_failure_keeps_the_connection(use: Use, sqlstate: str) -> None:
    before = backend()
    assert use(failing_once(raising(sqlstate))) == before


def test_a_lock_that_somebody_holds_for_too_long_keeps_the_connection(superuser: psycopg.Connection) -> None:
    superuser.execute("SELECT pg_advisory_lock(4711)")

    def wait_for_it(connection: Connection) -> None:
        connection.execute("SET LOCAL lock_timeout = '5ms'")
        try:
            connection.execute("SELECT pg_advisory_xact_lock(4711)").fetchone()
        finally:
            superuser.execute("SELECT pg_advisory_unlock(4711)")

    before = backend()
    assert database.transact(failing_once(wait_for_it)) == before


@each_use
@pytest.mark.parametrize("sqlstate", ["08006", "25006", "25P03", "53300", "57P01", "57P05"])
def test_a_server_that_will_not_go_on_is_connected_to_anew(use: Use, sqlstate: str) -> None:
    before = backend()
    assert use(failing_once(raising(sqlstate))) != before


@each_use
def test_a_connection_that_is_ended_in_its_work_is_replaced(use: Use, superuser: psycopg.Connection) -> None:
    before = backend()
    end = "SELECT pg_terminate_backend(%s, 10000)"
    assert use(failing_once(lambda _: superuser.execute(end, (before,)))) != before
    assert backend() != before


@pytest.fixture
def changing(superuser: psycopg.Connection) -> Iterator[Callable[[Connection], Any]]:
    """A read of everything in a table, and the table."""
    superuser.execute("CREATE TABLE changing AS SELECT 1 AS one")
    superuser.execute("GRANT SELECT ON changing TO PUBLIC")
    yield lambda connection: connection.execute("SELECT * FROM changing").fetchone()
    superuser.execute("DROP TABLE changing")


@each_use
def test_a_statement_that_a_migration_made_outdated_is_prepared_anew(
    use: Use, changing: Callable[[Connection], Any], superuser: psycopg.Connection
) -> None:
    assert use(changing) == (1,)
    superuser.execute("ALTER TABLE changing ADD two integer DEFAULT 2")
    assert use(changing) == (1, 2)


@each_use
def test_a_statement_that_the_server_has_forgotten_is_prepared_anew(
    use: Use, changing: Callable[[Connection], Any]
) -> None:
    assert use(changing) == (1,)
    database.once(lambda connection: connection.pgconn.exec_(b"DEALLOCATE ALL"))
    assert use(changing) == (1,)


def test_what_is_never_supported_is_tried_no_more_than_twice() -> None:
    attempts: list[object] = []

    def work(connection: Connection) -> None:
        attempts.append(None)
        raising("0A000")(connection)

    with pytest.raises(psycopg.errors.FeatureNotSupported):
        database.once(work)
    assert len(attempts) == 2


def test_a_database_that_ends_every_connection_is_connected_to_three_times(superuser: psycopg.Connection) -> None:
    seen: set[int] = set()

    def work(connection: Connection) -> None:
        seen.add(connection.info.backend_pid)
        superuser.execute("SELECT pg_terminate_backend(%s, 10000)", (connection.info.backend_pid,))
        connection.execute("SELECT 1")

    database.forget_connection()
    with pytest.raises(Unavailable) as unavailable:
        database.once(work)
    assert len(seen) == 3
    assert isinstance(unavailable.value.__cause__, psycopg.OperationalError)
