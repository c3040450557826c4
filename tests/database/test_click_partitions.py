"""Clicks live by the month of their real receive time, which their id carries."""

from datetime import UTC, datetime, timedelta
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest

from goodword.core import ids
from goodword.referral import candidates
from tests.support.everything import click, sign_up
from tests.support.tenants import Tenant

MONTHS_AHEAD = 24

_PARTITIONS = """
    SELECT inhrelid::regclass::text AS name, pg_get_expr(relpartbound, inhrelid) AS bounds
    FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'goodword.clicks'::regclass ORDER BY name
"""


def month_after(day: datetime, months: int) -> datetime:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC)


def bounds_of(month: datetime) -> str:
    first, next_first = (f"'{day:%Y-%m-%d} 00:00:00+00'" for day in (month, month_after(month, 1)))
    return f"FOR VALUES FROM ({first}) TO ({next_first})"


def partitions(connection: psycopg.Connection) -> dict[str, str]:
    with connection.transaction():
        connection.execute("SET LOCAL timezone = 'UTC'")
        return dict(connection.execute(_PARTITIONS).fetchall())


@pytest.fixture
def code(tenant: Tenant) -> str:
    code = sign_up(tenant, "ada").user.referral_code
    assert code is not None
    return code


def test_there_is_a_partition_for_each_month_of_two_years_ahead(superuser: psycopg.Connection) -> None:
    found = partitions(superuser)
    assert found.pop("clicks_other") == "DEFAULT"
    now = datetime.now(UTC)
    months = [month_after(now, months) for months in range(-1, MONTHS_AHEAD + 1)]
    assert found == {f"clicks_{month:%Y_%m}": bounds_of(month) for month in months}


def test_making_partitions_again_makes_none(tenant: Tenant) -> None:
    assert tenant.connection("migrator").execute("SELECT make_click_partitions(%s)", (MONTHS_AHEAD,)).fetchone() == (0,)


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_months_are_cut_in_utc_wherever_the_session_is(tenant: Tenant, zone: str) -> None:
    migrator = tenant.connection("migrator")
    with migrator.transaction(force_rollback=True):
        migrator.execute("SELECT set_config('timezone', %s, true)", (zone,))
        assert migrator.execute("SELECT make_click_partitions(%s)", (MONTHS_AHEAD + 2,)).fetchone() == (2,)
        migrator.execute("SET LOCAL timezone = 'UTC'")
        month = month_after(datetime.now(UTC), MONTHS_AHEAD + 2)
        assert dict(migrator.execute(_PARTITIONS).fetchall())[f"clicks_{month:%Y_%m}"] == bounds_of(month)


def partition_of(tenant: Tenant, click_id: UUID) -> str:
    (row,) = tenant.rows(
        "SELECT tableoid::regclass::text AS name FROM clicks WHERE company_id = %(company_id)s AND id = %(id)s",
        id=click_id,
    )
    return row["name"]


@pytest.mark.parametrize("months", [-1, 0, 1, MONTHS_AHEAD])
def test_a_click_lies_in_the_month_that_its_id_carries(tenant: Tenant, code: str, months: int) -> None:
    """The month's very first millisecond, and the last one before it."""
    first = month_after(datetime.now(UTC), months)
    assert partition_of(tenant, click(tenant, code, click_id=ids.new_id(first))) == f"clicks_{first:%Y_%m}"
    last = month_after(first, 1) - timedelta(milliseconds=1)
    assert partition_of(tenant, click(tenant, code, click_id=ids.new_id(last))) == f"clicks_{last:%Y_%m}"


def test_no_click_lies_outside_of_every_month(tenant: Tenant, code: str) -> None:
    click(tenant, code)
    assert tenant.superuser.execute("SELECT count(*) FROM ONLY clicks_other").fetchone() == (0,)


def test_an_id_finds_its_click_in_one_partition(tenant: Tenant, code: str) -> None:
    click_id = click(tenant, code)
    tables = scanned(
        tenant.connection("click"),
        "SELECT * FROM clicks WHERE received_at = received_at_of(%(id)s) AND id = %(id)s",
        {"id": click_id},
    )
    assert tables == {partition_of(tenant, click_id)}


def test_a_click_continues_the_chain_of_an_earlier_one(tenant: Tenant, code: str) -> None:
    """Across months too: the earlier click's id says where to look."""
    earlier = click(tenant, code, click_id=ids.new_id(month_after(datetime.now(UTC), -1)))
    later = click(tenant, code, previous_id=earlier)
    latest = click(tenant, code, previous_id=later)
    found = tenant.rows("SELECT id, previous_id FROM clicks WHERE company_id = %(company_id)s")
    assert {row["id"]: row["previous_id"] for row in found} == {earlier: None, later: earlier, latest: later}


def test_the_clicks_before_one_are_looked_up_in_their_own_months(tenant: Tenant, code: str) -> None:
    earlier = click(tenant, code, click_id=ids.new_id(month_after(datetime.now(UTC), -1)))
    later = click(tenant, code, previous_id=earlier)
    found = {"company_id": tenant.id, "click_id": later, "given_at": ids.time_of(later), "longest": 9}
    whose = {**dict.fromkeys(("external_id", "stripe_customer_id", "whop_user_id"), ""), "signed_up_at": None}
    statement = candidates._BY_CLICK  # noqa: SLF001 - the very statement
    tables = scanned(tenant.connection("app"), statement, {**found, **whose}, options="ANALYZE,")
    assert {table for table in tables if table.startswith("clicks_")} == {
        partition_of(tenant, each) for each in (earlier, later)
    }


def test_the_same_click_written_twice_is_one(tenant: Tenant, code: str) -> None:
    """As when the answer to the first attempt was lost."""
    click_id = ids.new_id()
    click(tenant, code, click_id=click_id)
    click(tenant, code, click_id=click_id)
    assert len(tenant.rows("SELECT id FROM clicks WHERE company_id = %(company_id)s")) == 1


def scanned(
    connection: psycopg.Connection, query: LiteralString, parameters: dict[str, object], *, options: LiteralString = ""
) -> set[str]:
    """The tables that the server would look into, or, with ANALYZE among the options, has looked into."""
    explained = connection.execute(f"EXPLAIN ({options} FORMAT JSON) " + query, parameters).fetchone()
    assert explained is not None
    tables: set[str] = set()
    nodes = [explained[0][0]["Plan"]]
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        if "Relation Name" in node and node.get("Actual Loops", 1):
            tables.add(node["Relation Name"])
    return tables
