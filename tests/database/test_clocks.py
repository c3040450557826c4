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
one_connection = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=2 * settings().max_examples
)

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
        # a day that begins at 01:00, and the day after it
        ("daily", "America/Santiago", "2026-09-05T12:00:00Z", "2026-09-05T04:00:00Z", "2026-09-06T04:00:00Z"),
        ("daily", "America/Santiago", "2026-09-06T04:00:00Z", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"),
        # midnight comes twice: the day, and the month, begin with the first
        ("daily", "America/Havana", "2026-10-31T12:00:00Z", "2026-10-31T04:00:00Z", "2026-11-01T04:00:00Z"),
        ("daily", "America/Havana", "2026-11-01T04:00:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"),
        ("daily", "America/Havana", "2026-11-01T05:30:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"),
        ("monthly", "America/Havana", "2026-11-01T04:30:00Z", "2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z"),
    ],
)
def test_periods_of_usage(tenant: Tenant, reset: str, zone: str, now: str, start: str | None, end: str | None) -> None:
    """A period begins when the one before it ends."""
    moments = [instant(now), *([instant(start) - timedelta(microseconds=1)] if start else [])]
    ends = tenant.connection("app").execute(
        "SELECT nullif(period_end(%s, at, %s), 'infinity') FROM unnest(%s) AS at ORDER BY at DESC",
        (reset, zone, moments),
    )
    assert [at for (at,) in ends] == [end and instant(end), *([instant(start)] if start else [])]


# Every date that has to do with a change of clocks: the two days before it, its own and the next.
NOT_THE_FIRST = """
    WITH days AS MATERIALIZED (
        SELECT names.name AS zone, day, (day AT TIME ZONE 'UTC' AT TIME ZONE names.name) - day AS offset_
        FROM pg_timezone_names AS names,
            generate_series(timestamp '2024-06-01', timestamp '2027-06-01', interval '1 day') AS day
    ), changes AS (
        SELECT zone, day, offset_ <> lag(offset_) OVER (PARTITION BY zone ORDER BY day) AS changed FROM days
    ), asked AS (
        SELECT DISTINCT zone, day::date + apart AS day FROM changes, generate_series(-2, 1) AS apart WHERE changed
    ), instants AS (
        SELECT zone, day, (
            SELECT min(at) FROM generate_series(
                (day::timestamp AT TIME ZONE 'UTC') - interval '16 hours',
                (day::timestamp AT TIME ZONE 'UTC') + interval '14 hours', interval '15 minutes') AS at
            WHERE (at AT TIME ZONE zone)::date = day
        ) AS first
        FROM asked
    )
    SELECT count(*), array_agg(zone || ' ' || day) FILTER (WHERE first_instant(day, zone) IS DISTINCT FROM first)
    FROM instants
"""


@pytest.mark.newest
def test_a_local_date_begins_with_its_first_instant_in_every_zone_of_the_world(tenant: Tenant) -> None:
    """Clocks change at a quarter of an hour, so the quarters around a date are all the instants it may begin with."""
    count, wrong = tenant.superuser.execute(NOT_THE_FIRST).fetchone() or (0, None)
    assert count > 1000
    assert wrong is None


@pytest.mark.parametrize(
    ("zone", "day", "first"),
    [
        ("America/Santiago", "2026-09-06", "2026-09-06T04:00:00Z"),  # there is no midnight
        ("America/Santiago", "2026-04-05", "2026-04-05T04:00:00Z"),  # the hour before midnight comes twice
        ("America/Havana", "2026-11-01", "2026-11-01T04:00:00Z"),  # midnight comes twice
        ("America/Havana", "2026-03-08", "2026-03-08T05:00:00Z"),
        ("Atlantic/Azores", "2026-10-25", "2026-10-25T00:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00:00Z"),
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z"),  # a date left out begins with the next
        ("UTC", "2026-02-28", "2026-02-28T00:00:00Z"),
    ],
)
def test_the_first_instant_of_a_local_date(tenant: Tenant, zone: str, day: str, first: str) -> None:
    assert value(tenant.connection("app"), "SELECT first_instant(%s, %s)", day, zone) == instant(first)


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
