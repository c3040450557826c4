"""The clock functions of the database, and that Python's of the same names agree with them."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from goodword.core import clock, ids
from goodword.core.fields import rfc3339
from tests.support.tenants import Tenant

# the connection is the same for all examples, and no example leaves anything behind
one_connection = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)

instants = st.builds(
    lambda at, minutes: at.replace(tzinfo=timezone(timedelta(minutes=minutes))),
    st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),  # noqa: DTZ001 - the zone is drawn too
    st.integers(-14 * 60, 14 * 60),
)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def value(connection: psycopg.Connection, query: str, *parameters: object) -> object:
    row = connection.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return row[0]


def test_a_company_lives_in_real_time_until_its_clock_is_set(tenant: Tenant) -> None:
    connection = tenant.connection("app")
    before = value(connection, "SELECT clock_timestamp()")
    now = clock.company_now(connection, tenant.id)
    after = value(connection, "SELECT clock_timestamp()")
    assert isinstance(before, datetime)
    assert isinstance(after, datetime)
    assert before <= now <= after


def test_a_set_clock_stands_still_for_its_company_alone(tenant: Tenant, other_tenant: Tenant) -> None:
    tenant.set_clock(instant("2031-02-03T04:05:06.000007+00:00"))
    for role in ("click", "webhook", "app", "admin", "jobs"):
        now = clock.company_now(tenant.connection(role), tenant.id)
        assert now == instant("2031-02-03T04:05:06.000007+00:00")
    assert clock.company_now(tenant.connection("app"), other_tenant.id) < now
    tenant.set_clock(None)
    assert clock.company_now(tenant.connection("app"), tenant.id) < now


def test_a_clock_set_while_a_statement_runs_counts_from_the_next_reading(tenant: Tenant) -> None:
    """`company_now` is read again each time: a transaction does not freeze it as it does now()."""
    connection = tenant.connection("app")
    with connection.transaction():
        clock.company_now(connection, tenant.id)
        tenant.set_clock(instant("2031-01-01T00:00:00Z"))
        assert clock.company_now(connection, tenant.id) == instant("2031-01-01T00:00:00Z")


def test_a_live_companys_clock_cannot_be_set(tenant: Tenant) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as violation:
        tenant.superuser.execute(
            "UPDATE companies SET livemode = true, test_now = clock_timestamp() WHERE id = %s", (tenant.id,)
        )
    assert violation.value.diag.constraint_name == "companies_test_clock_ck"


def test_nobody_has_the_time_of_an_unknown_company(tenant: Tenant) -> None:
    with pytest.raises(LookupError):
        clock.company_now(tenant.connection("app"), UUID(int=0))


@pytest.mark.parametrize(
    ("zone", "start", "months", "later"),
    [
        ("UTC", "2026-01-31T10:00:00.123456Z", 1, "2026-02-28T10:00:00.123456Z"),
        ("UTC", "2028-01-31T10:00:00Z", 1, "2028-02-29T10:00:00Z"),
        ("UTC", "2024-02-29T00:00:00Z", 12, "2025-02-28T00:00:00Z"),
        ("UTC", "2026-08-31T23:59:59.999999Z", 6, "2027-02-28T23:59:59.999999Z"),
        ("UTC", "2026-03-31T00:00:00Z", 1, "2026-04-30T00:00:00Z"),
        ("UTC", "2026-12-31T12:00:00Z", 1, "2027-01-31T12:00:00Z"),
        # the last hour of 31 January in Berlin, which is 31 January there and 30 January or 28 February elsewhere
        ("Europe/Berlin", "2026-01-30T23:30:00Z", 1, "2026-02-27T23:30:00Z"),
        # summer time begins or ends between: the hour on the wall stays
        ("Europe/Berlin", "2026-03-15T09:00:00Z", 1, "2026-04-15T08:00:00Z"),
        ("Europe/Berlin", "2026-10-15T08:00:00Z", 1, "2026-11-15T09:00:00Z"),
        ("America/New_York", "2026-02-28T05:00:00Z", 1, "2026-03-28T04:00:00Z"),
        # 02:30 does not exist on 29 March in Berlin
        ("Europe/Berlin", "2026-02-28T01:30:00Z", 1, "2026-03-28T01:30:00Z"),
        ("Europe/Berlin", "2027-02-28T01:30:00Z", 1, "2027-03-28T01:30:00Z"),
        # half-hour summer time
        ("Australia/Lord_Howe", "2026-09-10T00:00:00Z", 1, "2026-10-09T23:30:00Z"),
    ],
)
def test_months_later(tenant: Tenant, zone: str, start: str, months: int, later: str) -> None:
    found = value(tenant.connection("app"), "SELECT months_later(%s, %s, %s)", instant(start), months, zone)
    assert found == instant(later)


def test_no_months_are_no_instant(tenant: Tenant) -> None:
    """An expiry of null months is none, for ever."""
    assert value(tenant.connection("app"), "SELECT months_later(clock_timestamp(), NULL, 'UTC')") is None


@pytest.mark.parametrize(
    ("reset", "zone", "now", "start", "end"),
    [
        ("never", "UTC", "2026-05-17T12:00:00Z", None, None),
        ("daily", "UTC", "2026-05-17T12:00:00Z", "2026-05-17T00:00:00Z", "2026-05-18T00:00:00Z"),
        ("daily", "UTC", "2026-05-17T00:00:00Z", "2026-05-17T00:00:00Z", "2026-05-18T00:00:00Z"),
        ("daily", "UTC", "2026-05-17T23:59:59.999999Z", "2026-05-17T00:00:00Z", "2026-05-18T00:00:00Z"),
        # days of 23 and of 25 hours
        ("daily", "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        ("daily", "Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        ("monthly", "UTC", "2026-02-28T23:59:59Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
        ("monthly", "Europe/Berlin", "2026-03-31T22:30:00Z", "2026-03-31T22:00:00Z", "2026-04-30T22:00:00Z"),
        ("monthly", "Europe/Berlin", "2026-03-31T21:30:00Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"),
        ("monthly", "America/New_York", "2026-11-15T00:00:00Z", "2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z"),
    ],
)
def test_periods_of_usage(tenant: Tenant, reset: str, zone: str, now: str, start: str | None, end: str | None) -> None:
    connection = tenant.connection("app")
    found_start = value(connection, "SELECT nullif(period_start(%s, %s, %s), '-infinity')", reset, instant(now), zone)
    found_end = value(connection, "SELECT period_end(%s, %s, %s)", reset, instant(now), zone)
    assert (found_start, found_end) == (start and instant(start), end and instant(end))


@one_connection
@given(at=instants)
@example(at=datetime(987, 6, 5, tzinfo=UTC))
def test_both_write_a_time_the_same_way(tenant: Tenant, at: datetime) -> None:
    assert value(tenant.connection("app"), "SELECT rfc3339(%s)", at) == rfc3339(at)


LAST = 7_258_118_400_000  # the year 2200; centuries later, the server's intervals round microseconds


@one_connection
@given(milliseconds=st.integers(min_value=0, max_value=LAST))
def test_both_read_the_same_time_from_an_id(tenant: Tenant, milliseconds: int) -> None:
    made_at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    id_ = UUID(int=milliseconds << 80 | 0x7 << 76 | 0b10 << 62 | 12345)
    assert ids.time_of(id_) == made_at
    assert value(tenant.connection("click"), "SELECT received_at_of(%s)", id_) == made_at


@given(at=instants.filter(lambda at: at.year > 1970).map(lambda at: at.astimezone(UTC)))
def test_an_id_carries_the_millisecond_it_was_made_in(at: datetime) -> None:
    assert ids.time_of(ids.new_id(at)) == at.replace(microsecond=at.microsecond // 1000 * 1000)


@given(prefix=st.sampled_from(["usr", "ref", "awd", "clk"]), id_=st.uuids())
def test_public_ids_of_python_are_read_back(prefix: str, id_: UUID) -> None:
    assert ids.parse(prefix, ids.public(prefix, id_)) == id_


def test_both_write_an_id_the_same_way(tenant: Tenant) -> None:
    id_ = ids.new_id()
    assert value(tenant.connection("click"), "SELECT public_id('clk', %s)", id_) == ids.public("clk", id_)
