"""Statements asked past psycopg's cursor, and cursors beside them: each gets its own answer, in every order."""

from collections.abc import Callable, Iterator
from typing import Any, LiteralString, NamedTuple

import psycopg
import pytest
from psycopg import Connection

from goodword.core import query, statements
from tests.support.connections import AsRole


class Number(NamedTuple):
    number: int


class Pair(NamedTuple):
    left: str | None
    right: int | None


NUMBER: LiteralString = "SELECT %(number)s::integer AS number"
FAIL: LiteralString = "SELECT 1 / %(number)s::integer AS number"


@pytest.fixture(params=[0, None], ids=["prepared", "unprepared"])
def connection(as_role: AsRole, request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A connection that prepares every statement at once, and one that prepares none."""
    lent = as_role("app")
    before = lent.prepare_threshold, lent.prepared_max
    lent.prepare_threshold = request.param
    yield lent
    lent.prepare_threshold, lent.prepared_max = before


def prepared(connection: Connection) -> int:
    (row,) = connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchall()
    return row[0]


def test_rows_are_made_by_the_names_of_their_columns(connection: Connection) -> None:
    in_order: LiteralString = "SELECT %(left)s::text AS left, %(right)s::integer AS right"
    turned: LiteralString = "SELECT %(right)s::integer AS right, %(left)s::text AS left"
    for statement in (in_order, turned):
        assert query.one(connection, Pair, statement, left="a%", right=1) == Pair("a%", 1)
        assert query.one(connection, Pair, statement, left=None, right=None) == Pair(None, None)
        assert query.every(connection, dict[str, Any], statement, left="b", right=2) == [{"left": "b", "right": 2}]


def test_a_percent_sign_is_written_twice(connection: Connection) -> None:
    assert query.one(connection, Number, "SELECT 7 %% %(number)s::integer AS number", number=4) == Number(3)


def test_bytes_of_every_kind_arrive_as_they_are(connection: Connection) -> None:
    """Alone and in a list, which psycopg writes otherwise: an apostrophe in a hash would be another hash."""
    every = bytes(range(256))
    statement: LiteralString = "SELECT %(one)s::bytea AS one, %(several)s::bytea[] AS several"
    for several in ([every], [b"", b"a'b\\c", every], []):
        row = query.one(connection, dict[str, Any], statement, one=every, several=several)
        assert row == {"one": every, "several": several}


def test_one_statement_asked_twice_before_either_is_read_has_two_answers(connection: Connection) -> None:
    with connection.pipeline():
        first = query.the_one_later(connection, Number, NUMBER, number=1)
        second = query.the_one_later(connection, Number, NUMBER, number=2)
        assert (second().number, first().number) == (2, 1)
        third = query.the_one_later(connection, Number, NUMBER, number=3)
    assert (third().number, first().number) == (3, 1)


def test_cursors_and_statements_are_answered_in_the_order_in_which_they_were_asked(connection: Connection) -> None:
    with connection.pipeline(), connection.transaction():
        first = query.the_one_later(connection, Number, NUMBER, number=1)
        cursor = connection.execute(NUMBER, {"number": 2})
        query.do(connection, "SET LOCAL application_name = 'mine'")
        third = query.the_one_later(connection, Number, NUMBER, number=3)
        assert cursor.fetchone() == (2,)
        assert connection.execute("SHOW application_name").fetchone() == ("mine",)
        assert (first().number, third().number) == (1, 3)


def test_statements_and_answers_larger_than_a_socket_holds_pass_each_other(connection: Connection) -> None:
    """All are given to libpq at once: whoever only wrote, or only read, would wait for the server as it for us."""
    texts = [letter * 500_000 for letter in "abcdefghij"]

    def ask() -> list[dict[str, Any]]:
        answers = [query.the_one_later(connection, dict[str, Any], "SELECT %(text)s AS text", text=t) for t in texts]
        return [answer() for answer in answers]

    assert statements.together(connection, ask) == [{"text": text} for text in texts]


@pytest.mark.parametrize("raised", [LookupError("ours"), KeyboardInterrupt()])
def test_whatever_is_raised_among_statements_comes_out_and_the_connection_stays(
    connection: Connection, raised: BaseException
) -> None:
    def ask() -> None:
        query.do(connection, FAIL, number=0)
        raise raised

    with pytest.raises(type(raised)) as found:
        statements.together(connection, ask)
    assert found.value is raised
    assert query.one(connection, Number, NUMBER, number=1) == Number(1)
    with pytest.raises(psycopg.errors.DivisionByZero):
        statements.together(connection, lambda: query.do(connection, FAIL, number=0))
    assert statements.together(connection, lambda: query.one(connection, Number, NUMBER, number=2)) == Number(2)


def failing_by_cursor(connection: Connection) -> object:
    return connection.execute(FAIL, {"number": 0})


def failing_by_statement(connection: Connection) -> object:
    return query.do(connection, FAIL, number=0)


@pytest.mark.parametrize("fail", [failing_by_cursor, failing_by_statement])
def test_what_fails_is_told_once_and_what_comes_after_it_is_not_done(
    connection: Connection, fail: Callable[[Connection], object]
) -> None:
    def ask() -> None:
        with connection.pipeline(), connection.transaction():
            fail(connection)
            query.the_one_later(connection, Number, NUMBER, number=1)()

    with pytest.raises(psycopg.errors.DivisionByZero):
        ask()
    with pytest.raises(psycopg.errors.DivisionByZero):
        query.one(connection, Number, FAIL, number=0)
    assert query.one(connection, Number, FAIL, number=1) == Number(1)


def test_what_was_prepared_before_a_roll_back_is_prepared_again(connection: Connection) -> None:
    assert query.one(connection, Number, NUMBER, number=1) == Number(1)
    with connection.transaction():
        assert query.one(connection, Number, NUMBER, number=2) == Number(2)
        raise psycopg.Rollback
    assert prepared(connection) <= 1
    assert query.one(connection, Number, NUMBER, number=3) == Number(3)
    with connection.pipeline():
        assert query.the_one_later(connection, Number, NUMBER, number=4)() == Number(4)


def test_no_more_stay_prepared_than_the_connection_keeps(connection: Connection) -> None:
    connection.prepared_max = 3
    for size in range(9):
        statement: LiteralString = "SELECT %(number)s::integer AS number" + " " * size
        assert query.one(connection, Number, statement, number=size) == Number(size)
    assert prepared(connection) <= connection.prepared_max + 1
